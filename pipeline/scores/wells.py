"""Profiles as the scores see them: conditions, the wells of a condition, consensus profiles.

A profile table has one row a well, `Metadata_*` columns first, features after them. The annotations used are
`Metadata_Plate`, `Metadata_Well`, `Metadata_broad_sample`, `Metadata_control_type` (always), `Metadata_Batch`,
`Metadata_modality`, `Metadata_cell_type`, `Metadata_timepoint`, `Metadata_variant`, `Metadata_gene`,
`Metadata_target_list` (genes separated by |) and `Metadata_pert_iname` (where there are any).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from pipeline.errors import ConfigError
from pipeline.scores.rules import Rules

REQUIRED = ("Metadata_Plate", "Metadata_Well", "Metadata_broad_sample", "Metadata_control_type")
OPTIONAL = (
    "Metadata_Batch", "Metadata_modality", "Metadata_cell_type", "Metadata_timepoint", "Metadata_variant",
    "Metadata_gene", "Metadata_target_list", "Metadata_pert_iname",
)  # fmt: skip

#: Without them plates of several conditions are one, and no perturbation has a gene.
CONDITION_COLUMNS = ("Metadata_modality", "Metadata_cell_type", "Metadata_timepoint")
GENES = ("Metadata_gene", "Metadata_target_list")

#: A well with a larger share of values that are not finite has no profile worth ranking.
MOSTLY_EMPTY = 0.5


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
    `n_not_finite`: how many features of the profiles were left out for values that are not finite.
    """

    meta: pd.DataFrame
    features: np.ndarray
    names: tuple[str, ...]
    finite: np.ndarray
    n_not_finite: int = 0

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


def feature_names(profiles: pd.DataFrame) -> list[str]:
    """The columns that are not metadata. Raises `ConfigError` where one of them is no number."""
    names = [name for name in profiles.columns if not name.startswith("Metadata")]
    text = [name for name in names if not (is_numeric_dtype(profiles[name]) or _is_number(profiles[name]))]
    if text:
        raise ConfigError(
            f"These profiles have columns that are no numbers: {', '.join(text)}. A column that does not start with "
            "Metadata is taken for a feature: call it Metadata_..., or leave it out of the profiles."
        )
    return names


def _is_number(column: pd.Series) -> bool:
    """Whether a column without a type of numbers holds nothing else."""
    try:
        column.astype(float)
    except (ValueError, TypeError):
        return False
    return True


def conditions(profiles: pd.DataFrame) -> list[Condition]:
    """The conditions in these profiles, sorted. Profiles without condition columns are one condition."""
    _check(profiles)
    columns = {name: text_of(profiles, f"Metadata_{name}") for name in Condition._fields}
    return sorted(Condition(*map(str, row)) for row in pd.DataFrame(columns).drop_duplicates().itertuples(index=False))


def wells_of(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> Wells:
    """The non-empty wells of a condition, ordered by plate and well.

    Features that a plate of the condition lacks altogether are left out, as the paper's code keeps common columns.
    In `published` other values that are not finite stay; otherwise wells that are mostly not finite are marked, and
    features with such a value in any other well are left out.
    """
    rows = profiles[condition.rows(profiles)]
    meta = pd.DataFrame({name: text_of(rows, name) for name in (*REQUIRED, *OPTIONAL)}, dtype=object)
    order = meta.sort_values(["Metadata_Batch", "Metadata_Plate", "Metadata_Well"]).index
    order = order[((meta["Metadata_broad_sample"] != "") | (meta["Metadata_control_type"] == "negcon"))[order]]
    meta = meta.loc[order].reset_index(drop=True)
    names = np.array(feature_names(rows))
    if not len(names):
        raise ConfigError("These profiles have metadata but no features. Give the table with the features.")
    features = rows[names].to_numpy(dtype=float)[order]

    is_finite = np.isfinite(features)
    plates = meta["Metadata_Plate"].to_numpy()
    keep = np.ones(len(names), dtype=bool)
    if not is_finite.all():
        for plate in pd.unique(plates):
            keep &= ~np.isnan(features[plates == plate]).all(axis=0)
    usable = np.ones(len(meta), dtype=bool)
    if not rules.published:
        usable = (~is_finite[:, keep]).mean(axis=1) <= MOSTLY_EMPTY if keep.any() else ~usable
        keep &= is_finite[usable].all(axis=0)
    features = features[:, keep]
    if not rules.published:
        usable &= np.any(features != 0, axis=1)
    return Wells(meta, features, tuple(names[keep]), usable, int((~keep).sum()))


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
    return profiles[column].astype(object).where(profiles[column].notna(), "").astype(str).to_numpy(dtype=object)


def _check(profiles: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED if name not in profiles]
    if missing:
        raise ConfigError(
            f"These profiles have no column {', '.join(missing)}. Annotate them with the plate map and the "
            "perturbation table, or name their screen, so that the columns can come from its tables."
        )
