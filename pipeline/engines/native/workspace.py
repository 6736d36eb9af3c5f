"""One site in the making: its images, its object sets, and what has been measured so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from centrosome import cpmorphology

from pipeline.engines.native.compiled import kernel, prefetch
from pipeline.engines.native.kernels import labels
from pipeline.engines.native.kernels.circles import enclosing_circles

#: labelled pixels that are looked at together, about: their values in eight images stay in the innermost caches
BLOCK = 16384
#: runs of pixels that are fetched before their turn
AHEAD = 6
#: float32 in a line of the cache
LINE = 16
#: families whose rows move up where a number has no pixel
MOVED_UP = ("AreaShape_", "Texture_", "Location_Center_")


@dataclass(frozen=True)
class Block:
    """Some objects of a set, one after another.

    `objects`: which (labels less one). `pixels`: which of `Objects.pixels` are theirs; `starts`: as `Objects.starts`,
    among these alone. `values`: float32 (images, pixels), overwritten by the next block's.
    """

    objects: slice
    pixels: slice
    starts: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Objects:
    """One object set, with the three label images CellProfiler keeps of it.

    Label images are int32 (y, x), 0 = background. `unedited` is before anything was discarded, `small_removed`
    before objects at the border were; modules that look at surroundings read those. `mask`: that of the image in which
    the objects were found, bool (y, x), where it has one. `least`: how many objects there are at least, also where the
    last of them have lost all pixels.
    """

    segmented: np.ndarray
    unedited: np.ndarray
    small_removed: np.ndarray
    mask: np.ndarray | None = None
    least: int = 0

    @classmethod
    def of(cls, segmented: np.ndarray, unedited: np.ndarray | None = None, small_removed: np.ndarray | None = None):
        """Where a label image is not given it is the one before it, as in CellProfiler."""
        unedited = segmented if unedited is None else unedited
        return cls(segmented, unedited, unedited if small_removed is None else small_removed)

    def shown(self, mask: np.ndarray) -> Objects:
        """The same objects, as many, without the pixels that a mask hides."""
        segmented = np.where(mask, self.segmented, np.int32(0))
        unedited = segmented if self.unedited is self.segmented else self.unedited
        small_removed = segmented if self.small_removed is self.segmented else self.small_removed
        return Objects(segmented, unedited, small_removed, self.mask, self.count)

    @cached_property
    def count(self) -> int:
        """The highest label. A label below it may have no pixel (a cytoplasm that its nucleus covers)."""
        return max(self.least, int(self.segmented.max(initial=0)))

    @cached_property
    def _by_label(self) -> tuple[np.ndarray, np.ndarray]:
        return pixels_by_label(self.segmented.ravel(), self.count)

    @property
    def pixels(self) -> np.ndarray:
        """Flat indices (int64) of all labelled pixels: object after object, in raster order within each."""
        return self._by_label[0]

    @property
    def starts(self) -> np.ndarray:
        """int64 (count + 1): the pixels of object k are `pixels[starts[k - 1]:starts[k]]`."""
        return self._by_label[1]

    @property
    def areas(self) -> np.ndarray:
        """int64 (count): pixels of each object."""
        return np.diff(self.starts)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """int32 (pixels) each: the row and the column of each of `pixels`."""
        return rows_and_columns(self.pixels, self.starts, self.segmented.shape[1])

    @cached_property
    def runs(self) -> np.ndarray:
        """See `runs_of`: the runs of `pixels`."""
        return runs_of(self.pixels)

    def values(self, image: np.ndarray) -> np.ndarray:
        """Float32 (pixels): a float32 image in the order of `pixels`."""
        found = np.empty(self.pixels.size, np.float32)
        gather(image.ravel(), self.runs, found)
        return found

    def blocks(self, images: Sequence[np.ndarray], size: int = BLOCK) -> Iterator[Block]:
        """All objects, with their values in these float32 images.

        Objects come together whose first pixels are in the same stretch of `size` of `pixels`. The last one may reach
        beyond it.
        """
        flat = [image.ravel() for image in images]
        firsts = np.flatnonzero(np.diff(self.starts[:-1] // size, prepend=-1))
        longest = np.diff(self.starts[firsts], append=self.pixels.size).max(initial=0)
        room = np.empty(len(flat) * longest, np.float32)
        for first, end in pairwise([*firsts.tolist(), self.count]):
            starts = self.starts[first : end + 1]
            pixels, n = slice(starts[0], starts[-1]), starts[-1] - starts[0]
            runs, values = runs_of(self.pixels[pixels]), room[: len(flat) * n].reshape(len(flat), n)
            for image, row in zip(flat, values, strict=True):
                gather(image, runs, row)
            yield Block(slice(first, end), pixels, starts - starts[0], values)

    @cached_property
    def boxes(self) -> np.ndarray:
        """int64 (count, 4): first row, first column, end row, end column; zeros where an object has no pixel."""
        return bounding_boxes(self.pixels, self.starts, self.segmented.shape[1])

    @cached_property
    def hulls(self) -> tuple[np.ndarray, np.ndarray]:
        """(label, row, column) of the corners of each object's convex hull, object after object; corners of each."""
        if self.count == 0:
            return np.empty((0, 3), np.int64), np.empty(0, np.int64)
        outline = np.argwhere(labels.outline(self.segmented))
        owners = self.segmented[outline[:, 0], outline[:, 1]]
        points = np.column_stack([outline, owners])
        return cpmorphology.convex_hull_ijv(points, np.arange(1, self.count + 1))

    @cached_property
    def circles(self) -> tuple[np.ndarray, np.ndarray]:
        """See `enclosing_circles`: centres (count, 2) and radii (count) of the smallest circles around the objects."""
        hull, counts = self.hulls
        return enclosing_circles(hull[:, 1:].astype(np.int64), counts.astype(np.int64))

    def moved_up(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Values of objects (objects, ...) where CellProfiler has them if it measures the labels that have pixels and
        writes them one after another: each is one row too early for every missing label before it. The last rows are
        left to `fill`.
        """
        if self.areas.all():
            return values
        moved = np.full_like(values, fill)
        moved[: np.count_nonzero(self.areas)] = values[self.areas > 0]
        return moved

    @cached_property
    def to_edge(self) -> np.ndarray:
        """int32 (y, x): squared distance of each labelled pixel to the nearest of another label, within the image."""
        return labels.squared_distance(self.segmented)


@dataclass
class Workspace:
    """`images`: float32 (y, x) by name. `measurements[set][feature]`: float64 (objects).

    `logical`: the images that are truth values to CellProfiler, whose arithmetic is another (here they are 0 and 1).
    `scales`: the number by which each image was divided to lie between 0 and 1; one that is made has that of the image
    that it is made from (see `derive`), or None. `masks`: bool (y, x), the pixels that count, of the images that have a
    mask. `relations`: the pairs of a parent and a child whose objects CellProfiler knows to belong together.
    """

    images: dict[str, np.ndarray]
    objects: dict[str, Objects] = field(default_factory=dict)
    measurements: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    image_measurements: dict[str, float] = field(default_factory=dict)
    logical: set[str] = field(default_factory=set)
    scales: dict[str, int | None] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    relations: set[tuple[str, str]] = field(default_factory=set)

    def pixels(self, name: str) -> np.ndarray:
        """float32 (n): the pixels of an image that its mask leaves, or all of them."""
        image = self.images[name]
        return image[self.masks[name]] if name in self.masks else image.ravel()

    def check_shapes(self, *names: str) -> None:
        """Raises `ValueError` where these images and object sets are not all of one shape."""
        shapes = {
            name: self.images[name].shape if name in self.images else self.objects[name].segmented.shape
            for name in names
        }
        if len(set(shapes.values())) > 1:
            each = ", ".join(f"{height} x {width} {name}" for name, (height, width) in shapes.items())
            raise ValueError(
                f"images and objects of a module must be of one shape, and these are not: {each}. Bring them to one "
                "size, as with Resize, or measure with `engine: {kind: cellprofiler}`, where some modules crop them"
            )

    def derive(
        self,
        name: str,
        pixels: np.ndarray,
        parent: str | None,
        mask: np.ndarray | None = None,
        *,
        is_logical: bool = False,
    ) -> None:
        """Add an image (float32 (y, x)) that is made from another, its `parent`, or from none. Where it has no mask of
        its own it has the parent's. `is_logical`: of truth values, whatever the parent is.
        """
        if mask is None and parent:
            mask = self.masks.get(parent)
        self.scales[name] = self.scales.get(parent) if parent else None
        self.images[name] = pixels
        self.masks.pop(name, None)
        if mask is not None:
            self.masks[name] = mask
        self.logical.discard(name)
        if is_logical:
            self.logical.add(name)

    def add(self, object_set: str, feature: str, values: np.ndarray) -> None:
        """Record one value an object; row k belongs to object k + 1."""
        self.measurements.setdefault(object_set, {})[feature] = np.asarray(values, np.float64)

    def add_all(self, object_set: str, features: Iterable[str], rows: np.ndarray) -> None:
        """Record many features at once: float64 (features, objects)."""
        self.measurements.setdefault(object_set, {}).update(zip(features, rows, strict=True))

    def column(self, object_set: str, feature: str) -> np.ndarray:
        """float64 (n): what was measured of a set so far, as CellProfiler keeps it.

        Where rows have moved up (see `Objects.moved_up`) the last ones are not there, whereas a value that is NaN is.
        """
        values, objects = self.measurements[object_set][feature], self.objects[object_set]
        n = np.count_nonzero(objects.areas)
        is_moved = feature.startswith(MOVED_UP) and np.isnan(values[n:]).all()
        return values[:n] if is_moved else values

    def add_image(self, feature: str, value: float) -> None:
        self.image_measurements[feature] = float(value)


@kernel
def runs_of(pixels: np.ndarray) -> np.ndarray:
    """int64 (runs, 2): of pixels one after another, the first one of each run without a gap, and where the run ends.

    `pixels`: flat indices in any order. Ends are counted through all runs: the last one is the number of pixels.
    """
    n = 0
    for at in range(pixels.size):
        n += at == 0 or pixels[at] != pixels[at - 1] + 1
    runs = np.empty((n, 2), np.int64)
    n = 0
    for at in range(pixels.size):
        if at == 0 or pixels[at] != pixels[at - 1] + 1:
            runs[n, 0] = pixels[at]
            n += 1
        runs[n - 1, 1] = at + 1
    return runs


@kernel
def gather(values: np.ndarray, runs: np.ndarray, out: np.ndarray) -> None:
    """Copy the values of these runs (see `runs_of`) to `out`, one run after another."""
    begin = np.uint64(0)  # unsigned indices need no test for one from the end
    for k in range(len(runs)):
        if k + AHEAD < len(runs):  # in another row mostly, where the processor does not expect it
            for line in range(3):
                prefetch(values, runs[k + AHEAD, 0] + line * LINE)
        first, end = np.uint64(runs[k, 0]), np.uint64(runs[k, 1])
        skipped = first - begin  # and if it is below zero, the sum with it is right again
        for at in range(begin, end):
            out[at] = values[at + skipped]
        begin = end


@kernel
def pixels_by_label(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Counting sort of the labelled pixels of a flat label image: (pixels, starts) as in `Objects`."""
    starts = np.zeros(count + 1, np.int64)
    for label in labels:
        if label > 0:
            starts[label] += 1
    for label in range(count):
        starts[label + 1] += starts[label]
    pixels = np.empty(starts[count], np.int64)
    place = starts[:-1].copy()
    for pixel in range(labels.size):
        label = labels[pixel]
        if label > 0:
            pixels[place[label - 1]] = pixel
            place[label - 1] += 1
    return pixels, starts


@kernel
def rows_and_columns(pixels: np.ndarray, starts: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.empty(pixels.size, np.int32), np.empty(pixels.size, np.int32)
    for k in range(starts.size - 1):
        row = 0
        for at in range(starts[k], starts[k + 1]):
            if pixels[at] >= (row + 1) * width:  # as pixels rise, one division serves a row
                row = pixels[at] // width
            rows[at], columns[at] = row, pixels[at] - row * width
    return rows, columns


@kernel
def bounding_boxes(pixels: np.ndarray, starts: np.ndarray, width: int) -> np.ndarray:
    boxes = np.zeros((starts.size - 1, 4), np.int64)
    for k in range(starts.size - 1):
        if starts[k] == starts[k + 1]:
            continue
        left, right = width, 0
        for pixel in pixels[starts[k] : starts[k + 1]]:
            column = pixel % width
            left, right = min(left, column), max(right, column + 1)
        boxes[k, 0] = pixels[starts[k]] // width
        boxes[k, 1] = left
        boxes[k, 2] = pixels[starts[k + 1] - 1] // width + 1
        boxes[k, 3] = right
    return boxes
