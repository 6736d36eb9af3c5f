"""Functions by the C library, as CellProfiler's NumPy computes them; newer NumPy has its own for each processor."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel


@kernel
def log2(values: np.ndarray) -> np.ndarray:
    """Of float32 or float64, of any shape, rounded to the same type."""
    result = np.empty_like(values)
    for at in np.ndindex(values.shape):
        result[at] = np.log2(values[at])
    return result
