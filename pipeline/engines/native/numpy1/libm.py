"""Functions by the C library, as CellProfiler's NumPy computes them; newer NumPy has its own for each processor.

glibc has two of those of float64, one for processors with fused multiply-add (2013 and later): they differ in the last
bit of one number in some thousand. Those of float32 are the same: log2 and log have been compared on every float32.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel


@kernel
def log2(values: np.ndarray) -> np.ndarray:
    """Of float32 or float64, of any shape, rounded to the same type."""
    result = np.empty_like(values)
    for at in np.ndindex(values.shape):
        result[at] = np.log2(values[at])
    return result


@kernel
def log(values: np.ndarray) -> np.ndarray:
    """Natural logarithm of a vector of float32 or float64, rounded to the same type."""
    result = np.empty_like(values)
    for at in range(values.size):
        result[at] = np.log(values[at])
    return result


@kernel
def exp(values: np.ndarray) -> np.ndarray:
    """Of float64, of any shape."""
    result = np.empty_like(values)
    for at in np.ndindex(values.shape):
        result[at] = math.exp(values[at])
    return result


@kernel
def acos(values: np.ndarray) -> np.ndarray:
    """Of a vector of float64; NaN beyond [-1, 1]."""
    result = np.empty_like(values)
    for at in range(values.size):
        result[at] = math.acos(values[at]) if abs(values[at]) <= 1 else np.nan
    return result


@kernel
def atan2(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two arrays of float64 of one shape."""
    result = np.empty_like(one)
    for at in np.ndindex(one.shape):
        result[at] = math.atan2(one[at], other[at])
    return result
