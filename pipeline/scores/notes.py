"""What a reader of scores should know of the profiles they are made of, in lines, before the scores."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.plan.checks import FEWEST_CONTROLS
from pipeline.profiles.columns import lone_names, ranked_columns
from pipeline.scores.rules import Rules
from pipeline.scores.significance import condition_columns
from pipeline.scores.wells import TOO_LARGE, Wells, feature_names, times_too_large, wells_of
from pipeline.screen.columns import (
    BATCH,
    CONDITION,
    CONTROL_TYPE,
    DOSE,
    GENE,
    PLATE,
    PLATE_KEY,
    SAMPLE,
    TARGETS,
    UNDOSED,
    VARIANT,
    WELL,
    WELL_KEY,
    column_of,
)
from pipeline.screen.conditions import REQUIRED, conditions
from pipeline.screen.spelling import NO_VALUE, is_negcon, number_of, text_of

#: Without them no perturbation has a gene.
GENES = (GENE, TARGETS)

#: A feature so many times larger than the median one makes up nearly all of a similarity, whatever the others say.
OUTWEIGHS = 1e3

#: Things named in a line.
NAMED = 5


def check_annotations(profiles: pd.DataFrame, condition: Sequence[str] = CONDITION) -> list[str]:
    """What the scores do without, for columns that these profiles lack. Raises `ConfigError` where there are no scores
    without them: plates, wells, samples, negative controls.
    """
    of_condition = [column_of(name) for name in condition]
    absent = [name for name in (*REQUIRED, *of_condition, *GENES) if not (text_of(profiles, name) != "").any()]
    remedy = "Name the screen whose tables have them (--screen), or annotate the profiles."
    if needed := [name for name in REQUIRED if name in absent]:
        others = [name for name in absent if name not in needed]
        wanted = f" Of use too, and absent: {', '.join(others)}." if others else ""
        raise ConfigError(f"These profiles say nothing in {', '.join(needed)}.{wanted} {remedy}")
    if not is_negcon(profiles).any():
        found = sorted(set(text_of(profiles, CONTROL_TYPE)) - {""})
        raise ConfigError(
            f"No well of these profiles is a negative control: Metadata_control_type is never negcon, but "
            f"{', '.join(found)}. {remedy}"
        )
    notes = []
    if blank := [name for name in of_condition if name in absent]:
        notes.append(f"{', '.join(blank)}: not there, so plates that differ in it are scored as one condition.")
    if all(name in absent for name in GENES):
        notes.append(f"{', '.join(GENES)}: not there, so no score that asks about genes has a class.")
    return [f"{note} {remedy}" for note in notes]


def describe_wells(profiles: pd.DataFrame, condition: Sequence[str] = CONDITION) -> list[str]:
    """A line for each thing about wells and samples that a reader of their scores may not expect: plates of which
    nobody says what is on them, or under which condition; plates with few negative controls; samples that may be none,
    or one under two names.
    """
    plates, samples = _plates(profiles), pd.Series(text_of(profiles, SAMPLE))
    said = pd.Series(is_negcon(profiles) | (samples != "")).groupby(plates).any()
    notes = []
    if not said.all():
        notes.append(f"Nobody says what is in any well of {some(list(said.index[~said]))}: left out.")
    notes += _few_controls(profiles, plates, samples)
    for column in map(column_of, condition):
        blank = pd.Series(text_of(profiles, column) == "").groupby(plates).all()[said]
        if blank.any() and not blank.all():
            notes.append(
                f"{column} is not there on {some(list(blank.index[blank]))}: a condition apart from the others."
            )
    return notes + _strange_samples(samples)


def _plates(profiles: pd.DataFrame) -> pd.Series:
    """batch/plate of each row."""
    return pd.Series(text_of(profiles, BATCH)) + "/" + text_of(profiles, PLATE)


def _few_controls(profiles: pd.DataFrame, plates: pd.Series, samples: pd.Series) -> list[str]:
    is_control, kinds = pd.Series(is_negcon(profiles)), pd.Series(text_of(profiles, CONTROL_TYPE))
    controls = is_control.groupby(plates).sum()[(~is_control & (samples != "")).groupby(plates).any()]
    notes = []
    if len(none := controls.index[controls == 0]):
        other = some(sorted(set(kinds[plates.isin(none)]) - {""}))
        notes.append(
            f"No negative control on {some(list(none))} ({CONTROL_TYPE} is never negcon"
            f"{other and f', but {other}'}): its wells are ranked against nothing and are no queries."
        )
    if len(few := controls[(controls > 0) & (controls < FEWEST_CONTROLS)]):
        notes.append(
            f"Fewer than {FEWEST_CONTROLS} negative controls on {some([f'{name} ({n})' for name, n in few.items()])}: "
            "ranks against so few say little, and profiles relative to them can be many times too large."
        )
    return notes


def _strange_samples(samples: pd.Series) -> list[str]:
    names = pd.Series(sorted(set(samples) - {""}), dtype=object)
    notes = []
    if absent := [name for name in names if name in NO_VALUE]:
        notes.append(
            f"A sample is called {some(absent)} and scored as a perturbation. If that stands for no sample, leave it "
            "empty."
        )
    twice = names[names.str.lower().duplicated(keep=False)]
    if len(twice):
        notes.append(f"Samples that differ in small and capital letters alone are scored apart: {some(list(twice))}.")
    return notes


def contradictions(profiles: pd.DataFrame, annotations: pd.DataFrame) -> list[str]:
    """A line where profiles and the screen's plate maps name different samples in the same wells."""
    key = WELL_KEY
    here = pd.DataFrame({name: text_of(profiles, name) for name in (*key, SAMPLE)}, dtype=object)
    both = here.merge(annotations.drop_duplicates(key), on=key, suffixes=("", "_map"))
    own, maps = both[SAMPLE].map(number_of), both[f"{SAMPLE}_map"].map(number_of)
    unlike = both[(own != "") & (maps != "") & (own.str.lower() != maps.str.lower())]
    if unlike.empty:
        return []
    batch, plate, well, sample, other = unlike.iloc[0][[*key, SAMPLE, f"{SAMPLE}_map"]]
    on = sorted(set(unlike[BATCH] + "/" + unlike[PLATE]))
    return [
        f"{len(unlike)} wells hold another sample in the profiles than on the screen's plate maps, on {some(on)}: "
        f"{batch}/{plate} {well} is {sample} in the profiles and {other} on the map. The profiles' word counts; if it "
        "is wrong, leave Metadata_broad_sample and Metadata_control_type out of them."
    ]


def describe_columns(
    profiles: pd.DataFrame, mode: str = "correct", steps: Sequence[str] = (), condition: Sequence[str] = CONDITION
) -> list[str]:
    """A line for each thing that the scores do with the columns of these profiles and a reader may not expect: numbers
    that are no features, features that outweigh all others, samples in several doses, plates imaged again.
    """
    rules = Rules(mode)
    notes = _no_features(profiles, rules)
    notes += [
        f"{first} and {other} have the same profiles to the last digit: one is a copy under the other's name, and the "
        "two count as replicates of each other. Fetch or make the right one."
        for first, other in copies(profiles)
    ]
    if alone := lone_names(ranked_columns(profiles).features):
        notes.append(
            f"Features whose names are like no other's: {some(alone)}. What is none is to be called Metadata_..."
        )
    plates = pd.DataFrame({column: text_of(profiles, column) for column in PLATE_KEY}).drop_duplicates()
    again = plates.loc[plates[PLATE].duplicated(), PLATE].unique()
    if len(again) and (text_of(profiles, VARIANT) != "").any():
        notes.append(
            f"{some(list(again))}: there in several batches. Imagings of one plate are no replicates of each other; "
            "the later ones are conditions of their own (variant)."
        )
    for one in conditions(profiles, condition):
        notes += [f"{one.title}: {note}" for note in _of_condition(wells_of(profiles, one, rules), steps)]
    return notes


def _no_features(profiles: pd.DataFrame, rules: Rules) -> list[str]:
    columns, ranked = ranked_columns(profiles), set(feature_names(profiles, rules.published))
    reasons = pd.Series({name: why for name, why in columns.left_out.items() if name not in ranked}, dtype=object)
    notes = [
        f"No features, so left out: {some(list(names))} ({why})."
        for why, names in reasons.groupby(reasons, sort=False).groups.items()
    ]
    if kept := [name for name in columns.left_out if name in ranked]:
        notes.append(f"Ranked by in mode published, though they may be no features: {some(kept)}.")
    return notes


def _of_condition(wells: Wells, steps: Sequence[str]) -> list[str]:
    """Lines about the features and samples of one condition."""
    features, names = wells.features[wells.finite], np.array(wells.names)
    finite = np.isfinite(features).all(axis=0)
    times = pd.Series(times_too_large(features[:, finite]), names[finite])
    constant = (features == features[:1]).all(axis=0) & (features != 0).any(axis=0)
    notes = []
    if len(features) > 1 and len(same := names[constant]):
        notes.append(f"the same number in all wells, which tells none apart: {some(list(same))}.")
    if wells.too_large and "clip" not in steps:
        notes.append(
            f"left out, for being more than {TOO_LARGE:,.0f} times as large as the other features (a MAD of 0?): "
            f"{some(list(wells.too_large))}. With --step clip it counts as far as 20 MADs."
        )
    if len(large := times[times > OUTWEIGHS]) and "clip" not in steps:
        notes.append(
            f"more than {OUTWEIGHS:,.0f} times as large as the other features, and so nearly all that similarities are "
            f"made of: {some(list(large.index))}. Look at it, or score with --step clip."
        )
    dosed = wells.meta[wells.meta[DOSE] != ""]
    if len(dosed):
        notes.append(
            f"{dosed[UNDOSED].nunique()} samples stand in several doses; each dose is scored as a perturbation of its "
            f"own, e.g. {dosed[SAMPLE].iloc[0]}."
        )
    return notes


def copies(profiles: pd.DataFrame) -> list[tuple[str, str]]:
    """Plates with the very same numbers as an earlier one: (earlier, plate)."""
    names = ranked_columns(profiles).features
    plates = _plates(profiles)
    seen: dict[bytes, str] = {}
    found = []
    for plate, rows in plates.groupby(plates, sort=False).indices.items():
        values = profiles.iloc[rows][names].to_numpy(dtype=float)
        first = seen.setdefault(sha256(values.tobytes()).digest(), str(plate))
        if first != plate and np.isfinite(values).any():
            found.append((first, str(plate)))
    return found


def strange_wells(profiles: pd.DataFrame, annotations: pd.DataFrame) -> list[str]:
    """A line for wells that the profiles have and no plate map of the screen."""
    if WELL not in profiles:
        return []
    key = WELL_KEY
    known = pd.MultiIndex.from_frame(annotations[key])
    mapped = set(map(tuple, annotations[PLATE_KEY].drop_duplicates().to_numpy()))
    here = pd.MultiIndex.from_arrays([text_of(profiles, name) for name in key])
    strange = [well for well in here[~here.isin(known)] if well[:2] in mapped]
    samples = text_of(profiles, SAMPLE)[~here.isin(known)]
    if not strange or (samples != "").all():
        return []
    return [
        f"{len(strange)} wells are on no plate map of the screen and are left out unless the profiles say what is in "
        f"them: {some(['/'.join(well) for well in strange])}."
    ]


def without_features(detection: pd.DataFrame) -> list[str]:
    """A line for each condition of the table `detection` whose features were left out, some or all of them."""
    by = condition_columns(detection)
    notes = []
    for _, rows in detection.fillna(dict.fromkeys(by, "")).groupby(by, sort=False):
        name, left, out = (
            " ".join(filter(None, rows[by].iloc[0])) or "all plates",
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


def some(names: Sequence[object]) -> str:
    """The first few of these, and how many more."""
    return ", ".join(map(str, names[:NAMED])) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
