from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.cells import EncodedWell, create_plate, encode_well, layout, put_well
from pipeline.errors import Conflict, NotFound, SchemaMismatch, StoreError
from pipeline.storage import open_storage
from tests.cells.synthetic import PLATE, assembled, schema

KEY = "cells/batch 1/BR0001/features/c/14/0/0"


def well(seed: int = 1, cells: int = 6) -> EncodedWell:
    return encode_well(schema(), [assembled(1, cells), assembled(2, seed)])


@pytest.fixture
def storage(tmp_path):
    storage = open_storage(str(tmp_path))
    create_plate(storage, PLATE, ["H12"], schema())
    return storage


def test_a_well_is_one_object_with_these_bytes(storage):
    encoded = well()
    assert put_well(storage, PLATE, "B03", encoded) == "written"
    assert layout.shard_key(PLATE, 14) == KEY
    assert storage.get(KEY) == encoded.data


def test_the_same_well_again_is_success_also_with_a_ledger_entry(storage):
    put_well(storage, PLATE, "B03", well())
    assert put_well(storage, PLATE, "B03", well(), has_entry=True) == "present"


def test_another_result_replaces_one_that_no_ledger_entry_vouches_for_and_says_so(storage, caplog):
    put_well(storage, PLATE, "B03", well(1))
    assert put_well(storage, PLATE, "B03", well(2)) == "replaced"
    assert storage.get(KEY) == well(2).data
    assert "batch 1/BR0001 B03: another attempt's result" in caplog.text


def test_another_result_never_replaces_one_that_is_in_the_ledger(storage):
    put_well(storage, PLATE, "B03", well(1))
    with pytest.raises(Conflict, match=r"batch 1/BR0001 B03 was measured again with another result"):
        put_well(storage, PLATE, "B03", well(2), has_entry=lambda: True)
    assert storage.get(KEY) == well(1).data


def test_the_ledger_is_asked_only_where_another_result_is_there(storage):
    def asked() -> bool:
        raise AssertionError("the ledger was asked")

    put_well(storage, PLATE, "B03", well(), asked)
    put_well(storage, PLATE, "B03", well(), asked)


def test_of_eight_writers_at_once_one_writes_and_all_succeed(storage):
    encoded, start = well(), threading.Barrier(8)

    def write(_: int) -> str:
        start.wait()
        return put_well(storage, PLATE, "B03", encoded)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            outcomes = sorted(pool.map(write, range(8)))
            assert outcomes == ["present"] * 7 + ["written"]
            (storage.root / KEY).unlink()


def test_a_well_without_objects_puts_nothing(storage):
    assert put_well(storage, PLATE, "B03", encode_well(schema(), [assembled(1, 0)])) == "empty"
    with pytest.raises(NotFound):
        storage.get(KEY)


def test_a_well_that_the_plate_does_not_have_is_refused(storage):
    with pytest.raises(StoreError, match="has 96 wells; P24 is not one of them"):
        put_well(storage, PLATE, "P24", well())


def test_a_well_of_another_schema_is_refused(storage):
    other = encode_well(schema(65), [])
    with pytest.raises(SchemaMismatch, match="another feature table"):
        put_well(storage, PLATE, "B03", other)
