"""Two features of nearly flat or patternless textures, rounded as mahotas rounds them.

Correlation divides a difference of squares of grey levels, and InfoMeas2 is the root of a difference of entropies.
Where these differences all but vanish, what mahotas 1.4 (`mahotas.features.haralick`, MIT) returns is made of its own
rounding errors; so it is computed again here from the same matrix in the same order.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.kernels.haralick import FEATURES
from pipeline.engines.native.numpy1 import libm
from pipeline.engines.native.numpy1.products import WIDTH, dot

CORRELATION, VARIANCE, SUM_AVERAGE, INFORMATION = map(
    FEATURES.index, ("Correlation", "Variance", "SumAverage", "InfoMeas2")
)
ROUNDED = [CORRELATION, INFORMATION]

#: Rounding changes a variance by 1e-15 of the squared mean at most, and a difference of entropies by 1e-13. Beyond
#: these limits it moves the two features by less than 1e-9.
LEAST_VARIANCE = 1e-5  # of the squared mean
LEAST_INFORMATION = 1e-4


def is_rounding(features: np.ndarray) -> np.ndarray:
    """bool, one for each vector of 13 features (the last axis); false where there is but one level: that is exact."""
    variance, mean = features[..., VARIANCE], features[..., SUM_AVERAGE] / 2
    is_flat = variance < LEAST_VARIANCE * mean**2
    return (variance > 0) & (is_flat | (features[..., INFORMATION] < LEAST_INFORMATION))


def rounded_features(levels: np.ndarray, step: np.ndarray, *, ignore_zeros: bool) -> tuple[float, float]:
    """Correlation and InfoMeas2 of a uint8 image, between pixels `step` (rows, columns) apart.

    Where `ignore_zeros`, pixels of level 0 do not count. There have to be two levels, at least.
    """
    counts = _co_occurrence(levels, *step.tolist())
    if ignore_zeros:
        counts[0] = counts[:, 0] = 0
    p = counts / float(counts.sum())
    px, py = p.sum(axis=0), p.sum(axis=1)
    level = np.arange(float(len(p)))
    mean_x, mean_y = dot(px, level), dot(py, level)
    deviation_x = math.sqrt(dot(px, level * level) - mean_x * mean_x)
    deviation_y = math.sqrt(dot(py, level * level) - mean_y * mean_y)
    kept = _turns(p.ravel())
    product = dot(np.outer(level, level).ravel()[kept], p.ravel()[kept])
    correlation = 1.0 / deviation_x / deviation_y * (product - mean_x * mean_y)
    information = _entropy(np.outer(px, py).ravel()) - _entropy(p.ravel())
    return correlation, math.sqrt(max(0.0, 1 - math.exp(-2.0 * information)))


def _co_occurrence(levels: np.ndarray, down: int, right: int) -> np.ndarray:
    """Symmetric counts: int64, as wide as there are levels up to the highest."""
    height, width = levels.shape
    size = int(levels.max()) + 1
    here = levels[: height - down, max(0, -right) : width - max(0, right)].astype(np.int64)
    there = levels[down:, max(0, right) : width + min(0, right)]
    counts = np.bincount((here * size + there).ravel(), minlength=size * size).reshape(size, size)
    return counts + counts.T


def _entropy(p: np.ndarray) -> float:
    p = p[_turns(p)]
    return -dot(libm.log2(np.where(p == 0, 1.0, p)), p)


def _turns(p: np.ndarray) -> np.ndarray:
    """Which entries make a difference to the rounding of `dot` with others: bool (entries).

    It takes `WIDTH` products at a time, so that as many zeros can be left out, which saves time.
    """
    is_used = np.zeros(p.size // WIDTH + 1, bool)
    is_used[np.flatnonzero(p) // WIDTH] = True
    is_used[-1] = True  # what is left over at the end is added one by one
    return np.repeat(is_used, WIDTH)[: p.size]
