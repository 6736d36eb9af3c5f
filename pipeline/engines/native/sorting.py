"""Order of float32 pixels in linear time."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel

#: a radix of more bits has more places to write to than the cache has lines
MOST_BITS = 11


@kernel
def _sorted_words(values: np.ndarray) -> np.ndarray:
    """uint64 a value, rising: above, bits that order as the values do; below, its index. A radix sort."""
    n = values.size
    keys = (values + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    for i in range(n):  # floats order as their bits do, once the sign is turned and negative ones are turned around
        keys[i] ^= np.uint32(0xFFFFFFFF) if keys[i] >> np.uint32(31) else np.uint32(0x80000000)
    lowest, highest = np.uint32(0xFFFFFFFF), np.uint32(0)
    for key in keys:
        lowest, highest = min(lowest, key), max(highest, key)
    words, spare = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for i in range(n):
        words[i] = np.uint64(keys[i] - lowest) << np.uint64(32) | np.uint64(i)
    used = 0
    while n and (highest - lowest) >> np.uint32(used):
        used += 1
    passes = -(-used // MOST_BITS)
    for k in range(passes):
        first, last = used * k // passes, used * (k + 1) // passes
        shift, size = np.uint64(32 + first), 1 << (last - first)
        mask = np.uint64(size - 1)
        ends = np.zeros(size + 1, np.uint32)
        for word in words:
            ends[(word >> shift & mask) + np.uint64(1)] += np.uint32(1)
        for one in range(size):
            ends[one + 1] += ends[one]
        for word in words:
            digit = word >> shift & mask
            spare[ends[digit]] = word
            ends[digit] += np.uint32(1)
        words, spare = spare, words
    return words


@kernel
def rising_order(values: np.ndarray) -> np.ndarray:
    """Indices (uint32) that sort float32 values, equal ones in their order."""
    return _sorted_words(values).astype(np.uint32)  # the lower half


@kernel
def dense_ranks(values: np.ndarray) -> np.ndarray:
    """How many distinct values are smaller, for each of these float32 values: int32."""
    ranks = np.empty(values.size, np.int32)
    rank, before = np.int32(-1), np.uint64(0xFFFFFFFF)
    for word in _sorted_words(values):
        if word >> np.uint64(32) != before:
            before = word >> np.uint64(32)
            rank += np.int32(1)
        ranks[np.uint32(word)] = rank
    return ranks


@kernel
def ranks_among(ranks: np.ndarray, chosen: np.ndarray, out: np.ndarray) -> int:
    """Dense ranks of the chosen values among themselves, written to `out` (int32); returns how many there are.

    `ranks` are dense, `chosen` are distinct indices.
    """
    n_ranks = 0
    for rank in ranks:
        n_ranks = max(n_ranks, rank + 1)
    rank_of = np.zeros(n_ranks + 1, np.int32)
    if chosen.size == ranks.size:
        for rank in range(n_ranks):
            rank_of[rank] = rank
    else:
        for i in chosen:
            rank_of[ranks[i] + 1] = 1
        for rank in range(n_ranks):
            rank_of[rank + 1] += rank_of[rank]
    highest = np.int32(-1)
    for i in range(chosen.size):
        out[i] = rank_of[ranks[chosen[i]]]
        highest = max(highest, out[i])
    return int(highest) + 1
