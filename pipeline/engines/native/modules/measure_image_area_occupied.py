"""MeasureImageAreaOccupied: how much of the image objects cover, or the white of an image of truth values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engines.native.modules.measure_object_size_shape import perimeters
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({4, 5})

IMAGES, OBJECTS = "Binary Image", "Objects"


def compile(settings: Settings) -> MeasureImageAreaOccupied:
    if settings.revision == 4:  # one choice, with a set and an image, for each that is measured
        choice = "Measure the area occupied in a binary image, or in objects?"
        groups = settings.groups(choice)
        kinds = [group.choice(choice, (IMAGES, OBJECTS)) for group in groups]
        images = [group.text("Select a binary image to measure") for group in groups]
        objects = [group.text("Select objects to measure") for group in groups]
        return MeasureImageAreaOccupied(
            images_in=chosen(images, kinds, IMAGES), objects_in=chosen(objects, kinds, OBJECTS)
        )
    kind = settings.choice("Measure the area occupied by", (IMAGES, OBJECTS, "Both"))
    return MeasureImageAreaOccupied(
        images_in=() if kind == OBJECTS else tuple(settings.names("Select binary images to measure")),
        objects_in=() if kind == IMAGES else tuple(settings.names("Select object sets to measure")),
    )


def chosen(names: list[str], kinds: list[str], kind: str) -> tuple[str, ...]:
    named = [name for name, own in zip(names, kinds, strict=True) if own == kind and name != "None"]
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class MeasureImageAreaOccupied:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]

    images_out = objects_out = ()
    honours_masks = True

    def features(self) -> dict[str, list[str]]:
        return {
            "Image": [
                f"AreaOccupied_{feature}_{name}"
                for name in self.images_in + self.objects_in
                for feature in ("AreaOccupied", "Perimeter", "TotalArea")
            ]
        }

    def run(self, site: Workspace) -> None:
        for name in self.images_in:
            if name not in site.logical:
                raise ValueError(f"the image {name} has grey levels, and areas are those of a black and white image")
            self._add(site, name, Objects.of((site.images[name] > 0).astype(np.int32)), site.images[name].size)
        for name in self.objects_in:
            objects = site.objects[name]
            total = objects.segmented.size if objects.mask is None else int(np.count_nonzero(objects.mask))
            if objects.mask is not None:  # CellProfiler cuts the objects themselves, for all modules after it
                objects = site.objects[name] = objects.shown(objects.mask)
            self._add(site, name, objects, total)

    @staticmethod
    def _add(site: Workspace, name: str, objects: Objects, total: int) -> None:
        lengths = perimeters(objects.segmented, objects.pixels, objects.starts)[0]
        # Those of objects are rounded one by one; a white area is one, and its perimeter is not.
        perimeter = np.round(lengths).sum() if name in site.objects else lengths.sum()
        site.add_image(f"AreaOccupied_AreaOccupied_{name}", objects.pixels.size)
        site.add_image(f"AreaOccupied_Perimeter_{name}", perimeter)
        site.add_image(f"AreaOccupied_TotalArea_{name}", total)
