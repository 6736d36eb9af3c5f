"""EnhanceOrSuppressFeatures: an image in which speckles, neurites, holes, rings, texture or relief stand out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.ndimage
import skimage.morphology
import skimage.transform

from pipeline.engines.limits import Limits
from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import grey_morphology as grey
from pipeline.engines.native.kernels import smoothing
from pipeline.engines.native.kernels.spectrum import LANES, component_tree, reconstructions
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({6, 7})
LIMITS = {
    "Feature size": Limits(int, 10, 2),
    "Range of hole sizes": Limits(int, (1, 10), 1),
    "Smoothing scale": Limits(float, 2.0, 0),
    "Shear angle": Limits(float, 0.0),
    "Decay": Limits(float, 0.95, 0.1, 1),
}
#: from this radius on speckles are found by a minimum and a maximum, where they are to be found fast
FAST_RADIUS = 3
#: of a component tree, which keeps radii in a byte
MOST_ROUNDS = 255

#: (pixels, mask) -> pixels, float32 or float64 (y, x)
Filter = Callable[[np.ndarray, "np.ndarray | None"], np.ndarray]


def compile(settings: Settings) -> EnhanceOrSuppressFeatures:
    return EnhanceOrSuppressFeatures(
        image=settings.text("Select the input image"),
        enhanced=settings.text("Name the output image"),
        filtered=read_filter(settings),
    )


def read_filter(settings: Settings) -> Filter:
    if settings.choice("Select the operation", ("Enhance", "Suppress")) == "Suppress":
        return partial(within, partial(by_disk, grey.opening, radius=settings.integer("Feature size") / 2))
    kind = settings.choice("Feature type", ("Speckles", "Neurites", "Dark holes", "Circles", "Texture", "DIC"))
    if kind == "Texture":
        return partial(texture, sigma=settings.number_of("Smoothing scale"))
    if kind == "DIC":
        angle, decay = settings.number_of("Shear angle"), settings.number_of("Decay")
        return partial(relief, angle=angle, decay=decay, sigma=settings.number_of("Smoothing scale"))
    if kind == "Dark holes":
        smallest, largest = settings.range_of("Range of hole sizes")
        return partial(dark_holes, smallest=max(1, int(smallest / 2)), largest=int((largest + 1) / 2))
    if kind == "Neurites":
        return read_neurites(settings)
    radius = settings.integer("Feature size") / 2
    if kind == "Circles":
        return partial(within, partial(circles, radius=radius))
    is_fast = settings.choice("Speed and accuracy", ("Fast", "Slow")) == "Fast" and radius > FAST_RADIUS
    return partial(within, partial(by_disk, fast_speckles if is_fast else grey.white_tophat, radius=radius))


def read_neurites(settings: Settings) -> Filter:
    """Those of before revision 7 are rescaled."""
    found: Filter
    if settings.choice("Enhancement method", ("Tubeness", "Line structures")) == "Tubeness":
        found = partial(within, partial(tubeness, sigma=settings.number_of("Smoothing scale")))
    else:
        found = partial(within, partial(by_disk, line_structures, radius=settings.integer("Feature size") / 2))
    return partial(rescaled, found) if settings.yes("Rescale result image", "Yes") else found


@dataclass(frozen=True)
class EnhanceOrSuppressFeatures:
    image: str
    enhanced: str
    filtered: Filter

    objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def images_out(self) -> tuple[str, ...]:
        return (self.enhanced,)

    def features(self) -> dict[str, list[str]]:
        return {}

    def run(self, site: Workspace) -> None:
        pixels = site.images[self.image]
        if self.image in site.logical:  # CellProfiler reads truth values as float64
            pixels = pixels.astype(np.float64)
        result = self.filtered(pixels, site.masks.get(self.image))
        site.derive(self.enhanced, np.ascontiguousarray(result, np.float32), self.image)


def within(filtered: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The filter of an image that is 0 where the mask hides it; there the result is the image itself."""
    if mask is None:
        return filtered(pixels)
    result = filtered(np.where(mask, pixels, pixels.dtype.type(0)))
    result[~mask] = pixels[~mask]
    return result


def rescaled(found: Filter, pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """From 0 to 1, or from -1 where something is below 0 (skimage.exposure.rescale_intensity)."""
    result = found(pixels, mask)
    low, high = float(result.min()), float(result.max())
    bottom = 0.0 if low >= 0 else -1.0
    if low == high:
        return np.clip(result, bottom, 1.0)
    return (result - low) / (high - low) * (1.0 - bottom) + bottom


def by_disk(filtered: Callable[[np.ndarray, np.ndarray], np.ndarray], pixels: np.ndarray, radius: float) -> np.ndarray:
    return filtered(pixels, grey.disk(radius))


def fast_speckles(pixels: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return pixels - grey.dilate(grey.erode(pixels, shape), shape)


def line_structures(pixels: np.ndarray, shape: np.ndarray) -> np.ndarray:
    white, black = grey.white_tophat(pixels, shape), grey.closing(pixels, shape) - pixels
    return np.clip(pixels + white - black, 0, 1)


def circles(pixels: np.ndarray, radius: float) -> np.ndarray:
    return skimage.transform.hough_circle(pixels, radius)[0]


def tubeness(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """How much darker it becomes across a bright line: float64 (y, x), by centrosome.filter.hessian.

    Differences are of the image's type, what is made of them float64.
    """
    smooth = mirrored_gaussian(mirrored_gaussian(pixels, sigma, 0), sigma, 1)
    down, across, both = (np.zeros(pixels.shape) for _ in range(3))
    down[1:-1] = smooth[:-2] - 2 * smooth[1:-1] + smooth[2:]
    across[:, 1:-1] = smooth[:, :-2] - 2 * smooth[:, 1:-1] + smooth[:, 2:]
    both[1:-1, 1:-1] = (smooth[2:, 2:] + smooth[:-2, :-2] - smooth[2:, :-2] - smooth[:-2, 2:]) / 4
    return ridges(down, both, across, sigma**2)


@kernel
def ridges(down: np.ndarray, both: np.ndarray, across: np.ndarray, factor: float) -> np.ndarray:
    """Of each Hessian the eigenvalue that is farther from 0, where it is below 0: its size, else 0."""
    found = np.empty(down.shape)
    for y in range(down.shape[0]):
        for x in range(down.shape[1]):
            minus_trace = -(down[y, x] + across[y, x])
            determinant = down[y, x] * across[y, x] - both[y, x] * both[y, x]
            root = np.sqrt(minus_trace * minus_trace - 4 * determinant)
            value, other = (-minus_trace + root) / 2, (-minus_trace - root) / 2
            if abs(other) > abs(value):
                value = other
            found[y, x] = -value * (1.0 if value < 0 else 0.0) * factor
    return found


def mirrored_gaussian(pixels: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """scipy.ndimage.gaussian_filter1d, with the C library's exponentials."""
    half = smoothing.gaussian_weights(sigma, int(4.0 * sigma + 0.5) + 1)
    return scipy.ndimage.correlate1d(pixels, np.concatenate([half[:0:-1], half]), axis)


def texture(pixels: np.ndarray, mask: np.ndarray | None, sigma: float) -> np.ndarray:
    """The variance round each pixel, weighted by a Gaussian: float64 (y, x)."""
    mask = np.ones(pixels.shape, bool) if mask is None else mask
    shown = np.where(mask, pixels, pixels.dtype.type(0))
    weights = smoothing.gaussian_weights(sigma, max(pixels.shape))
    covered = smoothing.filter_both(mask.astype(np.float64), weights)
    mean = smoothing.filter_both(shown, weights) / covered
    result = smoothing.filter_both(shown**2, weights) / covered - mean**2
    result[~mask] = pixels[~mask]
    return result


def dark_holes(pixels: np.ndarray, mask: np.ndarray | None, smallest: int, largest: int) -> np.ndarray:
    """What vanishes from the inverted image by openings of these radii, filled up again: float64 (y, x)."""
    before = inverted = pixels.max() - pixels
    is_plain = mask is None and largest < MOST_ROUNDS and not np.isnan(inverted).any()
    openings = from_tree(inverted, largest + 1) if is_plain else flooded(inverted, mask, largest + 1)
    found = np.zeros(pixels.shape)
    for radius, after in enumerate(openings):
        if radius >= smallest:
            found = np.maximum(found, before - after)
        before = after
    return found


def from_tree(image: np.ndarray, rounds: int) -> Iterator[np.ndarray]:
    """The image eroded by a cross once, twice, ..., and each time filled up again under itself."""
    image = np.ascontiguousarray(image, np.float32)
    order, parent, radius = component_tree(image, rounds, np.ones(image.shape, bool))
    rows = np.empty((image.size, LANES), np.float32)
    for first in range(1, rounds + 1, LANES):
        reconstructions(image.ravel(), order, parent, radius, first, rows)
        for lane in range(min(LANES, rounds + 1 - first)):
            yield rows[:, lane].reshape(image.shape).copy()


def flooded(image: np.ndarray, mask: np.ndarray | None, rounds: int) -> Iterator[np.ndarray]:
    """The same, round by round, with 0 where the mask hides what was eroded."""
    cross = grey.disk(1)
    eroded = image
    for _ in range(rounds):
        eroded = grey.erode(eroded, cross)
        if mask is not None:
            eroded *= mask
        yield skimage.morphology.reconstruction(eroded, image, "dilation", cross)


def relief(pixels: np.ndarray, mask: np.ndarray | None, angle: float, decay: float, sigma: float) -> np.ndarray:
    """The image whose slope in one direction the pixels are (centrosome.filter.line_integration). Masks are ignored."""
    del mask
    smooth = mirrored_gaussian(scipy.ndimage.rotate(pixels - sums.mean(pixels.ravel()), -angle), sigma, 1)
    down, up = smooth.copy(), smooth.copy()
    for row in range(1, len(down)):
        down[row] += down[row - 1] * decay
    for row in reversed(range(len(up) - 1)):
        up[row] += up[row + 1] * decay
    turned = scipy.ndimage.rotate((down - up) / 2, angle)
    top, left = (int((one - size) / 2) for one, size in zip(turned.shape, pixels.shape, strict=True))
    result = turned[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    low, high = pixels.min(), pixels.max()
    least, most = result.min(), result.max()
    if low == high or least == most:
        return np.zeros(result.shape)
    return low + (result - least) / (most - least) * (high - low)
