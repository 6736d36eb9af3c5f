"""Surfaces through the pixels of an image, with which an illumination function is smoothed."""

from __future__ import annotations

import math

import numpy as np
from centrosome import cpmorphology
from centrosome import filter as centrosome_filter
from scipy import ndimage

from pipeline.engines.native.compiled import kernel

#: the powers of the row and of the column of each term of a quadratic surface
TERMS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (0, 0))
#: a term is one of the others where so little of it is left without them
NEGLIGIBLE = 1e-10
#: pixels about which spikes are worn down before a convex hull is laid over them
SPIKES = 2


def quadratic(image: np.ndarray) -> np.ndarray:
    """The surface A x² + B y² + C x y + D x + E y + F nearest to the pixels above zero, kept between 0 and 1.

    float64 (y, x); the image itself where no pixel is above zero (centrosome.smooth.fit_polynomial). By sums over
    places from -1 to 1, which tell terms apart better than CellProfiler's from 0 on, and ask no LAPACK. Raises
    ValueError where these pixels lie so that many surfaces fit them.
    """
    lit = image > 0
    if not lit.any():
        return image
    rows, columns = (places(np.logical_or.reduce(lit, axis=axis)) for axis in (1, 0))
    powers, weighted = power_sums(image, lit, rows, columns)
    factors, used = solved(gram(powers), np.array([weighted[term] for term in TERMS]))
    everywhere = power_sums(image, np.ones_like(lit), rows, columns)[0]
    if used < solved(gram(everywhere), np.zeros(len(TERMS)))[1]:
        raise ValueError(
            f"many polynomials fit the {np.count_nonzero(lit)} pixels above zero. Smooth by another method, or leave "
            "out images that are dark"
        )
    surface = np.zeros(image.shape)
    of_rows, of_columns = ((np.ones_like(axis), axis, axis * axis) for axis in (rows, columns))
    for factor, (a, b) in zip(factors, TERMS, strict=True):
        surface += factor * of_rows[a][:, None] * of_columns[b][None, :]
    return np.clip(surface, 0, 1)


def places(is_used: np.ndarray) -> np.ndarray:
    """float64: place along an axis, from -1 to 1 between the first and the last that is used."""
    used = np.flatnonzero(is_used)
    half = (used[-1] - used[0]) / 2
    return (np.arange(is_used.size) - used[0] - half) / max(half, 0.5)


@kernel
def power_sums(image, lit, rows, columns):
    """float64 (5, 5) each: sums over the pixels that are `lit` of row^a column^b, a + b <= 4; and of these times the
    pixel's value.
    """
    powers, weighted = np.zeros((5, 5)), np.zeros((5, 5))
    for y in range(image.shape[0]):
        of_row, weighted_row = np.zeros(5), np.zeros(5)
        for x in range(image.shape[1]):
            if lit[y, x]:
                power = 1.0
                for b in range(5):
                    of_row[b] += power
                    weighted_row[b] += image[y, x] * power
                    power *= columns[x]
        power = 1.0
        for a in range(5):
            for b in range(5 - a):
                powers[a, b] += power * of_row[b]
                weighted[a, b] += power * weighted_row[b]
            power *= rows[y]
    return powers, weighted


def gram(powers: np.ndarray) -> np.ndarray:
    """float64 (terms, terms): sums of the products of two terms."""
    return np.array([[powers[a + c, b + d] for c, d in TERMS] for a, b in TERMS])


def solved(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int]:
    """Solve a symmetric, positive system by elimination, largest pivot first: (solution, how many terms it uses).

    What is one of the others has the factor 0.
    """
    size, whole = len(right), np.diag(matrix).copy()
    rows = np.column_stack([matrix, right])
    left = [k for k in range(size) if whole[k] > 0]
    used = []
    while left:
        pivot = max(left, key=lambda k: rows[k, k] / whole[k])
        if rows[pivot, pivot] <= NEGLIGIBLE * whole[pivot]:
            break
        rows[pivot] /= rows[pivot, pivot]
        for k in range(size):
            if k != pivot:
                rows[k] -= rows[k, pivot] * rows[pivot]
        left.remove(pivot)
        used.append(pivot)
    solution = np.zeros(size)
    solution[used] = rows[used, size]
    return solution, len(used)


def convex_hull(image: np.ndarray) -> np.ndarray:
    """Each level laid over all that it encloses, with spikes worn down: float64 (y, x)."""
    everywhere = np.ones(image.shape, bool)
    worn = cpmorphology.grey_erosion(image, SPIKES, everywhere)
    hull = centrosome_filter.convex_hull_transform(worn, mask=everywhere)
    return cpmorphology.grey_dilation(hull, SPIKES, everywhere)


def dilated(image: np.ndarray, radius: int) -> np.ndarray:
    """The image as spread by a round Gaussian, corrected at the borders: float64 (y, x).

    `radius`: pixels; the Gaussian's width is its square, and it is cut at three times (centrosome.smooth).
    """
    reach = 3 * radius
    y, x = (axis.astype(float) / np.float64(reach) for axis in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    within = y * y + x * x <= 1
    y, x = y[within] * reach / np.float64(radius), x[within] * reach / np.float64(radius)
    weights = np.zeros(within.shape)
    # NumPy's own power depends on the processor.
    weights[within] = [math.pow(math.e, power) for power in -(y * y + x * x) / (2 * np.float64(radius) ** 2)]
    weights = weights / np.sum(weights)

    def spread(pixels: np.ndarray) -> np.ndarray:
        return ndimage.convolve(pixels, weights, mode="constant", cval=0)

    return spread(image) / (spread(np.ones(image.shape)) + np.finfo(float).eps)
