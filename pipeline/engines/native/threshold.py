"""The threshold block that the Identify modules share: what is foreground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import smoothing
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.libm import log, log2
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

FEATURES = ("FinalThreshold", "OrigThreshold", "WeightedVariance", "SumOfEntropies")


@dataclass(frozen=True)
class Threshold:
    method: str
    smoothing_scale: float
    correction: float
    bounds: tuple[float, float]
    manual: float

    @classmethod
    def read(cls, settings: Settings) -> Threshold:
        settings.choice("Threshold setting version", ("10", "11", "12"))
        settings.choice("Threshold strategy", ("Global",))
        # The first "Thresholding method" is the global one; the last belongs to the adaptive strategy.
        method = settings.choice("Thresholding method", ("Minimum Cross-Entropy", "Manual", "Otsu"))
        if method == "Otsu":
            settings.choice("Two-class or three-class thresholding?", ("Two classes",))
        if method != "Manual":
            settings.choice("Log transform before thresholding?", ("No", "False"), default="No")
        return cls(
            method=method,
            smoothing_scale=settings.number_of("Threshold smoothing scale"),
            correction=settings.number_of("Threshold correction factor", in_force=method != "Manual"),
            bounds=settings.range_of("Lower and upper bounds on threshold", in_force=method != "Manual"),
            manual=settings.number_of("Manual threshold", in_force=method == "Manual"),
        )

    @staticmethod
    def features(object_set: str) -> list[str]:
        return [f"Threshold_{feature}_{object_set}" for feature in FEATURES]

    def foreground(self, site: Workspace, image: np.ndarray, object_set: str) -> np.ndarray:
        """bool (y, x); records the image-level measurements of the threshold.

        Raises `ValueError` where pixels are NaN. So does CellProfiler, unless all others lie on one side.
        """
        if np.isnan(image.max()):
            raise ValueError(
                f"{np.count_nonzero(np.isnan(image))} pixels of the image in which {object_set} are sought have no "
                "value (NaN), and no threshold parts such an image. Look for a division by zero in a module before, as "
                "by an illumination function."
            )
        if self.method == "Manual":
            original = final = self.manual
        else:
            original = float(minimum_cross_entropy(image) if self.method == "Minimum Cross-Entropy" else otsu(image))
            # The order of min and max lets a NaN through, as CellProfiler's does.
            final = min(max(original * self.correction, self.bounds[0]), self.bounds[1])
        if self.smoothing_scale == 0:
            foreground = image >= np.float32(final)
        else:
            # Half of a pixel's smoothed intensity comes from within the scale's diameter.
            foreground = smoothing.smooth(image, self.smoothing_scale / 0.6744 / 2.0) >= final
        values = (final, original, weighted_variance(image, foreground), sum_of_entropies(image, foreground))
        for feature, value in zip(self.features(object_set), values, strict=True):
            site.add_image(feature, value)
        return foreground


def minimum_cross_entropy(image: np.ndarray) -> np.float32:
    """Li's threshold (Li & Tam 1998, doi:10.1016/S0167-8655(98)00057-9) with scikit-image's float32 steps.

    Of the finite pixels; 0 where there are none, but infinite ones of both signs.
    """
    lowest, highest = image.min(), image.max()
    if lowest == highest:
        return lowest
    if not np.isfinite(highest - lowest):
        image = image[np.isfinite(image)]
        if image.size == 0:
            return np.float32(0)
        lowest = image.min()
    tolerance = max(float(smallest_gap(image)) / 2, 0.5 / 65536)
    raised = image.ravel() - lowest
    above, below = np.empty_like(raised), np.empty_like(raised)
    following = sums.mean(raised)
    current: np.floating = np.float64(-2 * tolerance)
    while abs(following - current) > tolerance:
        current = following
        high, low = means = np.array(means_above_and_below(raised, current, above, below), np.float32)
        log_high, log_low = log(means)
        following = (low - high) / (log_low - log_high)
    return np.float32(following + lowest)


@kernel
def means_above_and_below(values: np.ndarray, threshold: np.floating, above: np.ndarray, below: np.ndarray):
    """float32 means of the values > threshold and of the rest; `above` and `below` are room to work in."""
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
    grid = np.full((high - low) * 65536 + 1, np.float32(np.nan), np.float32)
    for value in values:
        cell = int((np.float64(value) - low) * 65536.0)
        if np.isnan(grid[cell]):
            grid[cell] = value
        elif grid[cell] != value:
            return np.float32(0)
    smallest, last = np.float32(np.inf), np.float32(np.nan)
    for value in grid:
        if not np.isnan(value):
            if not np.isnan(last):
                smallest = min(smallest, value - last)
            last = value
    return smallest


def otsu(image: np.ndarray) -> np.floating:
    """Otsu's threshold of a float32 image in 256 bins, as scikit-image on NumPy 1.26 finds it.

    Raises ValueError where pixels are infinite, as CellProfiler does.
    """
    low, high = image.min(), image.max()
    if low == high:
        return low
    if not np.isfinite(high - low):
        raise ValueError("the image has infinite pixels, and Otsu's method finds no threshold for such an image")
    counts, edges = equal_bins(image.ravel(), 256)
    counts, centres = counts.astype(np.float32), (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    return centres[np.argmax(below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2)]


def equal_bins(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """`numpy.histogram(values, bins)` of float32 values: int64 (bins) and float32 edges (bins + 1).

    From version 2 on NumPy refuses bins so narrow that edges are equal, and computes edges in single precision; here
    they come out as in 1.26.
    """
    low, high = values.min(), values.max()
    edges = np.linspace(float(low), float(high), bins + 1).astype(np.float32)
    # By place first, then by the edges beside it: where these are equal, the two do not say the same.
    place = np.minimum(((values - low) / (high - low) * np.float32(bins)).astype(np.intp), bins - 1)
    place -= values < edges[place]
    place += (values >= edges[place + 1]) & (place != bins - 1)
    return np.bincount(place, minlength=bins), edges


def weighted_variance(image: np.ndarray, foreground: np.ndarray) -> float:
    """Variance of log2 intensity within foreground and background, weighted by their pixels."""
    darkest = image.max() / np.float32(256)
    if darkest == 0:
        return 0.0
    logs = log2(np.maximum(image, darkest)).ravel()
    inside, outside = logs[foreground.ravel()], logs[~foreground.ravel()]
    if inside.size == 0:
        return float(sums.variance(outside))
    if outside.size == 0:
        return float(sums.variance(inside))
    total = float(sums.variance(inside)) * inside.size + float(sums.variance(outside)) * outside.size
    return total / (inside.size + outside.size)


def sum_of_entropies(image: np.ndarray, foreground: np.ndarray) -> float:
    """Entropies of the log2 intensities of foreground and background in 256 bins, after noise of 1/256.

    The noise is normal, and the same for all images of a shape (centrosome.smooth.smooth_with_noise).
    """
    darkest = image.max() / np.float32(256)
    if darkest == 0:
        return 0.0
    step = np.float32(1 / 256)
    clipped = np.clip(np.maximum(image, darkest), step, np.float32(1))
    log_low, log_high = log2(clipped), log2(clipped + step)
    inside, outside, is_flat = noisy_histograms(
        log_low.ravel(), log_high.ravel(), normal_noise(image.shape).ravel(), foreground.ravel(), 256
    )
    if is_flat:
        return math.log2(image.size)
    if inside.sum() == 0 or outside.sum() == 0:
        return 0.0
    entropies = 0.0
    for counts in (inside, outside):
        share = counts[counts > 0] / counts.sum()
        entropies += np.sum(share * log2(share))
    return entropies


@lru_cache(maxsize=2)
def normal_noise(shape: tuple[int, int]) -> np.ndarray:
    noise = np.random.RandomState(0).normal(size=shape)
    noise.flags.writeable = False
    return noise


@kernel
def noisy_histograms(log_low, log_high, noise, foreground, bins):
    """Histograms (inside, outside) of `log_high * noise + (1 - noise) * log_low`, kept at or below zero.

    No value may be NaN. Each is computed twice: to keep it would take more memory than time. The third result says
    whether there is but one value.
    """
    lower, upper = np.inf, -np.inf
    for k in range(noise.size):
        value = _noisy(log_low[k], log_high[k], noise[k])
        lower, upper = min(lower, value), max(upper, value)
    inside, outside = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    scale = bins / (upper - lower) if upper > lower else 0.0
    for k in range(noise.size):
        place = max(min(int((_noisy(log_low[k], log_high[k], noise[k]) - lower) * scale), bins - 1), 0)
        if foreground[k]:
            inside[place] += 1
        else:
            outside[place] += 1
    return inside, outside, upper == lower


@kernel
def _noisy(log_low: float, log_high: float, noise: float) -> float:
    return min(log_high * noise + (1 - noise) * log_low, 0.0)
