"""IdentifyPrimaryObjects: objects from one image, e.g. nuclei from DNA."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from centrosome import cpmorphology
from centrosome.propagate import propagate
from scipy import ndimage

from pipeline.engines.native import objects
from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.kernels.watershed import watershed
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.threshold import Threshold
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({14, 15})

DIAMETERS = "Typical diameter of objects, in pixel units (Min,Max)"
DIVIDE = ("Shape", "Intensity", "Propagate", "None")
HOLES = ("Never", "After both thresholding and declumping", "After declumping only")

EIGHT_CONNECTED = np.ones((3, 3), bool)


def compile(settings: Settings) -> IdentifyPrimaryObjects:
    is_basic = not settings.yes("Use advanced settings?")
    least, most = settings.range_of(DIAMETERS)
    declump = divide = "Intensity"
    holes, limit = HOLES[1], "Continue"
    if not is_basic:
        declump = settings.choice("Method to distinguish clumped objects", ("Shape", "Intensity", "None"))
        divide = settings.choice("Method to draw dividing lines between clumped objects", DIVIDE)
        holes = settings.choice("Fill holes in identified objects?", HOLES)
        limit = settings.choice("Handling of objects if excessive number of objects identified", ("Continue", "Erase"))
    declump = "None" if divide == "None" else declump
    suppression, scale = read_suppression(settings, least, is_basic=is_basic, is_declumped=declump != "None")
    is_automatic = settings.yes("Automatically calculate size of smoothing filter for declumping?")
    smoothing = settings.number_of("Size of smoothing filter", in_force=declump == "Intensity" and not is_automatic)
    return IdentifyPrimaryObjects(
        image=settings.text("Select the input image"),
        name=settings.text("Name the primary objects to be identified"),
        diameters=(least, most),
        drop_outside_range=settings.yes("Discard objects outside the diameter range?"),
        drop_at_border=settings.yes("Discard objects touching the border of the image?"),
        declump=declump,
        divide=divide,
        smoothing_filter=2.35 * least / 3.5 if is_automatic else smoothing,
        suppression=suppression,
        scale=scale,
        fill_before=holes == HOLES[1],
        fill_after=holes != HOLES[0],
        most_objects=settings.integer("Maximum number of objects") if limit == "Erase" else None,
        threshold=Threshold.read_automatic(settings) if is_basic else Threshold.read(settings),
    )


def read_suppression(settings: Settings, least: float, *, is_basic: bool, is_declumped: bool) -> tuple[float, float]:
    """How near maxima may be, in pixels of the image in which they are looked for, and how much smaller that is.

    Large objects are looked for in an image reduced so that the smallest of them is 10 pixels wide.
    """
    speed_up = "Speed up by using lower-resolution image to find local maxima?"
    is_reduced = least > 10 and (is_basic or settings.yes(speed_up))
    scale = 10.0 / least if is_reduced else 1.0
    if is_basic or settings.yes("Automatically calculate minimum allowed distance between local maxima?"):
        return 7 if is_reduced else least / 1.5, scale
    distance = settings.number_of(
        "Suppress local maxima that are closer than this minimum allowed distance", in_force=is_declumped
    )
    return distance * scale + 0.5 if is_reduced else distance, scale


@dataclass(frozen=True)
class IdentifyPrimaryObjects:
    image: str
    name: str
    diameters: tuple[float, float]
    drop_outside_range: bool
    drop_at_border: bool
    declump: str
    divide: str
    smoothing_filter: float
    suppression: float
    scale: float
    fill_before: bool
    fill_after: bool
    most_objects: int | None
    threshold: Threshold

    images_out = objects_in = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def objects_out(self) -> tuple[str, ...]:
        return (self.name,)

    def features(self) -> dict[str, list[str]]:
        return {
            self.name: objects.location_features(with_z=True),
            "Image": [f"Count_{self.name}", *self.threshold.features(self.name)],
        }

    def run(self, site: Workspace) -> None:
        image, mask = site.images[self.image], site.masks.get(self.image)
        foreground = self.threshold.foreground(site, image, self.name, mask)
        if self.fill_before:
            foreground = cpmorphology.fill_labeled_holes(
                foreground, size_fn=lambda size, _: size < self.diameters[1] * self.diameters[1]
            )
        unedited, count = ndimage.label(foreground, EIGHT_CONNECTED, output=np.int32)
        if self.declump != "None":
            unedited, count = self.declumped(image, unedited, mask)
        is_kept = np.ones(count + 1, bool)
        is_kept[0] = False
        if self.drop_at_border:
            is_kept[labels_at_border(unedited, mask)] = False
        is_not_small = is_kept.copy()
        if self.drop_outside_range and count > 0:
            pixels = labels.areas(unedited, count)
            least, most = (math.pi * (diameter * diameter) / 4 for diameter in self.diameters)
            is_not_small &= pixels >= least
            is_kept = is_not_small & (pixels <= most)
        small_removed = labels.look_up(unedited, np.arange(count + 1) * is_not_small)
        kept = labels.look_up(unedited, np.arange(count + 1) * is_kept)
        # Numbers are missing where a maximum of the reduced image lies beside its clump, too.
        segmented = relabelled(labels.fill_holes(kept) if self.fill_after else kept)
        if self.most_objects is not None and segmented.max(initial=0) > self.most_objects:
            segmented = np.zeros_like(segmented)
        objects.record(site, self.name, Objects(segmented, unedited, small_removed, mask), with_z=True)

    def declumped(
        self, image: np.ndarray, clumps: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, int]:
        """Split clumps at their narrow or dim places: (labels, count). `clumps` int32 (y, x)."""
        distance = None
        if self.declump == "Shape":
            # A place far from the edge may lie beside a hole, so that holes are filled for this purpose.
            inside = clumps if self.fill_after else labels.fill_holes(clumps)
            heights = distance = distance_inside(inside > 0) + uniform_noise(image.shape)
        else:
            heights = smoothed_for_maxima(image, self.smoothing_filter, mask)
        radius = min(max(1.0, self.suppression - 0.5), sum(image.shape))  # there is nothing beyond
        seeds, count = numbered_maxima(heights, clumps, radius, self.scale)
        if self.divide == "Propagate":
            return propagate(np.zeros(seeds.shape), seeds, clumps > 0, 1.0)[0], count
        if self.divide == "Intensity":
            relief = np.float32(1) - image
        else:
            if distance is None:
                distance = distance_inside(clumps > 0)
            relief = distance.max() - distance
        return watershed(relief, seeds, clumps > 0), count


def labels_at_border(unedited: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The labels on the image's border, or where there is none, on the border of the mask."""
    found = labels.at_border(unedited)
    return found if mask is None or found.any() else np.unique(unedited[labels.mask_border(mask)])


def distance_inside(mask: np.ndarray) -> np.ndarray:
    """float64 (y, x): Euclidean distance to the nearest pixel outside the mask."""
    return np.sqrt(labels.squared_distance(mask.astype(np.int32)))


@lru_cache(maxsize=2)
def uniform_noise(shape: tuple[int, int]) -> np.ndarray:
    """The noise that makes maxima of a distance unique in CellProfiler, the same for all images of a shape."""
    noise = np.random.RandomState(0).uniform(0, 0.001, shape)
    noise.flags.writeable = False
    return noise


def relabelled(segmented: np.ndarray) -> np.ndarray:
    """The same objects, numbered without gaps."""
    numbers = np.unique(segmented)
    table = np.zeros(int(numbers[-1]) + 1, np.int64)
    table[numbers[numbers > 0]] = np.arange(1, np.count_nonzero(numbers) + 1)
    return labels.look_up(segmented, table)


def smoothed_for_maxima(image: np.ndarray, filter_size: float, mask: np.ndarray | None = None) -> np.ndarray:
    """Gaussian of sigma filter_size/2.35, cut at half the filter size, corrected at the borders; 0 outside the mask."""
    if filter_size == 0:
        return image
    sigma = filter_size / 2.35
    radius = min(max(int(filter_size / 2.0), 1), max(image.shape))  # beyond there is nothing but zeros
    reach = np.arange(-radius, radius + 1)
    heights = np.array([math.exp(power) for power in -0.5 * reach**2 / sigma**2])
    weights = 1 / math.sqrt(2.0 * math.pi) / sigma * heights

    def smooth(pixels: np.ndarray) -> np.ndarray:
        down = ndimage.convolve1d(pixels, weights, axis=0, mode="constant")
        return ndimage.convolve1d(down, weights, axis=1, mode="constant")

    if mask is None:
        return (smooth(image) / smooth(np.ones(image.shape))).astype(image.dtype)
    shown = np.where(mask, image, image.dtype.type(0))
    return np.where(mask, smooth(shown) / smooth(mask.astype(float)), 0).astype(image.dtype)


def numbered_maxima(
    heights: np.ndarray, clumps: np.ndarray, radius: float, scale: float = 1.0
) -> tuple[np.ndarray, int]:
    """Local maxima within a disk, among pixels of the same clump, shrunk to points and numbered: (int32 (y, x), n).

    With a scale below 1 they are looked for in an image of that size, and `radius` is in its pixels.
    """
    offsets = nearest_first(radius)
    if scale == 1.0:
        maxima = local_maxima(heights, clumps, offsets) & (heights > 0)
    else:
        places = np.mgrid[tuple(slice(0, length * scale) for length in heights.shape)].astype(float) / scale
        small = ndimage.map_coordinates(heights, places)
        small_clumps = ndimage.map_coordinates(clumps, places, order=0).astype(clumps.dtype)
        found = local_maxima(small, small_clumps, offsets) & (small > 0)
        back = np.mgrid[tuple(slice(0, length) for length in heights.shape)].astype(float)
        maxima = ndimage.map_coordinates(found.astype(float), back / (heights.shape[0] / found.shape[0])) > 0.5
    if has_touching(maxima):
        maxima = cpmorphology.binary_shrink(maxima)
    return ndimage.label(maxima, EIGHT_CONNECTED, output=np.int32)


def nearest_first(radius: float) -> np.ndarray:
    """int64 (n, 2): the offsets of a disk but its centre, by distance."""
    reach = np.arange(-int(radius), int(radius) + 1)
    offsets = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    squares = (offsets**2).sum(axis=1)
    inside = (squares <= radius * radius) & (squares > 0)
    return offsets[inside][np.argsort(squares[inside], kind="stable")]


@kernel
def local_maxima(heights: np.ndarray, clumps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """bool (y, x): pixels of a clump that none of the same clump at these offsets exceeds."""
    height, width = clumps.shape
    maxima = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            if clumps[y, x] == 0:
                continue
            is_maximum = True
            for k in range(offsets.shape[0]):
                yy, xx = y + offsets[k, 0], x + offsets[k, 1]
                if (
                    0 <= yy < height
                    and 0 <= xx < width
                    and clumps[yy, xx] == clumps[y, x]
                    and heights[yy, xx] > heights[y, x]
                ):
                    is_maximum = False
                    break
            maxima[y, x] = is_maximum
    return maxima


@kernel
def has_touching(points: np.ndarray) -> bool:
    """Whether any two points are 8-neighbours."""
    height, width = points.shape
    for y in range(height):
        for x in range(width):
            if points[y, x]:
                if x + 1 < width and points[y, x + 1]:
                    return True
                if y + 1 < height:
                    for xx in range(max(0, x - 1), min(width, x + 2)):
                        if points[y + 1, xx]:
                            return True
    return False
