"""Thresholds of pixels: a vector of float32, or of float64 where they were transformed to logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage.filters import threshold_multiotsu

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.libm import log

#: bins of the histogram in which three classes are told apart; the other number is tried where three of these are empty
BINS_OF_THREE, MORE_BINS_OF_THREE = 128, 256


@dataclass(frozen=True)
class MinimumCrossEntropy:
    def of(self, pixels: np.ndarray) -> float:
        """Of pixels that are not all the same."""
        return float(minimum_cross_entropy(pixels))

    def of_block(self, pixels: np.ndarray, tolerance: float) -> float:
        """Of a part of an image, whose `tolerance` holds for all parts (see `tolerance_of`)."""
        return float(minimum_cross_entropy(pixels, tolerance))


@dataclass(frozen=True)
class Sauvola(MinimumCrossEntropy):
    """Of a whole image it is minimum cross-entropy; that of each pixel is found by `threshold_map`."""


@dataclass(frozen=True)
class Otsu:
    def of(self, pixels: np.ndarray) -> float:
        return float(otsu(pixels))

    def of_block(self, pixels: np.ndarray, tolerance: float) -> float:
        return self.of(pixels)


@dataclass(frozen=True)
class ThreeClassOtsu:
    """`which`: 0 where the middle class is foreground, 1 where it is background."""

    which: int

    def of(self, pixels: np.ndarray) -> float:
        return float(three_class_otsu(pixels, BINS_OF_THREE)[self.which])

    def of_block(self, pixels: np.ndarray, tolerance: float) -> float:
        if np.unique(pixels).size < 3:
            return float(otsu(pixels))
        try:
            return self.of(pixels)
        except ValueError:
            return float(three_class_otsu(pixels, MORE_BINS_OF_THREE)[self.which])


@dataclass(frozen=True)
class RobustBackground:
    """Average and variation of what is left without the darkest and the brightest pixels."""

    lower: float
    upper: float
    average: str
    variation: str
    deviations: float

    def of(self, pixels: np.ndarray) -> float:
        if pixels.size < 3:
            return 0.0
        ordered = np.sort(pixels)
        low = round(pixels.size * self.lower)
        high = pixels.size - round(pixels.size * self.upper)
        kept = ordered[low:high] if low > 0 else ordered  # where none are cut below, CellProfiler cuts none above
        averages: dict[str, Callable[[np.ndarray], Any]] = {"Mean": sums.mean, "Median": np.median, "Mode": binned_mode}
        if self.variation == "Standard deviation":
            variation = math.sqrt(sums.variance(kept))
            variation = float(np.float32(variation)) if kept.dtype == np.float32 else variation
        else:
            exact = kept.astype(np.float64)
            variation = np.median(np.abs(exact - np.median(exact)))
        return float(averages[self.average](kept)) + float(variation) * self.deviations

    def of_block(self, pixels: np.ndarray, tolerance: float) -> float:
        return self.of(pixels)


Method = MinimumCrossEntropy | Otsu | ThreeClassOtsu | RobustBackground


def of_all(method: Method, pixels: np.ndarray) -> float:
    """The threshold of all pixels together: 0 of none, and of equal ones what they are."""
    if pixels.size == 0:
        return 0.0
    return float(pixels[0]) if pixels.min() == pixels.max() else method.of(pixels)


def binned_mode(ordered: np.ndarray) -> float:
    """Where most pixels are, in as many bins as the root of their number (centrosome.threshold.binned_mode).

    `ordered`: sorted. Raises ValueError where there are none, all are the same, or most are the brightest, as
    CellProfiler does.
    """
    if ordered.size == 0 or ordered[0] == ordered[-1]:
        raise ValueError("Robust Background finds no mode of pixels that are all the same")
    low, bins = ordered[0], math.ceil(math.sqrt(ordered.size))
    places = ((ordered - low) / (ordered[-1] - low) * ordered.dtype.type(bins)).astype(np.intp)
    share = 100 * float(np.argmax(np.bincount(places)) + 0.5) / bins / 100
    if share > 1:
        raise ValueError("Robust Background finds no mode of pixels most of which are the brightest")
    place = (ordered.size - 1) * share
    before = math.floor(place)
    one, other = ordered[before], ordered[min(before + 1, ordered.size - 1)]
    step, part = float(other - one), place - before
    return float(one) + step * part if part < 0.5 else float(other) - step * (1 - part)


def tolerance_of(image: np.ndarray) -> float:
    """At which change of a threshold `minimum_cross_entropy` stops."""
    return max(float(smallest_gap(image)) / 2, 0.5 / 65536)


def minimum_cross_entropy(image: np.ndarray, tolerance: float | None = None) -> np.floating:
    """Li's threshold (Li & Tam 1998, doi:10.1016/S0167-8655(98)00057-9) with scikit-image's steps, in the image's type.

    Of the finite pixels; 0 where there are none, but infinite ones of both signs.
    """
    kind = image.dtype.type
    lowest, highest = image.min(), image.max()
    if lowest == highest:
        return lowest
    if not np.isfinite(highest - lowest):
        image = image[np.isfinite(image)]
        if image.size == 0:
            return kind(0)
        lowest = image.min()
    tolerance = tolerance_of(image) if tolerance is None else tolerance
    raised = image.ravel() - lowest
    above, below = np.empty_like(raised), np.empty_like(raised)
    following: np.floating = kind(sums.mean(raised))
    current: np.floating = np.float64(-2 * tolerance)
    while abs(following - current) > tolerance:
        current = following
        high, low = means = np.array(means_above_and_below(raised, current, above, below), kind)
        log_high, log_low = log(means)
        following = (low - high) / (log_low - log_high)
    return kind(following + lowest)


@kernel
def means_above_and_below(values: np.ndarray, threshold: np.floating, above: np.ndarray, below: np.ndarray):
    """Means of the values > threshold and of the rest; `above` and `below` are room to work in."""
    n_above, n_below = 0, 0
    for value in values:
        if value > threshold:
            above[n_above] = value
            n_above += 1
        else:
            below[n_below] = value
            n_below += 1
    return sums.mean(above[:n_above]), sums.mean(below[:n_below])


def smallest_gap(image: np.ndarray) -> np.floating:
    """The smallest difference between two distinct pixel values, or something smaller than 1/65536.

    Values in one cell of a grid of 65536 steps are that close already; else each cell holds one value.
    """
    low, high = np.floor(image.min()), np.ceil(image.max())
    if high - low > 64:
        return np.min(np.diff(np.unique(image)))
    return gap_on_grid(image.ravel(), np.int64(low), np.int64(high))


@kernel
def gap_on_grid(values: np.ndarray, low: np.integer, high: np.integer) -> np.floating:
    grid = np.full((high - low) * 65536 + 1, np.nan, values.dtype)
    for value in values:
        cell = int((np.float64(value) - low) * 65536.0)
        if np.isnan(grid[cell]):
            grid[cell] = value
        elif grid[cell] != value:
            return values.dtype.type(0)
    smallest, last = values.dtype.type(np.inf), values.dtype.type(np.nan)
    for value in grid:
        if not np.isnan(value):
            if not np.isnan(last):
                smallest = min(smallest, value - last)
            last = value
    return smallest


def otsu(image: np.ndarray) -> np.floating:
    """Otsu's threshold in 256 bins, as scikit-image on NumPy 1.26 finds it.

    Raises ValueError where pixels are infinite, as CellProfiler does.
    """
    if image.min() == image.max():
        return image.min()
    counts, centres = histogram(image.ravel(), 256)
    counts = counts.astype(np.float32)
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    return centres[np.argmax(below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2)]


def three_class_otsu(pixels: np.ndarray, bins: int) -> np.ndarray:
    """The two thresholds that part pixels in three classes (Liao et al. 2001). Raises ValueError where bins with
    pixels are fewer than three, or pixels are infinite.
    """
    counts, centres = histogram(pixels, bins)
    return threshold_multiotsu(classes=3, hist=(counts / counts.sum(), centres))


def histogram(pixels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts (int64) and centres of equal bins. Raises ValueError where pixels are infinite."""
    if not np.isfinite(pixels.max() - pixels.min()):
        raise ValueError("the image has infinite pixels, and Otsu's method finds no threshold for such an image")
    counts, edges = equal_bins(pixels, bins)
    return counts, (edges[:-1] + edges[1:]) / 2


def equal_bins(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """`numpy.histogram(values, bins)`: int64 (bins) and edges (bins + 1) of the type of the values.

    From version 2 on NumPy refuses bins so narrow that edges are equal, and computes edges in single precision; here
    they come out as in 1.26.
    """
    low, high = values.min(), values.max()
    edges = np.linspace(float(low), float(high), bins + 1).astype(values.dtype)
    # By place first, then by the edges beside it: where these are equal, the two do not say the same.
    place = np.minimum(((values - low) / (high - low) * values.dtype.type(bins)).astype(np.intp), bins - 1)
    place -= values < edges[place]
    place += (values >= edges[place + 1]) & (place != bins - 1)
    return np.bincount(place, minlength=bins), edges
