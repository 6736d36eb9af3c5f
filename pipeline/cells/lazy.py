"""Any selection of a store's rows and columns as an array of Dask's that reads what is asked for, and no more.

Dask cuts an array into chunks first and selects from what it has read: a list of one well reads all wells of its
chunk. Here a selection makes a new array with chunks of its own, as long as nothing is computed; computing starts from
Dask's chunks as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize

from pipeline.cells import layout
from pipeline.errors import NotFound, StoreError
from pipeline.screen import Plate, plate_wells
from pipeline.storage import Location, Storage, open_storage

#: of one chunk: bytes as an array, and wells, so that there is work for several workers
CHUNK_BYTES, CHUNK_WELLS = 64 * 2**20, 96
#: wells that a chunk asks for at once; a distant store takes 50 ms to answer
AT_ONCE = 64


class Source(NamedTuple):
    """A plate in a store: names only, so that no credentials travel in a task; whoever reads opens it for himself.

    `token` names the state of the plate: a process that lives on opens a store that was made anew, anew.
    """

    location: Location
    plate: Plate
    size: int
    blocks: layout.Blocks
    token: str


@dataclass(frozen=True, eq=False)
class Rows:
    """(well, cell, feature) float32: some columns of some rows of some wells, NaN where a well has no such row.

    `sources`: the plates; `source`, `place`, `counts` int32 (wells): of each well its plate, its place there and the
    number of its rows. `rows` int32 (cells) or (wells, cells): the row of the well, -1 for none. `columns` int32
    (features) or (sources, features): of the stored array. `axes`: those of the three that are left; the others have
    been selected away.

    Reading raises `StoreError` where a shard is damaged, or is not there although its well has rows.
    """

    sources: tuple[Source, ...]
    source: np.ndarray
    place: np.ndarray
    counts: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    axes: tuple[int, ...] = (0, 1, 2)

    dtype = np.dtype(np.float32)

    @property
    def lengths(self) -> tuple[int, int, int]:
        return len(self.source), self.rows.shape[-1], self.columns.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.lengths[axis] for axis in self.axes)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    def with_columns(self, columns: np.ndarray, axes: tuple[int, ...]) -> Rows:
        return replace(self, columns=columns, axes=axes)

    def take(self, key: tuple[Any, ...]) -> Rows:
        """The selection of a selection: of each axis that is left a number, a slice or an array of one dimension."""
        parts: dict[int, Any] = dict(zip(self.axes, key, strict=True))
        wells, cells, columns = (_kept(parts.get(axis, slice(None))) for axis in range(3))
        rows = self.rows if self.rows.ndim == 1 else self.rows[wells]
        return replace(
            self,
            source=self.source[wells],
            place=self.place[wells],
            counts=self.counts[wells],
            rows=rows[..., cells],
            columns=self.columns[..., columns],
            axes=tuple(axis for axis in self.axes if not isinstance(parts[axis], int | np.integer)),
        )

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        return self.take(key).read()

    @property
    def is_row(self) -> np.ndarray:
        """bool (wells, cells): where a well has such a row."""
        return (self.rows >= 0) & (self.rows < self.counts[:, None])

    @property
    def n_rows(self) -> np.ndarray:
        """int (wells): how many of these rows a well has; the screen's 41,000 wells at once are no trouble."""
        if self.rows.ndim == 1:
            return np.searchsorted(np.sort(self.rows[self.rows >= 0]), self.counts)
        return self.is_row.sum(axis=1)

    def rows_of(self, well: int) -> np.ndarray:
        """Places along `cell` at which a well has a row."""
        rows = self.rows if self.rows.ndim == 1 else self.rows[well]
        return np.flatnonzero((rows >= 0) & (rows < self.counts[well]))

    def read(self) -> np.ndarray:
        found = np.full(self.lengths, np.nan, np.float32)
        rows, is_row = np.broadcast_to(self.rows, found.shape[:2]), self.is_row
        wells = np.flatnonzero(is_row.any(axis=1) & bool(self.columns.size))

        def read(well: int) -> None:
            source, here = self.source[well], np.flatnonzero(is_row[well])
            columns = self.columns if self.columns.ndim == 1 else self.columns[source]
            _read_well(self.sources[source], int(self.place[well]), rows[well][here], columns, found[well], here)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(read, wells))
        return found.reshape(self.shape)

    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunks of all cells; of all features, unless a well alone is too much; of as many wells as that allows."""
        wells, cells, _ = self.lengths
        features = tuple(_together(np.atleast_2d(self.columns)[0], CHUNK_BYTES // (4 * max(cells, 1))))
        at_once = CHUNK_BYTES // (4 * max(cells, 1) * max(features, default=1))
        at_once = min(max(at_once, 1), CHUNK_WELLS)
        starts = range(0, wells, at_once)
        of_wells = tuple(min(at_once, wells - start) for start in starts) or (0,)
        of_all = (of_wells, (cells,), features or (0,))
        return tuple(of_all[axis] for axis in self.axes)


class CellArray(da.Array):
    """Dask's array over `rows`, of which a selection is again one, read by chunks of its own."""

    rows: Rows

    @classmethod
    def of(cls, rows: Rows) -> CellArray:
        parts = (rows.source, rows.place, rows.counts, rows.rows, rows.columns, rows.axes)
        sources = [(one.location.url, one.location.endpoint, *one[1:]) for one in rows.sources]
        name = "cells-" + tokenize(sources, *parts)
        plain = da.from_array(
            rows, chunks=rows.chunks(), name=name, asarray=False, meta=np.empty((0,) * rows.ndim, "f4")
        )
        array = cls(plain.dask, plain.name, plain.chunks, meta=plain._meta)
        array.rows = rows
        return array

    def __reduce__(self) -> tuple[Any, ...]:
        return CellArray.of, (self.rows,)

    def __getitem__(self, index: Any) -> da.Array:
        key = index if isinstance(index, tuple) else (index,)
        if any(not isinstance(part, int | np.integer | slice | list | np.ndarray) for part in key):
            return super().__getitem__(index)  # Ellipsis, None, arrays of Dask's
        key = tuple(np.asarray(part) if isinstance(part, list) else part for part in key)
        arrays = [part for part in key if isinstance(part, np.ndarray)]
        if len(arrays) > 1 or any(part.ndim != 1 or part.size == 0 for part in arrays):
            return super().__getitem__(index)
        return CellArray.of(self.rows.take((*key, *[slice(None)] * (self.ndim - len(key)))))

    def with_rows(self, rows: np.ndarray) -> CellArray:
        """Of each well these of its cells: int32 (wells, cells), positions along `cell`, -1 for none."""
        own = np.broadcast_to(self.rows.rows, (len(rows), self.rows.rows.shape[-1]))
        chosen = np.where(rows >= 0, np.take_along_axis(own, np.maximum(rows, 0), axis=1), -1)
        return CellArray.of(replace(self.rows, rows=chosen.astype(np.int32)))


def _kept(part: Any) -> Any:
    """A number as a list of it, which leaves its axis."""
    return [part] if isinstance(part, int | np.integer) else part


def _together(columns: np.ndarray, most: int) -> Iterator[int]:
    """Numbers of columns to read together: whole blocks, as many as fit into `most` columns, and one block at least."""
    changes = np.flatnonzero(np.diff(columns // layout.BLOCK_FEATURES)) + 1
    edges = [0, *changes.tolist(), len(columns)]
    start = 0
    for before, edge in pairwise(edges):
        if edge - start > most and before > start:
            yield before - start
            start = before
    if len(columns) > start:
        yield len(columns) - start


def _read_well(
    source: Source, place: int, rows: np.ndarray, columns: np.ndarray, target: np.ndarray, at: np.ndarray
) -> None:
    """Read `rows` and `columns` of a well into the rows `at` of `target`, float32 (cells, columns)."""
    storage, key = open_storage(source.location), layout.shard_key(source.plate, place)
    blocks = source.blocks
    row_block, column_block = rows // blocks.rows, columns // layout.BLOCK_FEATURES
    try:
        places = _places(source, place)
        wanted = [(row, column) for row in np.unique(row_block) for column in np.unique(column_block)]
        wanted = [block for block in wanted if places[block][1] >= 0]
        ranges = [(int(places[block][0]), int(places[block].sum())) for block in wanted]
        for (row, column), data in zip(wanted, storage.get_ranges(key, ranges), strict=True):
            here, there = row_block == row, column_block == column
            values = blocks.decode(data)
            chosen = values[np.ix_(columns[there] % layout.BLOCK_FEATURES, rows[here] % blocks.rows)]
            target[np.ix_(at[here], np.flatnonzero(there))] = chosen.T
    except NotFound:
        raise StoreError(
            f"{source.plate} {plate_wells(source.size)[place]}: its shard is missing, although it has cells. "
            "`python -m pipeline check` finds all such wells."
        ) from None
    except (ValueError, RuntimeError) as error:
        raise StoreError(
            f"{source.plate} {plate_wells(source.size)[place]}: its shard is damaged ({error}). "
            "`python -m pipeline check` finds all such wells."
        ) from error


@lru_cache(maxsize=4096)
def _places(source: Source, place: int) -> np.ndarray:
    """Where the blocks of a well are; kept, for the next question is often about the same wells (7 kB each)."""
    storage: Storage = open_storage(source.location)
    return source.blocks.places(storage.get_end(layout.shard_key(source.plate, place), source.blocks.index_size))
