"""Putting a well into the store: once, whoever else tries."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Literal

from pipeline.cells import layout
from pipeline.cells.create import read_plate, well_index
from pipeline.cells.encode import EncodedWell
from pipeline.errors import Changed, Conflict, NotFound, SchemaMismatch, StoreError
from pipeline.screen import Plate
from pipeline.storage import Storage

log = logging.getLogger(__name__)

Outcome = Literal["written", "present", "replaced", "empty"]


def put_well(
    storage: Storage, plate: Plate, well: str, encoded: EncodedWell, has_entry: bool | Callable[[], bool] = False
) -> Outcome:
    """Put a well's shard by one conditional request; on return the store holds these bytes.

    "written"; "present": they were there, from another attempt or from this one, its answer lost; "replaced": other
    bytes were there that no ledger entry vouches for, which is logged, because it means that measuring twice gave two
    results; "empty": there is nothing to put. Raises `Conflict`, and leaves the shard, where other bytes are there and
    the well is in the ledger (`has_entry`, asked only then).
    """
    about = read_plate(storage, plate)
    if encoded.schema != about["schema"]:
        raise SchemaMismatch(f"{plate} {well} was encoded for another feature table than this store's")
    if encoded.data is None or encoded.stored is None:
        return "empty"
    key = layout.shard_key(plate, well_index(plate, well, about["wells"]))
    metadata = {"stored": encoded.stored, "content": encoded.content, "n-cells": str(encoded.n_cells)}

    for _ in range(5):  # others may write between our look and our answer to it; each round one of them has ended
        if storage.put_if_absent(key, encoded.data, metadata):
            return "written"
        found = storage.stat(key)
        theirs = None if found is None else found.metadata.get("stored") or _stored(storage, key)
        if found is None or theirs is None:
            continue
        if theirs == encoded.stored:
            return "present"
        if has_entry() if callable(has_entry) else has_entry:
            raise Conflict(
                f"{plate} {well} was measured again with another result, and the first one is in the ledger. The first "
                f"was kept ({key}). Measuring does not repeat itself on this machine: compare the log of both attempts."
            )
        try:
            storage.put_if_unchanged(key, encoded.data, found.etag, metadata)
        except Changed:
            continue
        log.warning("%s %s: another attempt's result, %s, was replaced by %s", plate, well, theirs, encoded.stored)
        return "replaced"
    raise StoreError(f"{plate} {well}: others keep writing {key}", retry=True)


def _stored(storage: Storage, key: str) -> str | None:
    try:
        return hashlib.sha256(storage.get(key)).hexdigest()
    except NotFound:
        return None
