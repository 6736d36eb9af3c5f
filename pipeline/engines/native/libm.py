"""Functions by the C library, as CellProfiler's NumPy computes them; newer NumPy has its own for each processor."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel


@kernel
def log2(image: np.ndarray) -> np.ndarray:
    """Of float32 pixels (y, x), rounded to float32."""
    result = np.empty_like(image)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            result[y, x] = np.log2(image[y, x])
    return result
