"""Optional steps between profiles and scores, all off by default. Each takes profiles and returns profiles.

Profiles say in `Metadata_steps` what was done to them, and so does every table scored from them, in `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.scores.wells import MOSTLY_EMPTY, TOO_LARGE, feature_names, times_too_large
from pipeline.screen.columns import BATCH, CONDITION, SAMPLE, WELL
from pipeline.screen.columns import STEPS as STEPS_COLUMN
from pipeline.screen.conditions import conditions
from pipeline.screen.spelling import is_negcon, text_of


def sphere(profiles: pd.DataFrame, columns: Sequence[str] = CONDITION) -> pd.DataFrame:
    """Whiten each condition by its negative controls (ZCA), so that features that vary together among controls stop
    counting several times. A feature not finite in a condition, too large for the others (TOO_LARGE) or constant among
    the controls becomes NaN there, and so does a well that is mostly not finite, e.g. one without cells.

    The covariance is shrunk by Ledoit and Wolf's rule (J. Multivariate Anal. 88, 2004). Without it, fewer controls than
    features are fitted exactly: directions in which they happen not to differ are blown up, in which every other well
    then stands apart from them, and inert perturbations are retrieved by the hundred. Eigenvectors are LAPACK's: their
    last digits are the processor's.
    """
    profiles = profiles.copy()
    names = np.array(feature_names(profiles))
    for condition in conditions(profiles, columns):
        rows = condition.rows(profiles)
        features = profiles.loc[rows, names].to_numpy(dtype=float)
        profiles.loc[rows, names] = _sphered(features, is_negcon(profiles[rows]), f"Condition {condition.key}")
    return profiles


def _sphered(features: np.ndarray, is_control: np.ndarray, where: str) -> np.ndarray:
    """The features (wells, features) of one condition, float64, whitened by the wells that are controls."""
    from sklearn.covariance import LedoitWolf  # takes seconds to import

    is_finite = np.isfinite(features)
    whole = is_finite.mean(axis=1) > MOSTLY_EMPTY
    controls = whole & is_control
    if controls.sum() < 3:
        raise ConfigError(
            f"{where} has {controls.sum()} negative control wells; sphering learns from them and needs at least 3. "
            "Leave the step out, or give the wells their control_type."
        )
    usable = is_finite[whole].all(axis=0) & (np.ptp(features[controls], axis=0) > 0)
    usable[usable] = times_too_large(features[np.ix_(whole, usable)]) <= TOO_LARGE
    if not usable.any():
        raise ConfigError(
            f"{where} has no feature that is finite in its wells and differs among its negative controls, so none to "
            "sphere. Leave the step out."
        )
    learnt = LedoitWolf().fit(features[np.ix_(controls, usable)])
    variances, directions = np.linalg.eigh(learnt.covariance_)
    whitening = (directions / np.sqrt(variances)) @ directions.T
    sphered = np.full_like(features, np.nan)
    sphered[np.ix_(whole, usable)] = (features[np.ix_(whole, usable)] - learnt.location_) @ whitening
    return sphered


def centre_positions(profiles: pd.DataFrame, columns: Sequence[str] = CONDITION) -> pd.DataFrame:
    """Subtract from each well the mean of its position over all plates of its batch.

    Sound only where positions hold many samples over the plates, for a share of each is subtracted with the position:
    with one layout the treatment itself, so a batch in which a position holds a single sample is refused.
    """
    batch = profiles[BATCH] if BATCH in profiles else pd.Series("", index=profiles.index)
    place = [batch, profiles[WELL]]
    treated = pd.Series(text_of(profiles, SAMPLE), index=profiles.index).mask(is_negcon(profiles), "")
    samples = treated.groupby(place).nunique()
    single = samples[(samples < 2) & (treated != "").groupby(place).any()]  # a place of controls has no treatment
    if len(single):
        name, well = single.index[0]
        raise ConfigError(
            f"Position {well} of batch {name or '(none)'} holds one sample on every plate, as do {len(single) - 1} "
            "others: centring them would remove the treatments. Score plates of several layouts together, or leave "
            "the step out."
        )
    names = feature_names(profiles)
    profiles = profiles.copy()
    profiles[names] = profiles[names] - profiles[names].groupby(place).transform("mean")
    return profiles


def clip_features(profiles: pd.DataFrame, columns: Sequence[str] = CONDITION, limit: float = 20.0) -> pd.DataFrame:
    """Values beyond +-limit (in the profile's units, MADs of the controls) become +-limit, infinite ones too."""
    names = feature_names(profiles)
    profiles = profiles.copy()
    profiles[names] = profiles[names].clip(-limit, limit)
    return profiles


#: name -> what it does to profiles, given the columns that make a condition
STEPS: dict[str, Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]] = {
    "clip": clip_features,
    "centre_positions": centre_positions,
    "sphere": sphere,
}


def corrected(profiles: pd.DataFrame, steps: Sequence[str], columns: Sequence[str] = CONDITION) -> pd.DataFrame:
    """The profiles after these steps, in this order, which `Metadata_steps` then names."""
    for step in steps:
        if step not in STEPS:
            raise ConfigError(f"There is no step {step!r} before the scores. Choose from: {', '.join(STEPS)}.")
        profiles = STEPS[step](profiles, columns)
    # The copy puts columns together that the steps replaced one by one.
    return profiles.copy().assign(**{STEPS_COLUMN: ", ".join(steps)}) if steps else profiles


def steps_of(profiles: pd.DataFrame) -> str:
    """What was done to these profiles, e.g. "clip, sphere"; "none"."""
    return ", ".join(dict.fromkeys(step for step in text_of(profiles.head(1), STEPS_COLUMN) if step)) or "none"
