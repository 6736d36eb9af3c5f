"""The method of the CPJUMP1 illumination pipeline, as sums that can be added in any order and grouping.

CellProfiler runs, per plate and channel: Resize (to a fifth) -> CorrectIlluminationCalculate (mean over all sites,
median filter, rescaled to a minimum of 1) -> Resize (back). Here the state between the first and the second module is
a `PartialSum`: many small tasks make one each, and `finish` does the rest.

CellProfiler adds the small images in float32, so that its mean depends on their order. We add whole numbers:
each pixel in units of 2**-44, exact for float32 values of 2**-21 (0.03 of a 16-bit step) and more, and within 2**-45
below that. So the sum is the same whatever the order, and the mean is within one rounding to float32 of the true one.
Where CellProfiler's float32 sum is not, its mean can fall on the other side of a 16-bit step (the median filter works
on 16 bits), and pixels of the small function differ by that one step: none to 36 of 46,656 on four real sites.

Source of the method: modules Resize and CorrectIlluminationCalculate of CellProfiler 4.2.8 (BSD-3-Clause).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
import skimage.filters
import skimage.morphology
import skimage.transform

from pipeline.errors import ImageError

#: sites a sum can hold without overflow: 2**18 sites of at most 2**44 units stay below 2**63
MOST_SITES = 2**18
UNITS = 2.0**44

SHRINK = 0.2
#: median filter of size 20: int(20 / 2.35 + 0.5), CellProfiler's way from a full width to a radius
MEDIAN_RADIUS = 9
#: share of the lowest pixels that is raised before the minimum is set to 1
ROBUST_FACTOR = 0.02


@dataclass(frozen=True, eq=False)
class PartialSum:
    """The sum of the small images of some sites. `total`: int64 (y, x), in units of 2**-44; `count`: sites."""

    total: np.ndarray
    count: int

    @classmethod
    def zero(cls, image_shape: tuple[int, int]) -> Self:
        """No sites yet, of images of this (full) shape."""
        return cls(np.zeros(small_shape(image_shape), np.int64), 0)

    @classmethod
    def of(cls, image: np.ndarray) -> Self:
        """One site; see `reduce_image`."""
        return cls(np.rint(reduce_image(image).astype(np.float64) * UNITS).astype(np.int64), 1)

    def __add__(self, other: PartialSum) -> Self:
        if self.total.shape != other.total.shape:
            raise ValueError(f"sums of images of different size: {self.total.shape} and {other.total.shape}")
        if self.count + other.count > MOST_SITES:
            raise OverflowError(f"{self.count + other.count:,} sites are more than a sum can hold ({MOST_SITES:,})")
        return type(self)(self.total + other.total, self.count + other.count)


def small_shape(image_shape: tuple[int, int]) -> tuple[int, int]:
    height, width = (max(1, int(np.round(side * SHRINK))) for side in image_shape)
    return height, width


def reduce_image(image: np.ndarray) -> np.ndarray:
    """The image at a fifth of its size, float32 (y, x), 0 to 1: CellProfiler's Resize by 0.2, bilinear.

    uint8 and uint16 are divided by their maximum; floats must lie in 0 to 1, or `ImageError` says so.
    """
    if image.dtype.kind == "u":
        pixels = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    else:
        pixels = image.astype(np.float32)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ImageError(f"holds values from {pixels.min():g} to {pixels.max():g}; 0 to 1 can be averaged")
    small: np.ndarray = skimage.transform.resize(pixels, small_shape(pixels.shape), order=1, mode="symmetric")
    return small


def smooth(partial: PartialSum) -> np.ndarray:
    """The illumination function before it is enlarged, float32 (y, x), its minimum 1.

    A channel that is black all over the plate has no function; it gets ones, which change nothing.
    """
    if partial.count == 0:
        raise ValueError("no sites to take the mean of")
    mean = (partial.total.astype(np.float64) / UNITS / partial.count).astype(np.float32)
    steps = (mean * np.float32(65535)).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Bad rank filter performance")  # 0.7 s, once per plate and channel
        median = skimage.filters.median(steps, skimage.morphology.disk(MEDIAN_RADIUS), behavior="rank")
    function = median.astype(np.float32) / np.float32(65535)
    lit = np.sort(function[function > 0])
    if not lit.size:
        return np.ones_like(function)
    robust_minimum = lit[int(lit.size * ROBUST_FACTOR)]
    return np.maximum(function, robust_minimum) / robust_minimum


def finish(partial: PartialSum, image_shape: tuple[int, int]) -> np.ndarray:
    """The illumination function of a plate, float32 (y, x) of the images' own shape.

    CellProfiler's last Resize, by 5, misses that shape where a side is no multiple of 5; here it is always met.
    """
    small = smooth(partial)
    function: np.ndarray = skimage.transform.resize(small, image_shape, order=1, mode="symmetric")
    return function
