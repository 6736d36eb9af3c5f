"""MeasureGranularity: how much of an image goes at each size, as openings by reconstruction grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numba import njit

from pipeline.engines.native import sums
from pipeline.engines.native._spectrum import (
    LANES,
    component_tree,
    float32_sums,
    reconstructions,
    sums_in_objects,
)
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

SUBSAMPLING = "Subsampling factor for granularity measurements"
BACKGROUND_SUBSAMPLING = "Subsampling factor for background reduction"
RADIUS = "Radius of structuring element"
LENGTH = "Range of the granular spectrum"
EPSILON = float(np.finfo(float).eps)


def compile(settings: Settings) -> Granularity:
    subsampling, background = settings.number_of(SUBSAMPLING), settings.number_of(BACKGROUND_SUBSAMPLING)
    radius, length = settings.integer(RADIUS), settings.integer(LENGTH)
    for name, value in ((SUBSAMPLING, subsampling), (BACKGROUND_SUBSAMPLING, background)):
        if not 0 < value <= 1:
            settings.refuse(f'"{name}: {value}" is not above 0 and at most 1')
    for name, value in ((RADIUS, radius), (LENGTH, length)):
        if value < 1:
            settings.refuse(f'"{name}: {value}" is less than 1')
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

    def features(self) -> dict[str, list[str]]:
        names = [f"Granularity_{k}_{image}" for image in self.images_in for k in range(1, self.length + 1)]
        return dict.fromkeys(("Image", *self.objects_in), names)

    def run(self, site: Workspace) -> None:
        object_sets = [site.objects[name] for name in self.objects_in]
        for image in self.images_in:
            whole, within = granularity(
                site.images[image],
                object_sets,
                subsampling=self.subsampling,
                background_subsampling=self.background_subsampling,
                radius=self.radius,
                length=self.length,
            )
            for k in range(self.length):
                site.add_image(f"Granularity_{k + 1}_{image}", whole[k])
                for name, values in zip(self.objects_in, within, strict=True):
                    site.add(name, f"Granularity_{k + 1}_{image}", values[k])


def granularity(
    image: np.ndarray,
    object_sets: Sequence[Objects],
    *,
    subsampling: float,
    background_subsampling: float,
    radius: int,
    length: int,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Granular spectrum of a float32 image: float64 (length) of the whole, (length, objects) of each object set.

    Percent of the mean that round k takes away. The mean at the start is that of the subsampled image without its
    background for the image, that of the image as it is for an object. Raises ValueError for an image one or two pixels
    high or wide, where CellProfiler divides by zero.
    """
    if any(objects.segmented.shape != image.shape for objects in object_sets):
        raise ValueError(
            f"the image is {image.shape} pixels, the objects {[objects.segmented.shape for objects in object_sets]}"
        )
    pixels, mask, shape = without_background(image, subsampling, background_subsampling, radius)
    order, parent, radius_of = component_tree(pixels, length)
    y, x = _stretched(image.shape, shape)
    image_means = [float(sums.mean(pixels.ravel() if mask is None else pixels[mask]))]
    object_means = [[objects_mean(image, objects)] for objects in object_sets]
    rows = np.empty((*pixels.shape, LANES), np.float32)
    for first in range(1, length + 1, LANES):
        rounds = min(LANES, length + 1 - first)
        reconstructions(pixels.ravel(), order, parent, radius_of, first, rows.reshape(-1, LANES))
        kept = rows.reshape(-1, LANES) if mask is None else rows[mask]
        image_means += [float(total) / len(kept) for total in float32_sums(kept)[:rounds]]
        for objects, means in zip(object_sets, object_means, strict=True):
            found = sums_in_objects(rows, y, x, objects.pixels, objects.starts)
            means += list((found / objects.areas[:, None]).T[:rounds])

    # The difference of two float32 means is rounded to float32 before it is divided.
    whole = _losses(np.array(image_means, np.float32)).astype(float) * 100 / max(float(image_means[0]), EPSILON)
    return whole, [_losses(np.array(means)) * 100 / np.maximum(means[0], EPSILON) for means in object_means]


def _losses(means: np.ndarray) -> np.ndarray:
    return means[:-1] - means[1:]


def objects_mean(image: np.ndarray, objects: Objects) -> np.ndarray:
    """Mean of the image in each object, float64; NaN where the object has no pixel."""
    return sums_by_object(image.ravel(), objects.pixels, objects.starts) / objects.areas


def without_background(
    image: np.ndarray, subsampling: float, background_subsampling: float, radius: int
) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float]]:
    """The subsampled image minus its opening by a disk, at least 0: float32, and the mask and size of it.

    The mask is None where every sample lies in the image, the size is not rounded: CellProfiler goes on with half rows.
    """
    shape = (float(image.shape[0]), float(image.shape[1]))
    pixels, mask = image, None
    if subsampling < 1:
        shape = (shape[0] * subsampling, shape[1] * subsampling)
        pixels, mask = _subsampled(image, None, shape, subsampling)
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


@njit(nogil=True, cache=True)
def sums_by_object(values: np.ndarray, pixels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    sums = np.zeros(starts.size - 1)
    for k in range(starts.size - 1):
        for pixel in pixels[starts[k] : starts[k + 1]]:
            sums[k] += values[pixel]
    return sums


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def lowest_in_disk(image: np.ndarray, radius: int) -> np.ndarray:
    """Minimum over a disk (rows^2 + columns^2 <= radius^2) around each pixel, cut at the border of the image."""
    height, width = image.shape
    out = np.full_like(image, np.inf)
    row = np.empty_like(image[0])
    for y in range(height):
        row[:] = image[y]  # grows to the minimum over [x - reach, x + reach]
        for reach in range(radius + 1):
            if 0 < reach < width:
                for x in range(reach, width):
                    row[x] = min(row[x], image[y, x - reach])
                for x in range(width - reach):
                    row[x] = min(row[x], image[y, x + reach])
            # The rows of the disk that reach this far, and no further.
            for away in range(-min(radius, y), min(radius, height - 1 - y) + 1):
                inside = radius * radius - away * away
                if reach * reach <= inside < (reach + 1) * (reach + 1):
                    to = out[y + away]
                    for x in range(width):
                        to[x] = min(to[x], row[x])
    return out
