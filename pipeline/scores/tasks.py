"""Every task of the paper by name, and what of each can run apart.

A task is a function `(profiles, conditions, rules, tables) -> {file stem: table}` for one unit of work, a tuple of
conditions; `tables` holds the tables of the tasks it `needs`. `run_task` runs all units and puts them together;
`run_unit` runs one, for an executor (key `score/<task>/<unit_key>`), whose tables `concatenate` then joins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.scores.detection import detection
from pipeline.scores.rules import Rules
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


TASKS: dict[str, Task] = {
    "detection": Task(lambda profiles, unit, rules, _: detection(profiles, unit[0], rules), each),
}


def unit_key(unit: Unit) -> str:
    return "+".join(condition.key for condition in unit)


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
    """The tables of one unit. `profiles` needs to hold only the wells of its conditions."""
    return _task(name).score(profiles, unit, rules, tables or {})


def concatenate(parts: Iterable[Tables]) -> Tables:
    """The tables of several units, one under the other."""
    stacked: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        for stem, table in part.items():
            stacked.setdefault(stem, []).append(table)
    return {stem: pd.concat(tables, ignore_index=True) for stem, tables in stacked.items()}


def _task(name: str) -> Task:
    if name not in TASKS:
        raise ConfigError(f"There is no score {name!r}. Choose from: {', '.join(TASKS)}.")
    return TASKS[name]
