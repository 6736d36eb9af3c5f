"""What a screen names and the profiles lack: a plate, or a third of the wells of one.

Scores without them are right as far as they go, and mean less. So they are named before the scores, and counted in the
table `detection`: the profiles carry the counts, of each row's condition, in two columns of metadata.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.scores.notes import some
from pipeline.screen.columns import CONDITION, PLATE_KEY, SAMPLE, WELL, WELL_KEY
from pipeline.screen.conditions import Condition, conditions
from pipeline.screen.spelling import is_negcon, text_of

#: Columns of the profiles -> columns of the scores.
COLUMNS = {"Metadata_plates_missing": "n_plates_missing", "Metadata_wells_missing": "n_wells_missing"}


def with_missing(
    profiles: pd.DataFrame, named: pd.DataFrame, columns: Sequence[str] = CONDITION
) -> tuple[pd.DataFrame, list[str]]:
    """The profiles with what their conditions lack of the wells `named`, and a line for each condition that lacks any.

    named: wells as `well_annotations`; those without a sample and no control do not count. A plate without
    any profile is a missing plate, and its wells are not counted again as missing wells. Where `named` is empty, nobody
    knows, and the profiles carry nothing.
    """
    named = named[is_named(named)]
    if named.empty:
        return profiles, []
    profiles = profiles.assign(**dict.fromkeys(COLUMNS, 0))
    here = pd.MultiIndex.from_arrays([text_of(profiles, name) for name in WELL_KEY])
    named = named.assign(here=pd.MultiIndex.from_arrays([text_of(named, name) for name in WELL_KEY]).isin(here))
    lines = []
    for condition in conditions(named, columns):
        wells = named[condition.rows(named)]
        plates = wells.groupby(PLATE_KEY, sort=False)["here"].agg(["sum", "size"])
        absent, part = plates[plates["sum"] == 0], plates[plates["sum"].between(1, plates["size"] - 1)]
        lacking = int((part["size"] - part["sum"]).sum())
        name = condition.title
        if len(absent):
            lines.append(f"{name}: no profiles of {len(absent)} of {len(plates)} plates: {some(_names(absent.index))}.")
        if lacking:
            first = part.index[0]
            wells = wells.set_index(PLATE_KEY).loc[[first]]
            lines.append(
                f"{name}: {lacking} of {part['size'].sum()} wells have no profile, on {some(_names(part.index))}, "
                f"e.g. {wells.loc[~wells['here'], WELL].iloc[0]} of {first[1]}."
            )
        profiles.loc[condition.rows(profiles), list(COLUMNS)] = len(absent), lacking
    return profiles, lines


def is_named(wells: pd.DataFrame) -> np.ndarray:
    """Which wells hold something: a sample, or a negative control."""
    return (text_of(wells, SAMPLE) != "") | is_negcon(wells)


def missing_of(profiles: pd.DataFrame, condition: Condition) -> dict[str, int | None]:
    """The counts of a condition, by the names of COLUMNS in scores; None where no screen says what there should be."""
    rows = profiles[condition.rows(profiles)]
    return {
        name: int(rows[column].iloc[0]) if column in rows and len(rows) else None for column, name in COLUMNS.items()
    }


def _names(plates: pd.Index) -> list[str]:
    return ["/".join(map(str, plate)) for plate in plates]
