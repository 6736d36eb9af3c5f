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

from pipeline.engines.native.compiled import kernel, prefetch
from pipeline.engines.native.kernels.sorting import rising_order
from pipeline.engines.native.numpy1.sums import BUFFER

#: rounds computed together, so that one pixel's values fill one cache line
LANES = 16
#: Pixels in the order of their values lie all over the image. Each is fetched this many pixels before its turn.
AHEAD = 16


@kernel
def erode_by_cross(image: np.ndarray, out: np.ndarray) -> None:
    """Minimum over each pixel and its four neighbours."""
    height, width = image.shape
    for y in range(height):
        here, to = image[y], out[y]
        above, below = image[max(y - 1, 0)], image[min(y + 1, height - 1)]
        for x in range(width):
            to[x] = min(here[x], min(above[x], below[x]))
        # Views, because an index that could be negative keeps the compiler from using vectors.
        for moved, beside in ((to[1:], here[:-1]), (to[:-1], here[1:])):
            for x in range(width - 1):
                moved[x] = min(moved[x], beside[x])


@kernel
def higher_neighbours(ranks: np.ndarray) -> np.ndarray:
    """Which of its four neighbours a pixel has to be joined to, being lower: uint8 bits in the order of `_steps`.

    A neighbour beside is left out where the pixel is the lowest of a square of four: the other three are joined among
    themselves by then, and the neighbour above or below is one of them.
    """
    height, width = ranks.shape
    found = np.zeros((height, width), np.uint8)
    for y in range(height):
        here, to = ranks[y], found[y]
        # At the border a row stands in for the one that is missing: no pixel is higher than itself.
        above, below = ranks[max(y - 1, 0)], ranks[min(y + 1, height - 1)]
        for x in range(width):
            to[x] = np.uint8(above[x] > here[x]) | np.uint8(below[x] > here[x]) << 1
        for side, first, last, bit in ((-1, 1, width, 2), (1, 0, width - 1, 3)):
            for x in range(first, last):
                rank = here[x]
                is_joined = ((above[x] > rank) & (above[x + side] > rank)) | (
                    (below[x] > rank) & (below[x + side] > rank)
                )
                to[x] |= np.uint8((here[x + side] > rank) & ~is_joined) << bit
    return found


@kernel
def component_tree(image: np.ndarray, rounds: int, is_inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The components of a float32 (y, x) image, every pixel standing for the one that it is the lowest of.

    `is_inside`: bool (y, x); the other pixels are eroded as if they were no higher than the lowest of all.
    Returns `order` (uint32, pixels by rising value), `parent` (uint32, the lowest pixel of the next larger component;
    the root is its own) and `radius` (uint8, the largest diamond that fits into the component, at most `rounds`).
    """
    height, width = image.shape
    n = image.size
    order = rising_order(image.ravel(), np.empty((2, n), np.uint64))  # `sorting.scratch`, which is no kernel
    # Equal pixels are told apart by their rank, so that the lowest pixel of an eroded neighbourhood is known by name:
    # it is the lowest of the component in which that diamond lies.
    ranks = np.empty((height, width), np.uint32)
    flat = ranks.ravel()
    for rank in range(n):
        flat[order[rank]] = rank
    radius_of_rank = np.zeros(n, np.uint8)
    eroded, spare = ranks.copy(), np.empty_like(ranks)
    flat, inside = eroded.ravel(), is_inside.ravel()
    for p in range(n):
        if not inside[p]:
            flat[p] = 0
    for k in range(1, rounds + 1):
        erode_by_cross(eroded, spare)
        eroded, spare = spare, eroded
        for lowest_rank in eroded.ravel():
            radius_of_rank[lowest_rank] = k

    higher = higher_neighbours(ranks).ravel()
    steps = np.array([-width, width, -1, 1])
    parent = np.empty(n, np.uint32)
    radius = np.empty(n, np.uint8)
    lowest = np.empty(n, np.uint32)  # of a set's root: the lowest pixel of the set, which stands for the component
    above = np.empty(n, np.int32)  # union-find: the next pixel towards the root; at a root, minus the size of the set
    for i in range(n):
        rank = n - 1 - i
        p = order[rank]
        if rank >= AHEAD:
            coming = order[rank - AHEAD]
            prefetch(parent, coming)
            prefetch(radius, coming)
            prefetch(higher, coming)
            for row in range(-1, 2):
                prefetch(above, coming + row * width)
        above[p], parent[p], radius[p] = -1, p, radius_of_rank[rank]
        root = p
        for side in range(4):
            if not higher[p] >> side & 1:
                continue
            q = np.uint32(p + steps[side])
            while above[q] >= 0:
                if above[np.uint32(above[q])] >= 0:
                    above[q] = above[np.uint32(above[q])]
                q = np.uint32(above[q])
            if q == root:
                continue
            component = lowest[q]
            parent[component] = p
            radius[p] = max(radius[p], radius[component])
            if above[q] < above[root]:
                root, q = q, root
            above[root] += above[q]
            above[q] = np.int32(root)
        lowest[root] = p
    return order, parent, radius


@kernel
def reconstructions(
    values: np.ndarray, order: np.ndarray, parent: np.ndarray, radius: np.ndarray, first: int, out: np.ndarray
) -> None:
    """Rounds `first` to `first + LANES - 1`, float32 (pixels, LANES), written to `out`.

    Round k of a pixel is the value of its smallest component into which a diamond of radius k fits.
    """
    flat = out.ravel()
    for i in range(order.size):
        if i + 2 * AHEAD < order.size:
            coming, after = order[i + AHEAD], order[i + 2 * AHEAD]
            prefetch(flat, np.uint64(coming) * np.uint64(LANES))
            prefetch(flat, np.uint64(parent[coming]) * np.uint64(LANES))
            prefetch(parent, after)
            prefetch(values, after)
            prefetch(radius, after)
        p = order[i]
        q, value, largest = parent[p], values[p], radius[p]
        if q == p:
            out[p] = value
            continue
        for lane in range(LANES):
            out[p, lane] = value if first + lane <= largest else out[q, lane]


@kernel
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


@kernel
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


@kernel
def sums_in_objects(
    rows: np.ndarray, y: np.ndarray, x: np.ndarray, spans: np.ndarray, owners: np.ndarray, sums: np.ndarray
) -> None:
    """Adds up images mapped bilinearly to the pixels of objects, in float64 `sums` (objects of all sets, LANES).

    `rows`: float32 (y, x, LANES). `y`, `x`: float64, where each row and column of the label images lies in it; zero is
    found outside. `spans`, `owners`: see `granularity.Spans`.
    Interpolated values are rounded to float32 before they are added, as `scipy.ndimage.map_coordinates` leaves them.
    """
    height, width = rows.shape[:2]
    flat = rows.reshape(height * width, LANES)
    total = np.empty(LANES)
    for k in range(len(spans)):
        line, first, end = spans[k]
        if not 0 <= y[line] <= height - 1:
            continue
        total[:] = 0
        for at in range(first, end):
            if 0 <= x[at] <= width - 1:
                _interpolate(flat, width, height, y[line], x[at], total)
        for owner in owners[k]:
            if owner >= 0:
                for lane in range(LANES):
                    sums[owner, lane] += total[lane]


@kernel
def _interpolate(flat: np.ndarray, width: int, height: int, row: float, column: float, total: np.ndarray) -> None:
    """Add the value at a place to `total`."""
    top, left = int(row), int(column)
    bottom, beside = min(top + 1, height - 1), min(left + 1, width - 1)
    # Unsigned, they need no test for an index from the end.
    a, b = np.uint64(top * width + left), np.uint64(top * width + beside)
    c, d = np.uint64(bottom * width + left), np.uint64(bottom * width + beside)
    up, away = 1 - (row - top), 1 - (column - left)
    down, right = 1 - up, 1 - away  # not row - top: scipy rounds its weights this way
    for lane in range(LANES):
        value = (
            flat[a, lane] * up * away
            + flat[b, lane] * up * right
            + flat[c, lane] * down * away
            + flat[d, lane] * down * right
        )
        total[lane] += np.float64(np.float32(value))
