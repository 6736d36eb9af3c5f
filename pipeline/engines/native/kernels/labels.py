"""Label images: outlines, holes, distances, parents."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.engines.native.compiled import kernel


@kernel
def look_up(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """`table[labels]` as int32."""
    result = np.empty(labels.shape, np.int32)
    source, to = labels.ravel(), result.ravel()
    for k in range(source.size):
        to[k] = table[source[k]]
    return result


@kernel
def areas(labels: np.ndarray, count: int) -> np.ndarray:
    """int64 (count + 1): pixels of each label, the background's first."""
    pixels = np.zeros(count + 1, np.int64)
    for label in labels.ravel():
        pixels[label] += 1
    return pixels


def at_border(labels: np.ndarray) -> np.ndarray:
    """The labels on the image's border, 0 included if it is there."""
    return np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))


def mask_border(mask: np.ndarray) -> np.ndarray:
    """bool (y, x): pixels of the mask with a 4-neighbour outside it, or at the image's border."""
    return mask & ~ndimage.binary_erosion(mask)


@kernel
def centres(segmented: np.ndarray, count: int) -> np.ndarray:
    """float64 (count, 2): mean row and column, NaN for a number without pixels."""
    sums, pixels = np.zeros((count, 2), np.int64), np.zeros(count, np.int64)
    for y in range(segmented.shape[0]):
        for x in range(segmented.shape[1]):
            label = segmented[y, x]
            if label > 0:
                sums[label - 1, 0] += y
                sums[label - 1, 1] += x
                pixels[label - 1] += 1
    result = np.full((count, 2), np.nan)
    for k in range(count):
        if pixels[k] > 0:
            for axis in range(2):  # a division of arrays takes two seconds to compile
                result[k, axis] = sums[k, axis] / pixels[k]
    return result


@kernel
def outline(labels: np.ndarray) -> np.ndarray:
    """bool (y, x): labelled pixels with another label among their 8 neighbours, or at the image's border."""
    height, width = labels.shape
    result = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                result[y, x] = True
                continue
            result[y, x] = (
                labels[y - 1, x - 1] != label
                or labels[y - 1, x] != label
                or labels[y - 1, x + 1] != label
                or labels[y, x - 1] != label
                or labels[y, x + 1] != label
                or labels[y + 1, x - 1] != label
                or labels[y + 1, x] != label
                or labels[y + 1, x + 1] != label
            )
    return result


@kernel
def overlap(parents: np.ndarray, n_parents: int, pixels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each child the parent with which it shares most pixels, the lower one of equals: int64 (children).

    0 where a child lies outside all parents. `parents`: a label image. `pixels`, `starts`: as of `Objects`.
    """
    flat = parents.ravel()
    shared = np.zeros(n_parents + 1, np.int64)
    best = np.zeros(starts.size - 1, np.int64)
    for k in range(best.size):
        for at in range(starts[k], starts[k + 1]):
            shared[flat[pixels[at]]] += 1
        for at in range(starts[k], starts[k + 1]):
            parent = flat[pixels[at]]
            if parent > 0 and (
                best[k] == 0
                or shared[parent] > shared[best[k]]
                or (shared[parent] == shared[best[k]] and parent < best[k])
            ):
                best[k] = parent
        for at in range(starts[k], starts[k + 1]):
            shared[flat[pixels[at]]] = 0
    return best


def children_of(parents_of_children: np.ndarray, n_parents: int) -> np.ndarray:
    """int64 (n_parents): how many children each parent has."""
    return np.bincount(parents_of_children, minlength=n_parents + 1)[1:]


def fill_holes(labels: np.ndarray, *, only_background: bool = False) -> np.ndarray:
    """Fill what lies inside an object (centrosome.cpmorphology.fill_labeled_holes): int32 (y, x).

    Objects and 4-connected patches of background are regions of one map. A region is no hole if it is at the
    border, touches background that is no hole, or touches two objects that are no holes. A hole takes the label
    of the one object it touches, and what lies inside it takes the same. With `only_background` objects keep
    their pixels.
    """
    background, n_background = ndimage.label(labels == 0)
    n_objects = int(labels.max(initial=0))
    regions = np.where(labels == 0, background + (n_objects + 1), labels).astype(np.int32)
    n_regions = n_objects + n_background + 2
    first, second = neighbouring(regions)
    pairs = np.unique(np.concatenate([first * n_regions + second, second * n_regions + first]))
    starts = np.searchsorted(pairs, np.arange(n_regions + 1) * n_regions)
    at_edge = at_border(regions)
    table = fill_table(pairs % n_regions, starts, at_edge[at_edge > 0], n_objects)
    filled = look_up(regions, table)
    return np.where(labels == 0, filled, labels).astype(np.int32) if only_background else filled


@kernel
def neighbouring(regions: np.ndarray) -> np.ndarray:
    """int64 (2, steps): the regions on either side of steps between two 4-neighbours; repeats left out where cheap."""
    height, width = regions.shape
    pairs = np.empty((2, 2 * height * width), np.int64)
    n_pairs = 0
    for y in range(height):
        for x in range(width):
            here = regions[y, x]
            if x + 1 < width and regions[y, x + 1] != here:
                pairs[0, n_pairs], pairs[1, n_pairs] = here, regions[y, x + 1]
                n_pairs += 1
            if y + 1 < height and regions[y + 1, x] != here:
                if x > 0 and regions[y, x - 1] == here and regions[y + 1, x - 1] == regions[y + 1, x]:
                    continue
                pairs[0, n_pairs], pairs[1, n_pairs] = here, regions[y + 1, x]
                n_pairs += 1
    return pairs[:, :n_pairs]


@kernel
def fill_table(neighbours: np.ndarray, starts: np.ndarray, at_edge: np.ndarray, n_objects: int) -> np.ndarray:
    """int32 (regions): what each region becomes. Regions above `n_objects` are background."""
    n_regions = starts.size - 1
    is_kept = np.zeros(n_regions, np.bool_)
    touched = np.zeros(n_regions, np.int32)
    to_do = np.empty(n_regions + 1, np.int64)
    n_to_do = at_edge.size
    for k in range(at_edge.size):
        to_do[k] = at_edge[k]
        is_kept[at_edge[k]] = True
    while n_to_do > 0:
        n_to_do -= 1
        region = to_do[n_to_do]
        for neighbour in neighbours[starts[region] : starts[region + 1]]:
            if is_kept[neighbour]:
                continue
            if region <= n_objects:
                if touched[neighbour] == 0:
                    touched[neighbour] = region
                    continue
                if touched[neighbour] == region:
                    continue
            elif neighbour > n_objects:
                continue
            is_kept[neighbour] = True
            to_do[n_to_do] = neighbour
            n_to_do += 1
    # What lies inside a hole becomes what the hole becomes.
    for region in range(n_regions):
        if not is_kept[region] and touched[region] != 0:
            to_do[n_to_do] = region
            n_to_do += 1
    while n_to_do > 0:
        n_to_do -= 1
        region = to_do[n_to_do]
        for neighbour in neighbours[starts[region] : starts[region + 1]]:
            if touched[neighbour] == 0:
                touched[neighbour] = touched[region]
                to_do[n_to_do] = neighbour
                n_to_do += 1
    table = np.zeros(n_regions, np.int32)
    for region in range(n_regions):
        if not is_kept[region]:
            table[region] = touched[region]
        elif region <= n_objects:
            table[region] = region
    return table


@kernel
def squared_distance(labels: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of every labelled pixel to the nearest one of another label: int32 (y, x), exact.

    A mask is one label. Beyond the image there is nothing, and what ends a run of pixels in a row is nearer than
    anything behind it, so that runs are solved one by one (Meijster, Roerdink & Hesselink 2000,
    doi:10.1007/0-306-47025-X_36). Where one label fills the image, its outside is the pixel above the first one,
    as `scipy.ndimage.distance_transform_edt` has it.
    """
    height, width = labels.shape
    far = np.int32(height + width)
    result = np.zeros((height, width), np.int32)
    for x in range(width):
        if labels[0, x] != 0:
            result[0, x] = far
    for y in range(1, height):
        for x in range(width):
            if labels[y, x] != 0:
                result[y, x] = min(result[y - 1, x] + 1, far) if labels[y, x] == labels[y - 1, x] else 1
    for y in range(height - 2, -1, -1):
        for x in range(width):
            if labels[y, x] != 0:
                below = result[y + 1, x] + 1 if labels[y, x] == labels[y + 1, x] else 1
                result[y, x] = min(result[y, x], below)
    if is_filled(labels):
        for y in range(height):
            for x in range(width):
                result[y, x] = (y + 1) * (y + 1) + x * x
        return result
    line = np.empty(width + 2, np.int64)
    vertex, begin = np.empty(width + 2, np.int64), np.empty(width + 3, np.int64)
    for y in range(height):
        x = 0
        while x < width:
            label = labels[y, x]
            if label == 0:
                x += 1
                continue
            start = x
            while x < width and labels[y, x] == label:
                x += 1
            # The run, with the pixels that end it where the image goes on.
            first, end = max(start - 1, 0), min(x + 1, width)
            line[first] = line[end - 1] = 0
            for at in range(start, x):
                line[at] = np.int64(result[y, at]) * result[y, at]
            lower_envelope(line, first, end, vertex, begin)
            piece = 0
            for at in range(start, x):
                while begin[piece + 1] <= at:
                    piece += 1
                v = vertex[piece]
                result[y, at] = (at - v) * (at - v) + line[v]
    return result


@kernel
def is_filled(labels: np.ndarray) -> bool:
    """Whether one label fills the image."""
    n_others = 0
    for label in labels.ravel():
        n_others += label == 0 or label != labels[0, 0]
    return n_others == 0


@kernel
def lower_envelope(line: np.ndarray, first: int, end: int, vertex: np.ndarray, begin: np.ndarray) -> None:
    """The parabolas `line[v] + (x - v)²` that are lowest from `begin[k]` on; the last `begin` is `end`."""
    top = 0
    vertex[0], begin[0] = first, first
    for x in range(first + 1, end):
        while top >= 0:
            at, v = begin[top], vertex[top]
            if (at - v) * (at - v) + line[v] <= (at - x) * (at - x) + line[x]:
                break
            top -= 1
        if top < 0:
            top = 0
            vertex[0], begin[0] = x, first
        else:
            v = vertex[top]
            at = 1 + int(np.floor((x * x - v * v + line[x] - line[v]) / (2.0 * (x - v))))
            if at < end:
                top += 1
                vertex[top], begin[top] = x, at
    begin[top + 1] = end
