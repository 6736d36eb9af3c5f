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

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.keys import sort_keys

LOW, ONE = np.uint64(0xFFFFFFFF), np.uint64(1)
#: the 8 neighbours (dy, dx) in the order in which they enter the queue: nearer ones first, then raster order
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


def watershed(image: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flood `image` from low to high, 8-connected: int32 (y, x).

    `image`: float (y, x). `seeds`: int32 (y, x), 0 where there is none; seeds outside `mask` do not count.
    """
    flooded = bordered(seeds, mask)
    width = flooded.shape[1]
    offsets = np.array([dy * width + dx for dy, dx in NEIGHBOURS])
    if image.dtype == np.float32:
        rank = sort_keys(image.ravel())
    else:
        rank = np.zeros(image.size, np.uint32)
        rank[mask.ravel()] = np.unique(image[mask], return_inverse=True)[1]
    flood(rank.reshape(image.shape), flooded.ravel(), offsets)
    return inside(flooded)


@kernel
def bordered(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """int32 (y + 2, x + 2): seeds within the mask; -1, for "taken", outside it and on a border of one pixel."""
    height, width = mask.shape
    result = np.full((height + 2, width + 2), np.int32(-1))
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                result[y + 1, x + 1] = seeds[y, x]
    return result


@kernel
def inside(flooded: np.ndarray) -> np.ndarray:
    """The image without its border, 0 where it was taken."""
    result = np.empty((flooded.shape[0] - 2, flooded.shape[1] - 2), np.int32)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            result[y, x] = max(flooded[y + 1, x + 1], 0)
    return result


@kernel
def flood(rank: np.ndarray, flooded: np.ndarray, offsets: np.ndarray) -> None:
    """Give every 0 of `flooded` (flat, bordered by -1) that a seed reaches the seed's label, in place.

    `rank`: uint32 (y, x), in the order of the pixels' values.
    """
    width = rank.shape[1] + 2
    room, n_seeds = 0, 0
    for label in flooded:
        room += label >= 0
        n_seeds += label > 0
    # A key is the pixel's rank, then the time at which it entered; seeds are told apart by a time, but not ordered.
    keys, pixel_at = np.empty(room, np.uint64), np.empty(room, np.int64)
    size, time = 0, 0
    for pixel in range(flooded.size):
        if flooded[pixel] > 0:
            pixel_at[time] = pixel
            size = push(keys, size, key_of(rank, pixel, width, time), n_seeds)
            time += 1
    while size > 0:
        pixel = pixel_at[keys[0] & LOW]
        size = pop(keys, size, n_seeds)
        label = flooded[pixel]
        for offset in offsets:
            neighbour = pixel + offset
            if flooded[neighbour] == 0:
                flooded[neighbour] = label
                pixel_at[time] = neighbour
                size = push(keys, size, key_of(rank, neighbour, width, time), n_seeds)
                time += 1


@njit(nogil=True, inline="always")
def key_of(rank: np.ndarray, pixel: int, width: int, time: int):
    return (np.uint64(rank[pixel // width - 1, pixel % width - 1]) << np.uint64(32)) | np.uint64(time)


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
