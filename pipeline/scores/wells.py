"""Profiles as the scores see them: conditions, the wells of a condition, consensus profiles.

A profile table has one row a well, `Metadata_*` columns first, features after them. The annotations used are
`Metadata_Plate`, `Metadata_Well`, `Metadata_broad_sample`, `Metadata_control_type` (always), `Metadata_Batch`,
`Metadata_modality`, `Metadata_cell_type`, `Metadata_timepoint`, `Metadata_variant`, `Metadata_gene`,
`Metadata_target_list` (genes separated by |), `Metadata_pert_iname` and a column of doses (where there are any).
What is a feature: `pipeline.profiles.columns`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.profiles.columns import NO_VALUE, as_text, dose_columns, first_text, no_numbers, ranked_columns
from pipeline.profiles.columns import feature_names as measured_names
from pipeline.scores.rules import Rules

REQUIRED = ("Metadata_Plate", "Metadata_Well", "Metadata_broad_sample", "Metadata_control_type")
OPTIONAL = (
    "Metadata_Batch", "Metadata_modality", "Metadata_cell_type", "Metadata_timepoint", "Metadata_variant",
    "Metadata_gene", "Metadata_target_list", "Metadata_pert_iname",
)  # fmt: skip

PLATE = ["Metadata_Batch", "Metadata_Plate"]

#: Without them plates of several conditions are one, and no perturbation has a gene.
CONDITION_COLUMNS = ("Metadata_modality", "Metadata_cell_type", "Metadata_timepoint")
GENES = ("Metadata_gene", "Metadata_target_list")

#: A well with a larger share of values that are not finite has no profile worth ranking.
MOSTLY_EMPTY = 0.5

#: A feature so many times larger than the others leaves nothing of them: similarities are rounded to 12 decimals, and
#: their part is the square of the inverse. It comes of a MAD of 0 and a tiny epsilon, and says nothing of a well.
TOO_LARGE = 1e6

#: Digits of a dose that tell it apart: files round 3.3333 in their own ways, and no dose series steps by a per cent.
DOSE_DIGITS = 3

#: Units of doses in micromoles per liter.
MICROMOLAR = {"mm": 1e3, "um": 1.0, "nm": 1e-3, "pm": 1e-6}

_A_DOSE = re.compile(r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(.*)", re.IGNORECASE)
#: 10,000 is ten thousand or ten, and stays as it is written
_THOUSANDS = re.compile(r"[-+]?\d+,\d{3}")


class Condition(NamedTuple):
    """What is held fixed when wells are compared. `variant` tells secondary plates and re-imagings apart."""

    modality: str = ""
    cell_type: str = ""
    timepoint: str = ""
    variant: str = ""

    @property
    def key(self) -> str:
        return "_".join(part.replace(" ", "-") for part in self if part) or "all"

    def columns(self) -> dict[str, str]:
        """The columns every score table starts with; `variant` only where there is one."""
        columns = self._asdict()
        return columns if self.variant else {name: columns[name] for name in ("modality", "cell_type", "timepoint")}

    def rows(self, profiles: pd.DataFrame) -> np.ndarray:
        parts = zip(self._fields, self, strict=True)
        return np.logical_and.reduce([text_of(profiles, f"Metadata_{name}") == part for name, part in parts])


@dataclass(frozen=True)
class Wells:
    """The wells of one condition: `meta` one row a well, `features` float64 (wells, features), `names` of features.

    `finite[i]` is false for a well that is mostly not finite; it stays in `meta` and takes no part in any ranking.
    `n_not_finite`: how many features of the profiles were left out for values that are not finite; `too_large`: which
    for their size.

    Metadata_broad_sample of a sample that stands here in several doses is "<sample> @ <dose>": each is a perturbation
    of its own. `Metadata_sample` and `Metadata_dose` are the parts.
    """

    meta: pd.DataFrame
    features: np.ndarray
    names: tuple[str, ...]
    finite: np.ndarray
    n_not_finite: int = 0
    too_large: tuple[str, ...] = ()

    @property
    def is_negative_control(self) -> np.ndarray:
        return (self.meta["Metadata_control_type"] == "negcon").to_numpy()

    @property
    def is_query(self) -> np.ndarray:
        return ~self.is_negative_control & (self.meta["Metadata_broad_sample"] != "").to_numpy()

    def consensus(self, by: str, keep: np.ndarray | None = None) -> Consensus:
        """Median profile per value of the metadata column `by`, over query wells (and `keep`, a mask, if given)."""
        chosen = self.is_query & self.finite & (self.meta[by] != "").to_numpy()
        if keep is not None:
            chosen &= keep
        groups = pd.DataFrame(self.features[chosen]).groupby(self.meta.loc[chosen, by].to_numpy(), sort=True)
        medians = groups.median()
        meta = self.meta[chosen].drop_duplicates(by).set_index(by, drop=False).loc[medians.index].reset_index(drop=True)
        return Consensus(meta, medians.to_numpy(), self.names)


class Consensus(NamedTuple):
    """One row a perturbation (or gene): `meta`, `features` (rows, features), `names` of features."""

    meta: pd.DataFrame
    features: np.ndarray
    names: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Consensus:
        return Consensus(self.meta[rows].reset_index(drop=True), self.features[rows], self.names)

    def on(self, names: list[str]) -> np.ndarray:
        """Features of these names, in this order."""
        at = {name: i for i, name in enumerate(self.names)}
        return self.features[:, [at[name] for name in names]]


def common_features(*several: Consensus) -> list[str]:
    shared = set.intersection(*(set(one.names) for one in several))
    return [name for name in several[0].names if name in shared]


def feature_names(profiles: pd.DataFrame, published: bool = False) -> list[str]:
    """The columns that wells are ranked by. Raises `ConfigError` where one that is no metadata holds no numbers.

    `published`: all that are measured, as the authors' code took them.
    """
    measured = measured_names(profiles)
    if text := no_numbers(profiles, measured):
        row = first_text(profiles[text[0]])
        value = " ".join(str(profiles[text[0]].iloc[row]).split())[:40] or "an empty text"
        well = " ".join(text_of(profiles.iloc[[row]], name)[0] for name in (*PLATE, "Metadata_Well")).strip()
        more = f" and {len(text) - 5} more" if len(text) > 5 else ""
        raise ConfigError(
            f"These profiles have columns that are no numbers: {', '.join(text[:5])}{more}. A column that does not "
            f"start with Metadata is taken for a feature: call it Metadata_..., or leave it out of the profiles. "
            f"{text[0]} holds {value}, for example{well and f', in {well}'}."
        )
    return measured if published else ranked_columns(profiles).features


def times_too_large(features: np.ndarray) -> np.ndarray:
    """How many times larger each feature is, by its root mean square over the wells, than the median one.

    features: float64 (wells, features), finite. Features of zeros alone are not asked.
    """
    with np.errstate(over="ignore"):
        size = np.sqrt(np.mean(np.square(features), axis=0)) if len(features) else np.zeros(features.shape[1])
    return size / np.quantile(size[size > 0], 0.5, method="lower") if (size > 0).any() else size


def conditions(profiles: pd.DataFrame) -> list[Condition]:
    """The conditions in these profiles, sorted. Profiles without condition columns are one condition."""
    _check(profiles)
    columns = {name: text_of(profiles, f"Metadata_{name}") for name in Condition._fields}
    return sorted(Condition(*map(str, row)) for row in pd.DataFrame(columns).drop_duplicates().itertuples(index=False))


def wells_of(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> Wells:
    """The non-empty wells of a condition, ordered by plate and well.

    Features that a plate of the condition lacks altogether are left out, as the paper's code keeps common columns.
    In `published` other values that are not finite stay; otherwise wells that are mostly not finite are marked, and
    features with such a value in any other well are left out, and so are features TOO_LARGE for the others.
    """
    rows = profiles[condition.rows(profiles)]
    meta = pd.DataFrame({name: text_of(rows, name) for name in (*REQUIRED, *OPTIONAL)}, dtype=object)
    order = meta.sort_values(["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]).index
    order = order[((meta["Metadata_broad_sample"] != "") | (meta["Metadata_control_type"] == "negcon"))[order]]
    meta = meta.loc[order].reset_index(drop=True)
    meta = _dosed(meta, rows.iloc[order])
    names = np.array(feature_names(rows, rules.published))
    if not len(names):
        raise ConfigError("These profiles have metadata but no features. Give the table with the features.")
    features = rows[names].to_numpy(dtype=float)[order]

    is_finite = np.isfinite(features)
    plates = meta["Metadata_Plate"].to_numpy()
    keep = np.ones(len(names), dtype=bool)
    if not is_finite.all():
        for plate in pd.unique(plates):
            lacks = np.isnan(features[plates == plate]).all(axis=0)
            # A plate without any value, e.g. without cells, has no say in which features the others have.
            keep &= ~lacks if rules.published or not lacks.all() else True
    usable = np.ones(len(meta), dtype=bool)
    if not rules.published:
        usable = (~is_finite[:, keep]).mean(axis=1) <= MOSTLY_EMPTY if keep.any() else ~usable
        keep &= is_finite[usable].all(axis=0)
    n_not_finite = int((~keep).sum())
    large = np.zeros_like(keep)
    if not rules.published:
        large[keep] = times_too_large(features[np.ix_(usable, keep)]) > TOO_LARGE
        keep &= ~large
    features = features[:, keep]
    if not rules.published:
        usable &= np.any(features != 0, axis=1)
    return Wells(meta, features, tuple(names[keep]), usable, n_not_finite, tuple(names[large]))


def _dosed(meta: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The wells with each dose of a sample named apart; `rows`: the same wells as the profiles say them."""
    sample, dose = meta["Metadata_broad_sample"], pd.Series(doses(rows), index=meta.index)
    treated = (sample != "") & (meta["Metadata_control_type"] != "negcon") & (dose != "")
    several = treated & (dose[treated].groupby(sample[treated]).transform("nunique").reindex(meta.index) > 1)
    return meta.assign(
        Metadata_broad_sample=sample.mask(several, sample + " @ " + dose),
        Metadata_sample=sample,
        Metadata_dose=dose.where(several, ""),
    )


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


def genes_of(meta: pd.DataFrame) -> list[frozenset[str]]:
    """The genes each row stands for: its target list, or where it has none, its gene."""
    listed = meta["Metadata_target_list"].where(meta["Metadata_target_list"] != "", meta["Metadata_gene"])
    return [frozenset(gene.strip() for gene in genes.split("|") if gene.strip()) for genes in listed]


def is_compound(condition: Condition) -> bool:
    return condition.modality.lower() == "compound"


def text_of(profiles: pd.DataFrame, column: str) -> np.ndarray:
    """A metadata column as text; missing columns and missing values are empty."""
    if column not in profiles:
        return np.full(len(profiles), "", dtype=object)
    return as_text(profiles[column]).to_numpy(dtype=object)


def _check(profiles: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED if name not in profiles]
    if missing:
        raise ConfigError(
            f"These profiles have no column {', '.join(missing)}. Annotate them with the plate map and the "
            "perturbation table, or name their screen, so that the columns can come from its tables."
        )
