"""IdentifyTertiaryObjects: what is left of larger objects without smaller ones, e.g. cytoplasm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native import objects
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({3})


def compile(settings: Settings) -> IdentifyTertiaryObjects:
    return IdentifyTertiaryObjects(
        larger=settings.text("Select the larger identified objects"),
        smaller=settings.text("Select the smaller identified objects"),
        name=settings.text("Name the tertiary objects to be identified"),
        shrink=settings.yes("Shrink smaller object prior to subtraction?"),
    )


@dataclass(frozen=True)
class IdentifyTertiaryObjects:
    larger: str
    smaller: str
    name: str
    shrink: bool

    images_in = images_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        return (self.larger, self.smaller)

    @property
    def objects_out(self) -> tuple[str, ...]:
        return (self.name,)

    def features(self) -> dict[str, list[str]]:
        with_smaller = objects.relation_features(self.smaller, self.name)
        with_larger = objects.relation_features(self.larger, self.name)
        return {
            self.smaller: with_smaller[self.smaller],
            self.larger: with_larger[self.larger],
            self.name: objects.location_features(with_z=False) + with_smaller[self.name] + with_larger[self.name],
            "Image": [f"Count_{self.name}"],
        }

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.larger, self.smaller)
        larger, smaller = site.objects[self.larger].segmented, site.objects[self.smaller].segmented
        # The outline of the smaller object stays, so that something is left where both are the same.
        removed = (smaller > 0) & ~labels.outline(smaller) if self.shrink else smaller > 0
        segmented = np.where(removed, 0, larger).astype(np.int32)
        tertiary = Objects(segmented, segmented, segmented, site.objects[self.larger].mask)
        objects.record(site, self.name, tertiary, with_z=False)
        parents = objects.relate(site, self.larger, self.name)
        site.relations.add((self.larger, self.name))
        if self.shrink:
            objects.relate(site, self.smaller, self.name)
        else:
            self._relate_through_larger(site, parents)

    def _relate_through_larger(self, site: Workspace, larger_of_tertiary: np.ndarray) -> None:
        """The smaller object shares no pixel with the tertiary one; their common larger object joins them."""
        larger, smaller = site.objects[self.larger], site.objects[self.smaller]
        larger_of_smaller = labels.overlap(larger.segmented, larger.count, smaller.pixels, smaller.starts)
        smaller_of_larger = np.zeros(larger.count + 1, np.int64)
        smaller_of_larger[larger_of_smaller] = np.arange(1, smaller.count + 1)
        smaller_of_larger[0] = 0
        tertiary_per_larger = np.append(0, labels.children_of(larger_of_tertiary, larger.count))
        site.add(self.smaller, f"Children_{self.name}_Count", tertiary_per_larger[larger_of_smaller])
        site.add(self.name, f"Parent_{self.smaller}", smaller_of_larger[larger_of_tertiary])
