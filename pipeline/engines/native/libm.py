"""Functions by the C library, as CellProfiler's NumPy computes them; newer NumPy has its own for each processor."""

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
def log(value: np.floating) -> np.floating:
    """Natural logarithm of a float32 or float64, rounded to the same type."""
    return np.log(value)


@kernel
def acos(values: np.ndarray) -> np.ndarray:
    """Of a vector of float64; NaN beyond [-1, 1]."""
    result = np.empty_like(values)
    for at in range(values.size):
        result[at] = math.acos(values[at]) if abs(values[at]) <= 1 else np.nan
    return result
