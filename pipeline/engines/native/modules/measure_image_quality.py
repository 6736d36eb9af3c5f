"""MeasureImageQuality: how sharp, bright and saturated an image is, and where its threshold would be.

The measures are those of Bray et al. 2012 (doi:10.1177/1087057111420292).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import fft2

from pipeline.engines.limits import Limits
from pipeline.engines.native import brightness
from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.libm import log
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({5, 6})
SCALE = "Spatial scale for blur measurements"
LIMITS = {SCALE: Limits(int, 20)}

IMAGES = "Select the images to measure"
METHOD = "Select a thresholding method"
#: grey levels of Correlation
LEVELS = 8


def compile(settings: Settings) -> MeasureImageQuality:
    loaded = settings.choice("Calculate metrics for which images?", ("All loaded images", "Select..."))
    groups = settings.groups(IMAGES)
    if loaded == "All loaded images":
        groups = groups[:1]  # the others are not looked at
        return MeasureImageQuality(tuple(read_group(group, None) for group in groups))
    lists = [group.text(IMAGES) for group in groups]
    if settings.revision == 5:  # CellProfiler reads the commas of the first list alone
        lists[:1] = [", ".join(text.split(",")) for text in lists[:1]]
    return MeasureImageQuality(
        tuple(
            read_group(group, tuple(name for name in text.split(", ") if name))
            for group, text in zip(groups, lists, strict=True)
        )
    )


def read_group(settings: Settings, images: tuple[str, ...] | None) -> Group:
    with_blur = settings.yes("Calculate blur metrics?")
    scales = tuple(int(settings.taken(SCALE, text)) for text in settings.texts(SCALE)) if with_blur else ()
    if min(scales, default=1) < 1:
        settings.refuse(f'"{SCALE}: {min(scales)}" is below 1, where CellProfiler fails at every site')
    return Group(
        images=images,
        with_scaling=settings.yes("Include the image rescaling value?"),
        with_blur=with_blur,
        scales=scales,
        with_saturation=settings.yes("Calculate saturation metrics?"),
        with_intensity=settings.yes("Calculate intensity metrics?"),
        thresholds=tuple(read_thresholds(settings)) if settings.yes("Calculate thresholds?") else (),
    )


def read_thresholds(settings: Settings) -> Iterator[Otsu]:
    settings.choice("Use all thresholding methods?", ("No",))
    for one in settings.groups(METHOD):
        one.choice(METHOD, ("Otsu", "Otsu Global"))
        one.choice("Minimize the weighted variance or the entropy?", ("Weighted variance",))
        classes = one.choice("Two-class or three-class thresholding?", ("Two classes", "Three classes"))
        middle = one.choice(
            "Assign pixels in the middle intensity class to the foreground or the background?",
            ("Foreground", "Background"),
        )
        yield Otsu("2W" if classes == "Two classes" else f"3{middle[0]}W")
    if not settings.groups(METHOD):
        yield Otsu("2W")


@dataclass(frozen=True)
class Group:
    """What is measured of some images; None are all that are loaded."""

    images: tuple[str, ...] | None
    with_scaling: bool
    with_blur: bool
    scales: tuple[int, ...]
    with_saturation: bool
    with_intensity: bool
    thresholds: tuple[Otsu, ...]

    def features(self, image: str) -> Iterator[str]:
        if self.with_scaling:
            yield f"ImageQuality_Scaling_{image}"
        if self.with_blur:
            yield from (f"ImageQuality_{name}_{image}" for name in ("FocusScore", "PowerLogLogSlope"))
            for scale in self.scales:
                yield from (f"ImageQuality_{name}_{image}_{scale}" for name in ("LocalFocusScore", "Correlation"))
        if self.with_saturation:
            yield from (f"ImageQuality_{name}_{image}" for name in ("PercentMaximal", "PercentMinimal"))
        if self.with_intensity:
            yield from (f"ImageQuality_{name}_{image}" for name in ("TotalArea", *brightness.SUMMARY))
        for threshold in self.thresholds:
            yield f"ImageQuality_ThresholdOtsu_{image}_{threshold.kind}"

    def measure(self, site: Workspace, name: str) -> Iterator[float]:
        """In the order of `features`."""
        image, mask, pixels = site.images[name], site.masks.get(name), site.pixels(name)
        needs_order = self.with_blur or self.with_intensity or self.thresholds
        in_order = brightness.ordered(pixels) if needs_order else pixels
        if self.with_scaling:
            yield float(site.scales.get(name) or math.nan)
        if self.with_blur:
            yield focus_score(pixels)
            yield power_slope(image, mask, in_order)
            for scale in self.scales:
                yield local_focus_score(image, mask, scale)
                yield correlation(image, mask, scale)
        if self.with_saturation:
            yield brightness.percent_maximal(pixels)
            yield brightness.percent_minimal(pixels)
        if self.with_intensity:
            yield float(pixels.size)
            yield from brightness.summary(pixels, in_order)
        for threshold in self.thresholds:
            yield threshold.of(in_order)


@dataclass(frozen=True)
class MeasureImageQuality:
    groups: tuple[Group, ...]

    images_out = objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(image for group in self.groups for image in group.images or ()))

    def of_loaded(self, images: Sequence[str]) -> MeasureImageQuality:
        """Measuring these images where the settings say "All loaded images"."""
        return MeasureImageQuality(
            tuple(replace(group, images=tuple(images)) if group.images is None else group for group in self.groups)
        )

    def features(self) -> dict[str, list[str]]:
        return {
            "Image": [name for group in self.groups for image in group.images or () for name in group.features(image)]
        }

    def run(self, site: Workspace) -> None:
        for group in self.groups:
            for image in group.images or ():
                for feature, value in zip(group.features(image), group.measure(site, image), strict=True):
                    site.add_image(feature, value)


def focus_score(pixels: np.ndarray) -> float:
    """Variance over mean of float32 pixels, with the sums of NumPy 1; 0 where the mean is not above 0."""
    mean = sums.mean(pixels)
    if not mean > 0:
        return 0.0
    return float(sums.total((pixels - mean) ** 2)) / (pixels.size * float(mean))


def local_focus_score(image: np.ndarray, mask: np.ndarray | None, scale: int) -> float:
    """Variance over median of the focus scores of tiles of about `scale` pixels a side; 0 where there is none."""
    rows, columns = (tile_of(length, scale) for length in image.shape)
    mask = np.ones(image.shape, bool) if mask is None else mask
    counts, means, squares = tile_statistics(image, mask, rows, columns)
    is_lit = (means != 0) & ~np.isnan(means)
    scores = squares[is_lit] / (counts[is_lit] * means[is_lit])
    median = np.median(scores) if scores.size else 0.0
    return float(np.var(scores) / median) if np.isfinite(median) and median > 0 else 0.0


def tile_of(length: int, scale: int) -> np.ndarray:
    """int64 (length): the tile of each row (or column), of as many as there would be of `scale` pixels."""
    number = (length + scale - 1) // scale
    return (np.arange(length) * float(number) / float(length)).astype(np.int64)


@kernel
def tile_statistics(image, mask, rows, columns):
    """Of each tile: float64 pixels, mean, and sum of squared deviations, without the pixels that the mask hides."""
    width = columns[-1] + 1
    n = (rows[-1] + 1) * width
    counts, means, squares = np.zeros(n), np.zeros(n), np.zeros(n)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if mask[y, x]:
                counts[rows[y] * width + columns[x]] += 1
                means[rows[y] * width + columns[x]] += image[y, x]
    means /= counts
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if mask[y, x]:
                tile = rows[y] * width + columns[x]
                squares[tile] += (image[y, x] - means[tile]) ** 2
    return counts, means, squares


def correlation(image: np.ndarray, mask: np.ndarray | None, scale: int) -> float:
    """Haralick's correlation of pixels `scale` columns apart, in eight grey levels (centrosome.haralick.H3).

    0 where there is none: too narrow an image, a flat one.
    """
    mask = np.ones(image.shape, bool) if mask is None else mask
    seen = image[mask]
    if not seen.size:
        return 0.0
    low, high = np.nanmin(seen), seen.max()
    together = cooccurrence(image, mask, low, np.float64(high - low) if high > low else 1.0, scale)
    shares = together / np.float64(together.sum())
    level = np.arange(1, LEVELS + 1)
    (first, first_spread), (second, second_spread) = (moments(shares.sum(axis=axis), level) for axis in (1, 0))
    value = (np.sum(np.outer(level, level) * shares) - first * second) / (first_spread * second_spread)
    return float(value) if np.isfinite(value) else 0.0


def moments(shares: np.ndarray, level: np.ndarray) -> tuple[np.floating, np.floating]:
    shares = shares / shares.sum()
    mean = (level * shares).sum()
    return mean, np.sqrt(((level - mean) ** 2 * shares).sum())


@kernel
def cooccurrence(image, mask, low, spread, scale):
    """int64 (8, 8): pairs of pixels that the mask shows by their levels, the left one's first; NaN is of level 0."""
    together = np.zeros((LEVELS, LEVELS), np.int64)
    for y in range(image.shape[0]):
        for x in range(image.shape[1] - scale):
            if mask[y, x] and mask[y, x + scale]:
                left, right = image[y, x] - low, image[y, x + scale] - low
                together[grey_level(left, spread), grey_level(right, spread)] += 1
    return together


@kernel
def grey_level(above_lowest: float, spread: float) -> int:
    share = np.float64(above_lowest) / spread
    return 0 if np.isnan(share) else min(int(share * LEVELS), LEVELS - 1)


def power_slope(image: np.ndarray, mask: np.ndarray | None, in_order: np.ndarray) -> float:
    """Slope of log power over log frequency (centrosome.radial_power_spectrum; Field 1997), 0 where there is none.

    In single precision, as CellProfiler's transform is. `in_order`: the pixels that the mask shows, rising.
    """
    if mask is not None:
        image = np.where(mask, image, sums.mean(image[mask]) if mask.any() else np.float32(0))
        in_order = brightness.ordered(image.ravel())
    if not image.max() > image.min():
        return 0.0
    mean = sums.mean(image.ravel())
    image = image / brightness.median_deviation(in_order, mean)
    spectrum = fft2(image - sums.mean(image.ravel()))
    radii = np.arange(2, math.floor(min(image.shape) / 8.0))
    magnitude, power = radial_sums(spectrum, len(radii))
    is_fit = (magnitude > 0) & (power > 0) & np.isfinite(power)
    if not sum(magnitude.tolist()) > 0 or np.count_nonzero(magnitude > 0) < 2:
        return 0.0
    return slope(log(radii[is_fit].astype(np.float64)), log(power[is_fit]))


@kernel
def radial_sums(spectrum, n):
    """float64 (n) each: sums of magnitude and power in rings of one step, from frequency 1 on."""
    height, width = spectrum.shape
    magnitudes, powers = np.zeros(n), np.zeros(n)
    for y in range(height):
        down = min(y, height - 1 - y)
        for x in range(width):
            right = min(x, width - 1 - x)
            ring = int(np.sqrt(float(down * down + right * right))) - 1
            if 0 <= ring < n:
                magnitude = magnitude_of(spectrum[y, x].real, spectrum[y, x].imag)
                magnitudes[ring] += magnitude
                powers[ring] += magnitude * magnitude
    return magnitudes, powers


@kernel
def magnitude_of(real: np.float32, imaginary: np.float32) -> np.float32:
    """In the steps of NumPy 1.26, which round otherwise than the root of the sum of squares."""
    real, imaginary = abs(real), abs(imaginary)
    more, less = max(real, imaginary), min(real, imaginary)
    if not more > 0:
        return more
    share = less / more
    return np.sqrt(share * share + np.float32(1)) * more


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of the line of least squares, and of least length where one point leaves it open."""
    if x.size == 1:
        return float(x[0] * y[0] / (x[0] ** 2 + 1))
    deviations = x - x.mean()
    return float((deviations * (y - y.mean())).sum() / (deviations**2).sum())


@dataclass(frozen=True)
class Otsu:
    """`kind`: "2W", of two classes; "3FW" and "3BW", of three, the middle one given to foreground or background."""

    kind: str

    def of(self, in_order: np.ndarray) -> float:
        """centrosome.threshold.get_otsu_threshold: of logarithms of rising float32 pixels; 1 where all are below 0."""
        pixels = in_order[in_order >= 0]
        if not pixels.size:
            return 1.0
        lowest, highest = pixels[0], pixels[-1]
        noise = float(lowest) + float(highest - lowest) / 256.0 + float(np.finfo(np.float32).eps)
        logs = log(np.maximum(pixels, np.float32(noise)))
        low, high = logs[0], logs[-1]
        if high == low:
            return math.exp(low)
        stretched = (logs.astype(np.float64) - float(low)) / (float(high) - float(low))
        stretched = stretched[~np.isnan(stretched)]
        threshold = otsu(stretched) if self.kind == "2W" else otsu3(stretched)[0 if self.kind == "3FW" else 1]
        return math.exp(threshold * float(high - low) + float(low))


def otsu(values: np.ndarray) -> float:
    """centrosome.otsu.otsu of rising float64 values that are not all the same."""
    n = values.size
    step = max(n // 256, 1)
    starts = np.arange(0, n - 1, step)
    below, above = running_variances(values, step, 1)
    scores = below[: starts.size] * starts + above[: starts.size] * (n - 1 - starts)
    candidates = values[1::step]
    lowest = np.flatnonzero(scores == scores.min())
    if not lowest.size:  # NaN
        return candidates[0]
    return (candidates[max(lowest[0] - 1, 0)] + candidates[min(lowest[0] + 1, candidates.size - 1)]) / 2


def otsu3(values: np.ndarray) -> tuple[float, float]:
    """centrosome.otsu.otsu3: the lower and the upper threshold of rising float64 values, of three classes."""
    n = values.size
    bins = min(128, n)
    step = n // bins
    starts = np.arange(0, n, step)
    below, above = running_variances(values, step, 0)
    total, squares = running_sums(values, step)
    first, last = starts[:, None], starts[None, :]
    width = (last - first).astype(np.float64)
    mean = (total[None, :] - total[:, None]) / width
    mean_square = (squares[None, :] - squares[:, None]) / width
    middle = np.where(first >= last, np.inf, width * (mean_square - mean**2))
    place = starts * bins // n  # not always each one's own, in centrosome too
    score = (below * starts)[place][:, None] + middle + (above * (n - starts))[place][None, :]
    i, j = np.argwhere(score == score.min())[0]
    return values[starts[i]], values[starts[j]]


@kernel
def running_variances(values, step, offset):
    """Variances of the values up to each one of every `step`, from the first, and of those from each on, from the one
    at `offset`: float64, summed up one by one (centrosome.otsu.running_variance).
    """
    n = values.size
    below, above = np.zeros(n // step + 1), np.zeros(n // step + 1)
    total, squares, mean = values[0], 0.0, values[0]
    for k in range(1, n):
        total += values[k]
        before, mean = mean, total / (k + 1)
        squares += (values[k] - before) * (values[k] - mean)
        if k % step == 0:
            below[k // step] = squares / k
    total, squares, mean = values[n - 1], 0.0, values[n - 1]
    for k in range(1, n):
        at = n - 1 - k
        total += values[at]
        before, mean = mean, total / (k + 1)
        squares += (values[at] - before) * (values[at] - mean)
        if at >= offset and (at - offset) % step == 0:
            above[(at - offset) // step] = squares / k
    return below[: (n - 1) // step + 1], above[: (n - 1 - offset) // step + 1]


@kernel
def running_sums(values, step):
    """Sums of the values and of their squares up to each one of every `step`, itself included: float64."""
    total = squares = 0.0
    totals, of_squares = np.empty((values.size - 1) // step + 1), np.empty((values.size - 1) // step + 1)
    for k in range(values.size):
        total += values[k]
        squares += values[k] * values[k]
        if k % step == 0:
            totals[k // step], of_squares[k // step] = total, squares
    return totals, of_squares
