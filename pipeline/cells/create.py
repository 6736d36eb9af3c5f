"""What the planner writes before any worker starts: the feature table, and each plate's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from zarr import create_group
from zarr.abc.buffer import Buffer
from zarr.storage import MemoryStore

from pipeline.cells import layout
from pipeline.cells.schema import Schema
from pipeline.errors import Conflict, NotFound, StoreError
from pipeline.results.records import read_record
from pipeline.screen import PLATE_FORMATS, Plate, plate_size, plate_wells, well_position
from pipeline.seals import sealed_json
from pipeline.storage import Location, Storage, open_storage

_SCHEMA = "features.json"


def write_schema(storage: Storage, schema: Schema) -> None:
    """Write the feature table, for this project (features.json) and for any zarr reader (features.zarr).

    Writing the same table twice is harmless; another one raises `Conflict`.
    """
    plain = {"format": layout.FORMAT, "digest": schema.digest, "capacity": schema.capacity}
    plain |= {"left_out": dict(schema.left_out), "index": schema.index, "features": schema.features}
    if read_record(storage, _SCHEMA) != json.loads(json.dumps(plain)):  # also one from before there were seals
        _write_once(storage, _SCHEMA, sealed_json(plain, indent=1, sort_keys=False))

    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    attributes = {"first_column": layout.BLOCK_FEATURES, "index": list(schema.index), "digest": schema.digest}
    create_group(store, attributes=attributes)
    for name, column in schema.meaning.items():
        values = column.to_numpy() if column.dtype.kind == "f" else column.astype(object).tolist()
        layout.plain_array(store, str(name), values, "feature")
    _write_all(storage, layout.encoded(objects, "features.zarr"))


def read_schema(storage: Storage) -> Schema:
    """The feature table of the store at this root; parsed once per process."""
    return _schema_at(storage.location, _version(storage, _SCHEMA))


@lru_cache(maxsize=8)
def _schema_at(location: Location, version: str | None) -> Schema:
    plain = json.loads(open_storage(location).get(_SCHEMA))
    features = {name: tuple(found) for name, found in plain["features"].items()}
    schema = Schema(features, plain["capacity"], plain["left_out"])
    if plain["format"] != layout.FORMAT or plain["digest"] != schema.digest:
        raise StoreError(
            f"{location}/{_SCHEMA} is of layout {plain['format']}, or was changed by hand; this version of the "
            f"pipeline reads layout {layout.FORMAT}. Read it with the version that wrote it (see run.json)."
        )
    return schema


def _version(storage: Storage, key: str) -> str | None:
    """Tells a root that was deleted and filled anew, by a worker that lives on, from the one it knew."""
    found = storage.stat(key)
    return None if found is None else found.etag


def create_plate(
    storage: Storage, plate: Plate, wells: Iterable[str], schema: Schema, attributes: Mapping[str, Any] | None = None
) -> None:
    """Write the metadata and the coordinates of a plate, so that its wells can be put and read.

    `wells`: the plate's wells, imaged or not; they decide its format (96, 384 or 1536). `attributes`: what else the
    group should say, e.g. cell type and time point. Creating a plate again must give the same bytes: that is harmless,
    and lets a killed planner go on; anything else raises `Conflict` and changes nothing that is there.
    """
    names = plate_wells(plate_size(list(wells)))
    positions = np.array([well_position(name) for name in names], np.int16)
    objects: dict[str, Buffer] = {}
    store = MemoryStore(objects)
    own = {"batch": plate.batch, "plate": plate.plate, "wells": len(names)}
    own |= {"schema": schema.digest, "format": layout.FORMAT}
    about = {**dict(sorted((attributes or {}).items())), **own}
    if _created_as(storage, plate) == about:
        return
    create_group(store, attributes=about)
    layout.features_array(
        store, len(names), schema.capacity, schema.columns, "features", coordinates="row column", index=schema.index
    )
    layout.plain_array(store, "well", names, "well")
    layout.plain_array(store, "row", positions[:, 0], "well")
    layout.plain_array(store, "column", positions[:, 1], "well")

    group: dict[str, Buffer] = {}
    create_group(MemoryStore(group), attributes={"schema": schema.digest})
    for folder in ("cells", f"cells/{plate.batch}"):
        _write_all(storage, layout.encoded(group, folder))
    _write_all(storage, layout.encoded(objects, layout.plate_folder(plate)))


def _created_as(storage: Storage, plate: Plate) -> dict[str, Any] | None:
    """What the group of a plate says that is there already, whole, for the group comes last; one request."""
    try:
        return json.loads(storage.get(f"{layout.plate_folder(plate)}/zarr.json"))["attributes"]
    except NotFound:
        return None


def read_plate(storage: Storage, plate: Plate) -> dict[str, Any]:
    """What a plate's group says of it: batch, plate, wells (of its format), schema (digest) and more."""
    key = f"{layout.plate_folder(plate)}/zarr.json"
    try:
        return json.loads(storage.get(key))["attributes"]
    except NotFound:
        raise StoreError(
            f"{plate} is not in the store at {storage.location} (no {key}). Plan the run first, or check the names."
        ) from None


def well_index(plate: Plate, well: str, size: int) -> int:
    """The place of a well among the `size` wells of its plate's format, row by row: A01 is 0."""
    rows, columns = PLATE_FORMATS[size]
    row, column = well_position(well)
    if row > rows or column > columns:
        raise StoreError(f"{plate} has {rows * columns} wells; {well} is not one of them")
    return (row - 1) * columns + column - 1


def _write_all(storage: Storage, objects: Mapping[str, bytes]) -> None:
    # The group's own zarr.json last: once it is there, the plate is there.
    for key in sorted(objects, key=lambda key: (-key.count("/"), key)):
        _write_once(storage, key, objects[key])


def _write_once(storage: Storage, key: str, data: bytes) -> None:
    if storage.put_if_absent(key, data) or storage.get(key) == data:
        return
    raise Conflict(
        f"{storage.location}/{key} is there already, and is not what this plan would write: another plan (other "
        "features, wells or attributes) made this store. Nothing was changed. Give this run another results place."
    )
