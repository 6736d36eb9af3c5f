"""Is the store what the ledger says it is?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from pipeline.cells import layout
from pipeline.cells.create import read_plate, well_index
from pipeline.cells.plates import is_published, read_publication
from pipeline.errors import NotFound
from pipeline.screen import Plate, plate_wells
from pipeline.storage import Storage


class Damage(NamedTuple):
    """One well that is not what the ledger says. "unlisted": a shard of which no entry speaks; readers never see it.
    "open": the well is published, and its entry is gone."""

    well: str
    what: Literal["missing", "damaged", "unlisted", "open"]
    detail: str


def check_plate(storage: Storage, plate: Plate, entries: Iterable[Mapping[str, Any]]) -> list[Damage]:
    """Read every shard of a plate and compare its bytes with the ledger's `stored` hash. Empty: all is well.

    To repair a well, take its shard and its ledger entry away and run again. Reads the whole plate.
    """
    entries = list(entries)
    known, rows = {entry["well"] for entry in entries}, {entry["well"]: entry for entry in entries if has_rows(entry)}
    size = read_plate(storage, plate)["wells"]
    damages = compare_listing(storage, plate, rows.values())
    if is_published(storage, plate):
        for well in sorted(read_publication(storage, plate)["wells"].keys() - known):
            damages.append(Damage(well, "open", "is published and not in the ledger: `run` will measure it again"))
    suspects = {damage.well for damage in damages}

    def check(entry: Mapping[str, Any]) -> Damage | None:
        try:
            data = storage.get(layout.shard_key(plate, well_index(plate, entry["well"], size)))
        except NotFound as error:  # taken away while we read
            return Damage(entry["well"], "missing", str(error))
        found = hashlib.sha256(data).hexdigest()
        if found == entry["stored"]:
            return None
        return Damage(entry["well"], "damaged", f"SHA-256 {found[:12]}..., the ledger says {entry['stored'][:12]}...")

    # A shard is tens of megabytes: a few at once fill the line without filling the memory.
    with ThreadPoolExecutor(4) as pool:
        checked = pool.map(check, [entry for well, entry in rows.items() if well not in suspects])
        return damages + [damage for damage in checked if damage is not None]


def compare_listing(storage: Storage, plate: Plate, entries: Iterable[Mapping[str, Any]]) -> list[Damage]:
    """Compare existence and size of a plate's shards with the ledger, by one listing."""
    size = read_plate(storage, plate)["wells"]
    expected = {
        layout.shard_key(plate, well_index(plate, entry["well"], size)): entry for entry in entries if has_rows(entry)
    }
    found = {entry.key: entry.size for entry in storage.entries(f"{layout.plate_folder(plate)}/features/c/")}
    damages = []
    for key, entry in expected.items():
        if key not in found:
            damages.append(Damage(entry["well"], "missing", f"{key} is not there"))
        elif found[key] != entry["size"]:
            damages.append(
                Damage(entry["well"], "damaged", f"{key} has {found[key]} bytes, the ledger says {entry['size']}")
            )
    wells = plate_wells(read_plate(storage, plate)["wells"])
    for key in found.keys() - expected.keys():
        damages.append(Damage(wells[int(key.split("/")[-3])], "unlisted", f"{key} has no ledger entry with cells"))
    return sorted(damages)


def has_rows(entry: Mapping[str, Any]) -> bool:
    """Whether a well of this ledger entry has a shard: it needs one row at least."""
    return entry["n_cells"] + entry["n_unmatched"] > 0
