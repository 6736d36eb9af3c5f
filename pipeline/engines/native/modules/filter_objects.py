"""FilterObjects: keep the objects whose measurements lie within limits, or that touch no border."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.engines.limits import Limits
from pipeline.engines.native import objects
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({8, 9, 10})
LIMITS = {"Minimum value": Limits(float, 0.0), "Maximum value": Limits(float, 1.0)}

MEASUREMENT, ADDITIONAL = "Select the measurement to filter by", "Select additional object to relabel"
#: 4.0 to 4.2.1 write "seperate"; before, objects that were removed were not kept
KEPT = ("Keep removed objects as a separate set?", "Keep removed objects as a seperate set?")
BORDER = "Image or mask border"


def compile(settings: Settings) -> FilterObjects:
    source, target = settings.text("Select the objects to filter"), settings.text("Name the output objects")
    mode = settings.choice("Select the filtering mode", ("Measurements", BORDER))
    method = ""
    bounds: list[Bounds] = []
    if mode == "Measurements":
        method = settings.choice("Select the filtering method", ("Limits", "Minimal", "Maximal"))
        bounds = [read_bounds(group, method == "Limits") for group in settings.groups(MEASUREMENT)]
        if method != "Limits":
            bounds = bounds[:1]
    others = settings.groups(ADDITIONAL)
    pairs = ((group.text(ADDITIONAL), group.text("Name the relabeled objects")) for group in others)
    keeps_removed = any("Yes" in settings.texts(label) for label in KEPT)
    return FilterObjects(
        renamed=((source, target), *pairs),
        removed=settings.text("Name the objects removed by the filter") if keeps_removed else "",
        method=method,
        bounds=tuple(bounds),
    )


def read_bounds(settings: Settings, is_limited: bool) -> Bounds:
    has_least = is_limited and settings.yes("Filter using a minimum measurement value?")
    has_most = is_limited and settings.yes("Filter using a maximum measurement value?")
    return Bounds(
        feature=settings.text(MEASUREMENT),
        least=settings.number_of("Minimum value") if has_least else -np.inf,
        most=settings.number_of("Maximum value") if has_most else np.inf,
    )


@dataclass(frozen=True)
class Bounds:
    feature: str
    least: float
    most: float


@dataclass(frozen=True)
class FilterObjects:
    """`renamed`: the set that is filtered and others that are numbered as it is, each with the name of its result.
    `removed`: the name of the set of what was filtered out, or "". `method`: "" where objects at a border go.
    """

    renamed: tuple[tuple[str, str], ...]
    removed: str
    method: str
    bounds: tuple[Bounds, ...]

    images_in = images_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(source for source, _ in self.renamed)

    @property
    def objects_out(self) -> tuple[str, ...]:
        return tuple(target for _, target in self._pairs())

    @property
    def measurements_in(self) -> tuple[tuple[str, str], ...]:
        return tuple((self.renamed[0][0], bounds.feature) for bounds in self.bounds)

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield from self.renamed
        if self.removed:
            yield self.renamed[0][0], self.removed

    def features(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"Image": [f"Count_{target}" for _, target in self._pairs()]}
        for source, target in self._pairs():
            related = objects.relation_features(source, target)
            found.setdefault(source, []).extend(related[source])
            found.setdefault(target, []).extend(objects.location_features(with_z=True) + related[target])
        return found

    def run(self, site: Workspace) -> None:
        source = site.objects[self.renamed[0][0]]
        kept = self.kept(site, source)
        is_kept = np.zeros(source.count + 1, bool)
        is_kept[kept] = True
        table = objects.numbered(kept, source.count)
        for name, target in self.renamed:
            objects.add_renumbered(site, name, target, table)
        if self.removed:
            table = objects.numbered(np.flatnonzero(~is_kept[1:]) + 1, source.count)
            objects.add_renumbered(site, self.renamed[0][0], self.removed, table)

    def kept(self, site: Workspace, source: Objects) -> Sequence[int] | np.ndarray:
        """The labels that stay, in the order of their new numbers."""
        if not self.method:
            return off_the_border(source)
        columns = [site.column(self.renamed[0][0], bounds.feature) for bounds in self.bounds]
        if self.method == "Limits":
            return within_limits(self.bounds, columns)
        if not columns[0].size:
            return []
        return [int(np.argmax(columns[0]) if self.method == "Maximal" else np.argmin(columns[0])) + 1]


def within_limits(bounds: Sequence[Bounds], columns: Sequence[np.ndarray]) -> np.ndarray:
    """Labels whose values are not outside; NaN is not. Of columns of different lengths CellProfiler takes the longer
    one, and values that are not there for inside, but what it has no value of at all it drops.
    """
    inside = np.ones(len(columns[0]), bool)
    for bound, values in zip(bounds, columns, strict=True):
        inside = np.append(inside, np.ones(max(0, len(values) - len(inside)), bool))
        inside[: len(values)] &= ~((values < bound.least) | (values > bound.most))
    return np.flatnonzero(inside) + 1


def off_the_border(source: Objects) -> list[int]:
    """Labels that touch neither the image's border nor that of the mask, inwards or beyond it.

    The background is one of them where the border is covered all round: CellProfiler then makes it an object. Python's
    sets give the new numbers, so that where numbers are missing the order is theirs.
    """
    if source.mask is None:
        border = set(labels.at_border(source.segmented).tolist())
    else:
        border = set(np.unique(source.segmented[~ndimage.binary_erosion(source.mask)]).tolist())
    return list(set(in_order_of_appearance(source.segmented)).difference(border))


def in_order_of_appearance(segmented: np.ndarray) -> list[int]:
    numbers, first = np.unique(segmented, return_index=True)
    return numbers[np.argsort(first)].tolist()
