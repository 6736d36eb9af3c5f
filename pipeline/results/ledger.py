"""What is done: one small object per finished well. Its existence is what makes a well done.

    ledger/<measuring12>/<batch>/<plate>/<well>.<input12>.json
    summaries/<measuring12>/<batch>/<plate>.json    a plate's entries together, and the attempts at its wells

`measuring12` names how the cells of the root are measured, `input12` the images that the well was measured from. An
entry says nothing of time, host or attempt, so that two workers that measured the same well write the same bytes. Those
go to the log, one object per attempt: log/<batch>/<plate>/<well>.<attempt>.json

A summary spares readers a request a well: of a plate's entries it holds those whose bytes are listed with the same MD5,
and the others are read. So it may be missing or old, and what is read is the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypedDict, cast

from pipeline.errors import Conflict, Damaged, NotFound
from pipeline.screen import Plate
from pipeline.seals import read_json, sealed_json, without_seal
from pipeline.storage import Entry as StoredObject
from pipeline.storage import Storage, md5

#: how a seal begins
SEAL = "seal-sha256:"

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


def measuring_of(storage: Storage) -> str:
    """`measuring12` of the root."""
    return str(json.loads(storage.get("run.json"))["digest"])[:12]


def read_entries(storage: Storage, plate: Plate, measuring12: str | None = None) -> list[Entry]:
    """All entries of a plate, in order of their wells' names."""
    measuring12 = measuring12 or measuring_of(storage)
    listed = list(storage.entries(_folder(measuring12, plate), checksums=True))
    known = _summary(storage, measuring12, plate)["entries"] if listed else {}

    def read(found: StoredObject) -> Entry:
        own = known.get(found.key.rpartition("/")[2])
        if own is not None and own["md5"] == found.etag:
            return cast(Entry, own["entry"] | ({"seal": SEAL + own["seal"]} if own["seal"] else {}))
        return _entry(storage, found.key, storage.get(found.key))

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(read, listed))


def summarise(storage: Storage, measuring12: str, plate: Plate, entries: Iterable[Entry]) -> None:
    """Keep the entries of a plate in one object, with what is logged of the attempts at its wells."""
    about = {
        "entries": {f"{entry['well']}.{entry['input'][:12]}.json": _summed_up(entry) for entry in entries},
        "attempts": _attempts(storage, f"log/{plate.key}/", _summary(storage, measuring12, plate)["attempts"]),
    }
    storage.put(_summary_key(measuring12, plate), sealed_json(about))


def _summed_up(entry: Entry) -> dict[str, Any]:
    """An entry with the MD5 of its object. Its seal stands apart: a file holds one, its own."""
    plain = cast(dict[str, Any], entry)
    return {"md5": md5(encode(entry)), "entry": without_seal(plain), "seal": plain.get("seal", "").removeprefix(SEAL)}


def _summary(storage: Storage, measuring12: str, plate: Plate) -> dict[str, dict[str, Any]]:
    key = _summary_key(measuring12, plate)
    try:
        return read_json(storage.get(key), key)
    except (NotFound, Damaged):  # it spares requests and holds nothing of its own
        return {"entries": {}, "attempts": {}}


def _summary_key(measuring12: str, plate: Plate) -> str:
    return f"summaries/{measuring12}/{plate.key}.json"


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


def read_attempts(storage: Storage, measuring12: str, plates: Iterable[Plate], below: str = "") -> list[dict[str, Any]]:
    """What is logged of the attempts at the wells of these plates, or at those whose key begins with `below`."""
    with ThreadPoolExecutor(16) as pool:
        summaries = pool.map(lambda plate: _summary(storage, measuring12, plate)["attempts"], plates)
        known = {key: attempt for summary in summaries for key, attempt in summary.items()}
    return list(_attempts(storage, f"log/{below}", known).values())


def _attempts(storage: Storage, prefix: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> what is logged there; an attempt is logged once, so what is known of a key stays."""
    keys = [found.key for found in storage.entries(prefix)]
    with ThreadPoolExecutor(16) as pool:
        return dict(zip(keys, pool.map(lambda key: known.get(key) or json.loads(storage.get(key)), keys), strict=True))


def _folder(measuring12: str, plate: Plate) -> str:
    return f"ledger/{measuring12}/{plate.key}/"
