"""Float32 values as integers in the same order, and a sort for short runs of them."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel


@kernel
def key_of(value: np.float32, bits: np.uint32) -> np.uint32:
    """Stands for a value, given with its bits, in numpy's order of them: NaN above everything, -0 equal to 0."""
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
def sort_bytes(keys: np.ndarray, spare: np.ndarray) -> None:
    """Sort uint32 keys in place, byte by byte from the lowest; bytes that all keys share cost one look."""
    counts = np.zeros((4, 256), np.int64)
    for key in keys:
        counts[0, key & 0xFF] += 1
        counts[1, (key >> 8) & 0xFF] += 1
        counts[2, (key >> 16) & 0xFF] += 1
        counts[3, key >> 24] += 1
    source, target = keys, spare
    is_swapped = False
    for digit in range(4):
        shift = np.uint32(8 * digit)
        if counts[digit, (keys[0] >> shift) & 0xFF] == keys.size:
            continue
        place = 0
        for byte in range(256):
            place, counts[digit, byte] = place + counts[digit, byte], place
        for key in source:
            byte = (key >> shift) & 0xFF
            target[counts[digit, byte]] = key
            counts[digit, byte] += 1
        source, target = target, source
        is_swapped = not is_swapped
    if is_swapped:
        for at in range(keys.size):
            keys[at] = spare[at]


@kernel
def values_of(keys: np.ndarray) -> np.ndarray:
    """The float32 values of which `sort_keys` made these keys, in their place."""
    for k in range(keys.size):
        keys[k] = keys[k] ^ np.uint32(0x80000000) if keys[k] >> np.uint32(31) else ~keys[k]
    return keys.view(np.float32)
