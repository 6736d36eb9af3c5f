"""MeasureObjectSizeShape: area, extent, roundness, radii, Zernike moments."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, pi, sqrt

import numpy as np
from centrosome import cpmorphology

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import moments, zernike
from pipeline.engines.native.kernels.keys import sort_run
from pipeline.engines.native.kernels.moments import inertia_tensor
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({3})

FEATURES = (
    *("Extent", "EulerNumber", "EquivalentDiameter", "MajorAxisLength", "MinorAxisLength", "Center_X", "Center_Y"),
    *("BoundingBoxMinimum_X", "BoundingBoxMinimum_Y", "BoundingBoxMaximum_X", "BoundingBoxMaximum_Y"),
    *("Area", "Perimeter", "MaximumRadius", "MeanRadius", "MedianRadius", "MinFeretDiameter", "MaxFeretDiameter"),
    *("Orientation", "Eccentricity", "FormFactor", "Solidity", "ConvexArea", "Compactness", "BoundingBoxArea"),
)
#: what the advanced features add
ADVANCED = (
    *moments.FEATURES,
    *(f"InertiaTensor_{i}_{j}" for i in range(2) for j in range(2)),
    *("InertiaTensorEigenvalues_0", "InertiaTensorEigenvalues_1"),
)
ZERNIKE_DEGREE = 9


def compile(settings: Settings) -> MeasureSizeShape:
    return MeasureSizeShape(
        objects_in=tuple(settings.names("Select object sets to measure")),
        with_zernike=settings.yes("Calculate the Zernike features?"),
        is_advanced=settings.yes("Calculate the advanced features?"),
    )


@dataclass(frozen=True)
class MeasureSizeShape:
    objects_in: tuple[str, ...]
    with_zernike: bool
    is_advanced: bool

    images_in = images_out = objects_out = ()

    def features(self) -> dict[str, list[str]]:
        names = [*FEATURES, *(ADVANCED if self.is_advanced else ())]
        if self.with_zernike:
            names += [f"Zernike_{n}_{m}" for n, m in zernike.indices(ZERNIKE_DEGREE)]
        return {object_set: [f"AreaShape_{name}" for name in names] for object_set in self.objects_in}

    def run(self, site: Workspace) -> None:
        for object_set in self.objects_in:
            objects = site.objects[object_set]
            for feature, values in zip(self.features()[object_set], self.measure(objects), strict=True):
                site.add(object_set, feature, values)

    def measure(self, objects: Objects) -> np.ndarray:
        """float64 (features, objects)."""
        if objects.count == 0:
            n_zernike = len(zernike.indices(ZERNIKE_DEGREE)) if self.with_zernike else 0
            return np.zeros((len(FEATURES) + (len(ADVANCED) if self.is_advanced else 0) + n_zernike, 0))
        segmented, pixels, starts = objects.segmented, objects.pixels, objects.starts
        boxes, areas = objects.boxes, objects.areas.astype(np.float64)
        box_areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.float64)
        centres, tensors = ellipses(pixels, starts, boxes, segmented.shape[1])
        orientation = refine(tensors, objects)
        narrow, wide = np.clip(eigenvalues(tensors), 0, None).T
        perimeter, euler = perimeters(segmented, pixels, starts)
        radii = edge_radii(objects.to_edge, pixels, starts)
        hull, counts = objects.hulls
        least_feret, most_feret = cpmorphology.feret_diameter(hull, counts, np.arange(1, objects.count + 1))
        convex = convex_areas(hull[:, 1:].astype(np.int64), counts)
        values = {
            "Extent": areas / box_areas,
            "EulerNumber": euler,
            "EquivalentDiameter": (4 * areas / pi) ** 0.5,
            "MajorAxisLength": 4 * np.sqrt(wide),
            "MinorAxisLength": 4 * np.sqrt(narrow),
            "Center_X": centres[:, 1],
            "Center_Y": centres[:, 0],
            "BoundingBoxMinimum_X": boxes[:, 1],
            "BoundingBoxMinimum_Y": boxes[:, 0],
            "BoundingBoxMaximum_X": boxes[:, 3],
            "BoundingBoxMaximum_Y": boxes[:, 2],
            "Area": areas,
            "Perimeter": perimeter,
            "MaximumRadius": radii[0],
            "MeanRadius": radii[1],
            "MedianRadius": radii[2],
            "MinFeretDiameter": least_feret,
            "MaxFeretDiameter": most_feret,
            "Orientation": orientation * (180 / pi),
            "Eccentricity": np.where(wide == 0, 0, np.sqrt(1 - narrow / wide)),
            "FormFactor": 4.0 * pi * areas / perimeter**2,
            "Solidity": areas / convex,
            "ConvexArea": convex,
            "Compactness": perimeter**2 / np.maximum(4.0 * pi * areas, 1),
            "BoundingBoxArea": box_areas,
        }
        columns = [self._as_in_cellprofiler(objects, name, values[name]) for name in FEATURES]
        if self.is_advanced:
            of_tensors = [*tensors.reshape(-1, 4).T, wide, narrow]
            columns += [objects.moved_up(values) for values in [*advanced(objects), *of_tensors]]
        if self.with_zernike:
            columns += list(zernike.magnitudes(pixels, starts, segmented.shape[1], *objects.circles, ZERNIKE_DEGREE).T)
        return np.stack(columns)

    @staticmethod
    def _as_in_cellprofiler(objects: Objects, feature: str, values: np.ndarray) -> np.ndarray:
        """With the rows moved up in all but the Feret diameters; radii leave zeros at the end, not NaN."""
        values = np.asarray(values, np.float64)
        if feature.endswith("FeretDiameter"):
            return values
        return objects.moved_up(values, 0 if feature.endswith("Radius") else np.nan)


@kernel
def ellipses(pixels, starts, boxes, width):
    """Centres (objects, 2) and inertia tensors (objects, 2, 2) as scikit-image has them, from exact integers.

    The first axis of a tensor is the row: its entry is the variance of the columns.
    """
    n = starts.size - 1
    centres, tensors = np.full((n, 2), np.nan), np.zeros((n, 2, 2))
    for k in range(n):
        area = starts[k + 1] - starts[k]
        if area == 0:
            continue
        sy, sx, syy, sxx, sxy = 0, 0, 0, 0, 0
        for pixel in pixels[starts[k] : starts[k + 1]]:
            y, x = pixel // width - boxes[k, 0], pixel % width - boxes[k, 1]
            sy += y
            sx += x
            syy += y * y
            sxx += x * x
            sxy += x * y
        centres[k, 0] = (sy + area * boxes[k, 0]) / area
        centres[k, 1] = (sx + area * boxes[k, 1]) / area
        tensors[k, 0, 0] = (area * sxx - sx * sx) / area / area
        tensors[k, 1, 1] = (area * syy - sy * sy) / area / area
        tensors[k, 0, 1] = tensors[k, 1, 0] = -(area * sxy - sx * sy) / area / area
    return centres, tensors


def refine(tensors: np.ndarray, objects: Objects) -> np.ndarray:
    """Orientations (radians). Where rounding decides, the tensor is replaced by scikit-image's own, in place.

    That is in objects that are as long as they are wide, stand upright, or are straight lines.
    """
    size = np.trace(tensors, axis1=1, axis2=2)
    wide, tall, lean = tensors[:, 0, 0], tensors[:, 1, 1], tensors[:, 0, 1]
    small = 1e-9 * size
    is_delicate = (np.abs(wide - tall) <= small) | (np.abs(lean) <= small)
    is_delicate |= wide * tall - lean * lean <= small * size
    for k in np.flatnonzero(is_delicate & (objects.areas > 0)):
        top, left, bottom, right = objects.boxes[k]
        tensors[k] = inertia_tensor(objects.segmented[top:bottom, left:right] == k + 1)
    return np.array([orientation(*tensor.ravel()) for tensor in tensors])


def advanced(objects: Objects) -> np.ndarray:
    """Of `moments.FEATURES`: float64 (features, objects), NaN for a number without pixels."""
    found = np.full((len(moments.FEATURES), objects.count), np.nan)
    for k in np.flatnonzero(objects.areas):
        top, left, bottom, right = objects.boxes[k]
        found[:, k] = moments.advanced(objects.segmented[top:bottom, left:right] == k + 1)
    return found


def orientation(a: float, b: float, _: float, c: float) -> float:
    if a - c == 0:
        return -pi / 4.0 if b < 0 else pi / 4.0
    return 0.5 * atan2(-2 * b, c - a)


@kernel
def eigenvalues(tensors):
    """Of symmetric matrices (objects, 2, 2), the lower one first: float64 (objects, 2).

    With the rounding of LAPACK's dsterf and dlae2, from which the eccentricity of round objects is made.
    """
    result = np.empty((len(tensors), 2))
    for k in range(len(tensors)):
        a, b, c = tensors[k, 0, 0], tensors[k, 1, 0], tensors[k, 1, 1]
        if abs(b) <= sqrt(abs(a)) * sqrt(abs(c)) * 2.0**-53:
            result[k, 0], result[k, 1] = min(a, c), max(a, c)
            continue
        b = sqrt(b * b)
        total, apart, twice = a + c, abs(a - c), 2 * b
        if apart > twice:
            root = apart * sqrt(1 + (twice / apart) ** 2)
        elif apart < twice:
            root = twice * sqrt(1 + (apart / twice) ** 2)
        else:
            root = twice * sqrt(2.0)
        greater, lesser = (a, c) if abs(a) > abs(c) else (c, a)
        high, low = 0.5 * root, -0.5 * root
        if total != 0:
            high = 0.5 * (total + root if total > 0 else total - root)
            low = (greater / high) * lesser - (b / high) * b
        result[k, 0], result[k, 1] = min(low, high), max(low, high)
    return result


@kernel
def perimeters(segmented, pixels, starts):
    """Perimeter (Benkrid & Crookes, as `skimage.measure.perimeter`) and Euler number (8-connected) of each object."""
    height, width = segmented.shape
    n = starts.size - 1
    # Two pixels of border all round, so that neighbours need no bounds.
    wide = width + 4
    padded = np.zeros((height + 4) * wide, np.int32)
    for y in range(height):
        for x in range(width):
            padded[(y + 2) * wide + 2 + x] = segmented[y, x]
    # Border pixels of an object have a 4-neighbour outside it.
    border = np.zeros_like(padded)
    for pixel in pixels:
        at = (pixel // width + 2) * wide + pixel % width + 2
        label = padded[at]
        if (
            padded[at - 1] != label
            or padded[at + 1] != label
            or padded[at - wide] != label
            or padded[at + wide] != label
        ):
            border[at] = label
    perimeter, euler = np.zeros(n), np.zeros(n)
    for k in range(n):
        straight_steps, oblique_steps, bends = 0, 0, 0
        label = np.int32(k + 1)
        quads = 0
        for pixel in pixels[starts[k] : starts[k + 1]]:
            at = (pixel // width + 2) * wide + pixel % width + 2
            above, below = at - wide, at + wide
            is_inner = border[at] != label
            if not (
                is_inner
                and padded[above - 1] == label
                and padded[above + 1] == label
                and padded[below - 1] == label
                and padded[below + 1] == label
            ):
                for corner in (at, at - 1, above, above - 1):
                    quads += quad(padded, corner, wide, label)
            if is_inner:
                continue
            straight = (
                np.int64(border[above] == label)
                + np.int64(border[at - 1] == label)
                + np.int64(border[at + 1] == label)
                + np.int64(border[below] == label)
            )
            oblique = (
                np.int64(border[above - 1] == label)
                + np.int64(border[above + 1] == label)
                + np.int64(border[below - 1] == label)
                + np.int64(border[below + 1] == label)
            )
            code = 1 + 2 * straight + 10 * oblique
            if code in (5, 7, 15, 17, 25, 27):
                straight_steps += 1
            elif code in (21, 33):
                oblique_steps += 1
            elif code in (13, 23):
                bends += 1
        perimeter[k] = straight_steps + oblique_steps * np.sqrt(2.0) + bends * ((1 + np.sqrt(2.0)) / 2)
        euler[k] = quads // 48
    return perimeter, euler


@kernel
def quad(padded, corner, wide, label):
    """Twelve times what a 2x2 square adds to four times the Euler number, shared by its pixels of the object.

    One pixel adds 1, three take 1 off, two at opposite corners take 2 off (Gray 1971, doi:10.1109/T-C.1971.223289).
    """
    a, b = padded[corner] == label, padded[corner + 1] == label
    c, d = padded[corner + wide] == label, padded[corner + wide + 1] == label
    number = int(a) + int(b) + int(c) + int(d)
    if number == 1:
        return 12
    if number == 3:
        return -4
    if number == 2 and a == d:
        return -12
    return 0


@kernel
def edge_radii(to_edge, pixels, starts):
    """Greatest, mean and median distance of an object's pixels to the nearest outside it: float64 (3, objects).

    Here what lies beyond the image's border is outside. `to_edge`: as of `Objects`.
    """
    height, width = to_edge.shape
    n = starts.size - 1
    result = np.full((3, n), np.nan)
    longest = 1
    for k in range(n):
        longest = max(longest, starts[k + 1] - starts[k])
    ordered, spare = np.empty(longest, np.uint32), np.empty(longest, np.uint32)
    for k in range(n):
        area = starts[k + 1] - starts[k]
        if area == 0:
            continue
        total = 0.0
        for at in range(area):
            y, x = pixels[starts[k] + at] // width, pixels[starts[k] + at] % width
            to_border = min(y + 1, x + 1, height - y, width - x)
            ordered[at] = min(to_edge[y, x], to_border * to_border)
            total += np.sqrt(np.float64(ordered[at]))
        sort_run(ordered[:area], spare[:area])
        low, high = ordered[(area - 1) // 2], ordered[area // 2]
        result[0, k] = np.sqrt(np.float64(ordered[area - 1]))
        result[1, k] = total / area
        result[2, k] = (np.sqrt(np.float64(low)) + np.sqrt(np.float64(high))) / 2
    return result


@kernel
def convex_areas(hull, counts):
    """Pixels within the convex hull of each object's pixels, each pixel being a diamond of diagonal 1.

    `hull`: int64 (points, 2), object after object. As `skimage.morphology.convex_hull_image`, in whole numbers:
    coordinates are doubled, so that the corners of diamonds are integers.
    """
    result = np.zeros(counts.size)
    start = 0
    for k in range(counts.size):
        end = start + counts[k]
        if end == start:
            continue
        top = bottom = hull[start, 0]
        for i in range(start, end):
            top, bottom = min(top, hull[i, 0]), max(bottom, hull[i, 0])
        left = np.full(bottom - top + 1, np.int64(1) << 40)
        right = np.full(bottom - top + 1, -(np.int64(1) << 40))
        # The hull of all diamonds is bounded by sides of the hull of corners, moved by half a pixel up, down, left or
        # right, and by sides of diamonds at its corners: a row reaches from the first to the last it meets of these.
        for i in range(start, end):
            before = i - 1 if i > start else end - 1
            y0, x0 = 2 * hull[before, 0], 2 * hull[before, 1]
            y1, x1 = 2 * hull[i, 0], 2 * hull[i, 1]
            span(y0, x0 - 1, y1, x1 - 1, top, left, right)
            span(y0, x0 + 1, y1, x1 + 1, top, left, right)
            span(y0 - 1, x0, y1 - 1, x1, top, left, right)
            span(y0 + 1, x0, y1 + 1, x1, top, left, right)
            for up in (-1, 1):
                for sideways in (-1, 1):
                    span(y1, x1 + sideways, y1 + up, x1, top, left, right)
        for row in range(bottom - top + 1):
            result[k] += max(0, right[row] - left[row] + 1)
        start = end
    return result


@kernel
def span(y0, x0, y1, x1, top, left, right):
    """Widen the rows that a side (in doubled coordinates) crosses to the whole columns it reaches."""
    if y0 > y1:
        y0, x0, y1, x1 = y1, x1, y0, x0
    for row in range(max(top, (y0 + 1) // 2), min(top + left.size - 1, y1 // 2) + 1):
        if y0 == y1:
            low, high = -((-min(x0, x1)) // 2), max(x0, x1) // 2
        else:
            over = x0 * (y1 - y0) + (x1 - x0) * (2 * row - y0)
            low, high = -((-over) // (2 * (y1 - y0))), over // (2 * (y1 - y0))
        left[row - top] = min(left[row - top], low)
        right[row - top] = max(right[row - top], high)
