"""The score stage of a run: one task for each score and condition, then one that puts the conditions together.

scores/parts/<score>/<unit>/<table>.parquet   what one unit of conditions gave
scores/<table>.parquet                        all of them
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError, NotFound
from pipeline.plan import read_wells
from pipeline.run_record import Run, open_run
from pipeline.scores.annotations import with_variants
from pipeline.scores.corrections import corrected
from pipeline.scores.coverage import with_missing
from pipeline.scores.load import load_profiles
from pipeline.scores.rules import Rules
from pipeline.scores.summaries import COMPARED, mode_differences
from pipeline.scores.tasks import TASKS, Unit, concatenate, run_task, run_unit, unit_key
from pipeline.scores.wells import PLATE, conditions
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
    wells = _wells(run)
    if not (wells.get("Metadata_control_type", pd.Series(dtype=str)) == "negcon").any():
        return {}
    found = conditions(wells)
    return {unit_key(unit, found): unit for unit in TASKS[score].units(found)}


def score_unit(results: Location, score: str, unit: str) -> dict[str, Any]:
    """Compute one score for one unit of conditions and store its tables; none where no plate has profiles to score."""
    run = open_run(results)
    wanted = units(run, score)[unit]
    wells = _wells(run)
    mine = wells[np.logical_or.reduce([condition.rows(wells) for condition in wanted])]
    plates = {Plate(*row) for row in mine[PLATE].itertuples(index=False)}
    try:
        profiles = _profiles(run, plates & set(run.plates))
    except NotFound as error:  # e.g. no plate has cells in its negative controls; the record of each plate says so
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
    tables = concatenate(parts)
    for name, table in tables.items():
        run.storage.put(f"scores/{name}.parquet", encode_table(table))
    return (
        {}
        if tables
        else {"why": "there is nothing to score: no plate has profiles of negative controls, or no feature is left"}
    )


def compare_modes(results: Location) -> dict[str, Any]:
    """Score the same profiles by the rules of the other mode, and store what changes: `mode_differences.parquet`."""
    run = open_run(results)
    ours = {name: read_score(run.storage, name) for name in _tables(run.storage)}
    other = "published" if run.config.scores.mode == "correct" else "correct"
    theirs: dict[str, pd.DataFrame] = {}
    profiles = _profiles(run, set(run.plates)) if ours else pd.DataFrame()
    for score in [name for name in in_order(run.config.scores.tasks) if name in COMPARED and name in ours]:
        theirs |= run_task(score, profiles, mode=other, seed=run.config.scores.seed, tables=theirs)
    if theirs:
        run.storage.put("scores/mode_differences.parquet", encode_table(mode_differences(ours, theirs)))
    return {}


def open_scores(results: Location | str, name: str) -> pd.DataFrame:
    """One score table of a run, e.g. "detection". Raises `NotFound` where it was not computed."""
    return read_score(open_storage(results), name)


def open_all(results: Location | str) -> dict[str, pd.DataFrame]:
    """All score tables of a run, by name."""
    storage = open_storage(results)
    return {name: read_score(storage, name) for name in _tables(storage)}


def read_score(storage: Storage, name: str) -> pd.DataFrame:
    return _read(storage, f"scores/{name}.parquet")


def _profiles(run: Run, plates: Collection[Plate]) -> pd.DataFrame:
    steps = run.config.scores.steps
    if "centre_positions" in steps:  # learns from all plates of a batch, those of other conditions too
        batches = {plate.batch for plate in plates}
        plates = {plate for plate in run.plates if plate.batch in batches}
    profiles = load_profiles(run.storage.location.join("profiles"), plates=plates)
    if profiles.columns.str.startswith("Metadata_").all():
        raise NotFound("Feature selection left no feature: too few wells, or wells that do not differ.")
    wells = _wells(run)
    variants = wells[[*PLATE, "Metadata_variant"]].drop_duplicates(PLATE)
    profiles = profiles.drop(columns="Metadata_variant", errors="ignore").merge(variants, on=PLATE, how="left")
    planned = wells[(wells["excluded"] == "").to_numpy()] if "excluded" in wells else wells
    here = pd.MultiIndex.from_frame(planned[PLATE].astype(str)).isin([tuple(plate) for plate in plates])
    return corrected(with_missing(profiles, planned[here])[0], steps)


def _wells(run: Run) -> pd.DataFrame:
    """The run's wells, with what sets the conditions of secondary plates apart."""
    return with_variants(read_wells(run.storage), run.config.screen)


def _tables(storage: Storage) -> list[str]:
    """Names of the tables that are whole."""
    names = (entry.key.removeprefix("scores/") for entry in storage.entries("scores/"))
    return [name.removesuffix(".parquet") for name in names if "/" not in name]


def _read(storage: Storage, key: str) -> pd.DataFrame:
    return decode_table(storage.get(key))
