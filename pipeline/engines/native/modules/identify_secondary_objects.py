"""IdentifySecondaryObjects: objects grown from others, e.g. cells around nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
REVISIONS = frozenset({10})

METHODS = ("Watershed - Image", "Watershed - Gradient", "Propagation", "Distance - N", "Distance - B")


def compile(settings: Settings) -> IdentifySecondaryObjects:
    drop_at_border = settings.yes("Discard secondary objects touching the border of the image?")
    drop_seeds = drop_at_border and settings.yes("Discard the associated primary objects?")
    method = settings.choice("Select the method to identify the secondary objects", METHODS)
    return IdentifySecondaryObjects(
        seeds=settings.text("Select the input objects"),
        name=settings.text("Name the objects to be identified"),
        image=settings.text("Select the input image"),
        method=method,
        reach=settings.number_of(
            "Number of pixels by which to expand the primary objects", in_force=method.startswith("Distance")
        ),
        regularization=settings.number_of("Regularization factor", in_force=method == "Propagation"),
        fill_holes=settings.yes("Fill holes in identified objects?"),
        threshold=None if method == "Distance - N" else Threshold.read(settings),
        drop_at_border=drop_at_border,
        kept_seeds=settings.text("Name the new primary objects") if drop_seeds else "",
    )


@dataclass(frozen=True)
class IdentifySecondaryObjects:
    seeds: str
    name: str
    image: str
    method: str
    reach: float
    regularization: float
    fill_holes: bool
    threshold: Threshold | None
    drop_at_border: bool
    kept_seeds: str  # the name of the seeds whose objects were not dropped, or ""

    images_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def objects_in(self) -> tuple[str, ...]:
        return (self.seeds,)

    @property
    def objects_out(self) -> tuple[str, ...]:
        return (self.name, self.kept_seeds) if self.kept_seeds else (self.name,)

    def features(self) -> dict[str, list[str]]:
        related = objects.relation_features(self.seeds, self.name)
        found = {
            self.seeds: related[self.seeds],
            self.name: objects.location_features(with_z=True) + related[self.name],
            "Image": [f"Count_{self.name}", *(self.threshold.features(self.name) if self.threshold else [])],
        }
        if self.kept_seeds:
            kept = objects.relation_features(self.seeds, self.kept_seeds)
            grown = objects.relation_features(self.kept_seeds, self.name)
            found[self.seeds] += kept[self.seeds]
            found[self.kept_seeds] = (
                objects.location_features(with_z=True) + kept[self.kept_seeds] + grown[self.kept_seeds]
            )
            found[self.name] += grown[self.name]
            found["Image"].append(f"Count_{self.kept_seeds}")
        return found

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.image, self.seeds)
        image, primary, mask = site.images[self.image], site.objects[self.seeds], site.masks.get(self.image)
        foreground = self.threshold.foreground(site, image, self.name, mask) if self.threshold else None
        grown = self.grown(image, competitors(primary), foreground, mask)
        if self.fill_holes:
            grown = labels.fill_holes(grown, only_background=True)
        segmented, kept = labels.look_up(grown, accepted(grown, primary.segmented)), primary.segmented
        if self.drop_at_border:
            segmented, kept = without_border(segmented, kept, mask)
        objects.record(site, self.name, Objects(segmented, grown, grown, mask), with_z=True)
        objects.relate(site, self.seeds, self.name)
        site.relations.add((self.seeds, self.name))
        if self.kept_seeds:
            # What was discarded before, CellProfiler keeps in mind with the old numbers.
            seeds = Objects(kept, primary.unedited, primary.small_removed, primary.mask)
            objects.record(site, self.kept_seeds, seeds, with_z=True)
            objects.relate(site, self.seeds, self.kept_seeds)
            objects.relate(site, self.kept_seeds, self.name)

    def grown(
        self, image: np.ndarray, seeds: np.ndarray, foreground: np.ndarray | None, mask: np.ndarray | None = None
    ) -> np.ndarray:
        """int32 (y, x): the seeds and what each of them reaches."""
        if self.method == "Distance - N":
            distance, (rows, columns) = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
            return np.where(distance <= self.reach, seeds[rows, columns], 0).astype(np.int32)
        assert foreground is not None
        if self.method.startswith("Watershed"):
            relief = np.float32(1) - image if self.method == "Watershed - Image" else np.abs(ndimage.sobel(image))
            place = foreground | (seeds > 0)
            return watershed(relief, seeds, place if mask is None else place & mask)
        if self.method == "Propagation":
            return propagate(image, seeds, foreground, self.regularization)[0]
        grown, distance = propagate(image, seeds, foreground, 1.0)
        return np.where(seeds > 0, seeds, np.where(distance > self.reach, 0, grown)).astype(np.int32)


def competitors(primary: Objects) -> np.ndarray:
    """Seeds by their unedited number: accepted objects, and those at the border, which compete and are dropped."""
    unedited = primary.unedited
    is_at_border = np.zeros(int(unedited.max(initial=0)) + 1, bool)
    is_at_border[labels.at_border(unedited)] = True
    return np.where((primary.segmented > 0) | is_at_border[unedited], unedited, 0).astype(np.int32)


@kernel
def accepted(grown: np.ndarray, segmented: np.ndarray) -> np.ndarray:
    """Table from a grown object's number to the highest primary object within it, 0 where there is none."""
    highest = 0
    for label in grown.ravel():
        highest = max(highest, label)
    table = np.zeros(highest + 1, np.int64)
    for y in range(grown.shape[0]):
        for x in range(grown.shape[1]):
            table[grown[y, x]] = max(table[grown[y, x]], segmented[y, x])
    table[0] = 0
    return table


def without_border(
    segmented: np.ndarray, seeds: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Objects of which none touches the border (that of the mask, where there is one), and the seeds on which they lie,
    both with the seeds' new numbers.
    """
    table = np.arange(int(max(segmented.max(initial=0), seeds.max(initial=0))) + 1)
    table[labels.at_border(segmented) if mask is None else np.unique(segmented[labels.mask_border(mask)])] = 0
    segmented = labels.look_up(segmented, table)
    is_kept = accepted(seeds, segmented) > 0
    numbers = np.zeros(table.size, np.int64)
    numbers[: is_kept.size][is_kept] = np.arange(1, np.count_nonzero(is_kept) + 1)
    return labels.look_up(segmented, numbers), labels.look_up(seeds, numbers)
