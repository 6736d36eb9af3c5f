"""Conditions: what is held fixed when wells are compared. They are a screen's own columns, any number of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.columns import CONDITION, CONTROL_TYPE, PLATE, SAMPLE, VARIANT, WELL, column_of, short
from pipeline.screen.spelling import text_of

#: without these columns nobody knows what to compare with what
REQUIRED = (PLATE, WELL, SAMPLE, CONTROL_TYPE)

#: what a part of a path cannot hold, or is read with trouble
_NOT_IN_KEYS = re.compile(r"^\.+|[\s/\\\x00-\x1f]")


@dataclass(frozen=True, order=True)
class Condition:
    """The values of a screen's condition columns `names`. `variant` tells secondary plates and re-imagings apart."""

    values: tuple[str, ...] = ("",) * len(CONDITION)
    variant: str = ""
    names: tuple[str, ...] = CONDITION

    def get(self, name: str) -> str:
        """The value of a column, "" where the screen makes its conditions without it."""
        return dict(zip(self.names, self.values, strict=True)).get(name, "")

    @property
    def key(self) -> str:
        """A name, as part of a path: compound_A549_long, A549_dose-10."""
        named = zip(self.names, self.values, strict=True)
        parts = [value if name in CONDITION else f"{name}-{value}" for name, value in named if value]
        return "_".join(_NOT_IN_KEYS.sub("-", part) for part in (*parts, self.variant) if part) or "all"

    @property
    def title(self) -> str:
        """In words, for a reader."""
        return " ".join(part for part in (*self.values, self.variant) if part) or "all plates"

    def columns(self) -> dict[str, str]:
        """The columns every score table starts with; `variant` only where there is one."""
        columns = dict(zip(self.names, self.values, strict=True))
        return {**columns, short(VARIANT): self.variant} if self.variant else columns

    def rows(self, wells: pd.DataFrame, called: Callable[[str], str] = column_of) -> np.ndarray:
        """Mask of the wells of this condition; of the rows of a score table, where columns are `called` as they are."""
        parts = {**dict(zip(self.names, self.values, strict=True)), short(VARIANT): self.variant}
        return np.logical_and.reduce([text_of(wells, called(name)) == part for name, part in parts.items()])

    def but(self, *names: str) -> dict[str, str]:
        """`columns` without these."""
        return {name: value for name, value in self.columns().items() if name not in names}


def conditions(wells: pd.DataFrame, columns: Sequence[str] = CONDITION) -> list[Condition]:
    """The conditions of these wells, sorted; `columns` make them. Without any such column there is one condition.

    Raises `ConfigError` where a table of wells does not say what is in them.
    """
    if missing := [name for name in REQUIRED if name not in wells]:
        raise ConfigError(
            f"These profiles have no column {', '.join(missing)}. Annotate them with the plate map and the "
            "perturbation table, or name their screen, so that the columns can come from its tables."
        )
    texts = {name: text_of(wells, column_of(name)) for name in (*columns, short(VARIANT))}
    rows = pd.DataFrame(texts, index=range(len(wells)), dtype=object).drop_duplicates()
    return sorted(
        Condition(tuple(map(str, values)), str(variant), tuple(columns))
        for *values, variant in rows.itertuples(index=False, name=None)
    )
