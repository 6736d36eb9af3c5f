"""The score stage of a run: one task for each score and condition, then one that puts the conditions together.

scores/parts/<score>/<unit>/<table>.parquet   what one unit of conditions gave
scores/<table>.parquet                        all of them
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError, NotFound
from pipeline.plan import read_wells
from pipeline.run_record import Run, open_run
from pipeline.scores.load import load_profiles
from pipeline.scores.rules import Rules
from pipeline.scores.tasks import TASKS, Unit, concatenate, run_unit, unit_key
from pipeline.scores.wells import conditions
from pipeline.screen import Plate
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import decode_table, encode_table


def in_order(wanted: Iterable[str]) -> list[str]:
    """These scores and those they need, each after what it needs."""
    ordered: dict[str, None] = {}
    for name in wanted:
        if name not in TASKS:
            raise ConfigError(f"scores.tasks: there is no score {name!r}. Choose from: {', '.join(TASKS)}.")
        ordered |= dict.fromkeys([*in_order(TASKS[name].needs), name])
    return list(ordered)


def units(run: Run, score: str) -> dict[str, Unit]:
    """What of a score can be computed apart, by name. Nothing, where no well is known to be a negative control."""
    wells = read_wells(run.storage)
    if not (wells.get("Metadata_control_type", pd.Series(dtype=str)) == "negcon").any():
        return {}
    return {unit_key(unit): unit for unit in TASKS[score].units(conditions(wells))}


def score_unit(results: Location, score: str, unit: str) -> dict[str, Any]:
    """Compute one score for one unit of conditions and store its tables; none where no plate has profiles to score."""
    run = open_run(results)
    wanted = units(run, score)[unit]
    wells = read_wells(run.storage)
    mine = wells[np.logical_or.reduce([condition.rows(wells) for condition in wanted])]
    plates = {Plate(*row) for row in mine[["Metadata_Batch", "Metadata_Plate"]].itertuples(index=False)}
    try:
        profiles = load_profiles(results.join("profiles"), plates=plates & set(run.plates))
    except NotFound as error:  # no plate has cells in its negative controls; the record of each plate says so
        return {"why": str(error)}
    needed = tuple(TASKS[score].needs)
    earlier = {name: read_score(run.storage, name) for name in _tables(run.storage) if name.startswith(needed)}
    rules = Rules(run.config.scores.mode, run.config.scores.seed)
    for name, table in run_unit(score, profiles, wanted, rules, earlier).items():
        run.storage.put(f"scores/parts/{score}/{unit}/{name}.parquet", encode_table(table))
    return {}


def finish_score(results: Location, score: str) -> dict[str, Any]:
    """Put the tables of a score's units together, in the order of the units."""
    run = open_run(results)
    parts = []
    for unit in units(run, score):
        folder = f"scores/parts/{score}/{unit}/"
        parts.append(
            {
                entry.key[len(folder) : -len(".parquet")]: _read(run.storage, entry.key)
                for entry in run.storage.entries(folder)
            }
        )
    for name, table in concatenate(parts).items():
        run.storage.put(f"scores/{name}.parquet", encode_table(table))
    return {}


def open_scores(results: Location | str, name: str) -> pd.DataFrame:
    """One score table of a run, e.g. "detection". Raises `NotFound` where it was not computed."""
    return read_score(open_storage(results), name)


def read_score(storage: Storage, name: str) -> pd.DataFrame:
    return _read(storage, f"scores/{name}.parquet")


def _tables(storage: Storage) -> list[str]:
    """Names of the tables that are whole."""
    names = (entry.key.removeprefix("scores/") for entry in storage.entries("scores/"))
    return [name.removesuffix(".parquet") for name in names if "/" not in name]


def _read(storage: Storage, key: str) -> pd.DataFrame:
    return decode_table(storage.get(key))
