"""Object sets that make no cell (foci, droplets, nuclei before a filter): one row an object, as parquet.

Their `Parent_*` columns hold the object numbers of the cells' compartments, which the store has too. How many of them
a cell has is a column of the cell, `Children_*_Count`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.cells import layout
from pipeline.cells.compartments import count_measured
from pipeline.cells.plates import choose_plates, read_publication
from pipeline.cells.schema import Schema
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.errors import NotFound
from pipeline.screen import Plate, well_position
from pipeline.screen.columns import BATCH, PLATE, SITE, WELL
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import decode_arrow, encode_table

#: set -> its objects at one site
OtherObjects = Mapping[str, ObjectMeasurements]


def other_objects(measurements: SiteMeasurements, schema: Schema) -> dict[str, ObjectMeasurements]:
    """The sets of a site that are no compartment and of which more is measured than where they are."""
    return {
        name: objects
        for name, objects in measurements.objects.items()
        if name not in schema.compartments and count_measured(objects.features)
    }


def put_object_measurements(storage: Storage, plate: Plate, well: str, sites: Mapping[int, OtherObjects]) -> None:
    """Write a table for each set: one row an object, by site and number. Written before the ledger entry."""
    for name in sorted({name for objects in sites.values() for name in objects}):
        own = {site: objects[name] for site, objects in sorted(sites.items()) if name in objects}
        storage.put(layout.object_table_key(plate, well, name), encode_objects(plate, well, name, own))


def encode_objects(plate: Plate, well: str, name: str, sites: Mapping[int, ObjectMeasurements]) -> bytes:
    """Parquet with plate, well, site and object number as `Metadata_*`, then the features (float64) by name."""
    counts = [len(objects.values) for objects in sites.values()]
    columns: dict[str, Any] = {
        BATCH: pa.array([plate.batch] * sum(counts), pa.string()),
        PLATE: pa.array([plate.plate] * sum(counts), pa.string()),
        WELL: pa.array([well] * sum(counts), pa.string()),
        SITE: pa.array(np.repeat(list(sites), counts), pa.int64()),
        "Metadata_ObjectNumber": pa.array(np.concatenate([np.arange(1, count + 1) for count in counts]), pa.int64()),
    }
    for feature in sorted({feature for objects in sites.values() for feature in objects.features}):
        columns[f"{name}_{feature}"] = pa.array(
            np.concatenate([objects.column(feature) for objects in sites.values()]) + 0.0
        )
    return encode_table(pa.table(columns))


def open_objects(
    results: str | Location, name: str, plates: Iterable[str | Plate] | None = None, **options: Any
) -> pd.DataFrame:
    """The objects of a set that makes no cell, on the published plates, one row an object.

    `Metadata_Batch`, `_Plate`, `_Well`, `_Site`, `_ObjectNumber`, and the measurements with the set's name before them.
    `plates` and `options` as in `open_cells`. Raises `NotFound` where no plate has such a set.
    """
    location = results if isinstance(results, Location) else Location(url=results, **options)
    storage = open_storage(location)
    keys = [
        layout.object_table_key(plate, well, name)
        for plate in choose_plates(storage, plates)
        for well in sorted(_wells(storage, plate), key=well_position)
    ]
    with ThreadPoolExecutor(16) as pool:
        found = [table for table in pool.map(lambda key: _read(storage, key), keys) if table is not None]
    if not found:
        raise NotFound(f"{location} has no table of objects called {name!r}; sets that make a cell are in open_cells.")
    return pa.concat_tables(found, promote_options="default").to_pandas()


def _wells(storage: Storage, plate: Plate) -> list[str]:
    """The wells whose cells are published; tables of others may be left from an earlier attempt."""
    wells = read_publication(storage, plate)["wells"]
    return [well for well, about in wells.items() if about["sites"]]


def _read(storage: Storage, key: str) -> pa.Table | None:
    try:
        return decode_arrow(storage.get(key))
    except NotFound:
        return None
