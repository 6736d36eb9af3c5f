"""The sums of NumPy 1, with which CellProfiler runs; thresholds and granularity inherit their last digits."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel

BUFFER = 8192


@kernel
def pairwise_sum(values: np.ndarray, start: int, count: int) -> np.floating:
    """Sum of `values[start:start + count]`: eight running sums a block of 128, blocks added in a tree."""
    if count < 8:
        total = np.float32(0)
        for k in range(start, start + count):
            total += values[k]
        return total
    if count <= 128:
        s0, s1, s2, s3 = values[start], values[start + 1], values[start + 2], values[start + 3]
        s4, s5, s6, s7 = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
        whole = count - count % 8
        for k in range(start + 8, start + whole, 8):
            s0 += values[k]
            s1 += values[k + 1]
            s2 += values[k + 2]
            s3 += values[k + 3]
            s4 += values[k + 4]
            s5 += values[k + 5]
            s6 += values[k + 6]
            s7 += values[k + 7]
        total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
        for k in range(start + whole, start + count):
            total += values[k]
        return total
    half = count // 2
    half -= half % 8
    return pairwise_sum(values, start, half) + pairwise_sum(values, start + half, count - half)


@kernel
def total(values: np.ndarray) -> np.floating:
    """`np.sum` of a float32 or float64 vector in NumPy 1.

    Its reductions see 8192 values at a time; those of NumPy 2 see them all.
    """
    result = np.float32(0)
    for start in range(0, values.size, BUFFER):
        result += pairwise_sum(values, start, min(BUFFER, values.size - start))
    return result


@kernel
def mean(values: np.ndarray) -> np.floating:
    """`np.mean` of a float32 or float64 vector in NumPy 1; NaN where it is empty."""
    if values.size == 0:
        return values.dtype.type(np.nan)
    return values.dtype.type(total(values) / np.float64(values.size))


@kernel
def variance(values: np.ndarray, unbiased: int = 0) -> np.floating:
    """`np.var` of a float32 or float64 vector in NumPy 1, of `unbiased` degrees of freedom less than values."""
    if values.size <= unbiased:
        return values.dtype.type(np.nan)
    centre = mean(values)
    squares = np.empty_like(values)
    for k in range(values.size):
        difference = values[k] - centre
        squares[k] = difference * difference
    return values.dtype.type(total(squares) / np.float64(values.size - unbiased))
