"""Publishing a plate: from here on readers may trust it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace as replaced
from typing import Any

import numpy as np
import pandas as pd
from zarr.abc.buffer import Buffer
from zarr.storage import MemoryStore

from pipeline.cells import layout
from pipeline.cells.check import compare_listing
from pipeline.cells.create import read_plate, well_index
from pipeline.cells.image_table import join_image_tables
from pipeline.cells.plates import some
from pipeline.errors import Changed, Conflict, Incomplete
from pipeline.results.ledger import Listed, empty_entry, measuring_of, read_entries, summarise
from pipeline.results.ledger import encode as ledger_bytes
from pipeline.results.plan import read_wells
from pipeline.results.records import Standing, begin, compare, encode, read_record
from pipeline.screen import Plate, plate_wells
from pipeline.screen.columns import BATCH, PLATE, WELL
from pipeline.storage import Location, Storage, md5, open_storage

_DONE = ("measured", "no_cells")


def publish(results: Location, batch: str, plate: str) -> dict[str, Any]:
    """Publish a plate from its ledger: the task of the flow. Every well that is to be measured must have an entry.

    A well that the config excludes is published as excluded, without cells, whether it was measured or not.
    """
    storage, where = open_storage(results), Plate(batch, plate)
    excluded, imaged = _planned(storage, where)
    measuring12 = measuring_of(storage)
    found = read_entries(storage, where, measuring12)
    summarise(storage, measuring12, where, found)
    entries = [entry for entry in found if entry["well"] not in excluded]
    left_out = [{**empty_entry(where, well, ""), "state": "excluded", "reason": why} for well, why in excluded.items()]
    return publish_plate(storage, where, [*entries, *left_out], imaged, replace=True)


def publication_standing(storage: Storage, plate: Plate, listed: Mapping[str, Listed], wells: pd.DataFrame) -> Standing:
    """Whether a plate is published as its ledger and the plan have it. `listed`: its ledger; `wells`: the plan's."""
    excluded, imaged = _of_plan(wells, plate)
    counted = {well: entry.md5 for well, entry in listed.items() if well not in excluded}
    record = read_record(storage, layout.publication_key(plate))
    if waiting := sorted(set(imaged) - counted.keys()):
        why = f"{len(waiting)} wells are not measured yet ({some(waiting)})"
        return Standing("missing" if record is None else "stale", why)
    found = compare(record, {"wells": counted, "excluded": excluded})
    return found if found.state != "stale" else replaced(found, why=f"of the plate {found.why}")


def _planned(storage: Storage, plate: Plate) -> tuple[dict[str, str], list[str]]:
    return _of_plan(read_wells(storage), plate)


def _of_plan(wells: pd.DataFrame, plate: Plate) -> tuple[dict[str, str], list[str]]:
    """Of a plate, the wells that are excluded, each with its reason, and those that are to be measured."""
    own = wells[(wells[BATCH] == plate.batch) & (wells[PLATE] == plate.plate)]
    left_out = own.loc[own["excluded"] != "", [WELL, "excluded"]].astype(str)
    imaged = own.loc[own["sites"] > 0, WELL].astype(str)
    return dict(left_out.itertuples(index=False, name=None)), imaged.tolist()


def publish_plate(
    storage: Storage,
    plate: Plate,
    entries: Iterable[Mapping[str, Any]],
    wells: Collection[str] = (),
    *,
    replace: bool = False,
) -> dict[str, Any]:
    """Publish one plate. After this returns every reader sees the whole plate; if it raises, none does.

    Compares existence and size of each shard with the ledger's `entries` by one listing; writes the arrays cell_count,
    unmatched_count, is_done, state, site_count and site_cell_count, the image measurements of the plate as one table,
    and last `plates/<batch>/<plate>.json`. `wells`: those that must have an entry. Wells without one are not imaged.

    Publishing the same entries again is harmless; other entries raise `Conflict`, unless `replace` says that the plate
    was taken up again on purpose. Raises `Incomplete`, naming the wells, where entries or shards are missing.
    """
    by_well = {entry["well"]: entry for entry in entries}
    if unfinished := sorted(set(wells) - by_well.keys()):
        raise Incomplete(
            f"{plate} cannot be published: {len(unfinished)} of {len(wells)} wells have no ledger entry "
            f"({some(unfinished)}). Run again to finish them."
        )
    lost = [damage for damage in compare_listing(storage, plate, by_well.values()) if damage.what != "unlisted"]
    if lost:
        raise Incomplete(
            f"{plate} cannot be published: {len(lost)} shards are not what the ledger says "
            f"({some([f'{damage.well} {damage.what}: {damage.detail}' for damage in lost])}). Take these wells' "
            "entries out of the ledger and run again."
        )

    image_table = join_image_tables(storage, plate, [well for well, entry in by_well.items() if _is_done(entry)])
    document = _document(storage, plate, by_well, image_table)
    data = encode(document)
    key = layout.publication_key(plate)
    published = read_record(storage, key)
    if published is not None and encode(published) == data:
        return _summary(document)
    if published is not None and not replace:
        raise Conflict(
            f"{plate} is published with other wells or other numbers ({key}); nothing was changed. Give the run "
            "another results place, or publish with `replace` if wells were measured again on purpose."
        )
    try:
        # While the arrays change, readers are told so: they must not see old counts with new cells.
        begin(storage, key)
        marked = storage.stat(key)
        for name, content in _arrays(storage, plate, by_well).items():
            storage.put(name, content)
        storage.put(layout.image_table_key(plate), image_table)
        if marked is not None:
            storage.put_if_unchanged(key, data, marked.etag)
        elif not storage.put_if_absent(key, data):
            raise Changed(f"{key} was written by someone else")
    except Changed:
        if storage.get(key) != data:
            raise Conflict(
                f"{plate} was published by someone else at the same time, with other numbers ({key})"
            ) from None
    return _summary(document)


def _is_excluded(entry: Mapping[str, Any]) -> bool:
    return entry["state"] == "excluded"


def _is_done(entry: Mapping[str, Any]) -> bool:
    return entry["state"] in _DONE


def _document(
    storage: Storage, plate: Plate, entries: Mapping[str, Mapping[str, Any]], image_table: bytes
) -> dict[str, Any]:
    about = read_plate(storage, plate)
    ledger = json.dumps([entries[well] for well in sorted(entries)], sort_keys=True)
    return {
        "batch": plate.batch,
        "plate": plate.plate,
        "format": layout.FORMAT,
        "size": about["wells"],
        "schema": about["schema"],
        "inputs": {
            "wells": {well: md5(ledger_bytes(entry)) for well, entry in entries.items() if not _is_excluded(entry)},
            "excluded": {well: entry["reason"] for well, entry in entries.items() if _is_excluded(entry)},
        },
        "n_cells": sum(entry["n_cells"] for entry in entries.values()),
        "n_unmatched": sum(entry["n_unmatched"] for entry in entries.values()),
        "states": Counter(entry["state"] for entry in entries.values()),
        "ledger": hashlib.sha256(ledger.encode()).hexdigest(),
        "image_measurements": hashlib.sha256(image_table).hexdigest(),
        "wells": {
            well: {
                "state": entry["state"],
                "n_cells": entry["n_cells"],
                "n_unmatched": entry["n_unmatched"],
                "sites": len(entry["cells_per_site"]),
            }
            for well, entry in entries.items()
        },
    }


def _arrays(storage: Storage, plate: Plate, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    names = plate_wells(read_plate(storage, plate)["wells"])
    sites = sorted({int(site) for entry in entries.values() for site in entry["cells_per_site"]})
    counts = np.zeros((3, len(names)), np.int32)
    is_done = np.zeros(len(names), bool)
    states = ["not_imaged"] * len(names)
    by_site = np.full((len(names), len(sites)), -1, np.int32)
    for well, entry in entries.items():
        index = well_index(plate, well, len(names))
        counts[:, index] = entry["n_cells"], entry["n_unmatched"], len(entry["cells_per_site"])
        is_done[index], states[index] = _is_done(entry), entry["state"]
        for site, count in entry["cells_per_site"].items():
            by_site[index, sites.index(int(site))] = count

    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    for name, values in zip(("cell_count", "unmatched_count", "site_count"), counts, strict=True):
        layout.plain_array(store, name, values, "well")
    layout.plain_array(store, "is_done", is_done, "well")
    layout.plain_array(store, "state", states, "well")
    if sites:
        layout.plain_array(store, "site", np.array(sites, np.int32), "site")
        layout.plain_array(store, "site_cell_count", by_site, "well", "site", description="-1: the site was not used")
    objects.pop("zarr.json", None)  # the group is the planner's
    return layout.encoded(objects, layout.plate_folder(plate))


def _summary(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"cells": document["n_cells"], "unmatched": document["n_unmatched"], "wells": dict(document["states"])}
