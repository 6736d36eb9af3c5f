"""Cells as files of other tools: flat parquet, partitioned by batch and plate."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pipeline.cells.frame import cells_frame
from pipeline.storage import Location, open_storage
from pipeline.tables import encode_table


def write_parquet(ds: xr.Dataset, location: Location) -> list[str]:
    """Write one file a well, so that memory holds one well; returns the keys of the files.

        <url>/<batch>/<plate>/<well>.parquet

    The columns are those of `cells_frame`, of the same kinds in every file, batch and plate among them: readers make
    numbers of what folders are called (`plate=0041`). Each file says what was done to it (`describe`). Wells without
    cells have no file. `SELECT ... FROM '<url>/**/*.parquet'` in DuckDB, `pl.scan_parquet('<url>/**/*.parquet')`.
    """
    storage, keys = open_storage(location), []
    about = {"level": "cell", "operations": [], **{str(name): value for name, value in ds.attrs.items()}}
    for well in np.flatnonzero(ds.cell_count.values > 0):
        one = ds.isel(well=[well])
        table = cells_frame(one)
        if table.empty:  # of a sample, or of what was kept
            continue
        table = table.astype({name: "Int64" for name in table if table[name].dtype == np.int64})
        key = f"{one.batch.item()}/{one.plate.item()}/{_file(one, int(well))}.parquet"
        storage.put(key, encode_table(table, about=about))
        keys.append(key)
    return keys


def _file(one: xr.Dataset, place: int) -> str:
    """Two roots may hold the same well."""
    return f"{one.well.item()}-{place}" if "results" in one.coords else str(one.well.item())
