"""Gaussian smoothing with the arithmetic of `scipy.ndimage`, in one pass an axis over whole rows.

A threshold decides on single float32 steps, so the sums run in scipy's order: from the outermost pair of taps
inwards, in float64, rounded to the image's type after each axis.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel

#: radius from which on the sum of all weights is taken from the curve: no double tells them apart, and memory ends
LARGE = 2**22


def gaussian_weights(sigma: float, length: int) -> np.ndarray:
    """Half of the kernel, from the centre outwards (float64), cut at 4 sigma, for an image of this length.

    Weights beyond the length meet nothing but zeros and are left out; they count in the sum to which all are scaled.
    A sigma of 0 or below leaves an image as it is, as in SciPy.
    """
    if sigma <= 1e-15:
        return np.ones(1)
    radius = int(4.0 * float(sigma) + 0.5)
    # numpy's own exp depends on the processor; the C library's is what CellProfiler's numpy calls.
    scale = -0.5 / (sigma * sigma)
    half = [math.exp(scale * (x * x)) for x in range((radius if radius < LARGE else length) + 1)]
    if radius < LARGE:
        total = np.sum(np.array(half[:0:-1] + half))
    else:
        total = math.sqrt(2 * math.pi) * sigma * math.erf((radius + 0.5) / (math.sqrt(2) * sigma))
    return np.array(half[:length]) / total


def smooth(image: np.ndarray, sigma: float, mask: np.ndarray | None = None) -> np.ndarray:
    """Gaussian filter of the pixels of a mask (bool (y, x), or all), corrected at its borders: float64 (y, x).

    The image is filtered with zeros around it and divided by the same filter of an image of ones
    (centrosome.smooth.smooth_with_function_and_mask).
    """
    weights = gaussian_weights(sigma, max(image.shape))
    if mask is None:
        return normalise(filter_both(image, weights), *coverage(image.shape, weights))
    covered = filter_both(mask.astype(np.float64), weights)
    return filter_both(np.where(mask, image, image.dtype.type(0)), weights) / (covered + np.finfo(float).eps)


def filter_both(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return filter_rows(filter_columns(image, weights), weights)


def coverage(shape: tuple[int, int], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The filter of an image of ones: its distinct rows (float64), and which of them is at each y."""
    by_row = filter_columns(np.ones((shape[0], 1)), weights)[:, 0]
    distinct, which = np.unique(by_row, return_inverse=True)
    return filter_rows(np.repeat(distinct[:, None], shape[1], axis=1), weights), which


@kernel
def normalise(filtered: np.ndarray, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    result = np.empty(filtered.shape)
    for y in range(filtered.shape[0]):
        row = rows[which[y]]
        for x in range(filtered.shape[1]):
            result[y, x] = np.float64(filtered[y, x]) / (row[x] + 2.220446049250313e-16)
    return result


@kernel
def filter_columns(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate along y with a symmetric kernel, zeros outside."""
    height, width = image.shape
    result = np.empty_like(image)
    total = np.empty(width)
    for y in range(height):
        for x in range(width):
            total[x] = image[y, x] * weights[0]
        for k in range(weights.size - 1, 0, -1):
            weight = weights[k]
            above, below = y - k >= 0, y + k < height
            if above and below:
                for x in range(width):
                    total[x] += (np.float64(image[y - k, x]) + np.float64(image[y + k, x])) * weight
            elif above:
                for x in range(width):
                    total[x] += np.float64(image[y - k, x]) * weight
            elif below:
                for x in range(width):
                    total[x] += np.float64(image[y + k, x]) * weight
        for x in range(width):
            result[y, x] = total[x]
    return result


@kernel
def filter_rows(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate along x with a symmetric kernel, zeros outside."""
    height, width = image.shape
    radius = weights.size - 1
    result = np.empty_like(image)
    total = np.empty(width)
    padded = np.zeros(width + 2 * radius)
    inside = padded[radius : radius + width]
    for y in range(height):
        for x in range(width):
            inside[x] = image[y, x]
            total[x] = inside[x] * weights[0]
        for k in range(radius, 0, -1):
            weight = weights[k]
            # Views, because an index that could be negative keeps the compiler from using vectors.
            left, right = padded[radius - k : radius - k + width], padded[radius + k : radius + k + width]
            for x in range(width):
                total[x] += (left[x] + right[x]) * weight
        for x in range(width):
            result[y, x] = total[x]
    return result
