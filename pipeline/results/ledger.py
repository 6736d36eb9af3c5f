"""What is done: one small object per finished well. Its existence is what makes a well done.

    ledger/<measuring12>/<batch>/<plate>/<well>.<input12>.json

`measuring12` names how the cells of the root are measured, `input12` the images that the well was measured from. An
entry says nothing of time, host or attempt, so that two workers that measured the same well write the same bytes. Those
go to the log, one object per attempt: log/<batch>/<plate>/<well>.<attempt>.json
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypedDict, cast

from pipeline.errors import Conflict
from pipeline.screen import Plate
from pipeline.seals import read_json, sealed_json, without_seal
from pipeline.storage import Storage

State = Literal["measured", "no_cells", "flagged", "failed"]


class FailedSite(TypedDict):
    """A site that was not measured, and why: it failed, or the pipeline itself skips it (`sites_flagged`)."""

    site: int
    kind: str
    reason: str


class Listed(NamedTuple):
    """One entry as a listing has it. `input12`: of the well's images; `md5`: of the entry's bytes."""

    input12: str
    md5: str | None


class Entry(TypedDict):
    """One well. `stored` and `content`: SHA-256 of the shard's bytes and of its numbers; `illumination`: of the
    functions that its images were corrected by, "" where there are none."""

    batch: str
    plate: str
    well: str
    state: State
    reason: str
    n_cells: int
    n_unmatched: int
    n_infinite: int
    cells_per_site: dict[str, int]
    sites_used: list[int]
    sites_failed: list[FailedSite]
    sites_flagged: list[FailedSite]
    stored: str | None
    content: str | None
    size: int
    input: str
    illumination: str


def empty_entry(plate: Plate, well: str, digest: str) -> Entry:
    """The entry of a well of which nothing is known yet. `digest`: of the well's planned images."""
    return {
        "batch": plate.batch,
        "plate": plate.plate,
        "well": well,
        "state": "failed",
        "reason": "",
        "n_cells": 0,
        "n_unmatched": 0,
        "n_infinite": 0,
        "cells_per_site": {},
        "sites_used": [],
        "sites_failed": [],
        "sites_flagged": [],
        "stored": None,
        "content": None,
        "size": 0,
        "input": digest,
        "illumination": "",
    }


def why(entry: Entry) -> str:
    """What went wrong in a well, in one line; empty where nothing did."""
    sites = "; ".join(f"site {failed['site']}: {failed['reason']}" for failed in entry["sites_failed"])
    return "; ".join(part for part in (entry["reason"], sites) if part)


def write_entry(storage: Storage, measuring12: str, entry: Entry) -> None:
    """Make a well done. Writing the same entry twice is harmless; another one raises `Conflict`."""
    plate = Plate(entry["batch"], entry["plate"])
    key = f"{_folder(measuring12, plate)}{entry['well']}.{entry['input'][:12]}.json"
    if not storage.put_if_absent(key, sealed_json(entry)) and without_seal(read_json(storage.get(key), key)) != entry:
        raise Conflict(f"{plate} {entry['well']} is in the ledger with another result ({key}); nothing was changed")


def encode(entry: Mapping[str, Any]) -> bytes:
    """The bytes of an entry that was read: with its seal, or without one as it was written once."""
    return json.dumps(entry, sort_keys=True).encode()


def remove_entry(storage: Storage, measuring12: str, plate: Plate, well: str) -> bool:
    """Open a well again, so that the next `run` measures it; whether it was done."""
    keys = [found.key for found in storage.entries(f"{_folder(measuring12, plate)}{well}.")]
    for key in keys:
        storage.remove(key)
    return bool(keys)


def listed_wells(storage: Storage, measuring12: str, plate: Plate) -> dict[str, Listed]:
    """The wells of a plate that have an entry, by one listing."""
    found = {}
    for entry in storage.entries(_folder(measuring12, plate), checksums=True):
        well, input12, _ = entry.key.rpartition("/")[2].split(".")
        found[well] = Listed(input12, entry.etag)
    return found


def listed_plates(storage: Storage, measuring12: str, plates: Collection[Plate]) -> dict[Plate, dict[str, Listed]]:
    """`listed_wells` of each plate."""
    with ThreadPoolExecutor(16) as pool:
        listed = pool.map(lambda plate: listed_wells(storage, measuring12, plate), plates)
        return dict(zip(plates, listed, strict=True))


def read_entries(storage: Storage, plate: Plate, measuring12: str | None = None) -> list[Entry]:
    """All entries of a plate, in order of their wells' names."""
    measuring12 = measuring12 or json.loads(storage.get("run.json"))["digest"][:12]
    keys = [found.key for found in storage.entries(_folder(measuring12, plate))]
    with ThreadPoolExecutor(16) as pool:
        return [_entry(storage, key, data) for key, data in zip(keys, pool.map(storage.get, keys), strict=True)]


def is_finished(storage: Storage, measuring12: str, plate: Plate, well: str) -> bool:
    return read_entry(storage, measuring12, plate, well) is not None


def read_entry(storage: Storage, measuring12: str, plate: Plate, well: str) -> Entry | None:
    for found in storage.entries(f"{_folder(measuring12, plate)}{well}."):
        return _entry(storage, found.key, storage.get(found.key))
    return None


def _entry(storage: Storage, key: str, data: bytes) -> Entry:
    return cast(Entry, read_json(data, f"{storage.location}/{key}"))


def write_attempt(storage: Storage, plate: Plate, well: str, attempt: str, record: dict[str, Any]) -> None:
    """Log one attempt at a well: how long, how much memory, where, and what came of it."""
    storage.put(f"log/{plate.key}/{well}.{attempt}.json", json.dumps(record, sort_keys=True).encode())


def read_attempts(storage: Storage, below: str = "") -> list[dict[str, Any]]:
    """The attempts at all wells, or at those whose key begins with `below`."""
    keys = [found.key for found in storage.entries(f"log/{below}")]
    with ThreadPoolExecutor(16) as pool:
        return [json.loads(data) for data in pool.map(storage.get, keys)]


def _folder(measuring12: str, plate: Plate) -> str:
    return f"ledger/{measuring12}/{plate.key}/"
