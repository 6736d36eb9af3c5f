"""Zernike moments: of objects' shapes, from the moments of their pixels; and of brightness within them."""

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


def radial_factors(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 (indices, 2): n and m; float64 (indices, degree // 2 + 1): factors of R_nm, the highest power's first."""
    factorials = np.cumprod(np.append(1.0, np.arange(1, degree + 1)))
    nm = np.array(indices(degree))
    factors = np.zeros((len(nm), degree // 2 + 1))
    for row, (n, m) in zip(factors, nm, strict=True):
        for k in range((n - m) // 2 + 1):
            below = factorials[k] * factorials[(n + m) // 2 - k] * factorials[(n - m) // 2 - k]
            row[k] = (-1) ** k * factorials[n - k] / below
    return nm, factors


@kernel
def weighted_sums(values, rows, columns, starts, centres, radii, nm, factors):
    """Sums of brightness times V_nm over each object's pixels: float64 (images, objects, indices, real or imaginary).

    `values`: float32 (images, pixels), object after object; `rows`, `columns`: of each pixel. `nm`, `factors`: of
    `radial_factors`. Term by term and pixel by pixel as in CellProfiler: where an object is symmetric the phase is that
    of what rounding leaves of zero.
    """
    n_images, n_objects, n_indices = len(values), starts.size - 1, len(nm)
    sums = np.zeros((n_images, n_objects, n_indices, 2))
    powers = np.zeros((nm[:, 1].max() + 1, 2))
    terms = np.zeros((n_indices, 2))
    for k in range(n_objects):
        for at in range(starts[k], starts[k + 1]):
            y, x = (rows[at] - centres[k, 0]) / radii[k], (columns[at] - centres[k, 1]) / radii[k]
            square = x * x + y * y
            raise_to(powers, y, x)
            for i in range(n_indices):
                n, m = nm[i]
                radial = 0.0
                for step in range((n - m) // 2 + 1):
                    radial = radial * square + factors[i, step]
                if square > 1:
                    radial = 0.0
                terms[i, 0] = radial * powers[m, 0] if m > 0 else radial
                terms[i, 1] = radial * powers[m, 1] if m > 0 else 0.0
            for c in range(n_images):
                value = np.float64(values[c, at])
                for i in range(n_indices):
                    sums[c, k, i, 0] += value * terms[i, 0]
                    sums[c, k, i, 1] += value * terms[i, 1]
    return sums


@kernel
def raise_to(powers, real, imaginary) -> None:
    """Write the powers of a complex number, from the first on, by squaring."""
    for m in range(1, len(powers)):
        power_real, power_imaginary = real, imaginary
        found_real, found_imaginary, left = 1.0, 0.0, m
        while True:
            if left & 1:
                found_real, found_imaginary = (
                    found_real * power_real - found_imaginary * power_imaginary,
                    found_real * power_imaginary + found_imaginary * power_real,
                )
            left >>= 1
            if left == 0:
                break
            power_real, power_imaginary = (
                power_real * power_real - power_imaginary * power_imaginary,
                power_real * power_imaginary + power_imaginary * power_real,
            )
        powers[m, 0], powers[m, 1] = found_real, found_imaginary
