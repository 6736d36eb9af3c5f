"""What the columns of a profile table are: metadata, features, and numbers that are no features. One rule for all.

1. A column whose name begins with Metadata, or holds _Metadata_, is metadata.
2. What a program wrote to count its rows (no name, `Unnamed: 0`, `index`, `__index_level_0__`) is no measurement, nor
   is what pandas calls `X.1` where there is an `X` with the same values: that column stood twice.
3. So are numbers that count or tell apart images, objects and places (`ImageNumber`, `Cells_Number_Object_Number`,
   `Cells_Parent_Nuclei`, `Count_Cells`, `Plate`, `Site`): they are no features to rank wells by.
4. Where most columns are CellProfiler's (they begin with Cells_, Cytoplasm_ or Nuclei_), a column that begins with none
   of these is a feature only if its second word is one of theirs, as in `Speckles_AreaShape_Area`.
5. Everything else is a feature, and has to be a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from pipeline.screen.columns import PREFIX

#: columns that name things, by which tables are joined and wells told apart
NAMES = tuple(
    f"{PREFIX}{name}"
    for name in (
        "Batch", "Plate", "Well", "broad_sample", "control_type", "modality", "cell_type", "timepoint", "variant",
        "gene", "target_list", "pert_iname", "pert_type",
    )
)  # fmt: skip


COMPARTMENTS = ("Cells_", "Cytoplasm_", "Nuclei_")

_INDEX = re.compile(r"|unnamed: ?\d+(_level_\d+)?|index|level_\d+|__index_level_\d+__", re.IGNORECASE)
_THINGS = r"(cell|nucle[ui]s?|nuclei|cytoplasm|object|image|site|field)s?"
_NO_FEATURE = re.compile(
    r"(.+_)?(image_?number|object_?number|table_?number|number_object_number)|.+_parent_.+"
    rf"|(image_)?count_.+|(n|num|nr|number)_(of_)?{_THINGS}|{_THINGS}_?counts?"
    r"|plate|well|site|row|col|column|field|fov|batch|replicate|id",
    re.IGNORECASE,
)
_SECOND = re.compile(r"(.+)\.\d+")


class Columns(NamedTuple):
    """`features`: names by which wells are ranked; `left_out`: names of other columns with numbers -> why not."""

    features: list[str]
    left_out: dict[str, str]


def is_metadata(names: Iterable[object]) -> np.ndarray:
    """Mask of the columns that say what a row is."""
    return np.array([str(name).startswith("Metadata") or "_Metadata_" in str(name) for name in names], dtype=bool)


def feature_names(profiles: pd.DataFrame) -> list[str]:
    """The columns that are measured: all that are neither metadata nor a count of rows."""
    names = profiles.columns[~is_metadata(profiles.columns)]
    return [name for name in names if not _INDEX.fullmatch(str(name))]


def ranked_columns(profiles: pd.DataFrame) -> Columns:
    """Which columns wells are ranked by, after the rule above, and why others are not."""
    names = profiles.columns[~is_metadata(profiles.columns)]
    own = [name for name in names if str(name).startswith(COMPARTMENTS)]
    words = {_word(name, 1) for name in own} if 2 * len(own) > len(names) else set()
    features, left_out = [], {}
    for name in names:
        if _INDEX.fullmatch(str(name)):
            left_out[name] = "it counts the rows of a file"
        elif (
            (twice := _SECOND.fullmatch(str(name))) and twice[1] in names and profiles[name].equals(profiles[twice[1]])
        ):
            left_out[name] = "pandas' name for a column that stands twice"
        elif _NO_FEATURE.fullmatch(str(name)):
            left_out[name] = "it counts or numbers things"
        elif words and not str(name).startswith(COMPARTMENTS) and _word(name, 1) not in words:
            left_out[name] = "its name is like none of the other features'"
        else:
            features.append(name)
    return Columns(features, left_out)


def lone_names(features: Iterable[str]) -> list[str]:
    """Of features with names of another program: those whose first word no other has, where nine in ten share one."""
    first = pd.Series([re.sub(r"[\d.]+", "", _word(name, 0)).lower() for name in features], list(features), dtype=str)
    alone = ~first.duplicated(keep=False)
    return list(first.index[alone]) if 0 < alone.sum() <= len(first) / 10 else []


def no_numbers(profiles: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those of these columns that hold something else than numbers."""
    return [name for name in names if not (is_numeric_dtype(profiles[name]) or _is_number(profiles[name]))]


def first_text(values: pd.Series) -> int:
    """At which row the first value stands that is there and no number; 0 where there is none."""
    missing = pd.to_numeric(values.where(values.map(np.isscalar)), errors="coerce").isna() & values.notna()
    return int(missing.to_numpy().argmax())


def _word(name: object, at: int) -> str:
    return [*str(name).split("_", 2), "", ""][at]


def _is_number(column: pd.Series) -> bool:
    """Whether a column without a type of numbers holds nothing else."""
    try:
        column.astype(float)
    except (ValueError, TypeError):
        return False
    return True
