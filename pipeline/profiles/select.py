"""Feature selection over a batch: pycytominer's rules, in numpy, so that 51 plates fit in minutes and memory.

Each rule looks at a matrix (wells, features) and marks the features to drop. Missing values are NaN; infinite ones,
which come of a MAD of 0, count as missing. The rules and their defaults are pycytominer's (BSD-3-Clause), under the
names they have since 1.7, when "variance_threshold" changed its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pycytominer.cyto_utils import get_blocklist_features

from pipeline import matrices
from pipeline.config import SelectConfig

#: as in pycytominer's variance_threshold
MIN_VARIANCE = 1e-6
#: sums of correlations that agree to so many decimals are equal; the rest is rounding
TIE_DECIMALS = 9
#: features whose variance is below this share of their mean square are constant; the rest is rounding
ROUNDING = 1e-10
#: features taken at once, to bound memory
BLOCK = 512


@dataclass(frozen=True)
class Selection:
    """`kept`: names of the features that stay, in order; `dropped`: rule -> names it dropped, in order of the rules.

    Under `union` a feature can be dropped by several rules.
    """

    kept: list[str]
    dropped: dict[str, list[str]]


def select_features(values: np.ndarray, names: Sequence[str], config: SelectConfig) -> Selection:
    """Apply the rules of `config` to profiles, float (wells, features).

    `sequential`: each rule sees what the earlier ones left (pycytominer since 2022-12); `union`: each sees all
    features (2021, and the paper). Wells in which every feature is missing take no part.
    """
    if np.isinf(values).any():
        values = np.where(np.isfinite(values), values, np.nan)
    is_empty = np.isnan(values).all(axis=1)
    if is_empty.any():
        values = values[~is_empty]
    labels = np.asarray(names, dtype=object)
    left = np.ones(len(labels), dtype=bool)
    dropped: dict[str, list[str]] = {}
    for name in config.operations:
        seen = left if config.combine == "sequential" else np.ones_like(left)
        drop = np.zeros_like(left)
        drop[seen] = _rule(name, config)(values if seen.all() else values[:, seen], labels[seen])
        dropped[name] = labels[drop].tolist()
        left = left & ~drop
    return Selection(labels[left].tolist(), dropped)


def _rule(name: str, config: SelectConfig) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    rules: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "frequency_threshold": lambda values, _: is_repetitive(values, config.frequency_cut, config.unique_cut),
        "variance_threshold": lambda values, _: is_constant(values),
        "correlation_threshold": lambda values, _: is_redundant(values, config.correlation),
        "drop_na_columns": lambda values, _: is_missing(values, config.na_cutoff),
        "blocklist": lambda _, names: is_blocked(names),
    }
    return rules[name]


def is_repetitive(values: np.ndarray, frequency_cut: float = 0.05, unique_cut: float = 0.01) -> np.ndarray:
    """Where the second most common value is much rarer than the most common, or distinct values are few.

    count(second) / count(first) < frequency_cut, or distinct values / wells < unique_cut. Missing values are no
    values; a feature with fewer than two values goes. This was `variance_threshold` before pycytominer 1.7.
    """
    return np.fromiter(
        (_is_repetitive(column, frequency_cut, unique_cut) for column in values.T), dtype=bool, count=values.shape[1]
    )


def _is_repetitive(column: np.ndarray, frequency_cut: float, unique_cut: float) -> bool:
    counts = np.sort(np.unique(column[~np.isnan(column)], return_counts=True)[1])
    if len(counts) < 2:
        return True
    return bool(counts[-2] / counts[-1] < frequency_cut or len(counts) / len(column) < unique_cut)


def is_constant(values: np.ndarray, minimum: float = MIN_VARIANCE) -> np.ndarray:
    """Where the population variance is not above `minimum`, or there is no value."""
    return ~(_moments(values)[1] > minimum)


def is_missing(values: np.ndarray, cutoff: float = 0.05) -> np.ndarray:
    """Where the share of missing values is above `cutoff`."""
    return np.isnan(values).sum(axis=0) > cutoff * len(values)


def is_blocked(names: np.ndarray) -> np.ndarray:
    """Features of pycytominer's default blocklist: known to be noisy or meaningless."""
    return np.isin(names.astype(str), get_blocklist_features())


def is_redundant(values: np.ndarray, threshold: float = 0.9) -> np.ndarray:
    """Of every two features with Pearson r above `threshold` (signed), the one that resembles all features more.

    "More": with the larger sum of |r| to all features. All pairs are judged at once, so a feature goes even where
    the one that it resembles goes too. Where the sums are equal (identical features) the earlier one stays; for
    pycytominer that is chance.
    """
    r = correlations(values)
    total = np.round(np.nansum(np.abs(r), axis=0), TIE_DECIMALS)
    order = np.lexsort((-np.arange(len(total)), total))
    drop = np.zeros(len(order), dtype=bool)
    for place, feature in enumerate(order):
        drop[feature] = (r[feature, order[:place]] > threshold).any()
    return drop


def correlations(values: np.ndarray) -> np.ndarray:
    """Pearson r of all pairs of features, each over the wells that have both: (wells, features) -> float64 square.

    NaN for a feature that does not vary (in the wells that the two share). Products of matrices, which are hundreds of
    times faster than pandas.DataFrame.corr where values are missing.
    """
    mean, variance = _moments(values)
    z = values - mean
    z /= np.sqrt(np.where(variance > 0, variance, np.nan))
    is_there = ~np.isnan(z)
    z[~is_there] = 0
    n = max(len(z), 1)  # what the squares of each column add up to
    z = matrices.rounded(z, n)
    r = matrices.gram(z, n)
    r /= n
    partly, others = np.flatnonzero(~is_there.all(axis=0)), np.arange(len(r))
    for start in range(0, len(partly), BLOCK):
        some = partly[start : start + BLOCK]
        for first in range(0, len(others), BLOCK):
            other = others[first : first + BLOCK]
            block = _pairwise(z[:, some], is_there[:, some], z[:, other], is_there[:, other])
            r[np.ix_(some, other)] = block
            r[np.ix_(other, some)] = block.T
        others = np.setdiff1d(others, some, assume_unique=True)
    return np.clip(r, -1, 1, out=r)


def _pairwise(x: np.ndarray, x_is_there: np.ndarray, y: np.ndarray, y_is_there: np.ndarray) -> np.ndarray:
    """Correlations of each x with each y where every pair has wells of its own; missing values are 0.

    The squares of a column add up to the number of wells, so `matrices.rounded` of it makes sums exact.
    """
    wells = max(len(x), 1)
    x, x_there, y_there = x.T, x_is_there.T.astype(np.float64), y_is_there.astype(np.float64)
    squares_of_x, squares_of_y = matrices.rounded(x**2, wells), matrices.rounded(y**2, wells)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = x_there @ y_there
        mean_x, mean_y = x @ y_there / n, x_there @ y / n
        square_x, square_y = squares_of_x @ y_there / n, x_there @ squares_of_y / n
        variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
        r = (matrices.product(x, y, wells) / n - mean_x * mean_y) / np.sqrt(variance_x * variance_y)
    vary = (variance_x > ROUNDING * square_x) & (variance_y > ROUNDING * square_y)
    return np.where(vary, r, np.nan)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population variance of each feature; the variance is 0 where it is rounding, NaN without values."""
    mean, variance = np.empty(values.shape[1]), np.empty(values.shape[1])
    for start in range(0, values.shape[1], BLOCK):
        some = slice(start, start + BLOCK)
        column = values[:, some]
        with np.errstate(invalid="ignore", divide="ignore"):
            count = np.count_nonzero(~np.isnan(column), axis=0)
            mean[some] = np.nansum(column, axis=0) / count
            variance[some] = np.nansum((column - mean[some]) ** 2, axis=0) / count
    variance[variance <= ROUNDING**2 * mean**2] = 0
    return mean, variance
