"""MeasureObjectSkeleton: trunks, branches, ends and length of the lines that come out of seed objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from centrosome import cpmorphology
from centrosome.propagate import propagate

from pipeline.engines.limits import Limits
from pipeline.engines.native.kernels.skeleton import EIGHT, neighbourhoods, skeletonize
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({2, 3})
LIMITS = {"Maximum hole size": Limits(int, 10, 1)}
FEATURES = ("NumberTrunks", "NumberNonTrunkBranches", "NumberBranchEnds", "TotalObjectSkeletonLength")

#: extra branches of a pixel by how many lines meet there
EXTRA_BRANCHES = np.array([0, 0, 0, 1, 2])
#: how far from the dilated seed a trunk may begin
TRUNK_DISTANCE = 1.5


def compile(settings: Settings) -> MeasureObjectSkeleton:
    if settings.yes("Retain the branchpoint image?"):
        settings.refuse('"Retain the branchpoint image?: Yes" is not supported')
    fills = settings.yes("Fill small holes?")
    return MeasureObjectSkeleton(
        seeds=settings.text("Select the seed objects"),
        image=settings.text("Select the skeletonized image"),
        largest_hole=settings.integer("Maximum hole size") if fills else 0,
    )


@dataclass(frozen=True)
class MeasureObjectSkeleton:
    """`largest_hole`: pixels; 0: holes are not filled."""

    seeds: str
    image: str
    largest_hole: int

    images_out = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.image,)

    @property
    def objects_in(self) -> tuple[str, ...]:
        return (self.seeds,)

    def features(self) -> dict[str, list[str]]:
        return {self.seeds: [f"ObjectSkeleton_{feature}_{self.image}" for feature in FEATURES]}

    def run(self, site: Workspace) -> None:
        if self.image not in site.logical:
            raise ValueError(
                f"{self.image} is no image of truth values. Give one that Threshold or MorphologicalSkeleton has made"
            )
        site.check_shapes(self.image, self.seeds)
        skeleton = site.images[self.image] != 0
        if self.image in site.masks:
            skeleton &= site.masks[self.image]
        seeds = site.objects[self.seeds]
        measured = measure(skeleton, seeds.segmented, seeds.count, self.largest_hole)
        for feature, values in zip(self.features()[self.seeds], measured, strict=True):
            site.add(self.seeds, feature, values)


def measure(skeleton: np.ndarray, seeds: np.ndarray, count: int, largest_hole: int) -> list[np.ndarray]:
    """Trunks, branches, ends and length of each seed, float64 (count) each.

    The seeds' outlines are joined to the skeleton and the whole is thinned again, so that trunks begin where it leaves
    an outline.
    """
    dilated = scipy.ndimage.maximum_filter(seeds, 3)
    inside = scipy.ndimage.minimum_filter(dilated, 3) > 0
    lines = (skeleton | (dilated > 0)) & ~inside
    if largest_hole:
        lines = cpmorphology.fill_labeled_holes(
            lines, ~inside, lambda area, is_object: not is_object and area <= largest_hole
        )
    lines = skeletonize(lines)
    outside = lines & (dilated == 0)
    owners, distance = propagate(np.zeros(seeds.shape), dilated, lines, 1)
    lines[owners == 0] = False

    around = neighbourhoods(lines)
    trunks = EXTRA_BRANCHES[np.where(lines, cpmorphology.branchings_table[around], 0)]
    trunks[~scipy.ndimage.binary_dilation(outside, EIGHT)] = 0
    ends = cpmorphology.endpoints_table[around]
    near = np.where(distance > TRUNK_DISTANCE, 0, owners)
    far = np.where(near > 0, 0, owners)

    def total(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels.ravel(), values.ravel(), minlength=count + 1)[1 : count + 1]

    length = cpmorphology.skeleton_length(owners * outside, np.arange(1, count + 1))
    return [total(trunks, near), total(branch_points(lines, around), far), total(ends, far), length]


def branch_points(lines: np.ndarray, around: np.ndarray) -> np.ndarray:
    """bool (y, x): where lines meet.

    Where four branches meet in a square of two by two pixels, no pixel is a branch point by the table; CellProfiler
    then takes two of them, if also the pixel in the second row and column of the image is white (a slip in its code).
    """
    points = cpmorphology.branchpoints_table[around]
    square = lines[:-1, :-1] & lines[1:, :-1] & lines[:-1, 1:] & (min(lines.shape) > 1 and lines[1, 1])
    points[:-1, :-1][square] = True
    points[1:, 1:][square] = True
    return points
