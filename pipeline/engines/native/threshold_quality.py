"""What CellProfiler measures of a threshold: how like the pixels on either side of it are."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.libm import log2


def weighted_variance(image: np.ndarray, foreground: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Variance of log2 intensity within foreground and background, weighted by their pixels; 0 where there are none."""
    pixels = image.ravel() if mask is None else image[mask]
    is_inside = foreground.ravel() if mask is None else foreground[mask]
    darkest = pixels.max() / np.float32(256) if pixels.size else 0
    if darkest == 0:
        return 0.0
    logs = log2(np.maximum(pixels, darkest))
    inside, outside = logs[is_inside], logs[~is_inside]
    if inside.size == 0:
        return float(sums.variance(outside))
    if outside.size == 0:
        return float(sums.variance(inside))
    total = float(sums.variance(inside)) * inside.size + float(sums.variance(outside)) * outside.size
    return total / (inside.size + outside.size)


def sum_of_entropies(image: np.ndarray, foreground: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Entropies of the log2 intensities of foreground and background in 256 bins, after noise of 1/256.

    The noise is normal, and the same for all images of a shape (centrosome.smooth.smooth_with_noise).
    """
    counted = np.ones(image.shape, bool) if mask is None else mask
    darkest = image.max(where=counted, initial=-np.inf) / np.float32(256) if counted.any() else 0
    if darkest == 0:
        return 0.0
    step = np.float32(1 / 256)
    clipped = np.clip(np.maximum(image, darkest), step, np.float32(1))
    log_low, log_high = log2(clipped), log2(clipped + step)
    inside, outside, is_flat = noisy_histograms(
        log_low.ravel(), log_high.ravel(), normal_noise(image.shape).ravel(), foreground.ravel(), counted.ravel(), 256
    )
    if is_flat:
        return math.log2(np.count_nonzero(counted))
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
def noisy_histograms(log_low, log_high, noise, foreground, counted, bins):
    """Histograms (inside, outside) of `log_high * noise + (1 - noise) * log_low`, kept at or below zero.

    Of the pixels that are `counted`, in bins from the lowest to the highest of all.

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
        if not counted[k]:
            continue
        place = max(min(int((_noisy(log_low[k], log_high[k], noise[k]) - lower) * scale), bins - 1), 0)
        if foreground[k]:
            inside[place] += 1
        else:
            outside[place] += 1
    return inside, outside, upper == lower


@kernel
def _noisy(log_low: float, log_high: float, noise: float) -> float:
    return min(log_high * noise + (1 - noise) * log_low, 0.0)
