"""The feature table of a store: which column is which measurement, for all plates of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.cells import layout
from pipeline.cells.compartments import count_measured
from pipeline.cells.meaning import channels_of, meaning
from pipeline.errors import ConfigError, SchemaMismatch


class Join(NamedTuple):
    """How the objects of a compartment are joined to those before it: by equal numbers in the object sets `on`.

    `adds`: the object sets whose numbers it brings, itself or its parents.
    """

    name: str
    on: tuple[str, ...]
    adds: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """The columns of a single-cell store.

    A row of the store holds `layout.BLOCK_FEATURES` index columns, of which `index` names the used ones, then the
    measured columns, `names`: ordered by compartment, family, channel and scale, so that a selection by meaning
    lies in few blocks.

    `features`: compartment -> its features in store order, without the compartment, as CellProfiler writes them. The
    first compartment is the primary one, which the others name as their parent. `capacity`: most rows of a well.
    `left_out`: object sets of the pipeline that are no compartment -> number of their features, without those that
    say where an object is and what it belongs to; they have tables of their own (`object_tables`).
    """

    features: Mapping[str, tuple[str, ...]]
    capacity: int
    left_out: Mapping[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def from_features(
        cls, features: Mapping[str, Iterable[str]], compartments: tuple[str, ...], capacity: int
    ) -> Schema:
        """The schema for a pipeline that measures `features` (object set -> names without the set).

        Raises `ConfigError` where a compartment is not measured, or names no other as its parent.
        """
        objects = {name: tuple(found) for name, found in features.items() if name != "Image"}
        missing = [name for name in compartments if not objects.get(name)]
        if missing or not compartments:
            raise ConfigError(
                f"cells.compartments: the pipeline measures no {' and no '.join(missing) or 'object set named here'}; "
                f"it measures {', '.join(objects) or 'no objects at all'}. Name the sets that make one cell."
            )
        channels = channels_of(name for found in objects.values() for name in found)

        def place(name: str) -> tuple:
            what = meaning(name, channels)
            return what.family, what.channel, what.channel2, what.scale or 0, what.feature, what.angle or 0, name

        schema = cls(
            {compartment: tuple(sorted(set(objects[compartment]), key=place)) for compartment in compartments},
            capacity,
            {name: count_measured(found) for name, found in objects.items() if name not in compartments},
        )
        _ = schema.joins  # a pipeline whose objects cannot be joined is refused now, not at the first site
        return schema

    @property
    def compartments(self) -> tuple[str, ...]:
        return tuple(self.features)

    @property
    def index(self) -> tuple[str, ...]:
        """Names of the index columns: site, the object number in each compartment, whether the row is a whole cell."""
        return "Site", *(f"{name}_ObjectNumber" for name in self.compartments), "IsMatched"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All measured columns in store order, with their compartment: `Nuclei_AreaShape_Area`."""
        return tuple(f"{compartment}_{name}" for compartment, found in self.features.items() for name in found)

    @property
    def columns(self) -> int:
        """Columns of a row, index block included."""
        return layout.BLOCK_FEATURES + len(self.names)

    def places(self, names: Iterable[str]) -> np.ndarray:
        """int32: where these columns, measured or of the index, lie in a row."""
        known = {name: place for place, name in enumerate(self.index)}
        known |= {name: layout.BLOCK_FEATURES + place for place, name in enumerate(self.names)}
        return np.array([known[name] for name in names], np.int32)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Compartment -> its columns in a row."""
        slices, start = {}, layout.BLOCK_FEATURES
        for compartment, found in self.features.items():
            slices[compartment] = slice(start, start + len(found))
            start += len(found)
        return slices

    @cached_property
    def meaning(self) -> pd.DataFrame:
        """One row per measured column, in store order.

        name, compartment, family, feature, channel, channel2: text, "" for none; scale, angle: float, NaN for none;
        dtype: "int" or "float", what the numbers are (all are stored as float32).
        """
        channels = channels_of(name for found in self.features.values() for name in found)
        rows = [
            {"name": f"{compartment}_{name}", "compartment": compartment, **meaning(name, channels)._asdict()}
            for compartment, found in self.features.items()
            for name in found
        ]
        return pd.DataFrame(rows).astype({"scale": np.float32, "angle": np.float32})

    @cached_property
    def integers(self) -> dict[str, list[int]]:
        """Compartment -> positions of its features that are whole numbers."""
        table = self.meaning
        return {
            name: np.flatnonzero(table.loc[table["compartment"] == name, "dtype"] == "int").tolist()
            for name in self.compartments
        }

    @cached_property
    def joins(self) -> tuple[Join, ...]:
        """How objects become cells: the compartments in an order in which each is related to one before it.

        Two are related where one names the other as its parent (`Parent_*`), in either direction: Cells that come from
        a filter name no nucleus, and their cytoplasm names both. Only where no compartment names another, a parent
        that several have in common relates them. CytoTable and pycytominer join by the same relations.
        """
        related = {
            name: {name, *(feature.removeprefix("Parent_") for feature in found if feature.startswith("Parent_"))}
            for name, found in self.features.items()
        }
        first, *waiting = self.compartments
        joins, known = [Join(first, (), tuple(sorted(related[first])))], set(related[first])
        while waiting:
            shared = {name: sorted(known & related[name] & set(self.compartments)) for name in waiting}
            shared = shared if any(shared.values()) else {name: sorted(known & related[name]) for name in waiting}
            name = max(waiting, key=lambda name: bool(shared[name]))  # the first that is related
            if not shared[name]:
                raise ConfigError(
                    f"cells.compartments: {' and '.join(waiting)} cannot be joined to {first}: no Parent_ measurement "
                    f"relates one of {', '.join(self.compartments)} to it. Name the sets that make one cell, first the "
                    "one that the others come from, e.g. Nuclei."
                )
            joins.append(Join(name, tuple(shared[name]), tuple(sorted(related[name] - known))))
            known |= related[name]
            waiting.remove(name)
        return tuple(joins)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides where a number lies."""
        plain = [layout.FORMAT, self.capacity, [[name, list(found)] for name, found in self.features.items()]]
        return hashlib.sha256(json.dumps(plain, separators=(",", ":")).encode()).hexdigest()

    def columns_from(self, compartment: str, features: tuple[str, ...], where: str) -> np.ndarray:
        """Positions in `features` (as an engine gives them) of this compartment's columns, in store order.

        Raises `SchemaMismatch` with the difference where the two are not the same features.
        """
        position = {name: number for number, name in enumerate(features)}
        expected = self.features[compartment]
        if len(position) != len(features) or position.keys() != set(expected):
            raise SchemaMismatch(
                f"{where}: {compartment} has other features than the store: "
                f"missing {_some([name for name in expected if name not in position])}; "
                f"unexpected {_some([name for name in features if name not in set(expected)])}; "
                f"twice {_some(sorted({name for name in features if features.count(name) > 1}))}. "
                "Sites of one run must all be measured by the same pipeline; use another results place for another one."
            )
        return np.array([position[name] for name in expected])


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
