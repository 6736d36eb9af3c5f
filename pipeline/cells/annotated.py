"""Cells and wells as AnnData (https://anndata.readthedocs.io): what they are in `obs`, features in `var`.

Needs the extra `anndata`. Values stay where they are: `X` is an array of Dask's that is read part by part, e.g. by
`adata.write_zarr(path)`, which so writes more than memory holds; `adata.to_memory()` reads it all.
"""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from pipeline.cells.frame import metadata_of
from pipeline.errors import Refused
from pipeline.screen.columns import PREFIX

if TYPE_CHECKING:
    from anndata import AnnData

#: what AnnData calls the features' coordinates
_OF_FEATURE = ("compartment", "family", "feature", "channel", "channel2", "scale", "angle")


def cells_as_anndata(ds: xr.Dataset, level: str) -> AnnData:
    """One row a cell, named `<batch>/<plate>/<well>/<site>/<object>`, or a well, `<batch>/<plate>/<well>`.

    `obs`: batch, plate, well, site, object numbers, sample and condition; `var`: compartment, family, feature, channel,
    channel2, scale, angle, by full name; `uns["cellpainting"]`: engine, versions, digests of pipeline and measuring,
    and what was done to the values. Values of cells are as measured, of wells the median of their cells (float32).
    Sites and object numbers are read at once (one block a well), features when they are asked for.
    """
    if level not in ("cell", "well"):
        raise ValueError(f"level is 'cell' or 'well', not {level!r}")
    values = ds.features.data.rechunk({1: -1, 2: -1}) if dask.is_dask_collection(ds.features.data) else ds.features.data
    if level == "cell":
        index = [str(name) for name in ds.data_vars if name == "site" or str(name).startswith("object_number_")]
        numbers = dict(zip(index, dask.compute(*(ds[name].data for name in index)), strict=True))
        is_row = ~np.isnan(numbers["site"])
        obs = metadata_of(ds, is_row, {name: one[is_row] for name, one in numbers.items()})
        names = ["Batch", "Plate", "Well", "Site", "ObjectNumber"]
        x, operations = _flat(values, is_row), []
    else:
        is_well = ds.cell_count.values > 0
        part = ds.isel(well=np.flatnonzero(is_well))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            x = part.features.median("cell").transpose("well", "feature").data
        obs = pd.DataFrame(
            {f"Metadata_{name}": one.values for name, one in part.coords.items() if one.dims == ("well",)}
        )
        obs = obs.rename(
            columns={f"Metadata_{name}": f"Metadata_{name.capitalize()}" for name in ("batch", "plate", "well")}
        )
        names, operations = ["Batch", "Plate", "Well"], [{"aggregate": "median", "over": "cells of a well"}]
    obs.index = pd.Index(_joined(obs, [f"Metadata_{name}" for name in names]))
    var = pd.DataFrame({name: ds[name].values for name in _OF_FEATURE}, index=pd.Index(ds["name"].values))
    return make(x, obs, var, {"level": level, **ds.attrs}, operations)


def make(
    x: Any, obs: pd.DataFrame, var: pd.DataFrame, about: dict[str, Any], operations: list[dict[str, Any]]
) -> AnnData:
    """AnnData of an array and its two tables; `Metadata_` is left out of the names, and text is categorical."""
    try:
        from anndata import AnnData
    except ImportError:
        raise Refused("AnnData needs the package anndata: install this project with its extra `anndata`.") from None
    obs = obs.rename(columns=lambda name: _plain_name(str(name)))
    # Text columns of a version of pandas that a reader lacks are none of its types.
    for table in (obs, var):
        for name in table:
            if not pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name]):
                texts = table[name].astype(object).where(table[name].notna(), "").astype(str).astype(object)
                table[name] = pd.Categorical(texts, pd.Index(sorted(texts.unique()), dtype=object))
    obs.index, var.index = (table.index.astype(object) for table in (obs, var))
    notes = {name: value if isinstance(value, str | int) else json.dumps(value) for name, value in about.items()}
    return AnnData(X=x, obs=obs, var=var, uns={"cellpainting": {**notes, "operations": json.dumps(operations)}})


def _plain_name(name: str) -> str:
    """Metadata_Batch -> batch, Metadata_ObjectNumber_Cells -> object_number_Cells, Metadata_gene -> gene."""
    short = name.removeprefix(PREFIX).replace("ObjectNumber", "object_number")
    return short.lower() if short in ("Batch", "Plate", "Well", "Site", "Row", "Column", "IsMatched") else short


def _joined(table: pd.DataFrame, names: list[str]) -> list[str]:
    return ["/".join(map(str, row)) for row in table[names].itertuples(index=False, name=None)]


def _flat(values: da.Array | np.ndarray, is_row: np.ndarray) -> da.Array | np.ndarray:
    """(rows, features) of (well, cell, feature): the rows that are cells."""
    if not isinstance(values, da.Array):
        return values[is_row]
    ends = np.cumsum([0, *values.chunks[0]])
    rows = tuple(int(is_row[start:end].sum()) for start, end in pairwise(ends.tolist()))
    mask = da.from_array(is_row[:, :, None], chunks=(values.chunks[0], -1, -1))
    flat = da.map_blocks(_rows, values, mask, dtype=values.dtype, drop_axis=1, chunks=(rows, values.chunks[2]))
    return flat if all(rows) else flat.rechunk({0: tuple(n for n in rows if n) or -1})  # no part without a row


def _rows(values: np.ndarray, is_row: np.ndarray) -> np.ndarray:
    return values[is_row[:, :, 0]]
