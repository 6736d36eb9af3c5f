"""Zernike moments of objects' shapes, from the moments of their pixels."""

from __future__ import annotations

from math import comb, factorial

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1.products import product


def indices(degree: int) -> list[tuple[int, int]]:
    """(n, m) up to a degree, in CellProfiler's order."""
    return [(n, m) for n in range(degree + 1) for m in range(n % 2, n + 1, 2)]


def magnitudes(
    pixels: np.ndarray, starts: np.ndarray, width: int, centres: np.ndarray, radii: np.ndarray, degree: int
) -> np.ndarray:
    """|sum of V_nm over an object's pixels| / (pi r²): float64 (objects, indices).

    `pixels`, `starts`: as in `Objects`. Pixels are taken to the unit disk around the object's smallest enclosing
    circle; those outside it, by however little, do not count (centrosome.zernike). All polynomials follow from
    the sums of x^a y^b with a + b up to the degree.
    """
    real, imaginary = polynomials(degree)
    sums = power_sums(pixels, starts, width, centres, radii, degree).reshape(len(radii), -1)
    parts = product(sums, real) ** 2 + product(sums, imaginary) ** 2
    return np.sqrt(parts) / (np.pi * radii**2)[:, None]


def polynomials(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of V_nm = R_nm(r) (y + ix)^m in x^a y^b: real and imaginary part, (a * (degree + 1) + b, nm)."""
    shape = (degree + 1, degree + 1, len(indices(degree)))
    real, imaginary = np.zeros(shape), np.zeros(shape)
    for nm, (n, m) in enumerate(indices(degree)):
        for k in range((n - m) // 2 + 1):
            radial = (-1) ** k * factorial(n - k)
            radial //= factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k)
            half = (n - m) // 2 - k  # r^(n - 2k) = (x² + y²)^half |y + ix|^m
            for i in range(half + 1):
                for j in range(m + 1):
                    part = real if j % 2 == 0 else imaginary
                    sign = -1 if j % 4 >= 2 else 1
                    part[2 * i + j, 2 * (half - i) + m - j, nm] += sign * radial * comb(half, i) * comb(m, j)
    return real.reshape(-1, shape[2]), imaginary.reshape(-1, shape[2])


@kernel
def power_sums(pixels, starts, width, centres, radii, degree):
    """float64 (objects, degree + 1, degree + 1): sums of x^a y^b, for a + b up to the degree."""
    n = starts.size - 1
    sums = np.zeros((n, degree + 1, degree + 1))
    row = np.zeros(degree + 1)
    for k in range(n):
        if starts[k] == starts[k + 1]:
            sums[k] = np.nan
            continue
        line = pixels[starts[k]] // width
        y = (line - centres[k, 0]) / radii[k]
        row[:] = 0.0
        for at in range(starts[k], starts[k + 1]):
            if pixels[at] >= (line + 1) * width:
                flush(row, y, sums[k], degree)
                line = pixels[at] // width
                y = (line - centres[k, 0]) / radii[k]
            x = (pixels[at] - line * width - centres[k, 1]) / radii[k]
            if x * x + y * y > 1:
                continue
            power = 1.0
            for a in range(degree + 1):
                row[a] += power
                power *= x
        flush(row, y, sums[k], degree)
    return sums


@kernel
def flush(row, y, sums, degree):
    """Add one row's sums of x^a, times y^b, and start the next row."""
    for a in range(degree + 1):
        term = row[a]
        for b in range(degree + 1 - a):
            sums[a, b] += term
            term *= y
        row[a] = 0.0
