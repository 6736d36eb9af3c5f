"""Selection by meaning: `sel` by any of the coordinates of a dimension, several at once.

    cells.sel(gene="BRD4", cell_type=["U2OS", "A549"], compartment="Nuclei", family="Texture", channel="RNA")

Each coordinate has an index of its own, because xarray lets nobody take away, add or assign one of several coordinates
of one index. What several labels choose together is found here (`_Choice`).
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from xarray.core.indexing import IndexSelResult
from xarray.indexes import Index

from pipeline.errors import UnknownLabel

#: coordinates whose values name a place: their lists keep their order, and a single one takes the dimension away
NAMES = {"well", "feature", "name"}
#: nearest values that an error names
NAMED = 3


class ByMeaning(Index):
    """An index over one coordinate of a dimension that any number of coordinates of the dimension may have.

    A label may be a value, a list of values, a slice of numbers (both ends included), or a function of one value that
    says whether it is meant. Several labels must all hold. What is chosen comes in the order of the store, but a list
    of names (of wells, of features) keeps its own. A single name that fits one place takes the dimension away, as
    everywhere in xarray. `full`: unique names that the values are short for; both select.

    Raises `UnknownLabel`, a KeyError that names the nearest, for a value that is not there, and where nothing is left.
    """

    def __init__(self, name: Hashable, dim: Hashable, values: np.ndarray, full: np.ndarray | None = None) -> None:
        self.name, self.dim, self.values, self.full = name, dim, values, full

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> Self:
        ((name, variable),) = variables.items()
        if variable.ndim != 1:
            raise ValueError(f"{name} is no coordinate of one dimension")
        return cls(name, variable.dims[0], variable.to_numpy())

    @classmethod
    def concat(cls, indexes: Any, dim: Hashable, positions: Any = None) -> Self:
        order: Any = slice(None)
        if positions is not None:
            order = np.argsort(np.concatenate([np.asarray(position) for position in positions]), kind="stable")
        full = [index.full for index in indexes if index.full is not None]
        is_full = len(full) == len(indexes)
        values = np.concatenate([index.values for index in indexes])[order]
        return cls(indexes[0].name, dim, values, np.concatenate(full)[order] if is_full else None)

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> dict[Any, xr.Variable]:
        given = (variables or {}).get(self.name)
        return {self.name: xr.Variable((self.dim,), self.values, None if given is None else given.attrs)}

    def isel(self, indexers: Mapping[Any, Any]) -> Self | None:
        part = indexers[self.dim]
        if isinstance(part, xr.Variable):
            if part.dims != (self.dim,):
                return None
            part = part.to_numpy()
        return self._part(part) if isinstance(part, slice) or np.ndim(part) == 1 else None

    def _part(self, part: Any) -> Self:
        full = None if self.full is None else self.full[part]
        return type(self)(self.name, self.dim, self.values[part], full)

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> IndexSelResult:
        if method is not None or tolerance is not None:
            raise ValueError("sel by meaning knows no method and no tolerance; give a slice, or a function")
        return IndexSelResult(_Choice(self, _plain(labels[self.name])))  # type: ignore[arg-type]

    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        if not isinstance(other, ByMeaning) or (self.name, self.dim) != (other.name, other.dim):
            return False
        return self.values is other.values or pd.Index(self.values).equals(pd.Index(other.values))

    def join(self, other: Self, how: str = "inner") -> Self:
        raise ValueError(
            f"Two selections with other places along {self.dim} ({self.name}) meet here. Choose the same of both "
            "first, by sel or isel, or take the coordinates away (drop_vars)."
        )

    def to_pandas_index(self) -> pd.Index:
        return pd.Index(self.values if self.full is None else self.full, name=self.name)

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> Self:
        name, dim = name_dict.get(self.name, self.name), dims_dict.get(self.dim, self.dim)
        return type(self)(name, dim, self.values, self.full)

    def __repr__(self) -> str:
        return f"ByMeaning({self.name}, along {self.dim})"

    def found(self, label: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Where a label holds: bool, one a place; and for a list of names the places in its order."""
        is_here = np.zeros(len(self.values), bool)
        if callable(label):
            for value, places in self._places.items():
                is_here[places] = bool(label(value))
        elif isinstance(label, slice):
            is_here[self._between(label)] = True
        elif is_mask(label) and self.values.dtype != bool:
            if label.shape != self.values.shape:
                raise ValueError(f"a choice along {self.dim} has {label.size} values; there are {len(self.values)}")
            is_here[label] = True
        else:
            order = [self._places_of(value) for value in (label if isinstance(label, list | np.ndarray) else [label])]
            for places in order:
                is_here[places] = True
            if self.name in NAMES and np.ndim(label):
                return is_here, np.concatenate(order) if order else np.arange(0)
        return is_here, None

    def points(self, label: xr.Variable) -> xr.Variable:
        """The places of values along another dimension, each of which must fit one place."""
        places = [self._places_of(value) for value in np.ravel(label.to_numpy()).tolist()]
        if several := [len(one) for one in places if len(one) != 1]:
            raise ValueError(f"a selection of points needs unique values; one {self.name} is at {several[0]} places")
        return xr.Variable(label.dims, np.concatenate(places).reshape(label.shape))

    def is_single_name(self, label: Any) -> bool:
        is_value = not (callable(label) or isinstance(label, slice) or np.ndim(label))
        return self.name in NAMES and is_value and (self.full is None or label in self._full_places)

    def _places_of(self, value: Any) -> np.ndarray:
        if self.full is not None and value in self._full_places:
            return self._full_places[value]
        if value in self._places:
            return self._places[value]
        there = list(self._places) if self.full is None else [*self._full_places, *self._places]
        raise UnknownLabel(f"There is no {self.name} {value!r} here. {nearest(value, there)}")

    @cached_property
    def _places(self) -> dict[Any, np.ndarray]:
        return _places(self.values)

    @cached_property
    def _full_places(self) -> dict[Any, np.ndarray]:
        return _places(np.arange(0) if self.full is None else self.full)

    def _between(self, label: slice) -> np.ndarray | slice:
        values = self.values
        if label == slice(None):
            return label
        if values.dtype.kind in "iuf":
            if label.step is not None:
                raise ValueError(f"a slice of {self.name} takes no step")
            is_from = values >= label.start if label.start is not None else ~np.isnan(values)
            return is_from & (values <= label.stop if label.stop is not None else ~np.isnan(values))
        try:
            return pd.Index(values).slice_indexer(label.start, label.stop, label.step)
        except (KeyError, TypeError):
            raise UnknownLabel(
                f"A slice of {self.name} needs two values that are there once each; give a list, or a function."
            ) from None


class _Choice(Mapping[Any, Any]):
    """What a label chooses, in place of xarray's {dimension: places}: together with the others of the same question.

    xarray asks the index of each label before it looks at any answer. The first answer that it looks at takes in those
    that came after it; they are then empty. An answer that nobody looked at, because something else failed, came before
    and is forgotten. Should xarray ever look earlier, it will find several indexes of one dimension, and refuse.
    """

    _waiting = threading.local()

    def __init__(self, index: ByMeaning, label: Any) -> None:
        self.index, self.label = index, label
        self.together: list[_Choice] | None = None
        self._unread().append(self)

    @classmethod
    def _unread(cls) -> list[_Choice]:
        if not hasattr(cls._waiting, "choices"):
            cls._waiting.choices = []
        return cls._waiting.choices

    def _members(self) -> list[_Choice]:
        if self.together is None:
            unread = self._unread()
            question = unread[unread.index(self) :]
            unread.clear()
            for one in question:
                same = [other for other in question if other.index.dim == one.index.dim]
                one.together = same if same[0] is one else []
        return self.together or []

    def __iter__(self) -> Iterator[Any]:
        return iter([self.index.dim] if self._members() else [])

    def __len__(self) -> int:
        return 1 if self._members() else 0

    def __getitem__(self, dim: Any) -> Any:
        if dim not in list(self):
            raise KeyError(dim)
        return self._places

    @cached_property
    def _places(self) -> int | np.ndarray | xr.Variable:
        members = self._members()
        if any(isinstance(one.label, xr.Variable) for one in members):
            if len(members) > 1:
                raise ValueError(f"a selection of points takes one label along {self.index.dim}")
            return self.index.points(self.label)
        found = [one.index.found(one.label) for one in members]
        is_chosen = np.logical_and.reduce([is_here for is_here, _ in found])
        if not is_chosen.any() and all(one.asks for one in members):
            raise UnknownLabel(self._why_nothing([is_here for is_here, _ in found]))
        order = next((order for _, order in found if order is not None), np.arange(len(is_chosen)))
        chosen = order[is_chosen[order]]
        is_one = len(chosen) == 1 and any(one.index.is_single_name(one.label) for one in members)
        return int(chosen[0]) if is_one else chosen

    @property
    def asks(self) -> bool:
        """An empty list, or truth values, may choose nothing."""
        return not is_mask(self.label) and not (isinstance(self.label, list) and not self.label)

    @property
    def said(self) -> str:
        label = getattr(self.label, "__name__", "a function") if callable(self.label) else repr(self.label)
        return f"{self.index.name}={label}"

    def _why_nothing(self, found: list[np.ndarray]) -> str:
        members = self._members()
        if empty := [one.said for one, is_here in zip(members, found, strict=True) if not is_here.any()]:
            return f"No {self.index.dim} has {' and none has '.join(empty)}."
        reasons = [f"No {self.index.dim} has all of {', '.join(one.said for one in members)}."]
        for place, one in enumerate(members):
            rest = np.logical_and.reduce([*found[:place], *found[place + 1 :]])
            if rest.any():
                reasons.append(f"With the rest, {one.index.name} is {_listed(_places(one.index.values[rest]))}.")
        return " ".join(reasons)


def is_mask(label: Any) -> bool:
    return isinstance(label, np.ndarray) and label.dtype == bool


def _plain(label: Any) -> Any:
    """A label as a value, a list, an array of truth values, a slice, a function, or values along another dimension."""
    if isinstance(label, xr.DataArray):
        label = label.variable if label.dims != () else label.item()
    if isinstance(label, xr.Variable):
        is_list = label.ndim == 1 and (label.dtype == bool or label.dims[0] in ("well", "feature"))
        label = label.to_numpy() if is_list else label
    if isinstance(label, pd.Index | pd.Series | np.ndarray) and np.ndim(label):
        array = np.asarray(label)
        return array if array.dtype == bool else array.tolist()
    if isinstance(label, np.generic | np.ndarray):
        return label.item()
    return list(label) if isinstance(label, list | tuple | set | frozenset) else label


def _places(values: np.ndarray) -> dict[Any, np.ndarray]:
    """Value -> its places, in the order in which they come."""
    found = pd.Series(values).groupby(values, sort=False).indices.items()
    return {value.item() if isinstance(value, np.generic) else value: np.asarray(places) for value, places in found}


def nearest(value: Any, there: list[Any]) -> str:
    if there and isinstance(value, int | float) and isinstance(there[0], int | float):
        near = sorted(there, key=lambda one: (abs(one - value), one))[:NAMED]
    else:
        texts = {str(one).lower(): one for one in there if one != ""}
        near = [texts[one] for one in difflib.get_close_matches(str(value).lower(), texts, n=NAMED, cutoff=0.4)]
    return f"Nearest: {', '.join(map(repr, near))}." if near else f"There is {_listed(there)}."


def _listed(values: Iterable[Any], most: int = 5) -> str:
    values = list(values)
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(repr, values[:most])) + more if values else "none at all"
