"""At which dose a sample is in a well: the columns that say it, and one spelling for each dose."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.screen.spelling import NO_VALUE, as_text

#: the usual names of the column that says at which dose a sample is in a well, best first
_DOSE = re.compile(
    r"Metadata_((?:pert_i?|compound_|cpd_|sample_|drug_|treatment_|final_)?(?:dose|dosage|concentration|conc)"
    r"(?:_recode|_value|_level)?"
    r"(?:_(?:in_)?(?:[munp]m|[munp]?mol(?:ar|es)?(?:_per_liter)?|[munp]g_per_ml))?"
    r"|(?:pert_|compound_|cpd_|sample_|drug_|treatment_)[munp]m"
    r"|(?:[munp]?moles?|millimoles|micromoles|nanomoles)_per_liter|(?:milli|micro|nano)molar|[munp]g_per_(?:ml|ul))",
    re.IGNORECASE,
)

#: Digits of a dose that tell it apart: files round 3.3333 in their own ways, and no dose series steps by a per cent.
DOSE_DIGITS = 3

#: Units of doses in micromoles per liter.
MICROMOLAR = {"mm": 1e3, "um": 1.0, "nm": 1e-3, "pm": 1e-6}

_A_DOSE = re.compile(r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(.*)", re.IGNORECASE)

#: 10,000 is ten thousand or ten, and stays as it is written
_THOUSANDS = re.compile(r"[-+]?\d+,\d{3}")


def dose_columns(names: Iterable[object]) -> list[str]:
    """The columns that hold doses, by their usual names, those called dose first."""
    found = [str(name) for name in names if _DOSE.fullmatch(str(name))]
    return sorted(found, key=lambda name: ("dose" not in name.lower(), "per_liter" not in name.lower()))


def doses(profiles: pd.DataFrame) -> np.ndarray:
    """The dose of each well as text, "" where none is said, from the first column of doses that says any."""
    columns = (as_text(profiles[name]) for name in dose_columns(profiles.columns))
    said = next((column for column in columns if (column != "").any()), None)
    return np.full(len(profiles), "", dtype=object) if said is None else said.map(_dose).to_numpy(dtype=object)


def _dose(text: str) -> str:
    """One spelling a dose: 10 for 10.0, 10 uM for 10µM and 10000 nM; "" where none is said."""
    match = _A_DOSE.fullmatch(text)
    if match is None or _THOUSANDS.fullmatch(match[1]):
        return "" if text in NO_VALUE else text
    number, unit = float(match[1].replace(",", ".")), match[2].replace("\u00b5", "u").replace("\u03bc", "u")
    molar = 1e6 if unit == "M" else MICROMOLAR.get(unit.lower())
    number, unit = (number, unit) if molar is None else (number * molar, "uM")
    return f"{float(f'{number:.{DOSE_DIGITS}g}'):g} {unit}".strip()
