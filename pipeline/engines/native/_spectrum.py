"""All openings by reconstruction of one image at once, from its component tree.

MeasureGranularity erodes an image k times by the 4-neighbour cross, and reconstructs it by dilation under the image,
for k = 1, 2, ... A component of a level set {image >= t} survives round k exactly when a diamond of radius k fits into
it (cut at the border of the image), and the reconstruction at a pixel is the highest t whose component around
that pixel survives. So one tree of components with the largest diamond of each gives every round: no flooding.

Tree by union-find in falling order of pixels: Berger et al., Effective component tree computation with application to
pattern recognition in astronomical imaging, ICIP 2007.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pipeline.engines.native.sorting import rising_order
from pipeline.engines.native.sums import BUFFER

#: rounds computed together, so that one pixel's values fill one cache line
LANES = 16
UNSEEN = np.iinfo(np.int32).min


@njit(nogil=True, cache=True)
def erode_by_cross(image: np.ndarray, out: np.ndarray) -> None:
    """Minimum over each pixel and its four neighbours."""
    height, width = image.shape
    for y in range(height):
        here, to = image[y], out[y]
        above, below = image[max(y - 1, 0)], image[min(y + 1, height - 1)]
        for x in range(width):
            to[x] = min(here[x], min(above[x], below[x]))
        for x in range(1, width):
            to[x] = min(to[x], here[x - 1])
        for x in range(width - 1):
            to[x] = min(to[x], here[x + 1])


@njit(nogil=True, cache=True)
def component_tree(image: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The components of a float32 (y, x) image, every pixel standing for the one that it is the lowest of.

    Returns `order` (int32, pixels by rising value), `parent` (int32, the lowest pixel of the next larger component;
    the root is its own) and `radius` (int32, the largest diamond that fits into the component, at most `rounds`).
    """
    height, width = image.shape
    n = image.size
    order = rising_order(image.ravel())
    # Equal pixels are told apart by their rank, so that the lowest pixel of an eroded neighbourhood is known by name:
    # it is the lowest of the component in which that diamond lies.
    ranks = np.empty((height, width), np.int32)
    flat = ranks.ravel()
    for rank in range(n):
        flat[order[rank]] = rank
    radius_of_rank = np.zeros(n, np.int32)
    eroded, spare = ranks.copy(), np.empty_like(ranks)
    for k in range(1, rounds + 1):
        erode_by_cross(eroded, spare)
        eroded, spare = spare, eroded
        for lowest_rank in eroded.ravel():
            radius_of_rank[lowest_rank] = k

    parent = np.empty(n, np.int32)
    radius = np.empty(n, np.int32)
    lowest = np.empty(n, np.int32)  # of a set's root: the lowest pixel of the set, which stands for the component
    above = np.full(n, UNSEEN, np.int32)  # union-find: the next pixel towards the root; at a root, minus the size
    for rank in range(n - 1, -1, -1):
        p = order[rank]
        y, x = p // width, p % width
        above[p], parent[p], radius[p] = -1, p, radius_of_rank[rank]
        root = p
        for side in range(4):
            if side == 0:
                if y == 0:
                    continue
                q = p - width
            elif side == 1:
                if x == 0:
                    continue
                q = p - 1
            elif side == 2:
                if x == width - 1:
                    continue
                q = p + 1
            else:
                if y == height - 1:
                    continue
                q = p + width
            if above[q] == UNSEEN:
                continue
            while above[q] >= 0:
                if above[above[q]] >= 0:
                    above[q] = above[above[q]]
                q = above[q]
            if q == root:
                continue
            component = lowest[q]
            parent[component] = p
            radius[p] = max(radius[p], radius[component])
            if above[q] < above[root]:
                root, q = q, root
            above[root] += above[q]
            above[q] = root
        lowest[root] = p
    return order, parent, radius


@njit(nogil=True, cache=True)
def reconstructions(
    values: np.ndarray, order: np.ndarray, parent: np.ndarray, radius: np.ndarray, first: int, out: np.ndarray
) -> None:
    """Rounds `first` to `first + LANES - 1`, float32 (pixels, LANES), written to `out`.

    Round k of a pixel is the value of its smallest component into which a diamond of radius k fits.
    """
    for p in order:
        q, value, largest = parent[p], values[p], radius[p]
        if q == p:
            out[p] = value
            continue
        for lane in range(LANES):
            out[p, lane] = value if first + lane <= largest else out[q, lane]


@njit(nogil=True, cache=True)
def float32_sums(rows: np.ndarray) -> np.ndarray:
    """Sums over the rows of a float32 (n, LANES) array, in the order of `sums.total`.

    The difference of two means is as uncertain as their rounding, so only the same order gives CellProfiler's number.
    """
    total = np.zeros(LANES, np.float32)
    block = np.empty(LANES, np.float32)
    for first in range(0, len(rows), BUFFER):
        _pairwise_sums(rows[first : first + BUFFER], block)
        total += block
    return total


@njit(nogil=True, cache=True)
def _pairwise_sums(rows: np.ndarray, out: np.ndarray) -> None:
    n = len(rows)
    if n > 128:
        half = n // 2
        half -= half % 8
        rest = np.empty_like(out)
        _pairwise_sums(rows[:half], out)
        _pairwise_sums(rows[half:], rest)
        out += rest
        return
    whole = n - n % 8
    parts = np.zeros((8, LANES), np.float32)
    for i in range(0, whole, 8):
        for part in range(8):
            for lane in range(LANES):
                parts[part, lane] += rows[i + part, lane]
    for lane in range(LANES):
        out[lane] = ((parts[0, lane] + parts[1, lane]) + (parts[2, lane] + parts[3, lane])) + (
            (parts[4, lane] + parts[5, lane]) + (parts[6, lane] + parts[7, lane])
        )
    for i in range(whole, n):
        for lane in range(LANES):
            out[lane] += rows[i, lane]


@njit(nogil=True, cache=True)
def sums_in_objects(
    rows: np.ndarray, y: np.ndarray, x: np.ndarray, pixels: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Sums over objects of images mapped bilinearly to the objects' pixels: float64 (objects, LANES).

    `rows`: float32 (y, x, LANES). `y`, `x`: float64, where each row and column of the label image lies in it; zero is
    found outside. Interpolated values are rounded to float32 before they are added, as
    `scipy.ndimage.map_coordinates` leaves them.
    """
    height, width = rows.shape[:2]
    sums = np.zeros((starts.size - 1, LANES))
    total = np.empty(LANES)
    for k in range(starts.size - 1):
        total[:] = 0
        line, start, end = 0, 0, 0  # pixels from start to end lie on one line of the label image
        for pixel in pixels[starts[k] : starts[k + 1]]:
            if pixel >= end:
                line = pixel // x.size
                start, end = line * x.size, (line + 1) * x.size
            row, column = y[line], x[pixel - start]
            if not (0 <= row <= height - 1 and 0 <= column <= width - 1):
                continue
            top, left = int(row), int(column)
            bottom, beside = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = rows[top, left], rows[top, beside]
            c, d = rows[bottom, left], rows[bottom, beside]
            up, away = 1 - (row - top), 1 - (column - left)
            down, right = 1 - up, 1 - away  # not row - top: scipy rounds its weights this way
            for lane in range(LANES):
                value = a[lane] * up * away + b[lane] * up * right + c[lane] * down * away + d[lane] * down * right
                total[lane] += np.float64(np.float32(value))
        sums[k] = total
    return sums
