"""Sums of products in the order in which CellProfiler's BLAS adds them up.

Where next to nothing is left of a difference its last digits are all there is, and they hang on that order. It is that
of OpenBLAS's kernels for Sandy Bridge, which the CellProfiler engine asks for (`engines.cellprofiler.process`): they
round each product before they add it, and use vectors that every processor with AVX has. No BLAS is asked here, for it
would choose by the processor.
"""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel

#: products that `dot` takes at a time
WIDTH = 16
#: rows of the right matrix that `product` takes together
STRETCH = 256


@kernel
def dot(one: np.ndarray, other: np.ndarray) -> float:
    """`np.dot` of two float64 vectors: sixteen sums side by side, and what is left over one by one."""
    sums = np.zeros(WIDTH)
    whole = one.size - one.size % WIDTH
    for first in range(0, whole, WIDTH):
        for k in range(WIDTH):
            sums[k] += one[first + k] * other[first + k]
    # In four vectors of four: the upper half of each is added to the lower, then vector to vector, then what is left.
    halves = np.empty((4, 2))
    for k in range(4):
        for side in range(2):
            halves[k, side] = sums[4 * k + side] + sums[4 * k + side + 2]
    left = (halves[0, 0] + halves[1, 0]) + (halves[2, 0] + halves[3, 0])
    right = (halves[0, 1] + halves[1, 1]) + (halves[2, 1] + halves[3, 1])
    total = left + right
    for k in range(whole, one.size):
        total += one[k] * other[k]
    return total


@kernel
def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`np.dot` of two float64 matrices: products are added from the first to the last, stretch after stretch."""
    result = np.zeros((left.shape[0], right.shape[1]))
    total = np.empty(right.shape[1])
    begin, length = 0, left.shape[1]
    while begin < length:
        size = length - begin
        if size >= 2 * STRETCH:
            size = STRETCH
        elif size > STRETCH:
            size = (size // 2 + 7) // 8 * 8
        for i in range(left.shape[0]):
            total[:] = 0
            for k in range(begin, begin + size):
                factor = left[i, k]
                for j in range(total.size):
                    total[j] += factor * right[k, j]
            for j in range(total.size):
                result[i, j] += total[j]
        begin += size
    return result
