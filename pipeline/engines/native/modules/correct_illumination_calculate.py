"""CorrectIlluminationCalculate: an illumination function from one image, or from the mean of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import smoothing, surfaces
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({2})

#: the part of the darkest pixels that rescaling leaves out (CellProfiler's ROBUST_FACTOR)
ROBUST_FACTOR = 0.02

EACH, ACROSS = "Each", "All: Across cycles"
GAUSSIAN, MEDIAN, POLYNOMIAL = "Gaussian Filter", "Median Filter", "Fit Polynomial"
METHODS = ("No smoothing", GAUSSIAN, MEDIAN, POLYNOMIAL, "Smooth to Average", "Convex Hull")
DIAMETER, OLD_DIAMETER = "Approximate object diameter", "Approximate object size"


def compile(settings: Settings) -> CalculateIllumination:
    scope = settings.choice(
        "Calculate function for each image individually, or based on all images?", (EACH, ACROSS, "All")
    )
    kind = settings.choice("Select how the illumination function is calculated", ("Regular", "Background"))
    method = settings.choice("Smoothing method", METHODS)
    width_method = settings.choice(
        "Method to calculate smoothing filter size", ("Manually", "Object size", "Automatic")
    )
    has_filter = method in (GAUSSIAN, MEDIAN)
    label = DIAMETER if settings.texts(DIAMETER) else OLD_DIAMETER
    of_objects = has_filter and width_method == "Object size"
    is_dilated = settings.yes("Dilate objects in the final averaged image?")
    return CalculateIllumination(
        image=settings.text("Select the input image"),
        function=settings.text("Name the output image"),
        of_each_site=scope == EACH,
        of_background=kind == "Background",
        block_size=settings.integer("Block size", in_force=kind == "Background"),
        rescale=settings.choice("Rescale the illumination function?", ("Yes", "No", "Median")),
        smoothing_method=method,
        width_method=width_method,
        object_width=settings.taken(DIAMETER, settings.text(label), label) if of_objects else 0,
        filter_size=settings.number_of("Smoothing filter size", in_force=has_filter and width_method == "Manually"),
        dilation=settings.integer("Dilation radius") if is_dilated else None,
        averaged=settings.text("Name the averaged image") if settings.yes("Retain the averaged image?") else "",
        dilated=settings.text("Name the dilated image") if settings.yes("Retain the dilated image?") else "",
    )


@dataclass(frozen=True)
class CalculateIllumination:
    image: str
    function: str
    #: one function a site, or one of the mean of all sites
    of_each_site: bool
    of_background: bool
    block_size: int
    rescale: str
    smoothing_method: str
    width_method: str
    object_width: float
    filter_size: float
    dilation: int | None
    averaged: str  # under which name the mean is kept, and the dilated mean, or ""
    dilated: str

    objects_in = objects_out = ()

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def images_out(self) -> tuple[str, ...]:
        return tuple(name for name in (self.function, self.averaged, self.dilated) if name)

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        image = site.images[self.image]
        if self.of_background and self.smoothing_method == GAUSSIAN and self.images_out == (self.function,):
            made = {self.function: self._of_blocks(image)}
        else:
            made = self.finish(self.to_average(image))
        for name, pixels in made.items():
            site.derive(name, pixels, self.image)

    def _of_blocks(self, image: np.ndarray) -> np.ndarray:
        """The function of a smoothed background, which is quicker from its blocks."""
        if self.dilation is not None:
            return self.finish(self.to_average(image))[self.function]
        sigma = self._filter_size(image.shape) / 2.35
        return rescaled(smooth_blocks(image, self.block_size, sigma).astype(np.float32), self.rescale)

    def to_average(self, image: np.ndarray) -> np.ndarray:
        """What of an image goes into the mean of all sites: float32 (y, x)."""
        if not self.of_background:
            return image
        minima, rows, columns = block_minima(image, self.block_size)
        return minima[np.ix_(rows, columns)]

    def finish(self, mean: np.ndarray) -> dict[str, np.ndarray]:
        """What is made of a mean image, by name: the illumination function, and what else is kept; float32 (y, x)."""
        spread = mean if self.dilation is None else surfaces.dilated(mean, self.dilation).astype(np.float32)
        made = {self.averaged: mean, self.dilated: spread, self.function: rescaled(self.smoothed(spread), self.rescale)}
        return {name: pixels for name, pixels in made.items() if name}

    def smoothed(self, mean: np.ndarray) -> np.ndarray:
        """float32 (y, x)."""
        sigma = self._filter_size(mean.shape) / 2.35
        match self.smoothing_method:
            case method if method == GAUSSIAN:
                smoothed = smoothing.smooth(mean, sigma)
            case method if method == MEDIAN:
                # CellProfiler takes the median of 16-bit steps, and divides by their maximum afterwards.
                steps = (mean * np.float32(65535)).astype(np.uint16)
                # A disk as large as the image holds all of it, wherever it is.
                radius = min(max(1, int(sigma + 0.5)), sum(mean.shape))
                smoothed = disk_median(steps, radius).astype(np.float32) / np.float32(65535)
            case "Smooth to Average":
                smoothed = np.full(mean.shape, sums.mean(mean.ravel()))
            case method if method == POLYNOMIAL:
                smoothed = surfaces.quadratic(mean)
            case "Convex Hull":
                smoothed = surfaces.convex_hull(mean)
            case _:
                smoothed = mean
        return smoothed.astype(np.float32)

    def _filter_size(self, shape: tuple[int, ...]) -> float:
        match self.width_method:
            case "Manually":
                return self.filter_size
            case "Object size":
                return self.object_width * 2.35 / 3.5
        return min(30, float(max(shape)) / 40.0)


def rescaled(function: np.ndarray, how: str) -> np.ndarray:
    """Divide by the robust minimum ("Yes", raising darker pixels to it), by the median, or not at all ("No")."""
    positive = function[function > 0]
    if how == "No" or positive.size == 0:
        return function
    place = int(positive.size * ROBUST_FACTOR) if how == "Yes" else int(positive.size / 2)
    divisor = np.partition(positive, place)[place]
    if how == "Yes":
        function = np.maximum(function, divisor)
    return function / divisor


def smooth_blocks(image: np.ndarray, block_size: int, sigma: float) -> np.ndarray:
    """`smoothing.smooth` of the image whose pixels are the minimum of their block: float64 (y, x)."""
    minima, rows, columns = block_minima(image, block_size)
    weights = smoothing.gaussian_weights(sigma, max(image.shape))
    # Along y all columns of a block are one column.
    by_block = smoothing.filter_columns(np.ascontiguousarray(minima[rows]), weights)
    filtered = smoothing.filter_rows(np.ascontiguousarray(by_block[:, columns]), weights)
    return smoothing.normalise(filtered, *smoothing.coverage(image.shape, weights))


def block_minima(image: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(minimum of each block, the block row of each y, the block column of each x).

    There are floor(length / block_size) blocks a side, all of nearly the same size (centrosome's `block`).
    """
    rows, columns = (
        (np.arange(length) * (max(int(length / block_size), 1) / length)).astype(np.int64) for length in image.shape
    )
    return minima_of(image, rows, columns), rows, columns


@kernel
def minima_of(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    minima = np.full((rows[-1] + 1, columns[-1] + 1), np.float32(np.inf), np.float32)
    for y in range(image.shape[0]):
        line = minima[rows[y]]
        for x in range(image.shape[1]):
            line[columns[x]] = min(line[columns[x]], image[y, x])
    return minima


@kernel
def disk_median(steps: np.ndarray, radius: int) -> np.ndarray:
    """Median of a uint16 image in a disk x² + y² <= radius², cut at the border; the upper of two middle values.

    A histogram slides along each row (Huang, Yang & Tang 1979, doi:10.1109/TASSP.1979.1163188), kept at two
    resolutions so that the median is found in two short walks.
    """
    height, width = steps.shape
    median = np.empty_like(steps)
    half = np.empty(2 * radius + 1, np.int64)
    for dy in range(-radius, radius + 1):
        half[dy + radius] = int(np.sqrt(radius * radius - dy * dy))
    fine, coarse = np.zeros(65536, np.int32), np.zeros(256, np.int32)
    for y in range(height):
        fine[:] = 0
        coarse[:] = 0
        count = 0
        top, bottom = max(0, y - radius), min(height, y + radius + 1)
        for x in range(-radius, width):
            for yy in range(top, bottom):
                reach = half[yy - y + radius]
                arriving, leaving = x + reach, x - reach - 1
                # Before the first pixel of the row the window fills up from the left.
                if arriving < width and arriving >= 0:
                    fine[steps[yy, arriving]] += 1
                    coarse[steps[yy, arriving] >> 8] += 1
                    count += 1
                if leaving >= 0:
                    fine[steps[yy, leaving]] -= 1
                    coarse[steps[yy, leaving] >> 8] -= 1
                    count -= 1
            if x < 0:
                continue
            before, group = 0, 0
            while before + coarse[group] <= count // 2:
                before += coarse[group]
                group += 1
            value = group << 8
            while before + fine[value] <= count // 2:
                before += fine[value]
                value += 1
            median[y, x] = value
    return median
