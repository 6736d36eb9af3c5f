"""Reading single cells: lazily as xarray, flat as pandas, one well at a time."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from pipeline.cells import layout
from pipeline.cells.create import read_plate, read_schema, well_index
from pipeline.cells.lazy import PlateRows
from pipeline.cells.plates import choose_plates, created_plates, read_publication
from pipeline.cells.schema import Schema
from pipeline.errors import NotFound, StoreError
from pipeline.results.ledger import read_entries
from pipeline.results.plan import read_wells
from pipeline.screen import Plate, plate_wells, well_position
from pipeline.screen.columns import BATCH, COLUMN, PLATE, PREFIX, ROW, SITE, WELL, WELL_KEY
from pipeline.storage import Location, Storage, open_storage

#: wells of one lazy chunk; all its cells and one block of features are read together
WELLS_AT_ONCE = 32

_WELL = WELL_KEY


def open_cells(
    results: str | Location,
    plates: str | Plate | Iterable[str | Plate] | None = None,
    allow_partial: bool = False,
    *,
    unmatched: bool = False,
    **options: Any,
) -> xr.Dataset:
    """The single cells of a run, lazily.

    Variables: `features` (well, cell, feature) float32, NaN after a well's last cell; `site` and
    `object_number_<compartment>` (well, cell). Row i of a well is one cell in all of them.
    On `well`: well, row, column, plate, batch, cell_count, unmatched_count, state, is_done, and the sample and
    condition columns of the plan without their `Metadata_`. On `feature`: `name` (CellProfiler's full name),
    compartment, family, feature, channel, channel2, scale, angle. So

        ds.features.median("cell")                                        # the profiles
        ds.features.sel(name="Nuclei_AreaShape_Area")
        ds.isel(feature=np.flatnonzero((ds.family == "Texture") & (ds.channel == "RNA")))

    `results`: URL or folder of the run; `options` are those of `pipeline.storage.Location` (endpoint, profile,
    anonymous, region). `plates`: by name, "batch/plate" or `Plate`; default all. Several plates lie one after another
    along `well`. Only published plates are read, unless `allow_partial`: then what the ledger holds is, the rest is
    masked, and a warning says how many wells are missing. `unmatched`: also the objects that belong to no whole cell,
    after the cells, with NaN in the other compartments; `is_matched` tells them apart.

    Only the location travels to Dask workers; each opens the store with its own credentials. Raises `Incomplete` where
    a plate is not published, and on computing `StoreError`, naming the well, where a shard is lost or damaged.
    """
    location = results if isinstance(results, Location) else Location(url=str(results), **options)
    storage = open_storage(location)
    schema = read_schema(storage)
    chosen = choose_plates(storage, plates, allow_partial=allow_partial)
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda plate: _read_wells_of(storage, plate, allow_partial), chosen))
    if plates is None and not allow_partial and (waiting := len(created_plates(storage)) - len(chosen)) > 0:
        warnings.warn(
            f"{waiting} of {waiting + len(chosen)} plates are not published yet and are left out", stacklevel=2
        )
    missing = sum(one.missing for one in read)
    if missing:
        warnings.warn(
            f"{missing} wells are not done yet: their cells are missing. See the coordinate is_done.", stacklevel=2
        )

    wells = pd.concat([one.wells for one in read], ignore_index=True)
    counts = [one.wells["cell_count"] + (one.wells["unmatched_count"] if unmatched else 0) for one in read]
    n_cells = max(int(pd.concat(counts).max()), 1)

    def lazily(columns: range) -> da.Array:
        arrays = []
        for plate, one, count in zip(chosen, read, counts, strict=True):
            rows = PlateRows(location, plate, tuple(count.tolist()), n_cells, columns, one.token)
            arrays.append(da.from_array(rows, chunks=(WELLS_AT_ONCE, -1, layout.BLOCK_FEATURES), name=rows.name))
        return da.concatenate(arrays) if len(arrays) > 1 else arrays[0]

    # Not one array cut in two: Dask passes only the first selection on to the read.
    features = lazily(range(layout.BLOCK_FEATURES, schema.columns))
    numbers = lazily(range(len(schema.index)))
    names = {"Site": "site", "IsMatched": "is_matched"}
    names |= {f"{name}_ObjectNumber": f"object_number_{name}" for name in schema.compartments}
    index = {names[name]: (("well", "cell"), numbers[:, :, place]) for place, name in enumerate(schema.index)}
    if not unmatched:
        del index["is_matched"]
    ds = xr.Dataset(
        {"features": (("well", "cell", "feature"), features), **index},
        coords={
            **_coordinates(_with_samples(storage, wells), "well"),
            **_coordinates(schema.meaning.drop(columns="dtype"), "feature"),
        },
        attrs={"results": location.url, "schema": schema.digest, "wells_missing": missing},
    )
    return ds.set_xindex("name")


def cells_frame(
    source: xr.Dataset | str | Location,
    wells: Collection[str] | None = None,
    features: Collection[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """A flat table, one row a cell: `Metadata_*` first, then the features by CellProfiler's full names (float32).

    `source`: what `open_cells` gave, or a selection of it that has kept its three dimensions, or the URL for it, with
    `options` for `open_cells`. `wells`: names, e.g. ["A01", "B07"], on all plates there are; `features`: full names.
    Default: all, which may be more than memory holds: a well of 1,800 cells with all CPJUMP1 features takes 42 MB.
    Raises `KeyError` for names that are not there.
    """
    ds = source if isinstance(source, xr.Dataset) else open_cells(source, **options)
    if {"well", "cell", "feature"} - set(ds.dims):
        raise ValueError('the selection has lost a dimension: select with lists, e.g. ds.sel(well=["A01"])')
    ds = ds.transpose("well", "cell", "feature")
    here = np.arange(ds.sizes["well"])
    if wells is not None:
        here = np.flatnonzero(np.isin(ds.well.values, _known(wells, ds.well.values, "well")))
    columns = np.arange(ds.sizes["feature"])
    if features is not None:
        columns = pd.Index(ds.name.values).get_indexer(_known(features, ds.name.values, "feature"))

    # Run by run of neighbouring wells, and wells before features: Dask passes on a slice to the read, not a list.
    neighbours = np.split(here, np.flatnonzero(np.diff(here) > 1) + 1)
    runs = [ds.isel(well=slice(run[0], run[-1] + 1)) for run in neighbours if len(run)] or [ds.isel(well=slice(0))]
    index = [str(name) for name in ds.data_vars if name != "features"]
    lazy = [[run.features.data[:, :, columns], *(run[name].data for name in index)] for run in runs]
    parts = [_flat(run, index, *arrays) for run, arrays in zip(runs, dask.compute(*lazy), strict=True)]
    table = pd.concat([metadata for metadata, _ in parts], ignore_index=True)
    numbers = [SITE, *table.columns[table.columns.str.startswith("Metadata_ObjectNumber")]]
    table[numbers] = table[numbers].astype(np.int64 if table[numbers].notna().all(axis=None) else "Int64")
    values = pd.DataFrame(np.concatenate([values for _, values in parts]), columns=ds.name.values[columns])
    return pd.concat([table, values], axis=1)


def _flat(
    wells: xr.Dataset, index: list[str], features: np.ndarray, *numbers: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of some wells that hold an object: (metadata, values)."""
    by_row = dict(zip(index, numbers, strict=True))
    is_row = ~np.isnan(by_row["site"])
    well = np.nonzero(is_row)[0]
    primary = next(name for name in index if name.startswith("object_number_"))
    metadata = {f"{PREFIX}{name.capitalize()}": wells[name].values[well] for name in ("batch", "plate", "well")}
    metadata |= {SITE: by_row.pop("site")[is_row], "Metadata_ObjectNumber": by_row[primary][is_row]}
    metadata |= {f"{PREFIX}{name.capitalize()}": wells[name].values[well] for name in ("row", "column")}
    for name, values in by_row.items():
        if name == "is_matched":
            metadata["Metadata_IsMatched"] = values[is_row].astype(bool)
        else:
            metadata[f"{PREFIX}{name.replace('object_number', 'ObjectNumber')}"] = values[is_row]
    for sample, coordinate in wells.coords.items():
        if coordinate.dims == ("well",) and sample not in _OURS:
            metadata[f"{PREFIX}{str(sample).removeprefix(PREFIX)}"] = coordinate.values[well]
    return pd.DataFrame(metadata), features[is_row]


def read_well(
    storage: Storage, plate: Plate, well: str, schema: Schema, *, matched: bool = True
) -> tuple[pd.DataFrame, np.ndarray]:
    """All cells of one well, its shard read by one request: (index, values).

    `index`: columns `schema.index`, whole numbers, 0 for no object (`IsMatched` bool); `values`: float32
    (cells, features), columns `schema.names`. `matched=False` gives the unmatched objects too, after the cells.
    Raises `NotFound` where the well has no shard, which is right for a well without cells, and `StoreError` where its
    bytes are damaged.
    """
    data = storage.get(layout.shard_key(plate, well_index(plate, well, read_plate(storage, plate)["wells"])))
    try:
        shard = layout.open_shard(data, schema.capacity, schema.columns)
        index = np.asarray(shard[0, :, : len(schema.index)])
        index = index[~np.isnan(index[:, 0])]
        values = np.asarray(shard[0, : len(index), layout.BLOCK_FEATURES :])
    except (ValueError, RuntimeError) as error:
        raise StoreError(
            f"{plate} {well}: its shard is damaged ({error}). `python -m pipeline check` finds all such wells."
        ) from error
    table = pd.DataFrame(np.nan_to_num(index), columns=list(schema.index)).astype(np.int64).astype({"IsMatched": bool})
    chosen = table["IsMatched"].to_numpy() if matched else np.ones(len(table), bool)
    return table[chosen].reset_index(drop=True), values[chosen]


class _PlateWells(NamedTuple):
    """`wells`: one row per well of the plate's format. `token`: names this state of the plate."""

    wells: pd.DataFrame
    missing: int
    token: str


def _read_wells_of(storage: Storage, plate: Plate, allow_partial: bool) -> _PlateWells:
    try:
        document = read_publication(storage, plate)
    except StoreError:
        if not allow_partial:
            raise
        entries = read_entries(storage, plate)
        document = {"size": read_plate(storage, plate)["wells"], "ledger": "", "schema": ""}
        document["wells"] = {entry["well"]: entry for entry in entries}
    names = plate_wells(document["size"])
    known = document["wells"]
    positions = [well_position(name) for name in names]
    is_partial = not document["ledger"]
    wells = pd.DataFrame(
        {
            "well": names,
            "row": np.array([row for row, _ in positions], np.int16),
            "column": np.array([column for _, column in positions], np.int16),
            "plate": plate.plate,
            "batch": plate.batch,
            "cell_count": [known[name]["n_cells"] if name in known else 0 for name in names],
            "unmatched_count": [known[name]["n_unmatched"] if name in known else 0 for name in names],
            "state": [known[name]["state"] if name in known else "not_imaged" for name in names],
        }
    )
    missing = 0
    if is_partial:
        imaged = _planned(storage)
        imaged = imaged[(imaged[BATCH] == plate.batch) & (imaged[PLATE] == plate.plate)]
        waiting = set(imaged.loc[imaged["sites"] > 0, WELL]) - known.keys() if len(imaged) else set()
        wells.loc[wells["well"].isin(waiting), "state"] = "waiting"
        missing = len(waiting)
    wells["is_done"] = wells["state"].isin(["measured", "no_cells"])
    token = document["ledger"] or str(sorted((name, entry["stored"]) for name, entry in known.items()))
    return _PlateWells(wells, missing, token)


def _planned(storage: Storage) -> pd.DataFrame:
    """The plan's wells; a store without a plan, an imported one, has none."""
    try:
        return read_wells(storage)
    except NotFound:
        return pd.DataFrame({name: [] for name in [*_WELL, "sites"]})


def _with_samples(storage: Storage, wells: pd.DataFrame) -> pd.DataFrame:
    """The wells with what the plan says is in them."""
    planned = _planned(storage)
    names = {}
    for name in planned.columns.difference([*_WELL, ROW, COLUMN, "sites"], sort=False):
        short = name.removeprefix(PREFIX)
        names[name] = name if short in _TAKEN else short
    keys = wells[["batch", "plate", "well"]].set_axis(_WELL, axis=1)
    found = keys.merge(planned[[*_WELL, *names]].drop_duplicates(_WELL), on=_WELL, how="left")
    for name in names:
        column = found[name]
        is_number = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        found[name] = column if is_number else column.astype(object).where(column.notna(), "")
    return pd.concat([wells, found[list(names)].rename(columns=names)], axis=1)


#: coordinates of `open_cells` on `well` that the store makes itself
_OURS = {"well", "row", "column", "plate", "batch", "cell_count", "unmatched_count", "state", "is_done"}
#: names that a sample column must not hide
_TAKEN = _OURS | {"name", "compartment", "family", "feature", "channel", "channel2", "scale", "angle"}
_TAKEN |= {"features", "site", "cell", "is_matched"}


def _coordinates(table: pd.DataFrame, dimension: str) -> dict[str, Any]:
    """Columns as coordinates; text as numpy's own, which compares element by element."""
    return {
        str(name): (dimension, column.to_numpy() if column.dtype.kind in "iufb" else column.to_numpy(dtype=str))
        for name, column in table.items()
    }


def _known(names: Collection[str], there: np.ndarray, what: str) -> list[str]:
    names = [names] if isinstance(names, str) else list(names)
    unknown = sorted(set(names) - set(there.tolist()))
    if unknown:
        raise KeyError(
            f"no {what} {', '.join(unknown[:5])} here; there are {', '.join(sorted(set(there.tolist()))[:5])} ..."
        )
    return names
