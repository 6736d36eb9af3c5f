"""The slope of one image against another, in float32 as CellProfiler fits it.

`scipy.linalg.lstsq` of float32 images is LAPACK's sgelsd: a QR decomposition by Householder reflections over a million
pixels, then the singular values of a matrix of two by two. Its rounding shows from the fifth digit on, so that only the
same steps in the same order give the same slope. LAPACK 3.9, with the sums of OpenBLAS for Sandy Bridge (`products`).
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel

#: rows that OpenBLAS adds up together
STRETCH = 4096
ONE, TWO = np.float32(1), np.float32(2)
EPSILON = np.finfo(np.float32).eps


def slope(first: np.ndarray, second: np.ndarray) -> np.float32:
    """Of the line that gives the second vector (float32) from the first: `lstsq` of columns (first, 1).

    NaN for a single pixel. Raises ValueError where a pixel is infinite or NaN, as `lstsq`.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("no line fits pixels that are infinite or have no value (NaN)")
    if first.size < 2:
        return np.float32(np.nan)
    columns, rest = np.stack([first, np.ones_like(first)]), second.copy()
    f, tau = reflector(columns[0])
    reflect(columns[1], columns[0], tau)
    reflect(rest, columns[0], tau)
    g = columns[1, 0]
    h, tau = reflector(columns[1, 1:])
    reflect(rest[1:], columns[1, 1:], tau)
    return _first_of_two(f, g, h, rest[0], rest[1])


def reflector(column: np.ndarray) -> tuple[np.float32, np.float32]:
    """Make a column the vector (1, ...) of its Householder reflection (slarfg): what becomes of its head, and tau."""
    head, norm = column[0], np.float32(math.sqrt(squares(column[1:])))
    column[0] = ONE
    if norm == 0:
        return head, np.float32(0)
    greater, lesser = max(abs(head), norm), min(abs(head), norm)
    length = greater * np.sqrt(ONE + (lesser / greater) * (lesser / greater)) if lesser else greater
    beta = -np.copysign(length, head)
    column[1:] *= ONE / (head - beta)
    return beta, (beta - head) / beta


def reflect(column: np.ndarray, vector: np.ndarray, tau: np.float32) -> None:
    """Apply a reflection to a column, in place (slarf)."""
    used = np.flatnonzero(vector)[-1] + 1
    if tau != 0:
        column[:used] += (-tau * transposed_product(column[:used], vector[:used])) * vector[:used]


def exact_slope(first: np.ndarray, second: np.ndarray) -> np.float64:
    """The same in float64, by sums; of a constant image the solution of least norm, as `lstsq`."""
    f, s = first.astype(np.float64), second.astype(np.float64)
    away = f - f.mean()
    spread = (away * away).sum()
    if spread == 0:
        return np.float64(f[0] * s.mean() / (f[0] * f[0] + 1))
    return np.float64((away * (s - s.mean())).sum() / spread)


@kernel
def squares(values: np.ndarray) -> float:
    """Sum of squares: float64."""
    total = 0.0
    for value in values:
        total += np.float64(value) * np.float64(value)
    return total


@kernel
def transposed_product(column: np.ndarray, vector: np.ndarray) -> np.float32:
    """sgemv: in each stretch two times four sums side by side, fours in turn; the last rows together."""
    total = np.float32(0)
    whole = column.size - column.size % 4
    sums = np.empty(8, np.float32)
    for begin in range(0, whole, STRETCH):
        end = min(begin + STRETCH, whole)
        sums[:] = 0
        if (end - begin) % 8:
            for k in range(4):
                sums[k] = column[begin + k] * vector[begin + k]
            begin += 4
        for at in range(begin, end, 8):
            for k in range(8):
                sums[k] += column[at + k] * vector[at + k]
        for k in range(4):
            sums[k] += sums[k + 4]
        total += (sums[0] + sums[1]) + (sums[2] + sums[3])
    if whole < column.size:
        rest = column[whole] * vector[whole]
        for k in range(whole + 1, column.size):
            rest += column[k] * vector[k]
        total += rest
    return total


def _first_of_two(f: np.float32, g: np.float32, h: np.float32, one: np.float32, other: np.float32) -> np.float32:
    """x of the shortest (x, y) that comes nearest to f x + g y = one, h y = other (slalsd, sbdsqr)."""
    largest = max(abs(f), abs(g), abs(h))
    scale = ONE / largest
    f, g, h = f * scale, g * scale, h * scale
    low, high, sine_right, cosine_right, sine_left, cosine_left = singular_values(f, g, h)
    one, other = cosine_left * one + sine_left * other, cosine_left * other - sine_left * one
    rows = [(high, cosine_right, one), (low, -sine_right, other)]
    limit = EPSILON * abs(high)
    solved = [
        (-weight if value < 0 else weight, part * (ONE / abs(value)) if abs(value) > limit else np.float32(0))
        for value, weight, part in rows
    ]
    (weight, part), (other_weight, other_part) = solved
    return (weight * part + other_weight * other_part) * scale


def singular_values(f: np.float32, g: np.float32, h: np.float32) -> tuple[np.float32, ...]:
    """Of [[f, g], [0, h]]: the lower, the higher, sine and cosine on the right, and on the left (slasv2)."""
    swap = abs(h) > abs(f)
    ft, ht = (h, f) if swap else (f, h)
    fa, ha, ga = abs(ft), abs(ht), abs(g)
    most = 3 if swap else 1
    low, high, cosine_left, cosine_right, sine_left, sine_right = ha, fa, ONE, ONE, np.float32(0), np.float32(0)
    if ga > fa:
        most = 2
    if ga > fa and fa / ga < EPSILON / 2:
        low, high = (fa / (ga / ha) if ha > 1 else (fa / ga) * ha), ga
        sine_left, sine_right, cosine_right = ht / g, ONE, ft / g
    elif ga != 0:
        difference = fa - ha
        left = ONE if difference == fa else difference / fa
        m = g / ft
        t = TWO - left
        mm = m * m
        s = np.sqrt(t * t + mm)
        r = abs(m) if left == 0 else np.sqrt(left * left + mm)
        a = np.float32(0.5) * (s + r)
        low, high = ha / a, fa * a
        if mm != 0:
            t = (m / (s + t) + m / (r + left)) * (ONE + a)
        elif left == 0:
            t = np.copysign(TWO, ft) * np.copysign(ONE, g)
        else:
            t = g / np.copysign(difference, ft) + m / t
        length = np.sqrt(t * t + np.float32(4))
        cosine_right, sine_right = TWO / length, t / length
        cosine_left, sine_left = (cosine_right + sine_right * m) / a, (ht / ft) * sine_right / a
    if swap:
        cosine_left, sine_left, cosine_right, sine_right = sine_right, cosine_right, sine_left, cosine_left
    deciding = {1: (cosine_right, cosine_left, f), 2: (sine_right, cosine_left, g), 3: (sine_right, sine_left, h)}[most]
    sign = math.prod(math.copysign(1, number) for number in deciding)
    high = np.copysign(high, np.float32(sign))
    low = np.copysign(low, np.float32(sign * math.copysign(1, f) * math.copysign(1, h)))
    return low, high, sine_right, cosine_right, sine_left, cosine_left
