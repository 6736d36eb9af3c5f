"""Moments of an object's shape, with scikit-image's rounding, which is all there is of some where it is symmetric."""

from __future__ import annotations

from math import pow

import numpy as np
from skimage.measure import moments_hu

from pipeline.engines.native.numpy1.products import product

#: of rows and of columns, but in normalised moments, where both go up to 3
ORDERS = [(i, j) for i in range(3) for j in range(4)]
NORMALISED = [(i, j) for i in range(4) for j in range(4)]
#: what `advanced` gives
FEATURES = (
    *(f"SpatialMoment_{i}_{j}" for i, j in ORDERS),
    *(f"CentralMoment_{i}_{j}" for i, j in ORDERS),
    *(f"NormalizedMoment_{i}_{j}" for i, j in NORMALISED),
    *(f"HuMoment_{k}" for k in range(7)),
)


def moments(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw and central moments of a mask: float64 (4, 4) each, by powers of row and column.

    Powers of the distance, summed axis by axis (`skimage.measure.regionprops`).
    """
    raw = about(mask, (0.0, 0.0))
    return raw, about(mask, (raw[1, 0] / raw[0, 0], raw[0, 1] / raw[0, 0]))


def about(mask: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    sums = mask.astype(np.float64)
    for axis, length in enumerate(mask.shape):
        # Powers by the C library; newer NumPy has its own for each processor.
        powers = np.array([[pow(at - centre[axis], float(power)) for power in range(4)] for at in range(length)])
        sums = np.rollaxis(product(np.ascontiguousarray(np.rollaxis(sums, axis, 2)), powers), -1, axis)
    return sums


def inertia_tensor(mask: np.ndarray) -> np.ndarray:
    """float64 (2, 2)."""
    central = moments(mask)[1]
    total = central[2, 0] + central[0, 2]
    lean = -central[1, 1] / central[0, 0]
    return np.array(
        [
            [(total - central[2, 0]) / central[0, 0], lean],
            [lean, (total - central[0, 2]) / central[0, 0]],
        ]
    )


def normalised(central: np.ndarray) -> np.ndarray:
    """Central moments by the area: float64 (4, 4), NaN where the powers make less than two."""
    found = np.full((4, 4), np.nan)
    for i, j in NORMALISED:
        if i + j >= 2:
            found[i, j] = central[i, j] / pow(central[0, 0], (i + j) / 2 + 1)
    return found


def advanced(mask: np.ndarray) -> list[float]:
    """The values of `FEATURES`."""
    raw, central = moments(mask)
    by_area = normalised(central)
    tables = ((raw, ORDERS), (central, ORDERS), (by_area, NORMALISED))
    return [*(table[order] for table, orders in tables for order in orders), *moments_hu(by_area)]
