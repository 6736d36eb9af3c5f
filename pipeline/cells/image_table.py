"""Image-level measurements (counts, thresholds, whole-image granularity and texture): one row a site, as parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.cells import layout
from pipeline.cells.plates import choose_plates
from pipeline.errors import Incomplete, NotFound
from pipeline.screen import Plate, well_position
from pipeline.screen.columns import BATCH, PLATE, PREFIX, SITE, WELL
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import decode_arrow, decode_table, encode_table


def encode_image_table(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows -> parquet, in order of their sites: `Metadata_*` first, then the measurements (float64), by name.

    The same rows give the same bytes, whatever their order and that of their keys.
    """
    rows = sorted(rows, key=lambda row: row[SITE])
    names = {name for row in rows for name in row}
    metadata = [BATCH, PLATE, WELL, SITE]
    metadata = [name for name in metadata if name in names] + sorted(
        name for name in names if name.startswith(PREFIX) and name not in metadata
    )
    columns = {name: pa.array([row.get(name) for row in rows]) for name in metadata}
    for name in sorted(names.difference(metadata)):
        columns[name] = pa.array(np.array([row.get(name, np.nan) for row in rows], np.float64) + 0.0)
    return encode_table(pa.table(columns))


def put_image_measurements(storage: Storage, plate: Plate, well: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the image measurements of a well: one row a site, with `Metadata_Site`. Written before the ledger entry."""
    where = {BATCH: plate.batch, PLATE: plate.plate, WELL: well}
    storage.put(layout.image_table_key(plate, well), encode_image_table([{**where, **row} for row in rows]))


def join_image_tables(storage: Storage, plate: Plate, wells: Iterable[str]) -> bytes:
    """The image measurements of these wells of a plate as one table. Raises `Incomplete` where one has none."""
    keys = [layout.image_table_key(plate, well) for well in sorted(wells, key=well_position)]

    def read(key: str) -> pa.Table:
        try:
            return decode_arrow(storage.get(key))
        except NotFound:
            raise Incomplete(
                f"{plate} cannot be published: {key} is missing, although the ledger says the well is measured. "
                "Take the well's entry out of the ledger and run again."
            ) from None

    with ThreadPoolExecutor(16) as pool:
        tables = list(pool.map(read, keys))
    return encode_table(pa.concat_tables(tables, promote_options="default") if tables else pa.table({}))


def open_image_measurements(
    results: str | Location, plates: Iterable[str | Plate] | None = None, **options: Any
) -> pd.DataFrame:
    """Image measurements of the published plates, one row a site: `Metadata_Batch`, `_Plate`, `_Well`, `_Site`, and
    the measurements by CellProfiler's names. `plates` and `options` as in `open_cells`."""
    location = results if isinstance(results, Location) else Location(url=results, **options)
    storage = open_storage(location)
    chosen = choose_plates(storage, plates)
    with ThreadPoolExecutor(16) as pool:
        tables = pool.map(lambda plate: storage.get(layout.image_table_key(plate)), chosen)
    return pd.concat([decode_table(data) for data in tables], ignore_index=True)
