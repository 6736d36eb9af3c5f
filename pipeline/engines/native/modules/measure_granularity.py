"""MeasureGranularity: how much of an image goes at each size, as openings by reconstruction grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels.spectrum import (
    LANES,
    component_tree,
    float32_sums,
    reconstructions,
    sums_in_objects,
)
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({4})

SUBSAMPLING = "Subsampling factor for granularity measurements"
BACKGROUND_SUBSAMPLING = "Subsampling factor for background reduction"
RADIUS = "Radius of structuring element"
LENGTH = "Range of the granular spectrum"
EPSILON = float(np.finfo(float).eps)


def compile(settings: Settings) -> Granularity:
    subsampling, background = settings.number_of(SUBSAMPLING), settings.number_of(BACKGROUND_SUBSAMPLING)
    radius, length = settings.integer(RADIUS), settings.integer(LENGTH)
    for name, value in ((RADIUS, radius), (LENGTH, length)):
        if value > 255:
            settings.refuse(f'"{name}: {value}" is more than 255')
    # CellProfiler measures the objects of the list also where "Measure within objects?" says No and hides it.
    objects = tuple(settings.names("Select objects to measure"))
    return Granularity(
        images_in=tuple(settings.names("Select images to measure")),
        objects_in=objects,
        subsampling=subsampling,
        background_subsampling=background,
        radius=radius,
        length=length,
    )


@dataclass(frozen=True)
class Granularity:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]
    subsampling: float
    background_subsampling: float
    radius: int
    length: int

    images_out = objects_out = ()
    honours_masks = True

    def features(self) -> dict[str, list[str]]:
        names = [f"Granularity_{k}_{image}" for image in self.images_in for k in range(1, self.length + 1)]
        return dict.fromkeys(("Image", *self.objects_in), names)

    def run(self, site: Workspace) -> None:
        site.check_shapes(*self.images_in, *self.objects_in)
        object_sets = [site.objects[name] for name in self.objects_in]
        whole_objects = Spans.of(object_sets)
        rows = None
        for name in self.images_in:
            if rows is None:
                rows = room_for_rows(site.images[name].shape, self.subsampling)
            mask, labelled = site.masks.get(name), whole_objects
            if mask is not None:
                labelled = Spans.of([objects.shown(mask) for objects in object_sets])
            whole, within = granularity(
                site.images[name],
                labelled,
                rows,
                mask,
                subsampling=self.subsampling,
                background_subsampling=self.background_subsampling,
                radius=self.radius,
                length=self.length,
            )
            for k in range(self.length):
                site.add_image(f"Granularity_{k + 1}_{name}", whole[k])
                for object_set, values in zip(self.objects_in, labelled.split(within[k]), strict=True):
                    site.add(object_set, f"Granularity_{k + 1}_{name}", values)


@dataclass(frozen=True)
class Spans:
    """Pixels side by side that belong to the same objects, so that one pass over them serves all object sets.

    `spans`: int32 (spans, 3), row, first column and the column after the last. `owners`: int32 (spans, sets), whose
    each is, counted through all sets, or -1. `areas`: int64 (objects of all sets). `ends`: where in them each set but
    the last ends.
    """

    spans: np.ndarray
    owners: np.ndarray
    areas: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, object_sets: Sequence[Objects]) -> Spans:
        starts = np.cumsum([0, *(objects.count for objects in object_sets)])
        spans = np.empty((0, 3), np.int32)
        if object_sets:
            shape = object_sets[0].segmented.shape
            is_labelled, is_first = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
            for objects in object_sets:
                mark(objects.segmented, is_labelled, is_first)
            spans = find_spans(is_labelled, is_first)
        owners = np.empty((len(spans), len(object_sets)), np.int32)
        for column, (objects, start) in enumerate(zip(object_sets, starts, strict=False)):
            found = objects.segmented[spans[:, 0], spans[:, 1]]
            owners[:, column] = np.where(found > 0, found + (start - 1), -1)
        areas = np.concatenate([np.empty(0, np.int64), *(objects.areas for objects in object_sets)])
        return cls(spans, owners, areas, starts[1:-1])

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """What belongs to each object set."""
        return np.split(values, self.ends) if self.owners.shape[1] else []


@kernel
def mark(labels: np.ndarray, is_labelled: np.ndarray, is_first: np.ndarray) -> None:
    """Add to bool (y, x) which pixels have a label, and which have another one than the pixel on their left."""
    for y in range(labels.shape[0]):
        before = np.int32(-1)
        for x in range(labels.shape[1]):
            is_labelled[y, x] |= labels[y, x] > 0
            is_first[y, x] |= labels[y, x] != before
            before = labels[y, x]


@kernel
def find_spans(is_labelled: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """`Spans.spans`, from what `mark` found."""
    height, width = is_labelled.shape
    n = 0
    for y in range(height):
        for x in range(width):
            n += is_labelled[y, x] and is_first[y, x]
    spans = np.empty((n, 3), np.int32)
    n = 0
    for y in range(height):
        for x in range(width):
            if is_labelled[y, x]:
                if is_first[y, x]:
                    spans[n, 0], spans[n, 1] = y, x
                    n += 1
                spans[n - 1, 2] = x + 1
    return spans


def room_for_rows(shape: tuple[int, ...], subsampling: float) -> np.ndarray:
    """Room for `LANES` rounds of an image of this shape, subsampled: float32 (y, x, LANES). The largest array here."""
    height, width = (math.ceil(size * subsampling) for size in shape)
    return np.empty((height, width, LANES), np.float32)


def granularity(
    image: np.ndarray,
    labelled: Spans,
    rows: np.ndarray,
    shown: np.ndarray | None = None,
    *,
    subsampling: float,
    background_subsampling: float,
    radius: int,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Granular spectrum of a float32 image: float64, (length) of the whole and (length, objects of all sets).

    `rows`: see `room_for_rows`; what is in it does not matter. `shown`: the mask of the image, where it has one; the
    objects have to lie within it.
    Percent of the mean that round k takes away. The mean at the start is that of the subsampled image without its
    background for the image, that of the image as it is for an object. Raises ValueError for an image one or two pixels
    high or wide, where CellProfiler divides by zero.
    """
    pixels, mask, shape = without_background(image, subsampling, background_subsampling, radius, shown)
    is_inside = np.ones(pixels.shape, np.bool_) if mask is None else mask
    order, parent, radius_of = component_tree(pixels, length, is_inside)
    y, x = _stretched(image.shape, shape)
    image_means = [float(sums.mean(pixels.ravel() if mask is None else pixels[mask]))]
    object_means = [_sums_by_owner(image, labelled.spans, labelled.owners, labelled.areas.size) / labelled.areas]
    for first in range(1, length + 1, LANES):
        rounds = min(LANES, length + 1 - first)
        reconstructions(pixels.ravel(), order, parent, radius_of, first, rows.reshape(-1, LANES))
        kept = rows.reshape(-1, LANES) if mask is None else rows[mask]
        image_means += [np.float64(total) / len(kept) for total in float32_sums(kept)[:rounds]]
        found = np.zeros((labelled.areas.size, LANES))
        sums_in_objects(rows, y, x, labelled.spans, labelled.owners, found)
        object_means += list((found / labelled.areas[:, None]).T[:rounds])

    # The difference of two float32 means is rounded to float32 before it is divided.
    whole = _losses(np.array(image_means, np.float32)).astype(float) * 100 / max(image_means[0], EPSILON)
    return whole, _losses(np.array(object_means)) * 100 / np.maximum(object_means[0], EPSILON)


def _losses(means: np.ndarray) -> np.ndarray:
    return means[:-1] - means[1:]


@kernel
def _sums_by_owner(image: np.ndarray, spans: np.ndarray, owners: np.ndarray, n_objects: int) -> np.ndarray:
    found = np.zeros(n_objects)
    for k in range(len(spans)):
        line, first, end = spans[k]
        total = 0.0
        for value in image[line, first:end]:
            total += value
        for owner in owners[k]:
            if owner >= 0:
                found[owner] += total
    return found


def without_background(
    image: np.ndarray,
    subsampling: float,
    background_subsampling: float,
    radius: int,
    shown: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float]]:
    """The subsampled image minus its opening by a disk, at least 0: float32, and the mask and size of it.

    The mask is None where every sample lies in the image and the image has none (`shown`); the size is not rounded:
    CellProfiler goes on with half rows.
    """
    shape = (float(image.shape[0]), float(image.shape[1]))
    pixels, mask = image, shown
    if subsampling < 1:
        shape = (shape[0] * subsampling, shape[1] * subsampling)
        pixels, mask = _subsampled(image, mask, shape, subsampling)
    back, back_mask, back_shape = pixels, mask, shape
    if background_subsampling < 1:
        back_shape = (shape[0] * background_subsampling, shape[1] * background_subsampling)
        back, back_mask = _subsampled(pixels, mask, back_shape, background_subsampling)
    for sign in (1, -1):  # opening: the lowest in the disk, then the highest of those
        back = back if back_mask is None else np.where(back_mask, back, np.float32(0))
        back = sign * lowest_in_disk(sign * back, radius)
    if background_subsampling < 1:
        back = bilinear(back, *_stretched(pixels.shape, back_shape, shape))
    return np.maximum(pixels - back, np.float32(0)), mask, shape


def _subsampled(
    image: np.ndarray, mask: np.ndarray | None, shape: tuple[float, float], factor: float
) -> tuple[np.ndarray, np.ndarray | None]:
    rows, columns = (np.arange(math.ceil(size)) / factor for size in shape)
    sampled = bilinear(image, rows, columns)
    if mask is None and rows[-1] <= image.shape[0] - 1 and columns[-1] <= image.shape[1] - 1:
        return sampled, None
    whole = np.ones(image.shape) if mask is None else mask.astype(float)
    return sampled, scipy.ndimage.map_coordinates(whole, np.meshgrid(rows, columns, indexing="ij")) > 0.9


def _stretched(
    counts: tuple[int, ...], small: tuple[float, float], large: tuple[float, float] | None = None
) -> list[np.ndarray]:
    """Where the rows and columns of the larger image lie in the smaller one, corner on corner."""
    large = large or (float(counts[0]), float(counts[1]))
    if 1 in large:
        raise ValueError(f"granularity of an image of {large} pixels would divide by zero; CellProfiler fails too")
    return [np.arange(n) * ((to - 1) / (of - 1)) for n, to, of in zip(counts, small, large, strict=True)]


@kernel
def bilinear(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Float32 image at these float64 rows and columns, 0 outside, as `scipy.ndimage.map_coordinates(order=1)`."""
    height, width = image.shape
    out = np.zeros((rows.size, columns.size), np.float32)
    for i in range(rows.size):
        if not 0 <= rows[i] <= height - 1:
            continue
        top = int(rows[i])
        up = 1 - (rows[i] - top)
        down = 1 - up  # not rows[i] - top: scipy rounds its weights this way
        above, below = image[top], image[min(top + 1, height - 1)]
        for j in range(columns.size):
            if 0 <= columns[j] <= width - 1:
                left = int(columns[j])
                beside = min(left + 1, width - 1)
                away = 1 - (columns[j] - left)
                right = 1 - away
                out[i, j] = (
                    above[left] * up * away
                    + above[beside] * up * right
                    + below[left] * down * away
                    + below[beside] * down * right
                )
    return out


@kernel
def lowest_in_disk(image: np.ndarray, radius: int) -> np.ndarray:
    """Minimum over a disk (rows^2 + columns^2 <= radius^2) around each pixel, cut at the border of the image."""
    height, width = image.shape
    reaches = np.empty(radius + 1, np.int64)  # half the width of the disk, this many rows from its centre
    for away in range(radius + 1):
        reaches[away] = int(np.sqrt(radius * radius - away * away))
    out = np.full((height, width), np.inf, np.float32)
    grown = np.empty((radius + 1, width), np.float32)  # of one row: the minimum over [x - reach, x + reach]
    for y in range(height):
        row, before = image[y], image[y]
        for reach in range(radius + 1):
            to = grown[reach]
            for x in range(width):
                to[x] = before[x]
            before = to
            # Views, because an index that could be negative keeps the compiler from using vectors.
            beyond, onward = to[reach:], row[reach:]
            for x in range(width - reach):
                to[x] = min(to[x], onward[x])
            for x in range(width - reach):
                beyond[x] = min(beyond[x], row[x])
        for away in range(-min(radius, y), min(radius, height - 1 - y) + 1):
            to, from_row = out[y + away], grown[reaches[abs(away)]]
            for x in range(width):
                to[x] = min(to[x], from_row[x])
    return out
