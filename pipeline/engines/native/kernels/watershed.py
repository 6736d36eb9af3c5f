"""Seeded watershed, pixel by pixel in the order of scikit-image 0.20.

Pixels leave a priority queue by value, then by the time they entered it. All seeds have the same time, so that
among seeds of the same value the heap itself decides: it is therefore built exactly as theirs.
From scikit-image 0.25 on a pixel enters with at least the value of the one that reached it, which moves borders
between objects by a pixel here and there; up to 0.24, and here, it enters with its own.
Method: Soille & Ansoult 1990, doi:10.1016/0165-1684(90)90127-K, as in `skimage.segmentation.watershed`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pipeline.engines.native.compiled import kernel, prefetch
from pipeline.engines.native.kernels.keys import HALF, LOW, sort_keys

ONE, SEVEN, EIGHT = np.uint64(1), np.uint64(7), np.uint64(8)
#: stands for a label where nothing is to be flooded
TAKEN = LOW
#: stands for a seed (pixel 0 is none) without free neighbours: it floods nothing, but takes its place in the queue
SURROUNDED = 0
#: the 8 neighbours (dy, dx) in the order in which they enter the queue: nearer ones first, then raster order
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


def watershed(image: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flood `image` from low to high, 8-connected: int32 (y, x).

    `image`: float (y, x). `seeds`: int32 (y, x), 0 where there is none; seeds outside `mask` do not count.
    """
    if image.dtype == np.float32:
        rank = sort_keys(image.ravel())
    else:
        rank = np.zeros(image.size, np.uint32)
        rank[mask.ravel()] = np.unique(image[mask], return_inverse=True)[1]
    height, width = image.shape[0] + 2, image.shape[1] + 2
    cells = np.full((height, width), TAKEN)
    n = fill(cells, rank.reshape(image.shape), seeds, mask)
    offsets = np.array([dy * width + dx for dy, dx in NEIGHBOURS])
    flood(cells.ravel(), offsets, np.empty(n, np.uint64), np.empty(n, np.int32))
    return inside(cells)


@kernel
def fill(cells: np.ndarray, rank: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> int:
    """Write to cells (y + 2, x + 2) what lies within the mask, and leave the rest; returns how many pixels that are."""
    height, width = mask.shape
    n = 0
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                cells[y + 1, x + 1] = np.uint64(rank[y, x]) << HALF | np.uint64(seeds[y, x])
                n += 1
    return n


@kernel
def inside(cells: np.ndarray) -> np.ndarray:
    """The labels without the border, 0 where there is none."""
    result = np.empty((cells.shape[0] - 2, cells.shape[1] - 2), np.int32)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            result[y, x] = max(np.int32(cells[y + 1, x + 1] & LOW), 0)
    return result


@kernel
def flood(cells: np.ndarray, offsets: np.ndarray, keys: np.ndarray, pixel_at: np.ndarray) -> None:
    """Give every free cell that a seed reaches the seed's label, in place.

    `cells`: uint64, flat: a pixel's rank above, below its label, or 0 where it is free, or `TAKEN`, which is all round.
    `keys` (uint64) and `pixel_at` (int32): room for as many as are not taken. A key is a pixel's rank, then the time at
    which it entered; seeds are told apart by a time, but not ordered.
    """
    n_seeds = 0
    for cell in cells:
        n_seeds += cell & LOW != TAKEN and cell & LOW != 0
    size, time = 0, 0
    for pixel in range(cells.size):
        if cells[pixel] & LOW != TAKEN and cells[pixel] & LOW != 0:
            n_free = 0
            for offset in offsets:
                n_free += cells[pixel + offset] & LOW == 0
            pixel_at[time] = pixel if n_free else SURROUNDED
            size = push(keys, size, (cells[pixel] & ~LOW) | np.uint64(time), n_seeds)
            time += 1
    while size > 0:
        pixel = pixel_at[keys[0] & LOW]
        size = pop(keys, size, n_seeds)
        # Pixels leave the queue from all over the image, so that each would wait for the memory. The next one and its
        # neighbours are fetched meanwhile, and where the ones after it lie.
        if size > 2:
            following = pixel_at[keys[0] & LOW]
            for row in range(-1, 2):
                prefetch(cells, following + row * offsets[3])
            prefetch(pixel_at, keys[1] & LOW)
            prefetch(pixel_at, keys[2] & LOW)
        if pixel == SURROUNDED:
            continue
        label = cells[pixel] & LOW
        for offset in offsets:
            neighbour = np.uint64(pixel + offset)
            if cells[neighbour] & LOW == 0:
                pixel_at[time] = neighbour
                size = push(keys, size, cells[neighbour] | np.uint64(time), n_seeds)
                cells[neighbour] |= label
                time += 1


@njit(nogil=True, inline="always")
def order_of(key, n_seeds):
    """What decides when a key leaves the queue: without the time, if it is a seed's."""
    return key if (key & LOW) >= np.uint64(n_seeds) else key & ~LOW


@njit(nogil=True, inline="always")
def push(keys: np.ndarray, size: int, key, n_seeds: int) -> int:
    order = order_of(key, n_seeds)
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if order >= order_of(keys[parent], n_seeds):
            break
        keys[child] = keys[parent]
        child = parent
    keys[child] = key
    return size + 1


@njit(nogil=True, inline="always")
def pop(keys: np.ndarray, size: int, n_seeds: int) -> int:
    size -= 1
    key = keys[size]
    order = order_of(key, n_seeds)
    hole, end = np.uint64(0), np.uint64(size)  # unsigned indices need no test for one from the end
    while True:
        child = hole + hole + ONE
        prefetch(keys, hole * EIGHT + SEVEN)  # three levels down, where a large queue is not in the cache
        if child >= end:
            break
        if child + ONE < end:  # added, not asked: which child comes first cannot be guessed
            child += np.uint64(order_of(keys[child + ONE], n_seeds) < order_of(keys[child], n_seeds))
        if order <= order_of(keys[child], n_seeds):
            break
        keys[hole] = keys[child]
        hole = child
    keys[hole] = key
    return size
