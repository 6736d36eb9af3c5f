"""`ds.cp`: questions to cells in a line. It does nothing that the plain arrays could not."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.cells.frame import cells_frame, whole
from pipeline.cells.lazy import CellArray
from pipeline.cells.selection import nearest
from pipeline.errors import UnknownLabel
from pipeline.storage import Location

if TYPE_CHECKING:
    from anndata import AnnData


@xr.register_dataset_accessor("cp")
class Cells:
    """What `open_cells` gave, or a selection of it."""

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def wells(self) -> pd.DataFrame:
        """One row a well: where it is, what is in it, how many cells it has. No feature is read."""
        ds = whole(self._ds)
        return pd.DataFrame({name: one.values for name, one in ds.coords.items() if one.dims == ("well",)})

    def query(self, expression: str) -> xr.Dataset:
        """The wells for which an expression of pandas' language over their coordinates holds:

            cells.cp.query("gene == 'BRD4' and timepoint == 'short' and cell_count > 100")

        Raises `UnknownLabel`, a KeyError, for a name or a text that is not there, naming the nearest, and where no well
        is left; `ValueError` where the expression is no question of yes or no.
        """
        ds, wells = whole(self._ds), self.wells()
        _refuse_unknown(expression, wells)
        is_chosen = wells.eval(expression, engine="python")
        if not isinstance(is_chosen, pd.Series) or is_chosen.dtype != bool:
            raise ValueError(
                f"{expression!r} does not say of each well whether it is meant; write e.g. cell_count > 100"
            )
        if not is_chosen.any():
            raise UnknownLabel(f"Of {len(wells)} wells none has {expression}.")
        return ds.isel(well=np.flatnonzero(is_chosen))

    def frame(
        self, features: str | Collection[str] | None = None, wells: str | Collection[str] | None = None
    ) -> pd.DataFrame:
        """One row a cell: `Metadata_*` first, then the features by their full names; see `cells_frame`."""
        return cells_frame(self._ds, wells, features)

    def keep(self, is_kept: xr.DataArray) -> xr.Dataset:
        """The cells for which something holds, e.g. those of one site: `cells.cp.keep(cells.site == 1)`.

        `is_kept`: bool (well, cell), which is computed. Those that are kept move together, in their order.
        """
        ds = whole(self._ds)
        is_kept = is_kept if "well" in is_kept.dims else is_kept.expand_dims("well")
        kept = is_kept.transpose("well", "cell").to_numpy()
        if kept.dtype != bool or kept.shape != ds.site.shape:
            raise ValueError(
                f"to keep cells takes yes or no for each of {ds.site.shape}; this is {kept.dtype} {kept.shape}"
            )
        kept &= ~np.isnan(ds.site.to_numpy())
        return _take(ds, _places(kept))

    def sample(self, n: int, by: str | None = None, seed: int = 0) -> xr.Dataset:
        """At most `n` cells of each value of a coordinate of the wells, e.g. by="broad_sample"; None: of all together.

        Drawn without replacement; the wells without any drawn cell are left out. Which cells are drawn for a value
        depends on the seed, on the value and on its wells and their cells, and on nothing else.
        """
        ds, wells = whole(self._ds), self.wells()
        if by is not None and by not in wells:
            raise UnknownLabel(f"There is no {by!r} of wells here. {nearest(by, list(wells))}")
        n_cells, cells_of = _cells_there(ds)
        ordered = wells.sort_values([name for name in ("results", "batch", "plate", "well") if name in wells])
        chosen: dict[int, np.ndarray] = {}
        groups: Any = [("", ordered)] if by is None else ordered.groupby(by, sort=False)
        for value, group in groups:
            ends = np.cumsum(n_cells[group.index])
            total = int(ends[-1])
            drawn = np.sort(_generator(seed, value).choice(total, min(n, total), replace=False, shuffle=False))
            for well, start, end in zip(group.index, ends - n_cells[group.index], ends, strict=True):
                within = drawn[(drawn >= start) & (drawn < end)] - start
                if len(within):
                    chosen[int(well)] = cells_of(well)[within]
        here = sorted(chosen)
        rows = np.full((len(here), max((len(one) for one in chosen.values()), default=1)), -1, np.int32)
        for place, well in enumerate(here):
            rows[place, : len(chosen[well])] = chosen[well]
        return _take(ds.isel(well=here), rows)

    def compare(self, other: xr.Dataset) -> pd.DataFrame:
        """How the features of these wells differ from those of others; see `pipeline.cells.compare`."""
        from pipeline.cells.compare import compare

        return compare(whole(self._ds), whole(other))

    def anndata(self, level: str = "cell") -> AnnData:
        """As AnnData: of cells, or of wells (medians of their cells); see `pipeline.cells.annotated`."""
        from pipeline.cells.annotated import cells_as_anndata

        return cells_as_anndata(whole(self._ds), level)

    def parquet(self, url: str | Location, **options: Any) -> list[str]:
        """Write one parquet file a well, by batch and plate; see `pipeline.cells.export`."""
        from pipeline.cells.export import write_parquet

        return write_parquet(whole(self._ds), url if isinstance(url, Location) else Location(url=str(url), **options))


@xr.register_dataarray_accessor("cp")
class Values:
    """Values of cells or wells, e.g. `cells.features.sel(feature="Nuclei_AreaShape_Area").median("cell")`."""

    def __init__(self, values: xr.DataArray) -> None:
        self._values = values

    def frame(self) -> pd.DataFrame:
        """One row a value, with all coordinates as columns: what `to_dataframe` gives where none of them selects."""
        name = self._values.name or "value"
        coords = {other: one.variable for other, one in self._values.coords.items() if other != name}
        plain = xr.DataArray(self._values.variable, dims=self._values.dims, name=name).to_dataframe().reset_index()
        places = {dim: plain[dim].to_numpy() for dim in self._values.dims}
        columns = {
            other: one.to_numpy()[places[one.dims[0]]] if one.ndim == 1 else one.to_numpy()
            for other, one in coords.items()
            if one.ndim <= 1
        }
        table = pd.DataFrame(columns, index=plain.index).join(plain.drop(columns=list(places)))
        return table[table.iloc[:, -1].notna()].reset_index(drop=True)


def _refuse_unknown(expression: str, wells: pd.DataFrame) -> None:
    """Names and texts of an expression must be there: pandas would take a misspelt gene for one without wells."""
    try:
        parts = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except SyntaxError:  # pandas' own words (`a name`, @variable): pandas says what is wrong with them
        return
    for name in (part.id for part in parts if isinstance(part, ast.Name)):
        if name not in wells and not any(isinstance(one, ast.Call) for one in parts):
            raise UnknownLabel(f"There is no {name!r} of wells here. {nearest(name, list(wells))}")
    for part in parts:
        if not (isinstance(part, ast.Compare) and isinstance(part.left, ast.Name) and len(part.ops) == 1):
            continue
        if isinstance(part.ops[0], ast.Eq | ast.In) and part.left.id in wells:
            values = [one.value for one in ast.walk(part.comparators[0]) if isinstance(one, ast.Constant)]
            there = wells[part.left.id].unique().tolist()
            for value in values:
                if isinstance(value, str) and value not in there:
                    raise UnknownLabel(f"There is no {part.left.id} {value!r} here. {nearest(value, there)}")


def _generator(seed: int, value: Any) -> np.random.Generator:
    digest = hashlib.sha256(str(value).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def _cells_there(ds: xr.Dataset) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """How many cells each well has, and the places of those of one. Nothing is read where the array itself knows."""
    data = ds.site.data
    if isinstance(data, CellArray):
        return data.rows.n_rows, data.rows.rows_of
    there = ~np.isnan(ds.site.to_numpy())
    return there.sum(axis=1), lambda well: np.flatnonzero(there[well])


def _places(kept: np.ndarray) -> np.ndarray:
    """int32 (wells, most kept of a well): the places of what is kept, then -1."""
    most = max(int(kept.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :most]
    return np.where(np.take_along_axis(kept, order, axis=1), order, -1).astype(np.int32)


def _take(ds: xr.Dataset, rows: np.ndarray) -> xr.Dataset:
    """Of each well these cells: `rows` int32 (wells, cells), places along `cell`, -1 for none."""
    taken = {}
    wells = xr.DataArray(np.arange(len(rows)), dims="well")
    for name, values in ds.data_vars.items():
        if isinstance(values.data, CellArray):
            data: Any = values.data.with_rows(rows)
        else:
            bare = xr.DataArray(values.variable)
            data = bare.isel(well=wells, cell=xr.DataArray(np.maximum(rows, 0), dims=("well", "cell")))
            data = data.where(xr.DataArray(rows >= 0, dims=("well", "cell"))).transpose(*values.dims).data
        taken[name] = (values.dims, data)
    return ds.drop_dims("cell").assign(taken)
