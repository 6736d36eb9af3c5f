"""Well profiles from a folder or URL in the gallery's layout, annotated; scores out of them, into a folder or URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pandas as pd

from pipeline.config import Screen
from pipeline.errors import ConfigError, NotFound
from pipeline.plan.metadata import plate_list, screen_plates
from pipeline.profiles import list_profiles, open_profiles
from pipeline.scores.annotations import annotate, primary_plates, well_annotations
from pipeline.scores.corrections import corrected
from pipeline.scores.significance import condition_columns
from pipeline.scores.tasks import TASKS, run_task
from pipeline.scores.wells import CONDITION_COLUMNS, GENES, REQUIRED, text_of
from pipeline.screen import Plate
from pipeline.storage import Location, open_storage
from pipeline.tables import encode_table

#: The profiles from which every published score was computed.
LEVEL = "normalized_feature_select_negcon_batch"


def load_profiles(
    location: Location | str,
    screen: Screen | None = None,
    plates: Collection[Plate] | None = None,
    level: str = LEVEL,
) -> pd.DataFrame:
    """The profiles of these plates (None: the screen's primary plates, or all), one row a well, annotated.

    Columns that only some plates have are NaN on the others. Raises `NotFound` where there are none.
    """
    files = list_profiles(open_storage(location)).get(level, {})
    if not files:
        raise NotFound(
            f"There are no profiles in {location}: nothing is named <batch>/<plate>/<plate>_{level}.parquet or .csv.gz."
        )
    if plates is None and screen is not None and screen.plates is not None:
        wanted = primary_plates(screen)
        plates = [Plate(*row) for row in wanted[["Metadata_Batch", "Metadata_Plate"]].itertuples(index=False)]
        if not set(plates) & set(files):
            raise ConfigError(
                f"{location} holds {len(files)} plates, none of which is a primary plate of screen {screen.name}, "
                f"e.g. {min(files)}. Name the plates to score, or the screen they are of."
            )
    chosen = sorted(files if plates is None else set(plates) & set(files))
    if not chosen:
        raise NotFound(f"{location} has no profiles of the plates asked for, only of others, e.g. {min(files)}.")
    profiles = open_profiles(location, level, chosen)
    return profiles if screen is None or screen.plates is None else annotate(profiles, well_annotations(screen))


def check_annotations(profiles: pd.DataFrame) -> list[str]:
    """What the scores do without, for columns that these profiles lack. Raises `ConfigError` where there are no scores
    without them: plates, wells, samples, negative controls.
    """
    absent = [name for name in (*REQUIRED, *CONDITION_COLUMNS, *GENES) if not (text_of(profiles, name) != "").any()]
    remedy = "Name the screen whose tables have them (--screen), or annotate the profiles."
    if needed := [name for name in REQUIRED if name in absent]:
        others = [name for name in absent if name not in needed]
        wanted = f" Of use too, and absent: {', '.join(others)}." if others else ""
        raise ConfigError(f"These profiles say nothing in {', '.join(needed)}.{wanted} {remedy}")
    if not (text_of(profiles, "Metadata_control_type") == "negcon").any():
        found = sorted(set(text_of(profiles, "Metadata_control_type")) - {""})
        raise ConfigError(
            f"No well of these profiles is a negative control: Metadata_control_type is never negcon, but "
            f"{', '.join(found)}. {remedy}"
        )
    notes = []
    if blank := [name for name in CONDITION_COLUMNS if name in absent]:
        notes.append(f"{', '.join(blank)}: not there, so plates that differ in it are scored as one condition.")
    if all(name in absent for name in GENES):
        notes.append(f"{', '.join(GENES)}: not there, so no score that asks about genes has a class.")
    return [f"{note} {remedy}" for note in notes]


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
    TASKS, default all.

    Returns the tables. `steps`: names of `corrections.STEPS`, done to the profiles first. `secondary`: with a screen,
    score its plates outside the primary group too, as conditions of their own (`variant`). `tell` is given a line for
    what the profiles do not say. Raises `ConfigError` where they do not say enough (see `check_annotations`).
    """
    if secondary and plates is None and screen is not None:
        plates = plate_list(screen_plates(screen))
    annotated = load_profiles(profiles, screen, plates)
    for note in check_annotations(annotated):
        tell(note)
    table = corrected(annotated, steps)
    tables: dict[str, pd.DataFrame] = {}
    for name in tasks or TASKS:
        made = run_task(name, table, mode=mode, seed=seed, tables=tables)
        write_tables(made, out)  # at once: what is made stays, whatever becomes of the rest
        tables |= made
        if name == "detection":
            for note in without_features(made[name]):
                tell(note)
    write_figures(tables, out)
    return tables


def without_features(detection: pd.DataFrame) -> list[str]:
    """A line for each condition of the table `detection` whose features were left out, some or all of them."""
    by = condition_columns(detection)
    notes = []
    for _, rows in detection.fillna(dict.fromkeys(by, "")).groupby(by, sort=False):
        name, left, out = (
            " ".join(filter(None, rows[by].iloc[0])),
            *rows[["n_features", "n_features_not_finite"]].iloc[0],
        )
        if out and left:
            notes.append(f"{name}: {out} of {left + out} features left out, for they are not finite in every well.")
        elif out:
            notes.append(
                f"{name}: nothing is ranked, for none of its {out} features is finite in every well. Select features "
                "again with a lower na_cutoff, or leave out the wells whose values are missing."
            )
    return notes


def write_tables(tables: dict[str, pd.DataFrame], out: Location | str) -> None:
    store = open_storage(out)
    for name, table in tables.items():
        store.put(f"{name}.parquet", encode_table(table))


def write_figures(tables: dict[str, pd.DataFrame], out: Location | str) -> None:
    from pipeline.scores.figures import as_svg, figures  # workers that score draw nothing

    store = open_storage(out)
    for name, figure in figures(tables).items():
        store.put(f"figures/{name}.svg", as_svg(figure))
