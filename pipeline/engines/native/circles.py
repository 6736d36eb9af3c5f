"""The smallest circle around each object, found as CellProfiler finds it.

Zernike features leave out what lies outside the circle, and the pixels that define it lie on it: whether they
count hangs on the last bit of its centre. So the search takes the same turns with the same arithmetic as
`centrosome.cpmorphology.minimum_enclosing_circle` (method of Chrystal 1884).
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.ties import first_minima


@kernel
def enclosing_circles(hull: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(centres (objects, 2), radii (objects)) of convex hulls; float64, row before column.

    `hull`: int (points, 2), row and column, object after object. `counts`: points of each object.
    A circle of two points is their diameter, of one point has radius 0, of none a centre of NaN.
    """
    n = counts.size
    starts = np.zeros(n + 1, np.int64)
    starts[1:] = np.cumsum(counts)
    centres, radii = np.full((n, 2), np.nan), np.zeros(n)
    is_open = np.zeros(n, np.bool_)
    for k in range(n):
        first = starts[k]
        if counts[k] == 1:
            centres[k, 0], centres[k, 1] = hull[first, 0], hull[first, 1]
        elif counts[k] == 2:
            for axis in range(2):
                centres[k, axis] = (hull[first, axis] + hull[first + 1, axis]) / 2
            dy, dx = centres[k, 0] - hull[first, 0], centres[k, 1] - hull[first, 1]
            radii[k] = np.sqrt(dy**2 + dx**2)
        else:
            is_open[k] = counts[k] > 2
    # A side S0-S1 of each hull, and all other points seen from it.
    side = np.empty((n, 2), np.int64)
    side[:, 0], side[:, 1] = starts[:-1], starts[:-1] + 1
    points, owners = np.empty(len(hull), np.int64), np.empty(len(hull), np.int64)
    at_point, at_s0, at_s1 = np.empty(len(hull)), np.empty(len(hull)), np.empty(len(hull))
    while is_open.any():
        seen = 0
        for k in range(n):
            if not is_open[k]:
                continue
            s0, s1 = side[k]
            for point in range(starts[k], starts[k + 1]):
                if point != s0 and point != s1:
                    at_s1[seen] = angle(hull, s1, s0, point)
                    at_s0[seen] = angle(hull, s0, s1, point)
                    at_point[seen] = np.pi - at_s1[seen] - at_s0[seen]
                    points[seen], owners[seen] = point, k
                    seen += 1
        narrowest = first_minima(at_point[:seen], owners[:seen], n)
        for k in range(n):
            if not is_open[k]:
                continue
            s0, s1 = side[k]
            best = narrowest[k]
            if at_point[best] >= np.pi / 2:
                dy, dx = float(hull[s0, 0] - hull[s1, 0]), float(hull[s0, 1] - hull[s1, 1])
                for axis in range(2):
                    centres[k, axis] = (float(hull[s0, axis]) + float(hull[s1, axis])) / 2
                radii[k] = np.sqrt(dy**2 + dx**2) / 2
                is_open[k] = False
            elif at_s1[best] <= np.pi / 2 and at_s0[best] <= np.pi / 2:
                centres[k, 0], centres[k, 1] = circumcentre(hull, s0, s1, points[best])
                dy, dx = hull[s0, 0] - centres[k, 0], hull[s0, 1] - centres[k, 1]
                radii[k] = np.sqrt(dy**2 + dx**2)
                is_open[k] = False
            elif at_s0[best] > np.pi / 2:
                side[k, 0] = points[best]
            else:
                side[k, 1] = points[best]
    return centres, radii


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
