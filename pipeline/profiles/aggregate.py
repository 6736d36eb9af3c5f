"""The profile of a well: one number per feature for all of its cells."""

from __future__ import annotations

import numpy as np


def aggregate(cells: np.ndarray, how: str = "median") -> np.ndarray:
    """The exact median or the mean of each feature: (cells, features) -> float64 (features,).

    Missing values (NaN) are left out, as pandas and pycytominer.aggregate do; a feature without any value, or a well
    without cells, is NaN. Infinite values count as what they are.
    """
    if how == "mean":
        count = np.count_nonzero(~np.isnan(cells), axis=0)
        return np.divide(
            np.nansum(cells, axis=0, dtype=np.float64), count, out=np.full(cells.shape[1], np.nan), where=count > 0
        )
    if how != "median":
        raise ValueError(f"cells can be aggregated by median or mean, not by {how!r}")
    if not len(cells):
        return np.full(cells.shape[1], np.nan)
    # Sorting puts NaN last, so that the middle of what is there can be picked. numpy.nanmedian would take the mean of
    # the two middle values in float32, and three times as long.
    ordered = np.sort(np.ascontiguousarray(cells.T), axis=1)
    count = ordered.shape[1] - np.count_nonzero(np.isnan(ordered), axis=1)
    row = np.arange(len(ordered))
    low, high = ordered[row, np.maximum(count - 1, 0) // 2], ordered[row, np.minimum(count // 2, len(cells) - 1)]
    with np.errstate(invalid="ignore"):  # the middle between two infinities
        middle = low.astype(np.float64) / 2 + high.astype(np.float64) / 2
    return np.where(count > 0, middle, np.nan)
