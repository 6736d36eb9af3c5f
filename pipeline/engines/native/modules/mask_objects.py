"""MaskObjects: cut objects by other objects or an image, or remove those that lie outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.limits import Limits
from pipeline.engines.native import objects
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({3})
FRACTION = "Fraction of object that must overlap"
LIMITS = {FRACTION: Limits(float, 0.5, 0, 1)}

CUT, KEEP, REMOVE = "Keep overlapping region", "Keep", "Remove"
BY_OVERLAP = "Remove depending on overlap"


def compile(settings: Settings) -> MaskObjects:
    by = settings.choice("Mask using a region defined by other objects or by binary image?", ("Objects", "Image"))
    method = settings.choice("Handling of objects that are partially masked", (CUT, KEEP, REMOVE, BY_OVERLAP))
    return MaskObjects(
        source=settings.text("Select objects to be masked"),
        name=settings.text("Name the masked objects"),
        by_objects=settings.text("Select the masking object") if by == "Objects" else "",
        by_image=settings.text("Select the masking image") if by == "Image" else "",
        is_inverted=settings.yes("Invert the mask?"),
        method=method,
        fraction=settings.number_of(FRACTION, in_force=method == BY_OVERLAP),
        is_renumbered=settings.choice("Numbering of resulting objects", ("Renumber", "Retain")) == "Renumber",
    )


@dataclass(frozen=True)
class MaskObjects:
    """`by_objects` or `by_image` names where objects stay; the other one is empty."""

    source: str
    name: str
    by_objects: str
    by_image: str
    is_inverted: bool
    method: str
    fraction: float
    is_renumbered: bool

    images_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.by_image,)))

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.source, self.by_objects)))

    @property
    def objects_out(self) -> tuple[str, ...]:
        return (self.name,)

    def features(self) -> dict[str, list[str]]:
        related = objects.relation_features(self.source, self.name)
        return {
            self.source: related[self.source],
            self.name: objects.location_features(with_z=False) + related[self.name],
            "Image": [f"Count_{self.name}"],
        }

    def run(self, site: Workspace) -> None:
        source = site.objects[self.source]
        remaining = np.where(self._mask(site), source.segmented, np.int32(0))
        inside = labels.areas(remaining, source.count)
        if self.method != CUT:
            remaining = labels.look_up(source.segmented, np.arange(source.count + 1) * self._kept(inside, source))
        numbers = np.unique(remaining[remaining != 0])
        children = np.isin(np.arange(1, source.count + 1), numbers)
        parents = np.arange(1, source.count + 1)
        if self.is_renumbered:
            remaining = labels.look_up(remaining, objects.numbered(numbers, source.count))
            parents = numbers
        masked = Objects(remaining, source.unedited, source.unedited)
        objects.record(site, self.name, masked, with_z=False)
        site.add_image(f"Count_{self.name}", len(parents))
        site.add(self.name, f"Parent_{self.source}", parents[: masked.count])
        site.add(self.source, f"Children_{self.name}_Count", children)

    def _mask(self, site: Workspace) -> np.ndarray:
        site.check_shapes(self.source, self.by_objects or self.by_image)
        if self.by_objects:
            mask = site.objects[self.by_objects].segmented > 0
        elif self.by_image in site.logical:
            mask = site.images[self.by_image] > 0
        else:
            raise ValueError(f"the image {self.by_image} has grey levels, and objects are masked by black and white")
        return ~mask if self.is_inverted else mask

    def _kept(self, inside: np.ndarray, source: Objects) -> np.ndarray:
        """bool (count + 1), from the pixels of each label that lie inside, the background's first."""
        whole = labels.areas(source.segmented, source.count)
        if self.method == KEEP:
            kept = inside > 0
        else:
            kept = inside == whole if self.method == REMOVE else inside / whole >= self.fraction
        kept[0] = False
        return kept
