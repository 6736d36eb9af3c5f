"""Reading single cells: lazily as xarray, or one well at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.cells import layout
from pipeline.cells.create import read_plate, read_schema, well_index
from pipeline.cells.lazy import CellArray, Rows, Source
from pipeline.cells.plates import choose_plates, created_plates
from pipeline.cells.schema import Schema
from pipeline.cells.selection import ByMeaning
from pipeline.cells.wells import PlateWells, read_plate_wells, with_samples
from pipeline.config import differences
from pipeline.errors import SettingsDiffer, StoreError
from pipeline.results.run import read_record
from pipeline.screen import Plate
from pipeline.storage import Location, Storage, open_storage

#: plates whose wells are asked for at once
AT_ONCE = 32


def open_cells(
    results: str | Path | Location | Iterable[str | Path | Location],
    plates: str | Plate | Iterable[str | Plate] | None = None,
    allow_partial: bool = False,
    *,
    unmatched: bool = False,
    mixed: bool = False,
    **options: Any,
) -> xr.Dataset:
    """The single cells of a run, lazily.

    Variables: `features` (well, cell, feature) float32, NaN after a well's last cell; `site` and
    `object_number_<compartment>` (well, cell). Row i of a well is one cell in all of them.
    On `well`: well, row, column, plate, batch, cell_count, unmatched_count, state, is_done, and the sample and
    condition columns of the plan without their `Metadata_`. On `feature`: `name` (CellProfiler's full name),
    compartment, family, feature, channel, channel2, scale, angle. All of them select, several at once:

        ds.sel(gene="BRD4", cell_type=["U2OS", "A549"], compartment="Nuclei", family="Texture", channel="RNA")
        ds.sel(plate="BR00117035", well="B07", scale=slice(3, 10))
        ds.features.sel(feature="Nuclei_AreaShape_Area").median("cell")       # of each well
        ds.cp.query("timepoint == 'short' and cell_count > 100")              # see `pipeline.cells.accessor`

    `results`: URL or folder of the run; `options` are those of `pipeline.storage.Location` (endpoint, profile,
    anonymous, region). Several, as a list, lie one after another, and `results` on `well` says which is which; where
    they were measured otherwise (engine, version, pipeline ...) that is refused with the differences, unless `mixed`
    asks for it: then the features that all have are there, and the attribute `differences` says what differs.
    `plates`: by name, "batch/plate" or `Plate`; default all. Several plates lie one after another
    along `well`. Only published plates are read, unless `allow_partial`: then what the ledger holds is, the rest is
    masked, and a warning says how many wells are missing. `unmatched`: also the objects that belong to no whole cell,
    after the cells, with NaN in the other compartments; `is_matched` tells them apart.

    Only names travel to Dask workers; each opens the store with its own credentials. Raises `Incomplete` where
    a plate is not published, `SettingsDiffer` as said, and on computing `StoreError`, naming the well, where a shard is
    lost or damaged.
    """
    places = [results] if isinstance(results, str | Path | Location) else list(results)
    locations = [one if isinstance(one, Location) else Location(url=str(one), **options) for one in places]
    roots = [_read_root(location, plates, allow_partial) for location in locations]
    found = _differences(roots)
    if found and not mixed:
        raise SettingsDiffer(
            "These cells were measured otherwise:\n" + "\n".join(f"  {line}" for line in found) + "\nNumbers of two "
            "measurings are not simply comparable. Open them one by one, or with mixed=True where that is meant."
        )
    missing = sum(one.missing for root in roots for one in root.read)
    if missing:
        warnings.warn(
            f"{missing} wells are not done yet: their cells are missing. See the coordinate is_done.", stacklevel=2
        )
    about = {**_about(roots[0]), "wells_missing": missing}
    if len(roots) > 1:
        about |= {"results": [root.storage.location.url for root in roots], "differences": found}
    return _lay_out(roots, unmatched).assign_attrs(about)


def _about(root: _Root) -> dict[str, Any]:
    """How the cells of a root were measured, as far as its record says."""
    measuring = root.record.get("measuring", {})
    engine = measuring.get("engine", {})
    return {
        "results": root.storage.location.url,
        "schema": root.schema.digest,
        "measuring": root.record.get("digest", ""),
        "engine": engine.get("kind", ""),
        "engine_version": measuring.get("engine_version", ""),
        "pipeline": engine.get("cppipe", ""),
        "version": root.record.get("version", ""),
    }


class _Root(NamedTuple):
    """One of the places that are opened. `wells`: those of all its plates, with what is in them."""

    storage: Storage
    schema: Schema
    plates: list[Plate]
    read: list[PlateWells]
    wells: pd.DataFrame
    record: dict[str, Any]


def _read_root(location: Location, plates: Any, allow_partial: bool) -> _Root:
    storage = open_storage(location)
    schema = read_schema(storage)
    chosen = choose_plates(storage, plates, allow_partial=allow_partial)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(lambda plate: read_plate_wells(storage, plate, allow_partial), chosen))
    if plates is None and not allow_partial and (waiting := len(created_plates(storage)) - len(chosen)) > 0:
        warnings.warn(
            f"{waiting} of {waiting + len(chosen)} plates are not published yet and are left out", stacklevel=3
        )
    wells = with_samples(storage, pd.concat([one.wells for one in read], ignore_index=True))
    return _Root(storage, schema, chosen, read, wells, read_record(storage) or {})


def _differences(roots: list[_Root]) -> list[str]:
    """In what the measurings of several roots differ, pair by pair."""
    found: list[str] = []
    for one, other in combinations(roots, 2):
        named = [{"measuring": root.record.get("measuring"), "features": root.schema.digest} for root in (one, other)]
        where = f"[here: {one.storage.location}; there: {other.storage.location}]"
        found += [f"{line} {where}" for line in differences(named[0], named[1])]
    return found


def _lay_out(roots: list[_Root], unmatched: bool) -> xr.Dataset:
    schema = roots[0].schema
    shared = reduce(lambda names, root: names & set(root.schema.names), roots, set(schema.names))
    meaning = schema.meaning[schema.meaning["name"].isin(shared)].drop(columns="dtype")
    tables = [root.wells.assign(results=root.storage.location.url) if len(roots) > 1 else root.wells for root in roots]
    wells = pd.concat(tables, ignore_index=True)
    if len(roots) > 1:  # a column that one of them lacks
        wells = wells.fillna({name: "" for name in wells if wells[name].dtype.kind not in "iufb"})
    counts = (wells["cell_count"] + (wells["unmatched_count"] if unmatched else 0)).to_numpy(np.int32)

    sources = [_source(root, plate, one) for root in roots for plate, one in zip(root.plates, root.read, strict=True)]
    sizes = [source.size for source in sources]
    every = Rows(
        sources=tuple(sources),
        source=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        place=np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
        counts=counts,
        rows=np.arange(max(counts.max(initial=0), 1), dtype=np.int32),
        columns=np.arange(0),
    )

    def lazily(*names: str, axes: tuple[int, ...]) -> CellArray:
        of_root = [root.schema.places(names) for root in roots]
        of_source = [columns for columns, root in zip(of_root, roots, strict=True) for _ in root.plates]
        is_one = all(np.array_equal(columns, of_source[0]) for columns in of_source)
        return CellArray.of(every.with_columns(of_source[0] if is_one else np.stack(of_source), axes))

    names = {"Site": "site", **{f"{name}_ObjectNumber": f"object_number_{name}" for name in schema.compartments}}
    names |= {"IsMatched": "is_matched"} if unmatched else {}
    index = [name for name in names if all(name in root.schema.index for root in roots)]
    numbers = {names[name]: (("well", "cell"), lazily(name, axes=(0, 1))) for name in index}
    features = (("well", "cell", "feature"), lazily(*meaning["name"], axes=(0, 1, 2)))
    indexes = {**_indexes(wells, "well"), **_indexes(meaning, "feature")}
    variables = {name: variable for index in indexes.values() for name, variable in index.create_variables().items()}
    return xr.Dataset({"features": features, **numbers}, xr.Coordinates(variables, indexes))


def _source(root: _Root, plate: Plate, read: PlateWells) -> Source:
    blocks = layout.Blocks(root.schema.capacity, root.schema.columns)
    return Source(root.storage.location, plate, len(read.wells), blocks, read.token)


def _indexes(table: pd.DataFrame, dim: str) -> dict[str, ByMeaning]:
    """Columns as coordinates that select; text as numpy's own, which compares element by element."""
    values = {
        str(name): column.to_numpy() if column.dtype.kind in "iufb" else column.to_numpy(dtype=str)
        for name, column in table.items()
    }
    # A short name is in several compartments; the full one is the feature's own.
    return {
        name: ByMeaning(name, dim, one, values["name"] if name == "feature" else None) for name, one in values.items()
    }


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
