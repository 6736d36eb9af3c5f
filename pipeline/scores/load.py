"""Well profiles from a folder or URL in the gallery's layout, annotated; scores out of them, into a folder or URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError, NotFound
from pipeline.profiles import list_profiles, open_profiles
from pipeline.profiles.files import missed_files
from pipeline.scores.annotations import annotate
from pipeline.scores.coverage import with_missing
from pipeline.scores.notes import (
    check_annotations,
    contradictions,
    describe_columns,
    describe_wells,
    some,
    strange_wells,
    without_features,
)
from pipeline.scores.registry import find, in_order, names, run_task
from pipeline.scores.steps import corrected
from pipeline.screen import Plate
from pipeline.screen.columns import (
    BATCH,
    CONDITION,
    CONTROL_TYPE,
    GENE,
    PLATE,
    PLATE_KEY,
    SAMPLE,
    SAMPLE_NAME,
    TARGETS,
    column_of,
)
from pipeline.screen.groups import primary_plates
from pipeline.screen.model import Screen
from pipeline.screen.plates import plate_list, screen_plates
from pipeline.screen.spelling import NO_VALUE, number_of, one_spelling, text_of, usual_control
from pipeline.screen.variants import well_annotations, with_imagings_apart
from pipeline.storage import Location, Storage, open_storage
from pipeline.tables import encode_table

#: The profiles from which every published score was computed.
LEVEL = "normalized_feature_select_negcon_batch"


def load_profiles(
    location: Location | str,
    screen: Screen | None = None,
    plates: Collection[Plate] | None = None,
    level: str = LEVEL,
    *,
    tell: Callable[[str], object] = lambda note: None,
) -> pd.DataFrame:
    """The profiles of these plates (None: the screen's primary plates, or all), one row a well, annotated.

    Columns that only some plates have are NaN on the others. With a screen, a plate that is a number is found under any
    spelling of it (2, 002) and gets the screen's. Without one, imagings of one plate in several batches are told apart
    in `Metadata_variant`. `tell` is given a line for plates and wells that the screen does not name. Raises `NotFound`
    where there are no profiles, and what `open_profiles` raises.
    """
    storage = open_storage(location)
    files = _files(storage, level, tell, all_levels=plates is not None or screen is not None)
    if screen is None or screen.plates is None:
        chosen = sorted(files if plates is None else set(plates) & set(files))
        condition = CONDITION if screen is None else screen.condition
        return _prepared(with_imagings_apart(_open(location, level, chosen, files, tell), condition), condition)
    named = plate_list(screen_plates(screen))
    called = spelt_as(files, named, str(location))
    wanted = set(plate_list(primary_plates(screen)) if plates is None else plates)
    chosen = sorted(plate for plate in files if called.get(plate, plate) in wanted)
    if not chosen and plates is None:
        raise ConfigError(
            f"{location} holds {len(files)} plates, none of which is a primary plate of screen {screen.name}, "
            f"e.g. {min(files)}. Name the plates to score, or the screen they are of."
        )
    if strangers := sorted(plate for plate in files if plate not in called):
        tell(f"Left out, for screen {screen.name} does not name them: {some(strangers)}.")
    profiles = renamed(_open(location, level, chosen, files, tell), called)
    annotations = well_annotations(screen)
    for note in [*strange_wells(profiles, annotations), *contradictions(profiles, annotations)]:
        tell(note)
    return _prepared(annotate(profiles, annotations, screen.condition), screen.condition)


def _files(storage: Storage, level: str, tell: Callable[[str], object], *, all_levels: bool) -> Collection[Plate]:
    """The plates of which there are profiles of this level. `all_levels`: nothing is to be said of others."""
    levels = list_profiles(storage)
    files, missed = levels.get(level, {}), missed_files(storage, level)
    if not files:
        others = (
            f" There are of other levels: {some(sorted(name or 'as measured' for name in levels))}." if levels else ""
        )
        others += f" There is {some(missed)}." if missed else ""
        raise NotFound(
            f"There are no profiles in {storage.location}: nothing is named <batch>/<plate>/<plate>_{level}.parquet, "
            f".csv.gz or .csv.{others}"
        )
    if missed:
        tell(f"Not read, for it is not <batch>/<plate>/<plate>_{level}.parquet, .csv.gz or .csv: {some(missed)}.")
    elsewhere = {plate for plates_of_level in levels.values() for plate in plates_of_level} - set(files)
    if elsewhere and not all_levels:
        tell(f"Of {some(sorted(elsewhere))} there are profiles of other levels only: left out.")
    return files


def named_wells(screen: Screen, plates: Collection[Plate] | None = None) -> pd.DataFrame:
    """The wells of which there should be profiles: `well_annotations` of these plates (None: the primary ones)."""
    wells = well_annotations(screen)
    asked = plate_list(primary_plates(screen)) if plates is None else plates
    return wells[pd.MultiIndex.from_frame(wells[PLATE_KEY]).isin([tuple(plate) for plate in asked])]


def _open(
    location: Location | str,
    level: str,
    chosen: list[Plate],
    files: Collection[Plate],
    tell: Callable[[str], object],
) -> pd.DataFrame:
    if not chosen:
        raise NotFound(f"{location} has no profiles of the plates asked for, only of others, e.g. {min(files)}.")
    profiles = open_profiles(location, level, chosen)
    there = set(plate_list(profiles))
    if empty := [plate for plate in chosen if plate not in there]:
        tell(f"Files without a row: those of {some(empty)}.")
    return profiles


def _prepared(profiles: pd.DataFrame, condition: Sequence[str]) -> pd.DataFrame:
    """The profiles with one spelling for each sample, for a negative control, and for no gene, target or condition."""
    plates = pd.Series(text_of(profiles, BATCH)) + "/" + text_of(profiles, PLATE)
    samples = one_spelling(pd.Series(text_of(profiles, SAMPLE)), plates)
    own = {SAMPLE: samples.to_numpy()} if SAMPLE in profiles else {}
    if CONTROL_TYPE in profiles:
        own[CONTROL_TYPE] = usual_control(text_of(profiles, CONTROL_TYPE))
    for name in profiles.columns.intersection([GENE, TARGETS, *map(column_of, condition), SAMPLE_NAME]):
        texts = text_of(profiles, name)
        own[str(name)] = np.where(np.isin(texts, NO_VALUE), "", texts)
    return profiles.assign(**own)


def spelt_as(files: Collection[Plate], named: Collection[Plate], where: str) -> dict[Plate, Plate]:
    """The plates of these files that a screen names -> what it calls them. Numbers may be spelt otherwise: 2, 002.

    Raises `ConfigError` where a spelling leaves open which plate is meant.
    """
    called = {plate: plate for plate in set(files) & set(named)}
    numbers: dict[tuple[str, ...], list[Plate]] = {}
    for plate in named:
        numbers.setdefault(tuple(map(number_of, plate)), []).append(plate)
    for plate in sorted(set(files) - set(named)):
        meant = numbers.get(tuple(map(number_of, plate)), [])
        if len(meant) > 1 or set(meant) & set(called.values()):
            raise ConfigError(
                f"{where} has profiles of {plate}, which may be {' or '.join(map(str, meant))} of the screen's tables, "
                "of which others hold profiles too or which are two plates. Name the folder and file as the tables do."
            )
        called |= dict.fromkeys([plate], *meant) if meant else {}
    return called


def renamed(profiles: pd.DataFrame, called: Mapping[Plate, Plate]) -> pd.DataFrame:
    """The profiles with the plates called as in `called`, where it says."""
    if all(plate == name for plate, name in called.items()):
        return profiles
    names = [called.get(plate, plate) for plate in plate_list(profiles)]
    return profiles.assign(**{column: [name[at] for name in names] for at, column in enumerate(PLATE_KEY)})


def scores_command(
    profiles: Location | str,
    screen: Screen | None,
    mode: str,
    out: Location | str,
    tasks: Sequence[str] = (),
    *,
    seed: int = 0,
    steps: Sequence[str] = (),
    plates: Collection[Plate] | None = None,
    secondary: bool = False,
    tell: Callable[[str], object] = lambda note: None,
) -> dict[str, pd.DataFrame]:
    """Score profiles and write one `<name>.parquet` a table to `out`, and `figures/<name>.svg`. `tasks`: names of
    scores, default all.

    Returns the tables. `steps`: names of `steps.STEPS`, done to the profiles first. `secondary`: with a screen,
    score its plates outside the primary group too, as conditions of their own (`variant`). `tell` is given a line for
    what the profiles do not say. Raises `ConfigError` where they do not say enough (see `check_annotations`).
    """
    in_order(tasks, key="")
    if secondary and plates is None and screen is not None:
        plates = plate_list(screen_plates(screen))
    annotated = load_profiles(profiles, screen, plates, tell=tell)
    columns = CONDITION if screen is None else screen.condition
    lacking: list[str] = []
    if screen is not None and screen.plates is not None:
        annotated, lacking = with_missing(annotated, named_wells(screen, plates), columns)
    notes = [*lacking, *check_annotations(annotated, columns), *describe_wells(annotated, columns)]
    for note in [*notes, *describe_columns(annotated, mode, steps, columns)]:
        tell(note)
    highlighted = {} if screen is None else screen.highlighted
    ready = corrected(annotated, steps, columns)
    return score_table(ready, mode, out, tasks, columns, seed=seed, highlighted=highlighted, tell=tell)


def score_table(
    table: pd.DataFrame,
    mode: str,
    out: Location | str,
    tasks: Sequence[str] = (),
    columns: Sequence[str] = CONDITION,
    *,
    seed: int = 0,
    highlighted: Mapping[str, Sequence[str]] | None = None,
    tell: Callable[[str], object] = lambda note: None,
) -> dict[str, pd.DataFrame]:
    """Score a table of annotated profiles, one row a well, as `scores_command`. `columns`: those of its conditions.

    A score that wants of the wells what they do not say is left out, in words; raises `ConfigError` where all are.
    """
    chosen = tasks or names()
    tables: dict[str, pd.DataFrame] = {}
    kept: dict[str, pd.DataFrame] = {}
    lacks: list[str] = []
    for name in in_order(chosen, key=""):
        if lack := find(name).lacks(table, columns):
            lacks += [f"{name} is left out: {lack}."] if name in chosen else []
            continue
        made = run_task(name, table, mode=mode, seed=seed, tables=tables, columns=columns)
        tables |= made
        if name in chosen:
            write_tables(made, out)  # at once: what is made stays, whatever becomes of the rest
            kept |= made
        if name == "detection":
            for note in without_features(made[name]):
                tell(note)
    if not kept and lacks:
        raise ConfigError(f"{' '.join(lacks)} Annotate the profiles, or name the screen that says it (--screen).")
    for note in lacks:
        tell(note)
    write_figures(kept, out, highlighted or {})
    return kept


def write_tables(tables: dict[str, pd.DataFrame], out: Location | str) -> None:
    store = open_storage(out)
    for name, table in tables.items():
        store.put(f"{name}.parquet", encode_table(table))


def write_figures(
    tables: Mapping[str, pd.DataFrame], out: Location | str, highlighted: Mapping[str, Sequence[str]]
) -> None:
    from pipeline.scores.drawing import as_svg, draw  # workers that score draw nothing

    store = open_storage(out)
    for name, drawing in draw(tables, highlighted).items():
        store.put(f"figures/{name}.svg", as_svg(drawing.figure))
