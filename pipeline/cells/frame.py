"""Single cells as a flat table in pandas: one row a cell."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr

from pipeline.cells.read import open_cells
from pipeline.cells.selection import UnknownLabel
from pipeline.cells.wells import OURS
from pipeline.screen.columns import PREFIX, SITE
from pipeline.storage import Location


def cells_frame(
    source: xr.Dataset | str | Location,
    wells: Collection[str] | None = None,
    features: Collection[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """A flat table, one row a cell: `Metadata_*` first, then the features by CellProfiler's full names (float32).

    `source`: what `open_cells` gave, or a selection of it, or the URL for it, with `options` for `open_cells`.
    `wells`: names, e.g. ["A01", "B07"], on all plates there are; `features`: full names. Default: all, which may be
    more than memory holds: a well of 1,800 cells with all CPJUMP1 features takes 42 MB. Raises `UnknownLabel`, a
    KeyError, for names that are not there.
    """
    ds = whole(source if isinstance(source, xr.Dataset) else open_cells(source, **options))
    if wells is not None:
        here = [wells] if isinstance(wells, str) else list(wells)
        _refuse_unknown(here, ds.well.values, "well")
        ds = ds.isel(well=np.flatnonzero(np.isin(ds.well.values, here)))
    if features is not None:
        names = [features] if isinstance(features, str) else list(features)
        _refuse_unknown(names, ds.name.values, "feature")
        ds = ds.isel(feature=pd.Index(ds.name.values).get_indexer(names))
    index = [str(name) for name in ds.data_vars if name != "features"]
    values, *numbers = dask.compute(*(ds[name].data for name in ("features", *index)))
    is_row = ~np.isnan(numbers[index.index("site")])
    table = metadata_of(ds, is_row, {name: one[is_row] for name, one in zip(index, numbers, strict=True)})
    return pd.concat([table, pd.DataFrame(values[is_row], columns=ds.name.values)], axis=1)


def whole(ds: xr.Dataset) -> xr.Dataset:
    """A selection of cells with its three dimensions. Raises `ValueError` where it has lost what names them."""
    for dim, names in (("well", ("batch", "plate", "well")), ("cell", ()), ("feature", ("name",))):
        if lost := [name for name in (*names, "features", "site") if name not in ds.variables]:
            raise ValueError(f"this is no selection of cells any more: it has lost {', '.join(lost)}")
        if dim not in ds.dims:
            ds = ds.expand_dims(dim)
            along = [name for name in ds.coords if ds[name].ndim == 0 and _belongs(str(name), dim)]
            ds = ds.assign_coords({name: (dim, np.atleast_1d(ds[name].values)) for name in along})
    cells = [name for name in ds.data_vars if name != "features"]
    ds = ds.assign({name: ds[name].isel(feature=0, drop=True) for name in cells if "feature" in ds[name].dims})
    return ds.transpose("well", "cell", "feature")


_OF_FEATURE = {"name", "compartment", "family", "feature", "channel", "channel2", "scale", "angle"}


def _belongs(name: str, dim: str) -> bool:
    return (name in _OF_FEATURE) == (dim == "feature") and dim != "cell"


def metadata_of(ds: xr.Dataset, is_row: np.ndarray, numbers: dict[str, np.ndarray]) -> pd.DataFrame:
    """The `Metadata_*` columns of the rows of some wells that hold a cell: `is_row` bool (well, cell); `numbers`: site
    and object numbers of these rows, by variable."""
    well = np.nonzero(is_row)[0]
    numbers = dict(numbers)
    primary = next(name for name in numbers if name.startswith("object_number_"))
    metadata = {f"Metadata_{name.capitalize()}": ds[name].values[well] for name in ("batch", "plate", "well")}
    metadata |= {SITE: numbers.pop("site"), "Metadata_ObjectNumber": numbers[primary]}
    metadata |= {f"Metadata_{name.capitalize()}": ds[name].values[well] for name in ("row", "column")}
    for name, values in numbers.items():
        if name == "is_matched":
            metadata["Metadata_IsMatched"] = values.astype(bool)
        else:
            metadata[f"Metadata_{name.replace('object_number', 'ObjectNumber')}"] = values
    for sample, coordinate in ds.coords.items():
        if coordinate.dims == ("well",) and (sample not in OURS or sample == "results"):
            metadata[f"Metadata_{str(sample).removeprefix(PREFIX)}"] = coordinate.values[well]
    table = pd.DataFrame(metadata)
    whole_numbers = [SITE, *table.columns[table.columns.str.startswith("Metadata_ObjectNumber")]]
    is_known = table[whole_numbers].notna().all(axis=None)
    return table.astype(dict.fromkeys(whole_numbers, np.int64 if is_known else "Int64"))


def _refuse_unknown(names: Collection[str], there: np.ndarray, what: str) -> None:
    known = set(there.tolist())
    if unknown := sorted(set(names) - known):
        raise UnknownLabel(f"no {what} {', '.join(unknown[:5])} here; there are {', '.join(sorted(known)[:5])} ...")
