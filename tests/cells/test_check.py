from __future__ import annotations

import numpy as np
import pytest

from pipeline import cells
from pipeline.cells import lazy
from pipeline.errors import StoreError
from pipeline.storage import open_storage
from tests.cells.synthetic import PLATE, assembled, fill_plate, schema


@pytest.fixture
def plate(tmp_path):
    storage = open_storage(str(tmp_path))
    entries = fill_plate(storage)
    cells.publish_plate(storage, PLATE, entries)
    return storage, entries, storage.root / "cells" / PLATE.batch / PLATE.plate / "features/c"


def test_a_whole_plate_has_no_damage(plate):
    storage, entries, _ = plate
    assert cells.check_plate(storage, PLATE, entries) == []


def test_damaged_lost_and_unlisted_wells_are_named(plate):
    storage, entries, shards = plate
    data = bytearray((shards / "0/0/0").read_bytes())
    data[100] ^= 1
    (shards / "0/0/0").write_bytes(data)
    (shards / "14/0/0").unlink()
    cells.put_well(storage, PLATE, "H12", cells.encode_well(schema(), [assembled(1, 2)]))
    found = cells.check_plate(storage, PLATE, entries)
    assert {(damage.well, damage.what) for damage in found} == {
        ("A01", "damaged"),
        ("B03", "missing"),
        ("H12", "unlisted"),
    }


def test_each_of_thirty_flipped_bits_is_noticed_on_reading(plate):
    storage, _, shards = plate
    shard = shards / "14/0/0"
    whole = shard.read_bytes()
    ds = cells.open_cells(str(storage.root)).isel(well=[14])
    rng = np.random.default_rng(20)
    for place in rng.integers(len(whole), size=30):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        shard.write_bytes(data)
        lazy._places.cache_clear()  # where blocks are is kept: what is damaged there later harms nobody
        with pytest.raises(StoreError, match="batch 1/BR0001 B03: its shard is damaged"):
            cells.read_well(storage, PLATE, "B03", schema())
        with pytest.raises(StoreError, match="batch 1/BR0001 B03: its shard is damaged"):
            ds.compute(scheduler="sync")
    shard.write_bytes(whole)
    assert len(cells.read_well(storage, PLATE, "B03", schema())[0]) == 3


def test_the_damaged_well_is_named_among_its_neighbours(plate):
    storage, _, shards = plate
    (shards / "14/0/0").write_bytes((shards / "14/0/0").read_bytes()[:-20])
    with pytest.raises(StoreError, match="BR0001 B03: its shard is damaged"):
        cells.open_cells(str(storage.root)).features.compute(scheduler="sync")


def test_a_lost_shard_is_an_error_and_never_nan(plate):
    storage, _, shards = plate
    (shards / "14/0/0").unlink()
    ds = cells.open_cells(str(storage.root))
    with pytest.raises(StoreError, match="BR0001 B03: its shard is missing"):
        ds.features.isel(feature=[3]).compute(scheduler="sync")
    assert np.isfinite(ds.features.isel(well=0, cell=0, feature=3).compute(scheduler="sync"))
