"""What the modules say of the pixels of an image as a whole: float32 vectors, with the sums of NumPy 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels.keys import sort_keys, sort_run, values_of
from pipeline.engines.native.numpy1 import sums

SUMMARY = (
    *("TotalIntensity", "MeanIntensity", "MedianIntensity", "StdIntensity", "MADIntensity"),
    *("MaxIntensity", "MinIntensity"),
)


def ordered(pixels: np.ndarray) -> np.ndarray:
    """The same values, rising; NaN at the end, and no negative zero."""
    if not pixels.size:
        return pixels
    keys = sort_keys(pixels)
    sort_run(keys, np.empty_like(keys))
    return values_of(keys)


def summary(pixels: np.ndarray, in_order: np.ndarray) -> tuple[float, ...]:
    """In the order of `SUMMARY`; zeros where there is no pixel. `in_order`: see `ordered`."""
    if not pixels.size:
        return (0.0,) * len(SUMMARY)
    total, middle = sums.total(pixels), median(in_order)
    return (
        float(total),
        float(total) / pixels.size,
        float(middle),
        float(np.sqrt(sums.variance(pixels))),
        float(median_deviation(in_order, middle)),
        float(pixels.max()),
        float(pixels.min()),
    )


def percent_maximal(pixels: np.ndarray) -> float:
    """Percent of pixels as bright as the brightest; 0 where there is none."""
    return 100.0 * np.count_nonzero(pixels == pixels.max()) / pixels.size if pixels.size else 0.0


def percent_minimal(pixels: np.ndarray) -> float:
    return 100.0 * np.count_nonzero(pixels == pixels.min()) / pixels.size if pixels.size else 0.0


def median(in_order: np.ndarray) -> np.float32:
    """As `numpy.median` of float32 values; NaN where one is."""
    half = in_order.size // 2
    if np.isnan(in_order[-1]):
        return in_order[-1]
    return in_order[half] if in_order.size % 2 else (in_order[half - 1] + in_order[half]) / np.float32(2)


def median_deviation(in_order: np.ndarray, centre: float | np.floating) -> np.float32:
    """The median of |value - centre|, in single precision."""
    return np.float32(middle_deviation(in_order, np.float32(centre)))


@kernel
def middle_deviation(in_order: np.ndarray, centre: np.float32) -> np.float32:
    """Deviations rise both ways from the centre."""
    n = in_order.size
    if not np.isfinite(centre) or np.isnan(in_order[n - 1]):
        return np.float32(np.nan)
    above = np.searchsorted(in_order, centre)
    below = above - 1
    last = current = np.float32(0)
    for _ in range(n // 2 + 1):
        last = current
        if below < 0 or (above < n and in_order[above] - centre <= centre - in_order[below]):
            current = in_order[above] - centre
            above += 1
        else:
            current = centre - in_order[below]
            below -= 1
    return current if n % 2 else (last + current) / np.float32(2)


def percentiles(in_order: np.ndarray, wanted: Sequence[int]) -> list[float]:
    """As `numpy.percentile`, interpolated in double precision; zeros where there is no pixel."""
    if not in_order.size:
        return [0.0] * len(wanted)
    found = []
    for percent in wanted:
        place = (in_order.size - 1) * (percent / 100)
        at = int(place)
        low, high = in_order[at], in_order[min(at + 1, in_order.size - 1)]
        found.append(float(low) + float(high - low) * (place - at))
    return found
