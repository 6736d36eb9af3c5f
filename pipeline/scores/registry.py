"""Scores by name: all of a score or one unit of it, and what comes before what.

A run computes units apart (task `score/<score>/<unit>`), whose tables `concatenate` puts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib import import_module

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.scores.rules import Rules
from pipeline.scores.score import Score, Tables, Unit
from pipeline.scores.steps import steps_of
from pipeline.screen.columns import CONDITION, VARIANT, short
from pipeline.screen.conditions import Condition, conditions

#: Bytes of a unit's key. File systems allow 255 in a part of a path, S3 1,024 in a whole key.
LONGEST_KEY = 120

#: imported by name: scores know this library, and not the other way round
_TASKS = import_module("pipeline.tasks")


def names() -> list[str]:
    """The scores there are."""
    return _TASKS.names()


def find(name: str, key: str = "") -> Score:
    """The score of this name. `key`: of the config that names it, for the refusal of a name that is none."""
    if name not in (there := names()):
        what = f"{key}: there" if key else "There"
        raise ConfigError(f"{what} is no score {name!r}. Choose from: {', '.join(there)}.")
    score = import_module(f"{_TASKS.__name__}.{name}").SCORE
    assert isinstance(score, Score)
    return score


def in_order(wanted: Iterable[str], key: str = "scores.tasks") -> list[str]:
    """These scores and those they need, each after what it needs."""
    ordered: dict[str, None] = {}
    for name in wanted:
        ordered |= dict.fromkeys([*in_order(find(name, key).needs), name])
    return list(ordered)


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


def named_units(score: str, found: list[Condition]) -> dict[str, Unit]:
    """The units of a score by name. Two that would have one name, for blanks or slashes in it, have a digest more."""
    named: dict[str, Unit] = {}
    for unit in find(score).units(found):
        key = unit_key(unit, found)
        named[key if key not in named else f"{key}-{sha256(repr(unit).encode()).hexdigest()[:12]}"] = unit
    return named


def run_task(
    name: str,
    profiles: pd.DataFrame,
    *,
    mode: str = "correct",
    seed: int = 0,
    null_size: int = 100_000,
    tables: Mapping[str, pd.DataFrame] | None = None,
    columns: Sequence[str] = CONDITION,
) -> Tables:
    """All tables of a score: file stem -> tidy table. `columns`: those of the profiles that make a condition.

    `tables` are results of earlier scores; those it needs and does not find there, it makes itself.
    """
    rules = Rules(mode, seed, null_size)
    known = dict(tables or {})
    for needed in find(name).needs:
        if needed not in known and not find(needed).lacks(profiles, columns):
            more = {"mode": mode, "seed": seed, "null_size": null_size}
            known |= run_task(needed, profiles, tables=known, columns=columns, **more)  # type: ignore[arg-type]
    units = find(name).units(conditions(profiles, columns))
    return concatenate((run_unit(name, profiles, unit, rules, known) for unit in units), columns)


def run_unit(
    name: str, profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame] | None = None
) -> Tables:
    """The tables of one unit. `profiles` needs to hold only the wells of its conditions.

    Every table says in `steps` what was done to the profiles before (see `pipeline.scores.steps`).
    """
    made = find(name).compute(profiles, unit, rules, tables or {})
    return {stem: table.assign(steps=steps_of(profiles)) for stem, table in made.items()}


def concatenate(parts: Iterable[Tables], columns: Sequence[str] = CONDITION) -> Tables:
    """The tables of several units, one under the other. `columns`: those that make a condition."""
    stacked: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        for stem, table in part.items():
            stacked.setdefault(stem, []).append(table)
    return {stem: _variant_in_front(pd.concat(own, ignore_index=True), columns) for stem, own in stacked.items()}


def _variant_in_front(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`variant`, which not all units have, behind the columns of the condition."""
    variant = short(VARIANT)
    if variant not in table:
        return table
    rest = table.drop(columns=variant)
    at = 1 + max((list(rest).index(name) for name in columns if name in rest), default=-1)
    rest.insert(at, variant, table[variant].fillna(""))
    return rest
