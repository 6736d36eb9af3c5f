"""One site's objects -> rows: one cell, one row."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.cells import layout
from pipeline.cells.schema import Schema
from pipeline.engines.base import SiteMeasurements
from pipeline.errors import SchemaMismatch, StoreError


@dataclass(frozen=True)
class SiteCells:
    """The rows of one site: float32 (n_cells + n_unmatched, schema.columns).

    First the cells, in order of their primary object's number, then the objects that belong to no whole cell, by
    compartment and number, each with NaN in the other compartments. `n_infinite`: infinite values among them, those
    too large for float32 included.
    """

    site: int
    rows: np.ndarray = field(repr=False)
    n_cells: int
    n_unmatched: int
    n_infinite: int


def assemble_site(site: int, measurements: SiteMeasurements, schema: Schema) -> SiteCells:
    """Join a site's objects to cells by CellProfiler's relations (the `Parent_*` measurements).

    A cell is one object of each compartment, each the child of the others as far as they say (see `Schema.joins`);
    where an object could be in several cells, it is in the first, by the number of the primary object and then of the
    others, which are left unmatched. Values of object sets that are no compartment are not looked at.

    Raises `SchemaMismatch` where the features are not the schema's, and `StoreError` where a count or an object number
    is no whole number that float32 can hold.
    """
    where = f"site {site}"
    tables = {}
    for compartment in schema.compartments:
        if compartment not in measurements.objects:
            raise SchemaMismatch(
                f"{where} has no {compartment}; it has {', '.join(measurements.objects) or 'no objects'}. Sites of "
                "one run must all be measured by the same pipeline."
            )
        objects = measurements.objects[compartment]
        tables[compartment] = objects.values[:, schema.columns_from(compartment, objects.features, where)]
        _refuse_broken_integers(tables[compartment], compartment, schema, where)
    if not 0 <= site < layout.LARGEST_INTEGER:
        raise StoreError(f"{where}: a site's number must be 0 or more, and below {layout.LARGEST_INTEGER}")

    numbers = _cells(tables, schema)
    rows = np.full((len(numbers), schema.columns), np.nan, np.float32)
    with np.errstate(over="ignore"):  # too large for float32: infinite, and counted below
        for compartment, table in tables.items():
            found = numbers[compartment].to_numpy()
            if len(table):
                rows[found > 0, schema.slices[compartment]] = table[found[found > 0] - 1]
    rows[:, 0] = site
    rows[:, 1 : len(schema.index) - 1] = numbers.where(numbers > 0)
    is_matched = (numbers > 0).all(axis=1).to_numpy()
    rows[:, len(schema.index) - 1] = is_matched

    # Equal numbers must be equal bytes: one NaN of the many, and no negative zero.
    rows += 0.0
    rows[np.isnan(rows)] = np.nan
    n_cells = int(is_matched.sum())
    return SiteCells(site, rows, n_cells, len(rows) - n_cells, int(np.isinf(rows).sum()))


def _cells(tables: dict[str, np.ndarray], schema: Schema) -> pd.DataFrame:
    """Object numbers by compartment, one row a cell, then one row for each object that is in none; 0 for no object."""
    names = list(schema.compartments)
    counted = {name: np.arange(1, len(tables[name]) + 1) for name in names}
    cells = pd.DataFrame()
    for name, on, adds in schema.joins:
        columns = {
            one: counted[name] if one == name else _parents(tables[name], schema.features[name], one)
            for one in (*on, *adds)
        }
        objects = pd.DataFrame(columns)
        objects = objects[(objects[list(on)] > 0).all(axis=1)]  # an object without that parent is in no cell
        cells = cells.merge(objects, on=list(on)) if on else objects
    cells = cells[names].sort_values(names)
    for name in names:  # an object is in one cell at most, the first that it makes
        cells = cells.drop_duplicates(name)
    unmatched = [
        pd.DataFrame({name: np.setdiff1d(counted[name], cells[name])}).reindex(columns=names, fill_value=0)
        for name in names
    ]
    return pd.concat([cells, *unmatched], ignore_index=True).astype(np.int64)


def _parents(table: np.ndarray, features: tuple[str, ...], parent: str) -> np.ndarray:
    """Number of the parent of each object, 0 for none."""
    return np.nan_to_num(table[:, features.index(f"Parent_{parent}")]).astype(np.int64)


def _refuse_broken_integers(table: np.ndarray, compartment: str, schema: Schema, where: str) -> None:
    """Counts and object numbers name things: a rounded one would name another."""
    for column in schema.integers[compartment]:
        values = table[:, column]
        broken = ~(np.isnan(values) | ((values == np.trunc(values)) & (np.abs(values) < layout.LARGEST_INTEGER)))
        if broken.any():
            row = int(np.argmax(broken))
            raise StoreError(
                f"{where}: {compartment}_{schema.features[compartment][column]} of object {row + 1} is {values[row]}, "
                f"which is no whole number below {layout.LARGEST_INTEGER}; it cannot be stored exactly. Object numbers "
                "come from the engine: this is a fault of the pipeline file or of the engine."
            )
