"""The smallest circle around each object, found as CellProfiler finds it.

Zernike features leave out what lies outside the circle, and the pixels that define it lie on it: whether they
count hangs on the last bit of its centre. So the search takes the same turns with the same arithmetic as
`centrosome.cpmorphology.minimum_enclosing_circle` (method of Chrystal 1884).
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1.ties import first_minima


def enclosing_circles(hull: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(centres (objects, 2), radii (objects)) of convex hulls; float64, row before column.

    `hull`: int64 (points, 2), row and column, object after object. `counts`: points of each object.
    A circle of two points is their diameter, of one point has radius 0, of none a centre of NaN.
    """
    starts = np.append(0, np.cumsum(counts))
    centres, radii = np.full((counts.size, 2), np.nan), np.zeros(counts.size)
    is_open = counts > 2
    # A side S0-S1 of each hull; all other points are seen from it.
    side = np.stack([starts[:-1], np.minimum(starts[:-1] + 1, np.maximum(starts[1:] - 1, 0))], axis=1)
    has_points = counts > 0
    first, last = (hull[side[has_points, k]].astype(np.float64) for k in (0, 1))
    centres[has_points] = (first + last) / 2
    radii[has_points] = np.sqrt(((centres[has_points] - first) ** 2).sum(axis=1))
    radii[is_open] = 0
    centres[is_open] = np.nan
    while is_open.any():
        points, owners, angles = angles_seen(hull, starts, side, is_open)
        order = np.unique(angles[0], return_inverse=True)[1].astype(np.uint32)
        narrowest = first_minima(order, owners, counts.size)
        turn(hull, points, angles, narrowest, side, is_open, centres, radii)
    return centres, radii


@kernel
def angles_seen(hull, starts, side, is_open):
    """Of all points but S0 and S1 of the open hulls: their index, their hull, and the angles at them, S0 and S1."""
    points, owners = np.empty(len(hull), np.int64), np.empty(len(hull), np.int64)
    angles = np.empty((3, len(hull)))
    n = 0
    for k in range(is_open.size):
        if not is_open[k]:
            continue
        s0, s1 = side[k, 0], side[k, 1]
        for point in range(starts[k], starts[k + 1]):
            if point != s0 and point != s1:
                angles[1, n], angles[2, n] = angle(hull, s0, s1, point), angle(hull, s1, s0, point)
                angles[0, n] = np.pi - angles[2, n] - angles[1, n]
                points[n], owners[n] = point, k
                n += 1
    return points[:n], owners[:n], angles[:, :n]


@kernel
def turn(hull, points, angles, narrowest, side, is_open, centres, radii):
    """Close the hulls whose circle is found, and turn the sides of the others, in place."""
    right = np.pi / 2
    for k in range(is_open.size):
        if not is_open[k]:
            continue
        s0, s1 = side[k, 0], side[k, 1]
        best = narrowest[k]
        at_point, at_s0, at_s1 = angles[0, best], angles[1, best], angles[2, best]
        if at_point >= right:
            dy, dx = float(hull[s0, 0] - hull[s1, 0]), float(hull[s0, 1] - hull[s1, 1])
            centres[k, 0] = (float(hull[s0, 0]) + float(hull[s1, 0])) / 2
            centres[k, 1] = (float(hull[s0, 1]) + float(hull[s1, 1])) / 2
            radii[k] = np.sqrt(dy**2 + dx**2) / 2
            is_open[k] = False
        elif not (at_point > right or at_s0 > right or at_s1 > right):
            centres[k, 0], centres[k, 1] = circumcentre(hull, s0, s1, points[best])
            dy, dx = hull[s0, 0] - centres[k, 0], hull[s0, 1] - centres[k, 1]
            radii[k] = np.sqrt(dy**2 + dx**2)
            is_open[k] = False
        elif at_s0 > right:
            side[k, 0] = points[best]
        else:
            side[k, 1] = points[best]


@kernel
def angle(hull, corner, one, other):
    """Angle at a corner of a triangle."""
    one_y, one_x = float(hull[one, 0] - hull[corner, 0]), float(hull[one, 1] - hull[corner, 1])
    other_y, other_x = float(hull[other, 0] - hull[corner, 0]), float(hull[other, 1] - hull[corner, 1])
    product = one_y * other_y + one_x * other_x
    cosine = product / np.sqrt((one_y**2 + one_x**2) * (other_y**2 + other_x**2))
    # The C library's arc cosine, as numpy calls it where its AVX-512 kernels are switched off.
    return math.acos(cosine) if abs(cosine) <= 1 else np.nan


@kernel
def circumcentre(hull, a, b, c):
    ay, ax = float(hull[a, 0]), float(hull[a, 1])
    by, bx = float(hull[b, 0]), float(hull[b, 1])
    cy, cx = float(hull[c, 0]), float(hull[c, 1])
    scale = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
    a2, b2, c2 = ay**2 + ax**2, by**2 + bx**2, cy**2 + cx**2
    x = (a2 * (by - cy) + b2 * (cy - ay) + c2 * (ay - by)) / scale
    y = (a2 * (cx - bx) + b2 * (ax - cx) + c2 * (bx - ax)) / scale
    return y, x
