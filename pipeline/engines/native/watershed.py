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

#: the 8 neighbours (dy, dx) in the order in which they enter the queue: nearer ones first, then raster order
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))


def watershed(image: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flood `image` from low to high, 8-connected: int32 (y, x).

    `image`: float (y, x). `seeds`: int32 (y, x), 0 where there is none; seeds outside `mask` do not count.
    """
    flooded = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.int32)
    flooded[1:-1, 1:-1] = np.where(mask, seeds, 0)
    # Outside the mask, and on a border of one pixel, -1 stands for "taken".
    flooded[1:-1, 1:-1][~mask] = -1
    flooded[[0, -1]] = -1
    flooded[:, [0, -1]] = -1
    width = flooded.shape[1]
    offsets = np.array([dy * width + dx for dy, dx in NEIGHBOURS])
    flood(ranks(image, mask).ravel(), flooded.ravel(), offsets)
    return np.where(mask, flooded[1:-1, 1:-1], 0)


def ranks(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint32 (y + 2, x + 2) in the order of the pixels' values; equal values share one."""
    padded = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint32)
    if image.dtype == np.float32:
        padded[1:-1, 1:-1] = sort_keys(image.ravel()).reshape(image.shape)
    else:
        _, padded[1:-1, 1:-1][mask] = np.unique(image[mask], return_inverse=True)
    return padded


@kernel
def flood(rank: np.ndarray, flooded: np.ndarray, offsets: np.ndarray) -> None:
    """Give every 0 of `flooded` (flat, bordered by -1) that a seed reaches the seed's label, in place."""
    room = 0
    for label in flooded:
        room += label >= 0
    # A key is the value's rank, then the time of entry. Every pixel enters once.
    keys, pixels = np.empty(room, np.uint64), np.empty(room, np.int64)
    size = 0
    for pixel in range(flooded.size):
        if flooded[pixel] > 0 or flooded[pixel] < -1:
            size = push(keys, pixels, size, np.uint64(rank[pixel]) << np.uint64(32), pixel)
    time = np.uint64(1)
    while size > 0:
        pixel = pixels[0]
        size = pop(keys, pixels, size)
        label = flooded[pixel]
        for offset in offsets:
            neighbour = pixel + offset
            if flooded[neighbour] != 0:
                continue
            time += np.uint64(1)
            flooded[neighbour] = label
            size = push(keys, pixels, size, (np.uint64(rank[neighbour]) << np.uint64(32)) | time, neighbour)


@njit(nogil=True, inline="always")
def push(keys: np.ndarray, pixels: np.ndarray, size: int, key: np.integer, pixel: int) -> int:
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if not key < keys[parent]:
            break
        keys[child], pixels[child] = keys[parent], pixels[parent]
        child = parent
    keys[child], pixels[child] = key, pixel
    return size + 1


@njit(nogil=True, inline="always")
def pop(keys: np.ndarray, pixels: np.ndarray, size: int) -> int:
    size -= 1
    if size == 0:
        return 0
    key, pixel = keys[size], pixels[size]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        smallest = key
        to = hole
        if keys[child] < smallest:
            smallest, to = keys[child], child
        if child + 1 < size and keys[child + 1] < smallest:
            to = child + 1
        if to == hole:
            break
        keys[hole], pixels[hole] = keys[to], pixels[to]
        hole = to
    keys[hole], pixels[hole] = key, pixel
    return size
