"""MeasureColocalization: how two images go together, within objects and over the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import lanes
from pipeline.engines.native.kernels.sorting import dense_ranks, mark_ranks, rank_among, scratch
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.line_fit import exact_slope, slope
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace, gather, runs_of

#: of the settings in a pipeline file
REVISIONS = frozenset({5, 6})

WHERE = "Select where to measure correlation"
THRESHOLD = "Set threshold as percentage of maximum intensity for the images"
COSTES = "Calculate the Manders coefficients using Costes auto threshold?"
#: the setting that switches each group of measurements on, and what it gives for a pair: once, or both ways round
GROUPS = {
    "Calculate correlation and slope metrics?": ("Correlation", "Slope"),
    "Calculate the Overlap coefficients?": ("Overlap", "K"),
    "Calculate the Manders coefficients?": ("Manders",),
    "Calculate the Rank Weighted Colocalization coefficients?": ("RWC",),
}
BOTH_WAYS = ("K", "Manders", "RWC")
#: of a pair in objects
COEFFICIENTS = ("Correlation", "Overlap", *BOTH_WAYS, *(f"{kind} back" for kind in BOTH_WAYS))
#: pixels of an object that are looked at together, for all pairs, while they are in the cache
BLOCK = 1024

Coefficients = dict[str, np.ndarray]


def compile(settings: Settings) -> Colocalization:
    where = settings.choice(WHERE, ("Across entire image", "Within objects", "Both"))
    images = tuple(settings.names("Select images to measure"))
    if len(images) < 2:
        settings.refuse("fewer than two images are selected")
    # CellProfiler goes by the single settings also where "Run all metrics?" hides them.
    if settings.yes(COSTES):
        settings.refuse(f'"{COSTES} Yes" is not supported')
    kinds = tuple(kind for group, kinds in GROUPS.items() if settings.yes(group) for kind in kinds)
    return Colocalization(
        images_in=images,
        objects_in=() if where == "Across entire image" else tuple(settings.names("Select objects to measure")),
        wants_images=where != "Within objects",
        threshold=settings.number_of(THRESHOLD, in_force=bool({"Overlap", "Manders", "RWC"} & set(kinds))),
        kinds=kinds,
    )


@dataclass(frozen=True)
class Colocalization:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]
    wants_images: bool
    threshold: float  # percent of the maximum
    kinds: tuple[str, ...]

    images_out = objects_out = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.images_in, 2))

    def features(self) -> dict[str, list[str]]:
        declared: dict[str, list[str]] = {name: [] for name in self.objects_in}
        if self.wants_images:
            declared["Image"] = []
        for first, second in self.pairs:
            for name, features in declared.items():
                for kind in self.kinds:
                    if kind != "Slope" or name == "Image":
                        features.append(f"Correlation_{kind}_{first}_{second}")
                    if kind in BOTH_WAYS:
                        features.append(f"Correlation_{kind}_{second}_{first}")
        return declared

    def run(self, site: Workspace) -> None:
        site.check_shapes(*self.images_in, *self.objects_in)
        images = [site.images[name] for name in self.images_in]
        if self.wants_images:
            for pair, (first, second) in zip(self.pairs, combinations(images, 2), strict=True):
                is_logical = not site.logical.isdisjoint(pair)
                found = in_image(first, second, self.threshold, is_logical=is_logical)
                for feature, value in self._named(found, pair).items():
                    site.add_image(feature, value.item())
        object_sets = [site.objects[name] for name in self.objects_in]
        for name, of_set in zip(self.objects_in, in_objects(images, object_sets, self.threshold), strict=True):
            for pair, coefficients in zip(self.pairs, of_set, strict=True):
                for feature, values in self._named(coefficients, pair).items():
                    site.add(name, feature, values)

    def _named(self, coefficients: Mapping[str, np.ndarray], pair: tuple[str, str]) -> dict[str, np.ndarray]:
        first, second = pair
        named = {}
        for kind in self.kinds:
            if kind in coefficients:
                named[f"Correlation_{kind}_{first}_{second}"] = coefficients[kind]
            if kind in BOTH_WAYS:
                named[f"Correlation_{kind}_{second}_{first}"] = coefficients[kind + " back"]
        return named


def in_objects(
    images: Sequence[np.ndarray], object_sets: Sequence[Objects], threshold: float
) -> list[list[Coefficients]]:
    """Coefficients of each pair of float32 images in each object, for each object set: float64 (objects).

    "K", "Manders" and "RWC" are the first image's, "K back" and so on the second's. Pixels count for Overlap, K,
    Manders and RWC where both images reach `threshold` percent of their maximum in the object. Ranks, for RWC, are
    among all pixels of the object set. NaN where a coefficient is zero by zero.
    """
    ranks = Ranks(images, object_sets)
    return [_in_one_set(images, objects, ranks, threshold) for objects in object_sets]


class Ranks:
    """Dense ranks of the pixels of object sets: each image is sorted once, for all of them.

    `all`: int32 (images, pixels of any set).
    """

    def __init__(self, images: Sequence[np.ndarray], object_sets: Sequence[Objects]) -> None:
        # In the order of the largest set, whose pixels mostly are all there are: what is near in one set is near here.
        self._place_of = np.full(images[0].size, -1, np.int32)
        self._without_value = [missing if missing.any() else None for missing in map(np.isnan, images)]
        pixels = np.empty(0, np.int64)
        for objects in sorted(object_sets, key=lambda objects: -objects.pixels.size):
            more = objects.pixels[self._place_of[objects.pixels] < 0]
            self._place_of[more] = np.arange(pixels.size, pixels.size + more.size)
            pixels = np.concatenate([pixels, more])
        self.all = np.empty((len(images), pixels.size), np.int32)
        runs, room, values = runs_of(pixels), scratch(pixels.size), np.empty(pixels.size, np.float32)
        for image, ranks in zip(images, self.all, strict=True):
            gather(image.ravel(), runs, values)
            dense_ranks(values, room, ranks)

    def has_no_pair(self, first: int, second: int) -> bool:
        """Whether no pixel of the whole site has a value in both images."""
        missing = [one for one in (self._without_value[first], self._without_value[second]) if one is not None]
        return bool(missing) and bool(np.logical_or.reduce(missing).all())

    def among(self, objects: Objects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(places, tables, counts): where the pixels of one set stand in `all`, int32 (pixels); for each image what
        `rank_among` needs for ranks among them, uint64 (images, pixels of any set // 32 + 1), or (images, 0) where they
        are all there are; and how many ranks that are, int64 (images).
        """
        places = self._place_of[objects.pixels]
        if places.size == self.all.shape[1]:
            tables = np.empty((len(self.all), 0), np.uint64)
            counts = self.all.max(axis=1).astype(np.int64) + 1
        else:
            tables = np.empty((len(self.all), self.all.shape[1] // 32 + 1), np.uint64)
            counts = np.array([mark_ranks(ranks, places, table) for ranks, table in zip(self.all, tables, strict=True)])
        for c, missing in enumerate(self._without_value):
            if missing is not None:  # each NaN has a rank of its own, as none equals another
                counts[c] += max(np.count_nonzero(missing.ravel()[objects.pixels]) - 1, 0)
        return places, tables, counts


def _in_one_set(images: Sequence[np.ndarray], objects: Objects, ranks: Ranks, threshold: float) -> list[Coefficients]:
    pairs = np.array(list(combinations(range(len(images)), 2)))
    if objects.count == 0:
        return [dict.fromkeys(COEFFICIENTS, np.empty(0)) for _ in pairs]
    places, tables, n_ranks = ranks.among(objects)
    of_image, of_pair = np.empty((len(images), 2, objects.count)), np.empty((len(pairs), 9, objects.count))
    for block in objects.blocks(images):
        of_image[..., block.objects], of_pair[..., block.objects] = object_sums(
            block.values, ranks.all, places[block.pixels], tables, block.starts, np.float32(threshold / 100), pairs
        )
    deviation, above = np.sqrt(of_image[:, 0]), of_image[:, 1]
    found = []
    for (a, b), (xy, count, f, s, ff, ss, fs, f_apart, s_apart) in zip(pairs, of_pair, strict=True):
        highest = max(n_ranks[a], n_ranks[b])
        coefficients = {
            "Correlation": xy / (deviation[a] * deviation[b]),
            "Overlap": fs / np.sqrt(ff * ss),
            "K": fs / ff,
            "K back": fs / ss,
            "Manders": f / above[a],
            "Manders back": s / above[b],
            "RWC": (f - f_apart / highest) / above[a],
            "RWC back": (s - s_apart / highest) / above[b],
        }
        if not count.any():  # CellProfiler's answer where no pixel of any object passes
            coefficients |= {kind: np.zeros(objects.count) for kind in coefficients if kind != "Correlation"}
        if ranks.has_no_pair(a, b):
            coefficients = dict.fromkeys(COEFFICIENTS, np.full(objects.count, np.nan))
        found.append(coefficients)
    return found


@kernel
def object_sums(
    values: np.ndarray,
    ranks: np.ndarray,
    places: np.ndarray,
    tables: np.ndarray,
    starts: np.ndarray,
    fraction: np.float32,
    pairs: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The sums over each object's pixels from which its coefficients follow.

    `values`: float32 (images, pixels), object after object. `ranks`: `Ranks.all`. `places`, `tables`: of
    `Ranks.among`. `pairs`: int64 (pairs, 2). Returns float64 (images, 2, objects): squares about the mean, values that
    pass the threshold; and (pairs, 9, objects): products about the means; then over pixels where both pass: their
    number, first and second values, their squares, their products, and first and second values times the difference of
    ranks.
    """
    n_images, n_objects = len(values), starts.size - 1
    of_image = np.zeros((n_images, 2, n_objects))
    of_pair = np.zeros((len(pairs), 9, n_objects))
    block = np.empty((n_images, BLOCK), np.float32)
    centred = np.empty((n_images, BLOCK))
    passes = np.empty((n_images, BLOCK))
    among = np.zeros((n_images, BLOCK), np.int32)
    means = np.empty(n_images)
    thresholds = np.empty(n_images, np.float32)
    for k in range(n_objects):
        begin, end = starts[k], starts[k + 1]
        for c in range(n_images):
            means[c], highest = _mean_and_highest(values[c, begin:end])
            thresholds[c] = fraction * highest
        for first in range(begin, end, BLOCK):
            size = min(BLOCK, end - first)
            whole = -(-size // lanes.WIDTH) * lanes.WIDTH
            for c in range(n_images):
                squares, above = _prepare(
                    values[c, first : first + size],
                    means[c],
                    thresholds[c],
                    block[c, :whole],
                    centred[c, :whole],
                    passes[c, :whole],
                )
                of_image[c, 0, k] += squares
                of_image[c, 1, k] += above
                _rank(ranks[c], places[first : first + size], tables[c], among[c])
            for p in range(len(pairs)):
                a, b = pairs[p]
                found = _block_sums(
                    block[a, :whole], block[b, :whole], among[a], among[b], centred[a], centred[b], passes[a], passes[b]
                )
                for i in range(9):
                    of_pair[p, i, k] += found[i]
    return of_image, of_pair


@kernel
def _rank(ranks: np.ndarray, places: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """The ranks at these places, among those in the table; as they are where there is no table."""
    if table.size == 0:
        for i in range(places.size):
            out[i] = ranks[np.uint64(places[i])]
    else:
        for i in range(places.size):
            out[i] = rank_among(table, ranks[np.uint64(places[i])])


@kernel
def _mean_and_highest(values: np.ndarray) -> tuple[float, np.float32]:
    """The highest of values with a NaN among them is NaN."""
    highest, without_value = np.float32(-np.inf), 0
    for value in values:
        highest = max(highest, value)
        without_value += value != value
    return lanes.sum_of(values) / max(values.size, 1), np.float32(np.nan) if without_value else highest


@kernel
def _prepare(
    values: np.ndarray, mean: float, threshold: np.float32, block: np.ndarray, centred: np.ndarray, passes: np.ndarray
) -> tuple[float, float]:
    """Write the values, their distances from the mean and whether they pass; zeros where these arrays are longer.

    Returns the sum of squares of the distances, and of the values that pass.
    """
    size = values.size
    for i in range(size):
        block[i] = values[i]
    for i in range(size):
        centred[i] = values[i] - mean
    for i in range(size):
        passes[i] = 1.0 if values[i] >= threshold else 0.0
    block[size:] = 0
    centred[size:] = 0
    passes[size:] = 0
    squares = above = lanes.zeros()
    for at in range(0, block.size, lanes.WIDTH):
        away = lanes.load(centred, at)
        squares += away * away
        above += lanes.load(passes, at) * lanes.load(block, at)
    return lanes.total(squares), lanes.total(above)


@kernel
def _block_sums(
    first: np.ndarray,
    second: np.ndarray,
    first_ranks: np.ndarray,
    second_ranks: np.ndarray,
    first_centred: np.ndarray,
    second_centred: np.ndarray,
    first_passes: np.ndarray,
    second_passes: np.ndarray,
) -> tuple[float, float, float, float, float, float, float, float, float]:
    xy = count = f = s = ff = ss = fs = f_apart = s_apart = lanes.zeros()
    for at in range(0, first.size, lanes.WIDTH):
        both = lanes.load(first_passes, at) * lanes.load(second_passes, at)
        in_first, in_second = both * lanes.load(first, at), both * lanes.load(second, at)
        apart = lanes.absolute(lanes.load(first_ranks, at) - lanes.load(second_ranks, at))
        xy += lanes.load(first_centred, at) * lanes.load(second_centred, at)
        count += both
        f += in_first
        s += in_second
        # Products of two pixels are float32 in CellProfiler.
        ff += both * lanes.single_products(first, first, at)
        ss += both * lanes.single_products(second, second, at)
        fs += both * lanes.single_products(first, second, at)
        f_apart += in_first * apart
        s_apart += in_second * apart
    return (
        lanes.total(xy),
        lanes.total(count),
        lanes.total(f),
        lanes.total(s),
        lanes.total(ff),
        lanes.total(ss),
        lanes.total(fs),
        lanes.total(f_apart),
        lanes.total(s_apart),
    )


def in_image(first: np.ndarray, second: np.ndarray, threshold: float, *, is_logical: bool = False) -> Coefficients:
    """Coefficients of two whole float32 images, with CellProfiler's float32 sums and strict thresholds.

    Of the pixels that have a value in both; NaN where there are none. Where one `is_logical` (truth values), the slope
    is found in double precision.
    """
    has_values = ~(np.isnan(first) | np.isnan(second))
    if not has_values.any():
        return dict.fromkeys(("Slope", *COEFFICIENTS), np.array(np.nan))
    f, s = first[has_values], second[has_values]
    above_f, above_s = (
        f > np.float32(threshold * float(f.max()) / 100),
        s > np.float32(threshold * float(s.max()) / 100),
    )
    both = above_f & above_s
    total_f, total_s = _sum(f[above_f]), _sum(s[above_s])
    f_both, s_both = f[both], s[both]
    ff, ss, fs = _sum(f_both**2), _sum(s_both**2), _sum(f_both * s_both)
    room, f_rank, s_rank = scratch(f.size), np.empty(f.size, np.int32), np.empty(s.size, np.int32)
    highest = max(dense_ranks(f, room, f_rank), dense_ranks(s, room, s_rank))
    weight = (highest - np.abs(f_rank - s_rank)[both]) / highest
    return {
        "Correlation": np.float64(correlation(f, s)),
        # In single precision, as CellProfiler: the exact slope can differ in the fifth digit.
        "Slope": exact_slope(f, s) if is_logical else slope(f, s),
        "Overlap": fs / np.sqrt(ff * ss),
        "K": fs / ff,
        "K back": fs / ss,
        "Manders": _sum(f_both) / total_f,
        "Manders back": _sum(s_both) / total_s,
        "RWC": np.sum(f_both * weight) / total_f,
        "RWC back": np.sum(s_both * weight) / total_s,
    }


@kernel
def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two float32 vectors; NaN where one does not vary."""
    n = first.size
    mean_x, mean_y = lanes.sum_of(first) / n, lanes.sum_of(second) / n
    whole = n - n % lanes.WIDTH
    xx = xy = yy = lanes.zeros()
    for at in range(0, whole, lanes.WIDTH):
        x, y = lanes.load(first, at) - lanes.spread(mean_x), lanes.load(second, at) - lanes.spread(mean_y)
        xx += x * x
        xy += x * y
        yy += y * y
    sum_xx, sum_xy, sum_yy = lanes.total(xx), lanes.total(xy), lanes.total(yy)
    for at in range(whole, n):
        x_away, y_away = first[at] - mean_x, second[at] - mean_y
        sum_xx += x_away * x_away
        sum_xy += x_away * y_away
        sum_yy += y_away * y_away
    r = sum_xy / np.sqrt(sum_xx) / np.sqrt(sum_yy)
    return min(max(r, -1.0), 1.0) if abs(r) > 1 else r


def _sum(values: np.ndarray) -> np.float32:
    return np.float32(sums.total(values))
