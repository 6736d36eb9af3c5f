"""The site table of a plate is fetched once by a process that goes from well to well, and anew when it is another."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import NotFound
from pipeline.results.plan import read_well_sites, sites_key
from pipeline.screen import Plate
from pipeline.storage import open_storage
from pipeline.tables import encode_table
from tests.results.test_ledger import Counting

PLATE = Plate("B1", "P1")


def table(image: str) -> bytes:
    rows = [{"Metadata_Well": well, "Metadata_Site": site, "Key_DNA": f"{image}{well}{site}"} for well, site in SITES]
    return encode_table(pd.DataFrame(rows))


SITES = [("A01", 1), ("A01", 2), ("A02", 1)]


def test_the_table_is_fetched_once_for_all_wells_of_a_plate_and_anew_when_it_changes(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put(sites_key(PLATE), table("old"))
    counting = Counting(storage)
    assert [site.site for site in read_well_sites(counting, PLATE, "A01")] == [1, 2]  # type: ignore[arg-type]
    [second] = read_well_sites(counting, PLATE, "A02")  # type: ignore[arg-type]
    assert second.images["DNA"].key == "oldA021"  # type: ignore[union-attr]
    assert len(counting.read) == 1
    storage.put(sites_key(PLATE), table("new"))
    [second] = read_well_sites(counting, PLATE, "A02")  # type: ignore[arg-type]
    assert second.images["DNA"].key == "newA021"  # type: ignore[union-attr]
    assert len(counting.read) == 2
    storage.remove(sites_key(PLATE))
    with pytest.raises(NotFound, match="Run `plan` first"):
        read_well_sites(counting, PLATE, "A02")  # type: ignore[arg-type]
