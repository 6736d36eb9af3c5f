"""MeasureObjectNeighbors: how many objects are near, and how near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.modules.identify_primary_objects import nearest_first
from pipeline.engines.native.numpy1 import libm
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({3})

FEATURES = (
    "NumberOfNeighbors",
    "PercentTouching",
    "FirstClosestObjectNumber",
    "FirstClosestDistance",
    "SecondClosestObjectNumber",
    "SecondClosestDistance",
    "AngleBetweenNeighbors",
)
ADJACENT, EXPAND, WITHIN = "Adjacent", "Expand until adjacent", "Within a specified distance"


def compile(settings: Settings) -> MeasureObjectNeighbors:
    images = settings.texts("Name the output image")
    for what, image in zip(("numbers of neighbors", "percent of touching pixels"), images, strict=True):
        if settings.yes(f"Retain the image of objects colored by {what}?"):
            settings.drawn.add(image)
    method = settings.choice("Method to determine neighbors", (ADJACENT, EXPAND, WITHIN))
    return MeasureObjectNeighbors(
        object_set=settings.text("Select objects to measure"),
        neighbor_set=settings.text("Select neighboring objects to measure"),
        method=method,
        distance=settings.integer("Neighbor distance", in_force=method == WITHIN),
        with_discarded=settings.yes("Consider objects discarded for touching image border?"),
    )


@dataclass(frozen=True)
class MeasureObjectNeighbors:
    object_set: str
    neighbor_set: str
    method: str
    distance: int
    with_discarded: bool

    images_in = images_out = objects_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        return (self.object_set,) if self.is_same_set else (self.object_set, self.neighbor_set)

    @property
    def is_same_set(self) -> bool:
        return self.object_set == self.neighbor_set

    def features(self) -> dict[str, list[str]]:
        scale = {ADJACENT: "Adjacent", EXPAND: "Expanded", WITHIN: str(self.distance)}[self.method]
        where = scale if self.is_same_set else f"{self.neighbor_set}_{scale}"
        return {self.object_set: [f"Neighbors_{feature}_{where}" for feature in FEATURES]}

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.object_set, self.neighbor_set)
        values = self.measure(site.objects[self.object_set], site.objects[self.neighbor_set])
        for name, column in zip(self.features()[self.object_set], values, strict=True):
            site.add(self.object_set, name, column)

    def measure(self, objects: Objects, neighbors: Objects) -> np.ndarray:
        """float64 (features, objects).

        CellProfiler looks at the label images from which only small objects were removed, so that objects
        dropped at the image's border still are neighbours, and translates their numbers at the end.
        """
        own, others = objects.small_removed, neighbors.small_removed
        if not self.with_discarded:
            others = np.where(neighbors.segmented > 0, others, 0).astype(np.int32)
            own = others if self.is_same_set else own
        result = np.zeros((len(FEATURES), objects.count))
        n_own, n_others = int(own.max(initial=0)), int(others.max(initial=0))
        if n_others <= (1 if self.is_same_set else 0) or n_own == 0:
            return result
        kept = kept_numbers(own, objects)
        has_pixels = objects.areas > 0
        kept_others = kept if self.is_same_set else kept_numbers(others, neighbors)
        own_centres, other_centres = labels.centres(own, n_own), labels.centres(others, n_others)
        nearest = nearest_three(own_centres, other_centres)[kept]
        first = 1 if self.is_same_set else 0
        to_first = other_centres[nearest[:, first]] - own_centres[kept]
        to_second = np.zeros_like(to_first)
        if n_others > first + 1:
            to_second = other_centres[nearest[:, first + 1]] - own_centres[kept]
            result[6] = angle_between(to_first, to_second)
        touching = self._touching(own, others)
        result[0], result[1] = (np.where(has_pixels, column[kept], 0) for column in touching)
        result[3], result[5] = (np.sqrt((way**2).sum(axis=1)) for way in (to_first, to_second))
        if objects.count > first:
            found = nearest_kept(
                own_centres[kept], has_pixels, other_centres[kept_others], neighbors.areas > 0, first + 2
            )
            result[2] = np.where(has_pixels, found[:, first] + 1, 0)
            if (objects.count if self.is_same_set else neighbors.count) > first + 1:
                result[4] = np.where(has_pixels, found[:, first + 1] + 1, 0)
        return result

    def _touching(self, own: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each object of `own`: its neighbours, and the percentage of its outline near to any."""
        distance = 1
        if self.method == WITHIN:
            distance = min(self.distance, sum(own.shape))  # there is nothing beyond
        elif self.method == EXPAND:
            rows, columns = ndimage.distance_transform_edt(own == 0, return_distances=False, return_indices=True)
            own = own[rows, columns]
            others = own if self.is_same_set else others
        outline = labels.outline(own)
        near = with_centre(distance) if not self.is_same_set else nearest_first(distance)
        wider = with_centre(distance + 0.5) if not self.is_same_set else nearest_first(distance + 0.5)
        # What is near an object is near its outline; but an object of another set may lie inside it.
        walked = outline if self.is_same_set else own > 0
        number, touched, length = count_touching(
            own, others, walked, outline, near, wider, int(own.max()), int(others.max()), self.is_same_set
        )
        return number, touched * 100 / length


def with_centre(radius: float) -> np.ndarray:
    return np.concatenate([np.zeros((1, 2), np.int64), nearest_first(radius)])


def kept_numbers(small_removed: np.ndarray, objects: Objects) -> np.ndarray:
    """Index (number - 1) of each object in the small-removed label image."""
    highest = int(small_removed.max(initial=0))
    return labels.overlap(small_removed, highest, objects.pixels, objects.starts) - 1


@kernel
def nearest_three(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """int64 (own, 3): the first three of `np.argpartition(distances, (0, 1, 2))`, a selection sort."""
    result = np.zeros((own.shape[0], 3), np.int64)
    n = others.shape[0]
    distance, order = np.empty(n), np.empty(n, np.int64)
    for k in range(own.shape[0]):
        for j in range(n):
            dy, dx = own[k, 0] - others[j, 0], own[k, 1] - others[j, 1]
            squared = dy * dy + dx * dx
            distance[j] = np.inf if np.isnan(squared) else np.sqrt(squared)
            order[j] = j
        for place in range(min(3, n)):
            least = place
            for j in range(place + 1, n):
                if distance[order[j]] < distance[order[least]]:
                    least = j
            order[place], order[least] = order[least], order[place]
            result[k, place] = order[place]
    return result


@kernel
def nearest_kept(own, own_has_pixels, others, others_have_pixels, wanted) -> np.ndarray:
    """int64 (own, wanted): indices of the nearest of `others` by distance, the lower index of equals."""
    result = np.zeros((own.shape[0], wanted), np.int64)
    best = np.empty(wanted)
    for k in range(own.shape[0]):
        best[:] = np.inf
        n_found = 0
        for j in range(others.shape[0]):
            distance = np.inf
            if own_has_pixels[k] and others_have_pixels[j]:
                dy, dx = own[k, 0] - others[j, 0], own[k, 1] - others[j, 1]
                distance = np.sqrt(dy * dy + dx * dx)
            place = n_found
            while place > 0 and distance < best[place - 1]:
                place -= 1
            if place == wanted:
                continue
            n_found = min(n_found + 1, wanted)
            for at in range(n_found - 1, place, -1):
                best[at], result[k, at] = best[at - 1], result[k, at - 1]
            best[place], result[k, place] = distance, j
    return result


def angle_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees; NaN where rounding takes the cosine beyond 1, as in CellProfiler."""
    v1, v2 = first[:, ::-1].T, second[:, ::-1].T
    cosine = np.sum(v1 * v2, 0) / np.sqrt(np.sum(v1**2, 0) * np.sum(v2**2, 0))
    return libm.acos(cosine) * 180.0 / np.pi


@kernel
def count_touching(own, others, walked, outline, near, wider, n_own, n_others, is_same_set):
    """For each object: how many others lie within `near`, outline pixels with one within `wider`, outline pixels."""
    height, width = own.shape
    number, touched, length = np.zeros(n_own, np.int64), np.zeros(n_own, np.int64), np.zeros(n_own, np.int64)
    is_neighbor = np.zeros((n_own, n_others), np.bool_)
    for y in range(height):
        for x in range(width):
            if not walked[y, x]:
                continue
            label = own[y, x]
            for k in range(near.shape[0]):
                yy, xx = y + near[k, 0], x + near[k, 1]
                if 0 <= yy < height and 0 <= xx < width:
                    other = others[yy, xx]
                    if other > 0 and not (is_same_set and other == label) and not is_neighbor[label - 1, other - 1]:
                        is_neighbor[label - 1, other - 1] = True
                        number[label - 1] += 1
            if not outline[y, x]:
                continue
            length[label - 1] += 1
            for k in range(wider.shape[0]):
                yy, xx = y + wider[k, 0], x + wider[k, 1]
                if 0 <= yy < height and 0 <= xx < width:
                    other = others[yy, xx]
                    if other > 0 and not (is_same_set and other == label):
                        touched[label - 1] += 1
                        break
    return number, touched, length
