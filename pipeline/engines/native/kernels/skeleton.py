"""Lines of one pixel: thinning in the order of the distance to the edge, and the neighbours of each pixel.

Source: `skeletonize` and the tables of centrosome.cpmorphology (BSD-3-Clause). A neighbourhood is nine bits, row by row
from the upper left, the pixel itself being the fifth.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.ndimage

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import labels

CENTRE = 16
EIGHT = np.ones((3, 3), bool)


def skeletonize(white: np.ndarray) -> np.ndarray:
    """bool (y, x): `white` without the pixels that may go, those nearest to the edge first.

    A pixel goes if it is no end of a line and what is around it stays connected. Of pixels equally near those with
    most neighbours go first, and among these the order is that of NumPy's permutation of seed 0, as in centrosome.
    """
    rows, columns = np.nonzero(white)
    distance = labels.squared_distance(white.astype(np.int32))
    if white.all():  # what SciPy makes of an image without an edge
        distance = scipy.ndimage.distance_transform_edt(white)
    cornerness = 9 - np.bitwise_count(neighbourhoods(white))
    ties = np.random.RandomState(0).permutation(white.size).reshape(white.shape)
    order = np.lexsort((ties[rows, columns], cornerness[rows, columns], distance[rows, columns]))
    kept = white.astype(np.uint8)
    thin(kept, rows[order], columns[order], stays())
    return kept.astype(bool)


@cache
def stays() -> np.ndarray:
    """bool (512): whether a white pixel with this neighbourhood stays."""
    table = np.zeros(512, bool)
    for index in range(512):
        if not index & CENTRE:
            continue
        pattern = (index >> np.arange(9) & 1).astype(bool).reshape(3, 3)
        parts = scipy.ndimage.label(pattern, EIGHT)[1]
        pattern[1, 1] = False
        table[index] = scipy.ndimage.label(pattern, EIGHT)[1] != parts or pattern.sum() < 2
    return table


@kernel
def neighbourhoods(white: np.ndarray) -> np.ndarray:
    """uint16 (y, x): the neighbourhood of each pixel of a bool image, black outside."""
    height, width = white.shape
    found = np.zeros((height, width), np.uint16)
    for y in range(height):
        for x in range(width):
            if not white[y, x]:
                continue
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        found[y + dy, x + dx] |= np.uint16(1 << (3 * (1 - dy) + 1 - dx))
    return found


@kernel
def thin(white: np.ndarray, rows: np.ndarray, columns: np.ndarray, table: np.ndarray) -> None:
    """Look at these pixels one after another, and blacken each that does not stay by what is white then.

    Those in the first row of the image all stay (a slip in centrosome's loop).
    """
    height, width = white.shape
    for k in range(rows.size):
        if rows[k] == 0:
            continue
        index = 0
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                y, x = rows[k] + dy, columns[k] + dx
                if 0 <= y < height and 0 <= x < width and white[y, x]:
                    index |= 1 << (3 * (dy + 1) + dx + 1)
        white[rows[k], columns[k]] = table[index]
