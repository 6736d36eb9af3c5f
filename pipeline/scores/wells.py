"""Profiles as the scores see them: the wells of a condition, consensus profiles.

A profile table has one row a well, `Metadata_*` columns first, features after them. The annotations used are plate,
well, sample and type of control (always), the columns of the condition, and batch, variant, gene, list of genes
(separated by |), name and dose (where they are there); `pipeline.screen.columns` says how they are called.
What is a feature: `pipeline.profiles.columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.profiles.columns import feature_names as measured_names
from pipeline.profiles.columns import first_text, no_numbers, ranked_columns
from pipeline.scores.rules import Rules
from pipeline.screen.columns import (
    BATCH,
    CONTROL_TYPE,
    DOSE,
    GENE,
    NEGCON,
    PLATE,
    SAMPLE,
    SAMPLE_NAME,
    TARGETS,
    UNDOSED,
    WELL_KEY,
)
from pipeline.screen.conditions import REQUIRED, Condition
from pipeline.screen.doses import doses
from pipeline.screen.spelling import text_of

#: What scores say of wells besides.
OPTIONAL = (BATCH, GENE, TARGETS, SAMPLE_NAME)

#: A well with a larger share of values that are not finite has no profile worth ranking.
MOSTLY_EMPTY = 0.5

#: A feature so many times larger than the others leaves nothing of them: similarities are rounded to 12 decimals, and
#: their part is the square of the inverse. It comes of a MAD of 0 and a tiny epsilon, and says nothing of a well.
TOO_LARGE = 1e6


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
        return (self.meta[CONTROL_TYPE] == NEGCON).to_numpy()

    @property
    def is_query(self) -> np.ndarray:
        return ~self.is_negative_control & (self.meta[SAMPLE] != "").to_numpy()

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
        well = " ".join(text_of(profiles.iloc[[row]], name)[0] for name in WELL_KEY).strip()
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


def wells_of(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> Wells:
    """The non-empty wells of a condition, ordered by plate and well.

    Features that a plate of the condition lacks altogether are left out, as the paper's code keeps common columns.
    In `published` other values that are not finite stay; otherwise wells that are mostly not finite are marked, and
    features with such a value in any other well are left out, and so are features TOO_LARGE for the others.
    """
    rows = profiles[condition.rows(profiles)]
    meta = pd.DataFrame({name: text_of(rows, name) for name in (*REQUIRED, *OPTIONAL)}, dtype=object)
    order = meta.sort_values(WELL_KEY).index
    order = order[((meta[SAMPLE] != "") | (meta[CONTROL_TYPE] == NEGCON))[order]]
    meta = meta.loc[order].reset_index(drop=True)
    meta = _dosed(meta, rows.iloc[order])
    names = np.array(feature_names(rows, rules.published))
    if not len(names):
        raise ConfigError("These profiles have metadata but no features. Give the table with the features.")
    features = rows[names].to_numpy(dtype=float)[order]

    keep = _on_every_plate(features, meta[PLATE].to_numpy(), rules)
    if rules.published:
        usable, large = np.ones(len(meta), dtype=bool), np.zeros_like(keep)
        n_not_finite = int((~keep).sum())
        return Wells(meta, features[:, keep], tuple(names[keep]), usable, n_not_finite, tuple(names[large]))
    is_finite = np.isfinite(features)
    usable = np.zeros(len(meta), dtype=bool)
    if keep.any():
        usable = (~is_finite[:, keep]).mean(axis=1) <= MOSTLY_EMPTY
    keep &= is_finite[usable].all(axis=0)
    n_not_finite = int((~keep).sum())
    large = np.zeros_like(keep)
    large[keep] = times_too_large(features[np.ix_(usable, keep)]) > TOO_LARGE
    keep &= ~large
    features = features[:, keep]
    usable &= np.any(features != 0, axis=1)
    return Wells(meta, features, tuple(names[keep]), usable, n_not_finite, tuple(names[large]))


def _on_every_plate(features: np.ndarray, plates: np.ndarray, rules: Rules) -> np.ndarray:
    """Mask of the features (wells, features) of which every plate has a value."""
    keep = np.ones(features.shape[1], dtype=bool)
    if np.isfinite(features).all():
        return keep
    for plate in pd.unique(plates):
        lacks = np.isnan(features[plates == plate]).all(axis=0)
        # A plate without any value, e.g. without cells, has no say in which features the others have.
        keep &= ~lacks if rules.published or not lacks.all() else True
    return keep


def _dosed(meta: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The wells with each dose of a sample named apart; `rows`: the same wells as the profiles say them."""
    sample, dose = meta[SAMPLE], pd.Series(doses(rows), index=meta.index)
    treated = (sample != "") & (meta[CONTROL_TYPE] != NEGCON) & (dose != "")
    several = treated & (dose[treated].groupby(sample[treated]).transform("nunique").reindex(meta.index) > 1)
    named = {SAMPLE: sample.mask(several, sample + " @ " + dose), UNDOSED: sample, DOSE: dose.where(several, "")}
    return meta.assign(**named)
