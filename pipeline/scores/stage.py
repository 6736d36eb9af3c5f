"""The score stage of a run: one task for each score and condition, then one that puts the conditions together.

scores/parts/<score>/<unit>/<table>.parquet   what one unit of conditions gave
scores/<table>.parquet                        all of them
scores/parts/<score>/<unit>/record.json, scores/records/<score>.json   what they were made from; come last
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.config import digest
from pipeline.errors import NotFound
from pipeline.profiles.columns import is_metadata
from pipeline.profiles.stage import selected_files
from pipeline.results.records import Standing, begin, compare, finish, read_record, standing
from pipeline.results.run import Run, open_run
from pipeline.scores.coverage import is_named, with_missing
from pipeline.scores.load import LEVEL, load_profiles
from pipeline.scores.registry import concatenate, find, in_order, named_units, names, run_task, run_unit
from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, Unit
from pipeline.scores.steps import corrected
from pipeline.scores.summaries import mode_differences, of_classes
from pipeline.screen import Plate
from pipeline.screen.columns import PLATE_KEY, VARIANT, WELL_KEY
from pipeline.screen.conditions import conditions
from pipeline.screen.plates import plate_list
from pipeline.screen.variants import with_variants
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import decode_table, encode_table, note_of

#: raised where the code gives other numbers from the same profiles and rules
REVISION = 1
#: why a score has no table, where the wells say all that it asks
NOTHING = "there is nothing to score: no plate has profiles of negative controls, or no feature is left"
#: the name, among the scores, of the comparison of the two modes
COMPARISON = "mode_differences"


def units(run: Run, score: str) -> dict[str, Unit]:
    """What of a score can be computed apart, by name. Nothing, where the wells do not say what it asks of them."""
    wells = _wells(run)
    return {} if lacks(run, score, wells) else named_units(score, conditions(wells, run.config.screen.condition))


def lacks(run: Run, score: str, wells: pd.DataFrame | None = None) -> str:
    """Why a score has no answer in this run, in words; "" where it has one. All rest on profiles relative to controls.

    wells: those of the run, where the caller has them.
    """
    wells = _wells(run) if wells is None else wells
    columns = run.config.screen.condition
    return find(score).lacks(wells, columns) or ("" if CONTROLS.is_there(wells, columns) else CONTROLS.lack)


def lacking(run: Run) -> dict[str, str]:
    """The scores that the config asks for and that have no table, and why, in words."""
    records = {score: read_record(run.storage, table_key(score)) or {} for score in in_order(run.config.scores.tasks)}
    return {score: record["why"] for score, record in records.items() if record.get("why")}


def plates_of(run: Run, score: str, unit: str) -> set[Plate]:
    """The plates that a unit of a score reads."""
    return _plates_of(run, _wells(run), units(run, score)[unit])


def score_unit(results: Location, score: str, unit: str) -> dict[str, Any]:
    """Compute one score for one unit of conditions and store its tables; none where no plate has profiles to score.

    A unit that is current is left as it is.
    """
    run = open_run(results)
    wanted = units(run, score).get(unit)
    if wanted is None:
        return {"why": f"another run planned anew since: there are no wells of {unit} now"}
    key, inputs = part_key(score, unit), _Sources(run).of_unit(score, wanted)
    record = read_record(run.storage, key)
    if record is not None and compare(record, inputs).is_current:
        return {"why": record["why"]} if record["why"] else {}
    begin(run.storage, key)
    made, why = {}, ""
    try:
        made = _score(run, score, wanted)
    except NotFound as error:  # e.g. no plate has cells in its negative controls; the record of each plate says so
        why = str(error)
    folder = key.removesuffix("record.json")
    for name, table in made.items():
        run.storage.put(f"{folder}{name}.parquet", encode_table(table))
    for gone in set((record or {}).get("tables", ())) - set(made):
        run.storage.remove(f"{folder}{gone}.parquet")
    finish(run.storage, key, inputs, tables=list(made), why=why)
    return {"why": why} if why else {}


def _score(run: Run, score: str, wanted: Unit) -> dict[str, pd.DataFrame]:
    profiles = _profiles(run, _plates_of(run, _wells(run), wanted))
    earlier = {name: read_score(run.storage, name) for need in find(score).needs for name in _tables(run, need)}
    return run_unit(score, profiles, wanted, Rules(run.config.scores.mode, run.config.scores.seed), earlier)


def finish_score(results: Location, score: str, partial: str = "") -> dict[str, Any]:
    """Put the tables of a score's units together, in the order of the units. `partial`: "3 of 10 plates", where not all
    units are what they will be; the tables and their record say so."""
    run = open_run(results)
    key, inputs = table_key(score), _Sources(run).of_score(score) | ({"partial": partial} if partial else {})
    before = read_record(run.storage, key) or {}
    begin(run.storage, key)
    parts = []
    for unit in units(run, score):
        record = read_record(run.storage, part_key(score, unit)) or {}
        folder = f"scores/parts/{score}/{unit}/"
        parts.append({name: _read(run.storage, f"{folder}{name}.parquet") for name in record.get("tables", ())})
    tables = concatenate(parts, run.config.screen.condition)
    for name, table in tables.items():
        run.storage.put(f"scores/{name}.parquet", encode_table(table, partial))
    for gone in set(before.get("tables", ())) - set(tables):
        run.storage.remove(f"scores/{gone}.parquet")
    why = "" if tables else lacks(run, score) or NOTHING
    finish(run.storage, key, inputs, tables=list(tables), **({"why": why} if why else {}))
    return {"why": why} if why else {}


def compare_modes(results: Location) -> dict[str, Any]:
    """Score the same profiles by the rules of the other mode, and store what changes: `mode_differences.parquet`.

    The tables of scores that the config asks for no more are removed: nothing would bring them up to date. What their
    units gave stays, for the day they are asked for again.
    """
    run = open_run(results)
    inputs = _Sources(run).of_comparison()
    if standing(run.storage, table_key(COMPARISON), inputs).is_current:
        return {}
    begin(run.storage, table_key(COMPARISON))
    tasks = in_order(run.config.scores.tasks)
    ours = {name: read_score(run.storage, name) for score in tasks for name in _tables(run, score)}
    other = "published" if run.config.scores.mode == "correct" else "correct"
    theirs: dict[str, pd.DataFrame] = {}
    profiles = _profiles(run, set(run.plates)) if ours else pd.DataFrame()
    for score in [name for name in tasks if name in of_classes(ours)]:
        theirs |= run_task(
            score, profiles, mode=other, seed=run.config.scores.seed, tables=theirs, columns=run.config.screen.condition
        )
    key = f"scores/{COMPARISON}.parquet"
    if theirs:
        run.storage.put(key, encode_table(mode_differences(ours, theirs)))
    elif COMPARISON in _tables(run, COMPARISON):
        run.storage.remove(key)
    _remove_scores(run, set(names()) - set(tasks))
    finish(run.storage, table_key(COMPARISON), inputs, tables=[COMPARISON] if theirs else [])
    return {}


def _remove_scores(run: Run, names: Collection[str]) -> None:
    """Of those that were made before: to take away is a right that a run has no need of otherwise."""
    for score in names:
        if read_record(run.storage, table_key(score)) is not None:
            for table in _tables(run, score):
                run.storage.remove(f"scores/{table}.parquet")
            run.storage.remove(table_key(score))


class _Sources:
    """What the scores of a run would be made from now. Reads the records of profiles once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.files = selected_files(run, LEVEL)
        self.wells = _wells(run)

    def of_unit(self, score: str, unit: Unit) -> dict[str, Any]:
        plates = _plates_of(self.run, self.wells, unit)
        records = {need: read_record(self.run.storage, table_key(need)) for need in find(score).needs}
        return self._of(plates) | {
            "needs": {need: digest(record) for need, record in records.items()},
            "conditions": [condition.columns() for condition in unit],
            "revision": [REVISION, find(score).revision],
        }

    def of_score(self, score: str) -> dict[str, Any]:
        names = units(self.run, score)
        parts = {unit: read_record(self.run.storage, part_key(score, unit)) for unit in names}
        return {"parts": {unit: digest(record) for unit, record in parts.items()}}

    def of_comparison(self) -> dict[str, Any]:
        scores = in_order(self.run.config.scores.tasks)
        records = {score: digest(read_record(self.run.storage, table_key(score))) for score in scores}
        return self._of(set(self.run.plates)) | {"scores": records}

    def _of(self, plates: set[Plate]) -> dict[str, Any]:
        settings = self.run.config.scores
        own = self.wells[_is_of(self.wells, plates)].drop_duplicates(PLATE_KEY)
        expected = _expected(self.wells, plates)[WELL_KEY].astype(str)
        variants = dict(zip(map("/".join, own[PLATE_KEY].to_numpy()), own[VARIANT], strict=True))
        return {
            "profiles": {plate.key: self.files[plate] for plate in sorted(plates) if plate in self.files},
            "expected": digest(sorted(expected.to_numpy().tolist())),
            "variants": {plate: str(variant) for plate, variant in variants.items() if variant},
            "settings": {"mode": settings.mode, "seed": settings.seed, "steps": list(settings.steps)},
            "revision": REVISION,
        }


class Part(NamedTuple):
    """What is stored of a score: one unit of it, or (`unit` is "") all of it. `batches`: whose profiles it reads."""

    score: str
    unit: str
    standing: Standing
    batches: tuple[str, ...]


def standings(run: Run) -> Iterator[Part]:
    """The units of each score, then the score, in the order in which they are made; last the comparison."""
    sources, storage = _Sources(run), run.storage
    for score in in_order(run.config.scores.tasks):
        for name, unit in units(run, score).items():
            batches = sorted({plate.batch for plate in _plates_of(run, sources.wells, unit)})
            found = standing(storage, part_key(score, name), sources.of_unit(score, unit))
            yield Part(score, name, found, tuple(batches))
        yield Part(score, "", standing(storage, table_key(score), sources.of_score(score)), ())
    yield Part(COMPARISON, "", standing(storage, table_key(COMPARISON), sources.of_comparison()), ())


def part_key(score: str, unit: str) -> str:
    return f"scores/parts/{score}/{unit}/record.json"


def table_key(score: str) -> str:
    return f"scores/records/{score}.json"


def run_tables(run: Run) -> dict[str, pd.DataFrame]:
    """The tables of the scores that the config asks for, by name."""
    names = [name for score in [*in_order(run.config.scores.tasks), COMPARISON] for name in _tables(run, score)]
    return {name: read_score(run.storage, name) for name in sorted(names)}


def open_scores(results: Location | str | Path, name: str, **options: Any) -> pd.DataFrame:
    """One score table of a run, e.g. "detection". `options`: those of `pipeline.storage.Location` (endpoint, ...).

    Warns (`UserWarning`) where a run goes on and the table is of the plates that were ready. Raises `NotFound`, naming
    the tables there are, where it was not computed.
    """
    storage = _opened(results, **options)
    try:
        _warn_of_partial(storage, name)
        return read_score(storage, name)
    except NotFound:
        there = ", ".join(_stored_tables(storage)) or "none at all"
        raise NotFound(f"{storage.location} has no scores named {name!r}; there are {there}.") from None


def open_all(results: Location | str | Path, **options: Any) -> dict[str, pd.DataFrame]:
    """All score tables of a run, by name."""
    storage = _opened(results, **options)
    names = _stored_tables(storage)
    for name in names:
        _warn_of_partial(storage, name)
    return {name: read_score(storage, name) for name in names}


def _warn_of_partial(storage: Storage, name: str) -> None:
    if partial := note_of(storage.get(f"scores/{name}.parquet")):
        warnings.warn(f"{name} is partial, of {partial}: the run at {storage.location} goes on.", stacklevel=3)


def _opened(results: Location | str | Path, **options: Any) -> Storage:
    return open_storage(results if isinstance(results, Location) else Location(url=str(results), **options))


def _stored_tables(storage: Storage) -> list[str]:
    names = (entry.key.removeprefix("scores/") for entry in storage.entries("scores/"))
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet") and "/" not in name]


def read_score(storage: Storage, name: str) -> pd.DataFrame:
    return _read(storage, f"scores/{name}.parquet")


def _plates_of(run: Run, wells: pd.DataFrame, unit: Unit) -> set[Plate]:
    """The plates that a unit of conditions reads, of those that have selected profiles or will."""
    mine = wells[np.logical_or.reduce([condition.rows(wells) for condition in unit])]
    plates = set(plate_list(mine)) & set(run.plates)
    if "centre_positions" in run.config.scores.steps:  # learns from all plates of a batch, of other conditions too
        batches = {plate.batch for plate in plates}
        plates = {plate for plate in run.plates if plate.batch in batches}
    return plates


def _is_of(wells: pd.DataFrame, plates: Collection[Plate]) -> np.ndarray:
    return np.array([plate in plates for plate in plate_list(wells)], dtype=bool)


def _profiles(run: Run, plates: Collection[Plate]) -> pd.DataFrame:
    profiles = load_profiles(run.storage.location.join("profiles"), plates=plates)
    if is_metadata(profiles.columns).all():
        raise NotFound("Feature selection left no feature: too few wells, or wells that do not differ.")
    wells, columns = _wells(run), run.config.screen.condition
    variants = wells[[*PLATE_KEY, VARIANT]].drop_duplicates(PLATE_KEY)
    profiles = profiles.drop(columns=VARIANT, errors="ignore").merge(variants, on=PLATE_KEY, how="left")
    return corrected(with_missing(profiles, _expected(wells, plates), columns)[0], run.config.scores.steps, columns)


def _expected(wells: pd.DataFrame, plates: Collection[Plate]) -> pd.DataFrame:
    """The wells of these plates of which there should be profiles; scores count those that have none."""
    own = wells[_is_of(wells, plates) & is_named(wells)]
    return own[(own["excluded"] == "").to_numpy()] if "excluded" in own else own


def _wells(run: Run) -> pd.DataFrame:
    """The run's wells, with what sets the conditions of secondary plates apart."""
    return with_variants(run.wells, run.config.screen)


def _tables(run: Run, score: str) -> list[str]:
    """Names of the tables that a score has made."""
    return list((read_record(run.storage, table_key(score)) or {}).get("tables", ()))


def _read(storage: Storage, key: str) -> pd.DataFrame:
    return decode_table(storage.get(key))
