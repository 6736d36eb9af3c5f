"""Order of float32 pixels in linear time."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def rising_order(values: np.ndarray) -> np.ndarray:
    """Indices (int32) that sort float32 values, equal ones in their order: a radix sort of their bits."""
    n = values.size
    keys = (values + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    for i in range(n):  # floats order as their bits do, once the sign is turned and negative ones are turned around
        keys[i] ^= np.uint32(0xFFFFFFFF) if keys[i] >> np.uint32(31) else np.uint32(0x80000000)
    order = np.arange(n).astype(np.int32)
    spare_keys, spare_order = np.empty_like(keys), np.empty_like(order)
    for shift in (0, 11, 22):
        ends = np.zeros(2049, np.int64)
        for key in keys:
            ends[((key >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        if ends.max() == n:
            continue
        for digit in range(2048):
            ends[digit + 1] += ends[digit]
        for i in range(n):
            digit = (keys[i] >> np.uint32(shift)) & np.uint32(2047)
            to = ends[digit]
            ends[digit] += 1
            spare_keys[to] = keys[i]
            spare_order[to] = order[i]
        keys, spare_keys = spare_keys, keys
        order, spare_order = spare_order, order
    return order


@njit(nogil=True, cache=True)
def dense_ranks(values: np.ndarray) -> np.ndarray:
    """How many distinct values are smaller, for each of these float32 values: int32."""
    order = rising_order(values)
    ranks = np.empty(values.size, np.int32)
    rank = 0
    for i in range(order.size):
        if i and values[order[i]] != values[order[i - 1]]:
            rank += 1
        ranks[order[i]] = rank
    return ranks


@njit(nogil=True, cache=True)
def ranks_among(ranks: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Dense ranks (int32) of the chosen values among themselves, from dense ranks among all."""
    rank_of = np.zeros(ranks.max() + 2, np.int32)
    for i in chosen:
        rank_of[ranks[i] + 1] = 1
    for rank in range(rank_of.size - 1):
        rank_of[rank + 1] += rank_of[rank]
    out = np.empty(chosen.size, np.int32)
    for i in range(chosen.size):
        out[i] = rank_of[ranks[chosen[i]]]
    return out
