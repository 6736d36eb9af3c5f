"""Erosion and dilation of grey images by any flat shape, with the image mirrored at its borders.

A shape is taken row by row as runs without a gap. The minima over a run of any length come from two overlapping minima
over a power of two, so that a row of the shape costs one comparison a pixel. They are SciPy's values: a minimum knows
no rounding.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from pipeline.engines.native.compiled import kernel


def disk(radius: float) -> np.ndarray:
    """bool: the pixels within a radius, on a grid that is even where it is a half (skimage.morphology.disk)."""
    line = np.arange(-radius, radius + 1)
    return line[None, :] ** 2 + line[:, None] ** 2 <= radius**2


def erode(image: np.ndarray, shape: np.ndarray, origin: int = 0) -> np.ndarray:
    """The minimum of the pixels around each that the shape (bool) covers.

    The shape's centre is the pixel at half its size, rounded down; it is shifted up and left by `origin`
    (scipy.ndimage.minimum_filter, mode "reflect").
    """
    if np.isnan(image).any():  # SciPy's minimum then hangs on the order in which it looks
        return scipy.ndimage.minimum_filter(image, footprint=shape, origin=origin)
    above, left = (size // 2 + origin for size in shape.shape)
    below, right = (size - 1 - before for size, before in zip(shape.shape, (above, left), strict=True))
    sides = ((max(above, 0), max(below, 0)), (max(left, 0), max(right, 0)))
    padded = np.pad(image, sides, mode="symmetric")
    return minima(padded, runs_of(shape), image.shape)


def dilate(image: np.ndarray, shape: np.ndarray, origin: int = 0) -> np.ndarray:
    """The maximum, in the same way (scipy.ndimage.maximum_filter)."""
    if np.isnan(image).any():
        return scipy.ndimage.maximum_filter(image, footprint=shape, origin=origin)
    return -erode(-image, shape, origin)


def grey_dilate(image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """By the mirrored shape, which undoes the shift of an erosion by an even one (scipy.ndimage.grey_dilation)."""
    mirrored = shape[::-1, ::-1]
    if shape.shape[0] % 2:
        return dilate(image, mirrored)
    return dilate(image, mirrored, -1)


def white_tophat(image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The image less its opening (scipy.ndimage.white_tophat)."""
    return image - grey_dilate(erode(image, shape), shape)


def opening(image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """skimage.morphology.opening of version 0.20, which pads image and shape where the shape is even."""
    return _padded(image, shape, lambda one, low, high: grey_dilate(erode(one, low), high[::-1, ::-1]))


def closing(image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """skimage.morphology.closing of version 0.20."""
    return _padded(image, shape, lambda one, low, high: erode(grey_dilate(one, low[::-1, ::-1]), high))


def _padded(image: np.ndarray, shape: np.ndarray, filtered) -> np.ndarray:
    """Filter by the shape with an empty row and column before, and one after; both are the shape where it is odd."""
    if shape.shape[0] % 2:
        return filtered(image, shape, shape)
    side = shape.shape[0] - 1
    low, high = np.pad(shape, ((1, 0), (1, 0))), np.pad(shape, ((0, 1), (0, 1)))
    return filtered(np.pad(image, side, mode="edge"), low, high)[side:-side, side:-side]


def runs_of(shape: np.ndarray) -> np.ndarray:
    """int64 (runs, 3): row, first column and length of each run without a gap."""
    edges = np.diff(np.pad(shape.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return np.stack([rows, starts, np.nonzero(edges == -1)[1] - starts], axis=1)


@kernel
def minima(padded: np.ndarray, runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The minimum over the runs (see `runs_of`) that begin at each pixel of the upper left `size` of an image."""
    height, width = size
    found = np.full((height, width), np.inf, padded.dtype)
    levels = 1
    for run in range(len(runs)):
        while 1 << levels <= runs[run, 2]:
            levels += 1
    longest = padded.shape[1]
    least = np.empty((levels, longest), padded.dtype)  # least[p, x]: of the 2 ** p pixels from x on
    for row in range(padded.shape[0]):
        least[0] = padded[row]
        for p in range(1, levels):
            half = 1 << (p - 1)
            for x in range(longest - 2 * half + 1):
                least[p, x] = min(least[p - 1, x], least[p - 1, x + half])
        for run in range(len(runs)):
            y, length = row - runs[run, 0], runs[run, 2]
            if not 0 <= y < height:
                continue
            p = 0
            while 2 << p <= length:
                p += 1
            first = least[p, runs[run, 1] : runs[run, 1] + width]
            second = least[p, runs[run, 1] + length - (1 << p) : runs[run, 1] + length - (1 << p) + width]
            line = found[y]
            for x in range(width):
                line[x] = min(line[x], min(first[x], second[x]))
    return found
