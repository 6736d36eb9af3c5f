"""A ledger entry is written once, says the same whoever writes it, and is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Conflict
from pipeline.results import ledger
from pipeline.screen import Plate
from pipeline.seals import without_seal
from pipeline.storage import Storage, open_storage

PLATE = Plate("B1", "P1")
RUN = "0123456789ab"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def entry(well: str = "A01", **changes: object) -> ledger.Entry:
    return {**ledger.empty_entry(PLATE, well, "f" * 64), "state": "measured", "n_cells": 7, **changes}  # type: ignore[typeddict-item]


def test_an_entry_makes_its_well_finished(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry("A01"))
    ledger.write_entry(storage, RUN, entry("A10"))
    assert set(ledger.listed_wells(storage, RUN, PLATE)) == {"A01", "A10"}
    assert ledger.listed_wells(storage, "another-run", PLATE) == {}
    assert ledger.listed_wells(storage, RUN, Plate("B2", "P1")) == {}
    assert ledger.is_finished(storage, RUN, PLATE, "A01")
    assert not ledger.is_finished(storage, RUN, PLATE, "A1")


def test_writing_the_same_entry_again_is_harmless(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry())
    ledger.write_entry(storage, RUN, entry())
    assert list(map(without_seal, ledger.read_entries(storage, PLATE, RUN))) == [entry()]


def test_another_result_for_a_finished_well_is_refused_and_the_first_stays(storage: Storage) -> None:
    ledger.write_entry(storage, RUN, entry())
    with pytest.raises(Conflict, match="B1/P1 A01"):
        ledger.write_entry(storage, RUN, entry(n_cells=8))
    assert without_seal(ledger.read_entry(storage, RUN, PLATE, "A01")) == entry()


def test_why_names_every_site_that_failed() -> None:
    failed = [{"site": 2, "kind": "image", "reason": "gone"}, {"site": 3, "kind": "engine", "reason": "hung"}]
    assert ledger.why(entry(sites_failed=failed)) == "site 2: gone; site 3: hung"
    assert ledger.why(entry(reason="its worker died")) == "its worker died"
    assert ledger.why(entry()) == ""
