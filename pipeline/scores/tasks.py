"""Every task of the paper by name, and what of each can run apart.

A task is a function `(profiles, conditions, rules, tables) -> {file stem: table}` for one unit of work, a tuple of
conditions; `tables` holds the tables of the tasks it `needs`. `run_task` runs all units and puts them together;
`run_unit` runs one, for an executor (key `score/<task>/<unit_key>`), whose tables `concatenate` then joins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.scores.corrections import steps_of
from pipeline.scores.detection import detection
from pipeline.scores.directionality import by_cell_type, directionality, strongest_pairs
from pipeline.scores.gene_compound import gene_compound, pairings
from pipeline.scores.positions import positions
from pipeline.scores.rules import Rules
from pipeline.scores.sisters import sisters
from pipeline.scores.summaries import counts, polypharmacology, t_tests
from pipeline.scores.umap import figures, umap
from pipeline.scores.variance import variance
from pipeline.scores.wells import Condition, conditions

Unit = tuple[Condition, ...]
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Task:
    score: Callable[[pd.DataFrame, Unit, Rules, Mapping[str, pd.DataFrame]], Tables]
    #: conditions -> units that can be scored apart
    units: Callable[[list[Condition]], list[Unit]]
    #: tasks whose tables `score` reads
    needs: tuple[str, ...] = ()


def each(found: list[Condition]) -> list[Unit]:
    return [(condition,) for condition in found]


def together(found: list[Condition]) -> list[Unit]:
    return [tuple(found)]


#: Columns that a table of conditions starts with.
IN_EVERY_TABLE = ("modality", "cell_type", "timepoint")

#: Bytes of a unit's key. File systems allow 255 in a part of a path, S3 1,024 in a whole key.
LONGEST_KEY = 120

SCORED = ("detection", "sisters", "gene_compound")

TASKS: dict[str, Task] = {
    "detection": Task(lambda profiles, unit, rules, _: detection(profiles, unit[0], rules), each),
    "positions": Task(lambda profiles, unit, rules, _: positions(profiles, unit[0], rules), each),
    "variance": Task(lambda profiles, unit, rules, _: variance(profiles, unit[0], rules), each),
    "sisters": Task(
        lambda profiles, unit, rules, tables: sisters(profiles, unit[0], rules, tables["detection"]),
        each,
        needs=("detection",),
    ),
    "gene_compound": Task(
        lambda profiles, unit, rules, tables: gene_compound(profiles, unit, rules, tables["detection"]),
        pairings,
        needs=("detection",),
    ),
    "directionality": Task(lambda profiles, unit, rules, _: directionality(profiles, unit, rules), by_cell_type),
    "pairs": Task(
        lambda _, __, ___, tables: strongest_pairs(tables["directionality_pairs"]), together, needs=("directionality",)
    ),
    "t_tests": Task(lambda _, __, rules, tables: t_tests(tables, rules), together, needs=SCORED),
    "counts": Task(lambda _, __, rules, tables: counts(tables, rules), together, needs=SCORED),
    "polypharmacology": Task(lambda profiles, _, rules, __: polypharmacology(profiles, rules), together),
    "umap": Task(lambda profiles, unit, rules, _: umap(profiles, unit, rules), figures),
}


def unit_key(unit: Unit, found: Iterable[Condition] = ()) -> str:
    """A name for a unit, short enough for a part of a path: "all" for several conditions that are all those `found`,
    else its conditions' names, or where those are long the first one's, how many more, and a digest of them.
    """
    if len(unit) > 1 and set(unit) == set(found):
        return "all"
    name = "+".join(condition.key for condition in unit)
    if len(name.encode()) <= LONGEST_KEY:
        return name
    digest = sha256(name.encode()).hexdigest()[:12]
    more = f"+{len(unit) - 1}-more" if len(unit) > 1 else ""
    return f"{unit[0].key.encode()[: LONGEST_KEY // 2].decode(errors='ignore')}{more}-{digest}"


def run_task(
    name: str,
    profiles: pd.DataFrame,
    *,
    mode: str = "correct",
    seed: int = 0,
    null_size: int = 100_000,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Tables:
    """All tables of a task: file stem -> tidy table.

    `tables` are results of earlier tasks; those it needs and does not find there, it makes itself.
    """
    rules = Rules(mode, seed, null_size)
    known = dict(tables or {})
    for needed in _task(name).needs:
        if needed not in known:
            known |= run_task(needed, profiles, mode=mode, seed=seed, null_size=null_size, tables=known)
    units = _task(name).units(conditions(profiles))
    return concatenate(run_unit(name, profiles, unit, rules, known) for unit in units)


def run_unit(
    name: str, profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame] | None = None
) -> Tables:
    """The tables of one unit. `profiles` needs to hold only the wells of its conditions.

    Every table says in `steps` what was done to the profiles before (see `corrections`).
    """
    made = _task(name).score(profiles, unit, rules, tables or {})
    return {stem: table.assign(steps=steps_of(profiles)) for stem, table in made.items()}


def concatenate(parts: Iterable[Tables]) -> Tables:
    """The tables of several units, one under the other."""
    stacked: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        for stem, table in part.items():
            stacked.setdefault(stem, []).append(table)
    return {stem: _variant_in_front(pd.concat(tables, ignore_index=True)) for stem, tables in stacked.items()}


def _variant_in_front(table: pd.DataFrame) -> pd.DataFrame:
    """`variant`, which not all units have, among the columns of the condition, which are those before the label."""
    if "variant" not in table:
        return table
    rest = table.drop(columns="variant")
    at = 1 + max(list(rest).index(name) for name in IN_EVERY_TABLE if name in rest)
    rest.insert(at, "variant", table["variant"].fillna(""))
    return rest


def _task(name: str) -> Task:
    if name not in TASKS:
        raise ConfigError(f"There is no score {name!r}. Choose from: {', '.join(TASKS)}.")
    return TASKS[name]
