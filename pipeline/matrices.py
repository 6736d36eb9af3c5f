"""Products of matrices that come out the same on every processor.

A library for linear algebra adds up in an order that suits the processor and the number of threads, so that its last
digits are theirs; and a threshold or a rank that hangs on them is too. Here each number is cut in two parts, so short
that every product of parts and every sum of such products is exact, in whatever order it is made. The library still
does the work, three or four times as much of it.

Method: Ozaki, Ogita, Oishi & Rump, Numerical Algorithms 59 (2012), doi:10.1007/s11075-011-9478-1.
"""

from __future__ import annotations

import math

import numpy as np

#: bits of a sum that is exact; one less than float64 has, because cutting rounds upwards too
BITS = 52
#: rows that are cut at a time, to bound memory
BLOCK = 4096


def product(left: np.ndarray, right: np.ndarray, squares: float) -> np.ndarray:
    """`left @ right`, float64 (rows of left, columns of right), to 1e-13 of `squares`.

    `squares`: what the sum of squares of no row of `left` and of no column of `right` exceeds.
    NaN where a row or a column has one.
    """
    steps = _steps(squares, len(right))
    (high_left, low_left), (high_right, low_right) = _cut(left, steps), _cut(right, steps)
    result = low_left @ low_right
    result += high_left @ low_right
    result += low_left @ high_right
    result += high_left @ high_right
    return result


def gram(columns: np.ndarray, squares: float) -> np.ndarray:
    """`columns.T @ columns`, as `product`: (wells, features) gives (features, features)."""
    steps = _steps(squares, len(columns))
    result = np.zeros((columns.shape[1], columns.shape[1]))
    for start in range(0, len(columns), BLOCK):
        high, low = _cut(columns[start : start + BLOCK], steps)
        result += low.T @ low
        mixed = high.T @ low
        result += mixed
        result += mixed.T
        result += high.T @ high
    return result


def rounded(values: np.ndarray, total: float) -> np.ndarray:
    """The values in steps so large that every sum of some of them is exact; magnitudes add up to `total` at most."""
    steps = 2.0 ** (BITS - _bits(total))
    return np.rint(values * steps) / steps


def _steps(squares: float, length: int) -> tuple[float, float]:
    """How many steps to one: of the high part of a number, and of the low part, which is half a step of the high one.

    By Cauchy and Schwarz the products of two high parts add up to `squares` at most, those of a high and a low part to
    sqrt(squares * length) half steps, those of two low parts to `length` quarters of squared steps.
    """
    return 2.0 ** ((BITS - _bits(squares)) // 2), 2.0 ** (BITS - _bits(math.sqrt(squares * max(length, 1))))


def _bits(number: float) -> int:
    return math.ceil(math.log2(max(number, 1.0)))


def _cut(values: np.ndarray, steps: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    high = np.rint(values * steps[0])
    high /= steps[0]
    low = values - high
    low *= steps[1]
    np.rint(low, out=low)
    low /= steps[1]
    return high, low
