"""MeasureColocalization: how two images go together, within objects and over the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.engines.native.kernels import costes
from pipeline.engines.native.kernels.colocalization import correlation, object_sums
from pipeline.engines.native.kernels.sorting import dense_ranks, mark_ranks, scratch
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.numpy1.line_fit import exact_slope, slope
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace, gather, runs_of

#: of the settings in a pipeline file
REVISIONS = frozenset({5, 6})

WHERE = "Select where to measure correlation"
THRESHOLD = "Set threshold as percentage of maximum intensity for the images"
COSTES = "Calculate the Manders coefficients using Costes auto threshold?"
METHOD = "Method for Costes thresholding"
#: of an image that no image with a scale was made into
SCALE = 255
#: the setting that switches each group of measurements on, and what it gives for a pair: once, or both ways round
GROUPS = {
    "Calculate correlation and slope metrics?": ("Correlation", "Slope"),
    "Calculate the Overlap coefficients?": ("Overlap", "K"),
    "Calculate the Manders coefficients?": ("Manders",),
    "Calculate the Rank Weighted Colocalization coefficients?": ("RWC",),
    COSTES: ("Costes",),
}
BOTH_WAYS = ("K", "Manders", "RWC", "Costes")
#: of a pair in objects
COEFFICIENTS = ("Correlation", "Overlap", *BOTH_WAYS, *(f"{kind} back" for kind in BOTH_WAYS))
Limits = tuple[np.float32, np.float32]

Coefficients = dict[str, np.ndarray]


def compile(settings: Settings) -> Colocalization:
    where = settings.choice(WHERE, ("Across entire image", "Within objects", "Both"))
    images = tuple(settings.names("Select images to measure"))
    if len(images) < 2:
        settings.refuse("fewer than two images are selected")
    # CellProfiler goes by the single settings also where "Run all metrics?" hides them.
    kinds = tuple(kind for group, kinds in GROUPS.items() if settings.yes(group) for kind in kinds)
    return Colocalization(
        images_in=images,
        objects_in=() if where == "Across entire image" else tuple(settings.names("Select objects to measure")),
        wants_images=where != "Within objects",
        threshold=settings.number_of(THRESHOLD, in_force=bool({"Overlap", "Manders", "RWC"} & set(kinds))),
        kinds=kinds,
        costes=settings.choice(METHOD, ("Accurate", "Fast", "Faster")) if "Costes" in kinds else "",
    )


@dataclass(frozen=True)
class Colocalization:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]
    wants_images: bool
    threshold: float  # percent of the maximum
    kinds: tuple[str, ...]
    costes: str  # how its thresholds are sought, or ""

    images_out = objects_out = ()
    honours_masks = True

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
        limits = [self._limits(site, *pair) for pair in self.pairs] if self.costes else None
        if self.wants_images:
            for k, pair in enumerate(self.pairs):
                first, second = (shown(site, name) for name in pair)
                is_logical = not site.logical.isdisjoint(pair)
                found = in_image(first, second, self.threshold, is_logical=is_logical)
                if limits:
                    found |= costes_in_image(first, second, limits[k])
                for feature, value in self._named(found, pair).items():
                    site.add_image(feature, value.item())
        for name, of_set in zip(self.objects_in, self._in_objects(site, limits), strict=True):
            for pair, coefficients in zip(self.pairs, of_set, strict=True):
                for feature, values in self._named(coefficients, pair).items():
                    site.add(name, feature, values)

    def _in_objects(self, site: Workspace, limits: Sequence[Limits] | None) -> list[list[Coefficients]]:
        """Of each object set, of each pair."""
        object_sets = [site.objects[name] for name in self.objects_in]
        if site.masks.keys().isdisjoint(self.images_in):
            return in_objects([site.images[name] for name in self.images_in], object_sets, self.threshold, limits)
        # What is shown in both images differs from pair to pair.
        of_pairs = [
            self._in_shown(site, pair, object_sets, limits and limits[k : k + 1]) for k, pair in enumerate(self.pairs)
        ]
        return [list(of_set) for of_set in zip(*of_pairs, strict=True)]

    def _in_shown(
        self, site: Workspace, pair: tuple[str, str], object_sets: Sequence[Objects], limits: Sequence[Limits] | None
    ) -> list[Coefficients]:
        """Of one pair, of each object set, where both images are shown; NaN where no pixel of the images is."""
        if with_values(*(shown(site, name) for name in pair))[0].size == 0:
            kinds = (*COEFFICIENTS, "Costes", "Costes back")
            return [dict.fromkeys(kinds, np.full(objects.count, np.nan)) for objects in object_sets]
        mask = np.ones(site.images[pair[0]].shape, bool)
        for name in site.masks.keys() & pair:
            mask &= site.masks[name]
        sets = [objects.shown(mask) for objects in object_sets]
        for name, objects in zip(self.objects_in, sets, strict=True):
            if objects.count and not objects.pixels.size:
                raise ValueError(
                    f"the masks of {pair[0]} and {pair[1]} leave no pixel of any of the {name}, and CellProfiler fails "
                    "there too; leave this pair of images out"
                )
        images = [site.images[name] for name in pair]
        return [coefficients for [coefficients] in in_objects(images, sets, self.threshold, limits)]

    def _limits(self, site: Workspace, first: str, second: str) -> Limits:
        """Costes' thresholds of the whole images, which hold for objects too; NaN where no pixel has both values."""
        x, y = with_values(shown(site, first), shown(site, second))
        if x.size == 0:
            return np.float32(np.nan), np.float32(np.nan)
        scales = [scale for scale in (site.scales[first], site.scales[second]) if scale is not None]
        return costes.thresholds(x, y, max(scales, default=SCALE), self.costes)

    def _named(self, coefficients: Mapping[str, np.ndarray], pair: tuple[str, str]) -> dict[str, np.ndarray]:
        first, second = pair
        named = {}
        for kind in self.kinds:
            if kind in coefficients:
                named[f"Correlation_{kind}_{first}_{second}"] = coefficients[kind]
            if kind in BOTH_WAYS:
                named[f"Correlation_{kind}_{second}_{first}"] = coefficients[kind + " back"]
        return named


def shown(site: Workspace, name: str) -> np.ndarray:
    """An image, without a value (NaN) where its mask hides it."""
    image = site.images[name]
    return np.where(site.masks[name], image, np.float32(np.nan)) if name in site.masks else image


def in_objects(
    images: Sequence[np.ndarray],
    object_sets: Sequence[Objects],
    threshold: float,
    limits: Sequence[Limits] | None = None,
) -> list[list[Coefficients]]:
    """Coefficients of each pair of float32 images in each object, for each object set: float64 (objects).

    "K", "Manders" and "RWC" are the first image's, "K back" and so on the second's. Pixels count for Overlap, K,
    Manders and RWC where both images reach `threshold` percent of their maximum in the object. Ranks, for RWC, are
    among all pixels of the object set. NaN where a coefficient is zero by zero. With `limits`, the thresholds of each
    pair, "Costes" too.
    """
    ranks = Ranks(images, object_sets)
    found = [_in_one_set(images, objects, ranks, threshold) for objects in object_sets]
    if limits:
        for of_set, objects in zip(found, object_sets, strict=True):
            for coefficients, more in zip(of_set, costes_in_objects(images, objects, limits), strict=True):
                coefficients |= more
    return found


def costes_in_objects(images: Sequence[np.ndarray], objects: Objects, limits: Sequence[Limits]) -> list[Coefficients]:
    """Of each pair: what of its brightness lies where the other image is bright too. 0 where nothing does in any
    object; NaN where the thresholds are.
    """
    pairs, bounds = np.array(list(combinations(range(len(images)), 2))), np.array(limits, np.float32)
    sums_of = np.empty((len(pairs), 4, objects.count))
    any_both = np.zeros(len(pairs), bool)
    for block in objects.blocks(images):
        sums_of[..., block.objects], found = costes.object_sums(block.values, block.starts, pairs, bounds)
        any_both |= found
    of_pairs = []
    for (x_all, y_all, x_both, y_both), has_both, (limit, _) in zip(sums_of, any_both, limits, strict=True):
        first = x_both / x_all if has_both else np.zeros(objects.count)
        back = y_both / y_all if has_both else np.zeros(objects.count)
        if np.isnan(limit):
            first = back = np.full(objects.count, np.nan)
        of_pairs.append({"Costes": first, "Costes back": back})
    return of_pairs


def costes_in_image(first: np.ndarray, second: np.ndarray, limits: Limits) -> Coefficients:
    """The same of whole images, with CellProfiler's float32 sums."""
    f, s = with_values(first, second)
    if f.size == 0:
        return dict.fromkeys(("Costes", "Costes back"), np.array(np.nan))
    above_f, above_s = f > limits[0], s > limits[1]
    both = above_f & above_s
    parts = {"Costes": _sum(f[both]) / _sum(f[above_f]), "Costes back": _sum(s[both]) / _sum(s[above_s])}
    return {kind: np.asarray(part) for kind, part in parts.items()}


def with_values(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the pixels that have a value in both images."""
    has_values = ~(np.isnan(first) | np.isnan(second))
    return (first.ravel(), second.ravel()) if has_values.all() else (first[has_values], second[has_values])


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


def in_image(first: np.ndarray, second: np.ndarray, threshold: float, *, is_logical: bool = False) -> Coefficients:
    """Coefficients of two whole float32 images, with CellProfiler's float32 sums and strict thresholds.

    Of the pixels that have a value in both; NaN where there are none. Where one `is_logical` (truth values), the slope
    is found in double precision.
    """
    f, s = with_values(first, second)
    if f.size == 0:
        return dict.fromkeys(("Slope", *COEFFICIENTS), np.array(np.nan))
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


def _sum(values: np.ndarray) -> np.float32:
    return np.float32(sums.total(values))
