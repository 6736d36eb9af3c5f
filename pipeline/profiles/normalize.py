"""Normalisation of one plate's profiles, by pycytominer."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pycytominer

from pipeline.profiles.columns import feature_names
from pipeline.screen.columns import CONTROL_TYPE, NEGCON

NEGATIVE_CONTROLS = f"{CONTROL_TYPE} == '{NEGCON}'"


def normalize(profiles: pd.DataFrame, method: str, samples: str = "all", epsilon: float = 0.0) -> pd.DataFrame:
    """The profiles of one plate relative to some of its wells: same rows and columns.

    `samples`: "all", or a query that chooses the reference wells. `method`:

    - "mad_robustize": (x - median) / (1.4826 MAD + epsilon). With `epsilon` 0, as in CPJUMP1, a feature whose MAD is 0
      becomes NaN where x is the median and infinite elsewhere; feature selection counts both as missing. A tiny
      epsilon, such as pycytominer's own 1e-18, makes them 0 and huge finite numbers instead.
    - "standardize": (x - mean) / population standard deviation; a feature that does not vary is divided by 1.

    Missing values stay missing and take no part in the statistics; so do wells without cells, which are all NaN, and
    infinite values, which become NaN. A feature that is missing in all reference wells is NaN in all wells.
    Raises `ValueError` where there are no reference wells.
    """
    if profiles.empty or (samples != "all" and profiles.query(samples).empty):
        raise ValueError(f"no well to take as reference ({samples})")
    features = feature_names(profiles)
    # sklearn refuses infinite values and they are no measure of scale for the other method either.
    values = profiles[features].to_numpy(dtype=np.float64)
    metadata = profiles.drop(columns=features)
    finite = pd.DataFrame(np.where(np.isfinite(values), values, np.nan), profiles.index, features)
    finite = pd.concat([metadata, finite], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(After omitting|All axis-slices|One or more)", module="pycytominer")
        return pycytominer.normalize(
            finite,
            features=features,
            meta_features=list(metadata.columns),
            samples=samples,
            method=method,
            mad_robustize_epsilon=epsilon,
        )
