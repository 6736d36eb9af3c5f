"""What the modules say of the pixels of an image as a whole: float32 vectors, with the sums of NumPy 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.engines.native.numpy1 import sums

SUMMARY = (
    *("TotalIntensity", "MeanIntensity", "MedianIntensity", "StdIntensity", "MADIntensity"),
    *("MaxIntensity", "MinIntensity"),
)


def summary(pixels: np.ndarray) -> tuple[float, ...]:
    """In the order of `SUMMARY`; zeros where there is no pixel."""
    if not pixels.size:
        return (0.0,) * len(SUMMARY)
    total, median = sums.total(pixels), np.median(pixels)
    return (
        float(total),
        float(total) / pixels.size,
        float(median),
        float(np.sqrt(sums.variance(pixels))),
        float(np.median(np.abs(pixels - median))),
        float(pixels.max()),
        float(pixels.min()),
    )


def percent_maximal(pixels: np.ndarray) -> float:
    """Percent of pixels as bright as the brightest; 0 where there is none."""
    return 100.0 * np.count_nonzero(pixels == pixels.max()) / pixels.size if pixels.size else 0.0


def percent_minimal(pixels: np.ndarray) -> float:
    return 100.0 * np.count_nonzero(pixels == pixels.min()) / pixels.size if pixels.size else 0.0


def percentiles(pixels: np.ndarray, wanted: Sequence[int]) -> list[float]:
    """As `numpy.percentile`, interpolated in double precision; zeros where there is no pixel."""
    if not pixels.size:
        return [0.0] * len(wanted)
    ordered = np.sort(pixels)
    found = []
    for percent in wanted:
        place = (pixels.size - 1) * (percent / 100)
        at = int(place)
        low, high = ordered[at], ordered[min(at + 1, pixels.size - 1)]
        found.append(float(low) + float(high - low) * (place - at))
    return found
