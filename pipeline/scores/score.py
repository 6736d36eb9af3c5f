"""What a score is: one declared object in a file of its own, `pipeline/tasks/<name>.py`, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.screen.columns import GENE, MODALITY, TARGETS, short
from pipeline.screen.conditions import Condition
from pipeline.screen.spelling import is_negcon, text_of

if TYPE_CHECKING:  # workers that score draw nothing
    from matplotlib.figure import Figure

#: conditions that are scored together
Unit = tuple[Condition, ...]
#: name of a table (a file's stem) -> table
Tables = dict[str, pd.DataFrame]


class Want(NamedTuple):
    """What wells have to say for a score to have an answer. `is_there(wells, condition columns)`; `lack`: the words
    where it is not.
    """

    is_there: Callable[[pd.DataFrame, Sequence[str]], bool]
    lack: str


class Drawing(NamedTuple):
    """A figure, and the names of the tables that hold its numbers."""

    figure: Figure
    tables: tuple[str, ...]


def each(found: list[Condition]) -> list[Unit]:
    """Every condition is scored by itself."""
    return [(condition,) for condition in found]


def together(found: list[Condition]) -> list[Unit]:
    """All conditions are scored at once."""
    return [tuple(found)] if found else []


@dataclass(frozen=True)
class Score:
    """One score. Its name is its file's; its first table has the same name.

    `rows`: each table it makes -> what one row of it is. `compute(profiles, unit, rules, tables)`: the tables of one
    unit of conditions, where `profiles` may hold no other wells and `tables` are those of the scores in `needs`, as far
    as the screen has them. `units`: conditions -> what can be scored apart. `wants`: what the wells have to say.
    `figures(tables, genes)`: name -> drawing, from the tables of all units; `genes`: those the screen highlights.
    `revision` is raised where the code gives other numbers from the same profiles and rules.
    """

    question: str
    rows: Mapping[str, str]
    compute: Callable[[pd.DataFrame, Unit, Rules, Mapping[str, pd.DataFrame]], Tables]
    units: Callable[[list[Condition]], list[Unit]] = each
    needs: tuple[str, ...] = ()
    wants: tuple[Want, ...] = ()
    figures: Callable[[Mapping[str, pd.DataFrame], Sequence[str]], dict[str, Drawing]] | None = None
    revision: int = 1

    def lacks(self, wells: pd.DataFrame, columns: Sequence[str]) -> str:
        """Why there is no answer of these wells, in words; "" where there is one. `columns`: those of conditions."""
        return "; ".join(want.lack for want in self.wants if not want.is_there(wells, columns))


def _have_controls(wells: pd.DataFrame, columns: Sequence[str]) -> bool:
    return bool(is_negcon(wells).any())


def _have_genes(wells: pd.DataFrame, columns: Sequence[str]) -> bool:
    return any((text_of(wells, column) != "").any() for column in (GENE, TARGETS))


def _have_both_kinds(wells: pd.DataFrame, columns: Sequence[str]) -> bool:
    kinds = {kind.lower() for kind in text_of(wells, MODALITY)} - {""}
    return short(MODALITY) in columns and "compound" in kinds and len(kinds) > 1


def _have_two_modalities(wells: pd.DataFrame, columns: Sequence[str]) -> bool:
    return short(MODALITY) in columns and len(set(text_of(wells, MODALITY)) - {""}) > 1


CONTROLS = Want(_have_controls, "no well is a negative control (control_type is never negcon)")
GENES = Want(_have_genes, "no well has a gene (gene, target_list)")
BOTH_KINDS = Want(_have_both_kinds, "no condition tells compounds from genetic reagents (modality)")
TWO_MODALITIES = Want(_have_two_modalities, "there are no conditions of two modalities (modality)")
