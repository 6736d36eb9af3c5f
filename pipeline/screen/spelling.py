"""One spelling for each name: tables of many programs, read as text."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from pipeline.screen.columns import CONTROL_TYPE, NEGCON

#: how programs write in a table of text that a value is missing
NO_VALUE = ("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
_WHOLE = re.compile(r"[+-]?\d+\.0+")


def as_text(values: pd.Series) -> pd.Series:
    """Names as text: "" where missing, without spaces around, and 1001 for the 1001.0 of a program with gaps. A list,
    as of targets, is its values with | between.
    """
    plain = values.astype(object)
    try:
        codes, unique = pd.factorize(plain)
    except TypeError:  # lists, which nothing counts
        codes, unique = pd.factorize(plain.map(_joined))
    texts = np.array([_text(value) for value in unique] + [""], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def text_of(profiles: pd.DataFrame, column: str) -> np.ndarray:
    """A metadata column as text; missing columns and missing values are empty."""
    if column not in profiles:
        return np.full(len(profiles), "", dtype=object)
    return as_text(profiles[column]).to_numpy(dtype=object)


def usual_control(kinds: pd.Series | np.ndarray) -> np.ndarray:
    """Types of controls, with a negative control spelt `negcon`, however its letters are written."""
    texts = pd.Series(kinds, dtype=object)
    return texts.mask(texts.str.lower() == NEGCON, NEGCON).to_numpy(dtype=object)


def is_negcon(wells: pd.DataFrame) -> np.ndarray:
    """Mask of the negative controls, none of them where no column tells."""
    return text_of(wells, CONTROL_TYPE) == NEGCON


def one_spelling(names: pd.Series, files: pd.Series) -> pd.Series:
    """Names that are one number written in several ways (7, 007) under the longest, e.g. where one file was written by
    a program that drops zeros. Where two stand in the same file they are two names, and stay.
    """
    pairs = pd.DataFrame({"name": names.to_numpy(), "file": files.to_numpy()}).drop_duplicates()
    pairs = pairs[pairs["name"].str.fullmatch(r"\d+")]
    pairs["number"] = pairs["name"].str.lstrip("0")
    spelling: dict[str, str] = {}
    for _, group in pairs.groupby("number"):
        spellings = sorted(set(group["name"]), key=len)
        if len(spellings) > 1 and not group["file"].duplicated().any():
            spelling |= dict.fromkeys(spellings[:-1], spellings[-1])
    return names.replace(spelling) if spelling else names


def number_of(name: str) -> str:
    """What names that a program took for a number have in common: "2" for 2, 002 and 2.0; other names as they are."""
    text = _text(name)
    return text.lstrip("0") or "0" if text.isascii() and text.isdigit() else text


def _joined(value: object) -> object:
    if isinstance(value, list | tuple | set | np.ndarray):
        return "|".join(map(_text, value))
    return str(value) if isinstance(value, dict) else value


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text
