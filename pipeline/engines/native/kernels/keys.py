"""Float32 values as integers in the same order, and a sort for short runs of them."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel

#: a word of 64 bits holds two numbers: one above, `word >> HALF`, one below, `word & LOW`
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
#: so that the counts of a pass stay in the innermost cache
MOST_BITS = 9


@kernel
def key_of(value: np.float32, bits: np.uint32) -> np.uint32:
    """Stands for a value, given with its bits, in numpy's order of them: NaN above everything, -0 equal to 0.

    Inside a kernel it has 64 bits, so that it may be shifted by 32.
    """
    if np.isnan(value):
        return np.uint32(0xFFFFFFFF)
    if value == 0:
        return np.uint32(0x80000000)
    return bits ^ (np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000))


@kernel
def sort_keys(values: np.ndarray) -> np.ndarray:
    """uint32: the key of each of these float32 values."""
    keys, bits = np.empty(values.size, np.uint32), values.view(np.uint32)
    for k in range(values.size):
        keys[k] = key_of(values[k], bits[k])
    return keys


@kernel
def sort_run(keys: np.ndarray, spare: np.ndarray) -> None:
    """Sort uint32 keys, one at least and best a few thousand, in place: a radix sort of the bits that differ."""
    lowest, highest = keys[0], keys[0]
    for key in keys:
        lowest, highest = min(lowest, key), max(highest, key)
    used = 0
    while (highest - lowest) >> np.uint32(used):
        used += 1
    passes = -(-used // MOST_BITS)
    width = np.uint32(-(-used // max(passes, 1)))
    mask = (np.uint32(1) << width) - np.uint32(1)
    ends = np.zeros((passes, 1 << MOST_BITS), np.uint32)  # of each digit's keys, in each pass
    for key in keys:
        digits = key - lowest
        for k in range(passes):
            ends[k, digits & mask] += np.uint32(1)
            digits >>= width
    source, target = keys, spare
    for k in range(passes):
        total = np.uint32(0)
        for digit in range(np.int64(mask) + 1):
            total, ends[k, digit] = total + ends[k, digit], total
        shift = np.uint32(k) * width
        for key in source:
            digit = (key - lowest) >> shift & mask
            target[ends[k, digit]] = key
            ends[k, digit] += np.uint32(1)
        source, target = target, source
    if passes % 2:
        for at in range(keys.size):
            keys[at] = spare[at]


@kernel
def values_of(keys: np.ndarray) -> np.ndarray:
    """The float32 values of which `key_of` made these keys, in their place."""
    for k in range(keys.size):
        keys[k] = keys[k] ^ np.uint32(0x80000000) if keys[k] >> np.uint32(31) else ~keys[k]
    return keys.view(np.float32)
