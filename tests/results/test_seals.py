"""A bit that flips in a stored file is noticed, or changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from pipeline.errors import Conflict, Damaged
from pipeline.results import ledger
from pipeline.results.records import encode, read_record
from pipeline.screen import Plate
from pipeline.seals import BLANK, checked, read_json, seal, sealed_json, without_seal
from pipeline.storage import open_storage
from pipeline.tables import decode_table, encode_table, note_of

RECORD: dict[str, Any] = {"inputs": {"settings": {"how": "median"}, "files": [1, 2.5, None]}, "levels": ["ä"]}
TABLE = pd.DataFrame({"Metadata_Well": ["A01", "B02"] * 20, "value": [1.5, float("nan")] * 20, "n": range(40)})
FILES: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "record": (encode(RECORD), lambda data: without_seal(read_json(data, ""))),
    "entry": (sealed_json(ledger.empty_entry(Plate("B1", "P1"), "A01", "x")), lambda d: without_seal(read_json(d, ""))),
    "config": (seal(f"# {BLANK}\nname: screen\nlist: [1, 2]\n".encode()), yaml.safe_load),
    "table": (encode_table(TABLE, "3 of 10 plates"), lambda data: (decode_table(data).to_csv(), note_of(data))),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bit_that_flips_is_noticed_or_changes_nothing(kind: str) -> None:
    data, read = FILES[kind]
    assert checked(data, "name") == data
    value, unnoticed = read(data), 0
    bits = range(8 * len(data))
    for bit in bits if len(data) < 1000 else random.Random(1).sample(bits, 4000):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            same = read(checked(bytes(flipped), "folder/file")) == value
        except (Damaged, yaml.YAMLError):
            continue
        assert same
        unnoticed += 1
    assert unnoticed <= 8 * len(BLANK)  # bits of the seal itself


def test_the_same_content_is_the_same_bytes_and_is_read_back_without_its_seal(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("record.json", encode(RECORD))
    assert read_record(storage, "record.json") == RECORD
    assert encode(read_record(storage, "record.json") or {}) == encode(RECORD)
    pd.testing.assert_frame_equal(decode_table(encode_table(TABLE)), TABLE, check_dtype=False)
    assert encode_table(TABLE) == encode_table(TABLE.copy())


def test_what_was_stored_before_there_were_seals_is_read_as_it_is(tmp_path: Path) -> None:
    storage, plate = open_storage(str(tmp_path)), Plate("B1", "P1")
    storage.put("record.json", json.dumps(RECORD).encode())
    assert read_record(storage, "record.json") == RECORD
    entry = ledger.empty_entry(plate, "A01", "0" * 64)
    old = json.dumps(entry, sort_keys=True).encode()
    storage.put("ledger/m/B1/P1/A01.000000000000.json", old)
    ledger.write_entry(storage, "m", entry)  # the same again
    found = ledger.read_entries(storage, plate, "m")
    assert (found, ledger.encode(found[0])) == ([entry], old)
    with pytest.raises(Conflict):
        ledger.write_entry(storage, "m", {**entry, "n_cells": 1})


def test_a_damaged_file_of_a_folder_is_named_where_it_is_read(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("plan/wells.parquet", encode_table(TABLE))
    path = tmp_path / "plan/wells.parquet"
    path.write_bytes(path.read_bytes().replace(b"A01", b"A02", 1))
    with pytest.raises(Damaged, match=f"{path} is damaged.*`run` again"):
        storage.get("plan/wells.parquet")
