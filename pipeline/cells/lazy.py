"""The rows of a plate as an array that Dask can cut, send and read anywhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from dask.base import tokenize
from zarr.storage import WrapperStore

from pipeline.cells import layout
from pipeline.errors import StoreError
from pipeline.screen import Plate, plate_wells
from pipeline.storage import Location, open_storage


class PlateRows:
    """(wells, cells, columns) float32: some columns of one plate, NaN from row `counts[well]` on, whatever is stored.

    Holds names only, so that no credentials travel in a task; whoever reads opens the store for himself. A shard that
    is damaged, or is not there although its well has rows, raises `StoreError`: zarr alone would give NaN.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(
        self, location: Location, plate: Plate, counts: tuple[int, ...], cells: int, columns: range, token: str
    ) -> None:
        self.location, self.plate, self.counts, self.columns = location, plate, np.array(counts), np.array(columns)
        self.shape, self.token = (len(counts), cells, len(columns)), token
        self.name = "cells-" + tokenize(location.url, location.endpoint, plate, counts, cells, columns, token)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        wells, cells, columns = (
            np.atleast_1d(np.arange(size)[part]) for size, part in zip(self.shape, key, strict=True)
        )
        found = np.full((len(wells), len(cells), len(columns)), np.nan, np.float32)
        is_cell = cells[None, :] < self.counts[wells][:, None]
        there, here = np.flatnonzero(is_cell.any(axis=1)), np.flatnonzero(is_cell.any(axis=0))
        if there.size and here.size and columns.size:
            rows = self._read(wells[there], cells[here], self.columns[columns])
            found[np.ix_(there, here)] = np.where(is_cell[np.ix_(there, here)][:, :, None], rows, np.nan)
        return found[tuple(0 if isinstance(part, int | np.integer) else slice(None) for part in key)]

    def _read(self, wells: np.ndarray, cells: np.ndarray, columns: np.ndarray) -> np.ndarray:
        array = _open(self.location, self.plate, self.shape[0], self.token)
        try:
            return np.asarray(array.oindex[_slice(wells), _slice(cells), _slice(columns)])
        except (ValueError, RuntimeError) as error:
            if len(wells) > 1:  # which one?
                return np.concatenate([self._read(wells[[place]], cells, columns) for place in range(len(wells))])
            raise StoreError(
                f"{self.plate} {plate_wells(self.shape[0])[int(wells[0])]}: its shard is damaged ({error}). "
                "`python -m pipeline check` finds all such wells."
            ) from error


@lru_cache(maxsize=256)
def _open(location: Location, plate: Plate, size: int, token: str) -> zarr.Array:
    """`token` names the state of the plate: a process that lives on opens a store that was made anew, anew."""
    # zarr asks for 10 blocks at once, which leaves a distant store idle. Its setting is for the whole process.
    zarr.config.set({"async.concurrency": 64})
    store = open_storage(location).zarr_store(f"{layout.plate_folder(plate)}/features")
    return zarr.open_array(_NothingMissing(store, plate, size), mode="r")


class _NothingMissing(WrapperStore):
    """Where zarr takes a chunk that is not there for one of fill values, this raises: only wells with rows are read."""

    def __init__(self, store: Any, plate: Plate, size: int) -> None:
        super().__init__(store)
        self.plate, self.size = plate, size

    def _with_store(self, store: Any) -> _NothingMissing:
        return _NothingMissing(store, self.plate, self.size)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        found = await super().get(key, prototype, byte_range)
        if found is None and key.startswith("c/"):
            raise StoreError(
                f"{self.plate} {plate_wells(self.size)[int(key.split('/')[1])]}: its shard is missing, although it has "
                "cells. `python -m pipeline check` finds all such wells."
            )
        return found


def _slice(positions: np.ndarray) -> slice | np.ndarray:
    """A run of positions as a slice, which zarr reads with less ado."""
    first, last = int(positions[0]), int(positions[-1])
    is_run = len(positions) == last - first + 1 and bool((np.diff(positions) == 1).all())
    return slice(first, last + 1) if is_run else positions
