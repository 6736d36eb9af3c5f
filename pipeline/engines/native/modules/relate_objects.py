"""RelateObjects: which objects lie in which, and the means of the children's measurements for each parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.engines.native import objects
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({4, 5})


def compile(settings: Settings) -> RelateObjects:
    settings.choice("Calculate child-parent distances?", ("None",))
    keeps = settings.revision == 5 or settings.texts(
        "Do you want to save the children with parents as a new object set?"
    )
    is_kept = bool(keeps) and settings.yes("Do you want to save the children with parents as a new object set?", "No")
    return RelateObjects(
        parent=settings.text("Parent objects"),
        child=settings.text("Child objects"),
        with_means=settings.yes("Calculate per-parent means for all child measurements?"),
        kept=settings.text("Name the output object") if is_kept else "",
    )


@dataclass(frozen=True)
class RelateObjects:
    """`kept`: the name of the set of the children that have a parent, or "". `averaged`: features of the children."""

    parent: str
    child: str
    with_means: bool
    kept: str
    averaged: tuple[str, ...] = ()

    images_in = images_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        return (self.parent, self.child)

    @property
    def objects_out(self) -> tuple[str, ...]:
        return (self.kept,) if self.kept else ()

    def of_measured(self, measured: Mapping[str, Sequence[str]]) -> RelateObjects:
        """Averaging what has been measured of the children so far; their number too, by a slip in CellProfiler."""
        if not self.with_means:
            return self
        names = measured.get(self.child, ())
        return replace(self, averaged=tuple(name for name in names if not name.startswith(("Mean", "Parent"))))

    def features(self) -> dict[str, list[str]]:
        found = objects.relation_features(self.parent, self.child)
        found[self.parent] += [f"Mean_{self.child}_{name}" for name in self.averaged]
        if self.kept:
            kept = objects.relation_features(self.child, self.kept)
            found[self.child] += kept[self.child]
            found[self.kept] = objects.location_features(with_z=True) + kept[self.kept]
            found["Image"] = [f"Count_{self.kept}"]
        return found

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.parent, self.child)
        parent, child = site.objects[self.parent], site.objects[self.child]
        parents = objects.relate(site, self.parent, self.child)
        if parents.any():
            site.relations.add((self.parent, self.child))
        for feature in self.averaged:
            values = site.column(self.child, feature)
            site.add(self.parent, f"Mean_{self.child}_{feature}", means_of(values, parents, parent.count))
        if self.kept:
            # The first number goes; it is the background's, but for an image that children of parents cover.
            numbers = np.unique(np.where(parent.segmented > 0, child.segmented, 0))[1:]
            objects.add_renumbered(site, self.child, self.kept, objects.numbered(numbers, child.count))


def means_of(values: np.ndarray, parents: np.ndarray, count: int) -> np.ndarray:
    """float64 (count): the mean over each parent's children, NaN where there are none.

    Raises `ValueError` where there are not as many values as children, as CellProfiler does.
    """
    if not parents.size:
        return np.full(count, np.nan)
    if len(values) != len(parents):
        raise ValueError(
            f"there are {len(values)} values for {len(parents)} children, of which some have no pixel; CellProfiler "
            "cannot average them either"
        )
    children = np.bincount(parents, minlength=count + 1)[1:]
    return np.bincount(parents, values, minlength=count + 1)[1:] / children
