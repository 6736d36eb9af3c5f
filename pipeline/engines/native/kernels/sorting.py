"""Order of float32 pixels in linear time."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel, ones
from pipeline.engines.native.kernels.keys import key_of

#: a radix of more bits has more places to write to than the cache has lines
MOST_BITS = 11


def scratch(n: int) -> np.ndarray:
    """Room to sort n values in. Whoever sorts often keeps it: fresh memory costs as much as a pass over it."""
    return np.empty((2, n), np.uint64)


@kernel
def _sorted_words(values: np.ndarray, room: np.ndarray) -> np.ndarray:
    """uint64 a value, rising: above, bits that order as the values do; below, its index. A radix sort in `room`."""
    n = values.size
    bits = values.view(np.uint32)
    lowest, highest = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(n):
        key = key_of(values[i], bits[i])
        lowest, highest = min(lowest, key), max(highest, key)
    used = 0
    while n and (highest - lowest) >> np.uint32(used):
        used += 1
    passes = -(-used // MOST_BITS)
    width = np.uint64(-(-used // max(passes, 1)))
    mask = (np.uint64(1) << width) - np.uint64(1)
    ends = np.zeros((passes, 1 << MOST_BITS), np.uint32)  # of each digit's values, in each pass
    words, spare = room[0, :n], room[1, :n]
    for i in range(n):
        digits = np.uint64(key_of(values[i], bits[i]) - lowest)
        words[i] = digits << np.uint64(32) | np.uint64(i)
        for k in range(passes):
            ends[k, digits & mask] += np.uint32(1)
            digits >>= width
    for k in range(passes):
        total = np.uint32(0)
        for digit in range(1 << MOST_BITS):
            total, ends[k, digit] = total + ends[k, digit], total
        shift = np.uint64(32) + np.uint64(k) * width
        for word in words:
            digit = word >> shift & mask
            spare[ends[k, digit]] = word
            ends[k, digit] += np.uint32(1)
        words, spare = spare, words
    return words


@kernel
def rising_order(values: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Indices (uint32) that sort float32 values, equal ones in their order. `room`: see `scratch`."""
    return _sorted_words(values, room).astype(np.uint32)  # the lower half


@kernel
def dense_ranks(values: np.ndarray, room: np.ndarray, ranks: np.ndarray) -> int:
    """How many distinct values are smaller, for each of these float32 values, written to `ranks` (int32).

    Returns how many distinct values there are. `room`: see `scratch`.
    """
    rank, before = np.int32(-1), np.uint64(0xFFFFFFFF)
    for word in _sorted_words(values, room):
        if word >> np.uint64(32) != before:
            before = word >> np.uint64(32)
            rank += np.int32(1)
        ranks[np.uint32(word)] = rank
    return int(rank) + 1


@kernel
def mark_ranks(ranks: np.ndarray, chosen: np.ndarray, table: np.ndarray) -> int:
    """Prepare `rank_among` for the chosen of these dense ranks (indices); returns how many different ones there are.

    `table`: uint64, one for 32 ranks. Below, a bit for each that is there; above, how many there are before them.
    """
    table[:] = 0
    for i in chosen:
        rank = np.uint64(ranks[np.uint64(i)])
        table[rank >> np.uint64(5)] |= np.uint64(1) << (rank & np.uint64(31))
    total = np.uint64(0)
    for at in range(table.size):
        here = table[at]
        table[at] |= total << np.uint64(32)
        total += ones(here)
    return int(total)


@kernel
def rank_among(table: np.ndarray, rank: int) -> np.int32:
    """The rank among those that were marked in `table`."""
    one = table[np.uint64(rank) >> np.uint64(5)]
    before = one & ((np.uint64(1) << (np.uint64(rank) & np.uint64(31))) - np.uint64(1))
    return np.int32((one >> np.uint64(32)) + ones(before))
