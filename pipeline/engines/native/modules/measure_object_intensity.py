"""MeasureObjectIntensity: brightness of objects and of their edges, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels.keys import key_of, sort_keys, sort_run, values_of
from pipeline.engines.native.numpy1.ties import last_maxima
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace, gather, runs_of

#: of the settings in a pipeline file
REVISIONS = frozenset({4})

INTENSITY = (
    "IntegratedIntensity",
    "MeanIntensity",
    "StdIntensity",
    "MinIntensity",
    "MaxIntensity",
    "IntegratedIntensityEdge",
    "MeanIntensityEdge",
    "StdIntensityEdge",
    "MinIntensityEdge",
    "MaxIntensityEdge",
    "MassDisplacement",
    "LowerQuartileIntensity",
    "MedianIntensity",
    "MADIntensity",
    "UpperQuartileIntensity",
)
LOCATION = (
    "CenterMassIntensity_X",
    "CenterMassIntensity_Y",
    "CenterMassIntensity_Z",
    "MaxIntensity_X",
    "MaxIntensity_Y",
    "MaxIntensity_Z",
)


def compile(settings: Settings) -> MeasureObjectIntensity:
    return MeasureObjectIntensity(
        tuple(settings.names("Select images to measure")), tuple(settings.names("Select objects to measure"))
    )


def feature_names(image: str) -> list[str]:
    return [f"Intensity_{name}_{image}" for name in INTENSITY] + [f"Location_{name}_{image}" for name in LOCATION]


@dataclass(frozen=True)
class MeasureObjectIntensity:
    images_in: tuple[str, ...]
    objects_in: tuple[str, ...]

    images_out = objects_out = ()
    honours_masks = True

    def features(self) -> dict[str, list[str]]:
        names = [name for image in self.images_in for name in feature_names(image)]
        return dict.fromkeys(self.objects_in, names)

    def run(self, site: Workspace) -> None:
        for object_set in self.objects_in:
            site.check_shapes(object_set, *self.images_in)
            objects, whole = site.objects[object_set], None
            for name in self.images_in:
                if name in site.masks:
                    measured = measure_shown(objects, site.images[name], site.masks[name])
                else:
                    whole = whole or Region(objects)
                    measured = whole.measure(site.images[name])
                site.add_all(object_set, feature_names(name), measured)


class Region:
    """Where the pixels of one object set are, which all images share. `edge`: bool (y, x), that of the objects."""

    def __init__(self, objects: Objects, edge: np.ndarray | None = None) -> None:
        self.objects = objects
        edge = inner_edge(objects.segmented) if edge is None else edge
        is_edge = edge.ravel()[objects.pixels]
        self.edge = np.flatnonzero(is_edge)
        self.edge_starts = np.append(0, np.cumsum(is_edge))[objects.starts]

    @cached_property
    def _in_raster_order(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of all labelled pixels from top to bottom: where they are, their runs and labels; and room to sort them."""
        labels = self.objects.segmented.ravel()
        places = np.flatnonzero(labels)
        return places, runs_of(places), labels[places], np.empty(places.size, np.uint64)

    def measure(self, image: np.ndarray) -> np.ndarray:
        """float64 (features, objects), in the order of `feature_names`; zeros for an object without pixels."""
        objects = self.objects
        values = objects.values(image)
        result = np.zeros((len(INTENSITY) + len(LOCATION), objects.count))
        rows, columns = objects.places
        brightest, is_tied = measure_objects(values, rows, columns, objects.starts, result)
        measure_edges(values, self.edge, self.edge_starts, result[5:10])
        has_pixels = objects.areas > 0
        at = objects.pixels[brightest[has_pixels]]
        if is_tied:
            places, runs, labels, words = self._in_raster_order
            in_order = np.empty(places.size, np.float32)
            gather(image.ravel(), runs, in_order)
            at = places[last_maxima(sort_keys(in_order), labels, objects.count, words)[has_pixels]]
        result[19, has_pixels], result[18, has_pixels] = np.divmod(at, objects.segmented.shape[1])
        return result


def measure_shown(objects: Objects, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`Region.measure` of what a mask shows of the objects.

    One of which nothing is shown has no mean, and its brightest pixel is the first that is shown of any.
    """
    region = Region(objects.shown(mask), inner_edge(objects.segmented))
    result, shown = region.measure(image), region.objects
    is_hidden = (shown.areas == 0) & (objects.areas > 0)
    if shown.pixels.size:
        result[np.ix_([1, 2, 10, 15, 16, 17], is_hidden)] = np.nan
        y, x = np.divmod(shown.pixels.min(), image.shape[1])
        result[18, is_hidden], result[19, is_hidden] = x, y
    if region.edge.size:
        has_no_edge = (np.diff(region.edge_starts) == 0) & (objects.areas > 0)
        result[np.ix_([6, 7], has_no_edge)] = np.nan
    return result


@kernel
def inner_edge(labels: np.ndarray) -> np.ndarray:
    """bool (y, x): labelled pixels with another label among their 4 neighbours. The image's border is no edge."""
    height, width = labels.shape
    edge = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            edge[y, x] = (
                (y > 0 and labels[y - 1, x] != label)
                or (x > 0 and labels[y, x - 1] != label)
                or (x + 1 < width and labels[y, x + 1] != label)
                or (y + 1 < height and labels[y + 1, x] != label)
            )
    return edge


@kernel
def measure_objects(values, rows, columns, starts, result) -> tuple[np.ndarray, bool]:
    """Fill the rows of `result` that concern whole objects; see `Region.measure`.

    Returns which of the values is the first maximum of each object, and whether any object has several.
    """
    bits = values.view(np.uint32)
    longest = 1
    for k in range(starts.size - 1):
        longest = max(longest, starts[k + 1] - starts[k])
    ordered, spare = np.empty(longest, np.uint32), np.empty(longest, np.uint32)
    brightest, is_tied = starts[:-1].copy(), False
    for k in range(starts.size - 1):
        mine, n = values[starts[k] : starts[k + 1]], starts[k + 1] - starts[k]
        if n == 0:
            continue
        total, sum_x, sum_y, moment_x, moment_y = 0.0, 0, 0, 0.0, 0.0
        highest = np.uint32(0)
        for at in range(starts[k], starts[k + 1]):
            value = np.float64(values[at])
            y, x = rows[at], columns[at]
            total += value
            sum_x += x
            sum_y += y
            moment_x += x * value
            moment_y += y * value
            key = key_of(values[at], bits[at])
            ordered[at - starts[k]] = key
            if key > highest:
                brightest[k], highest = at, key
        mean = total / n
        squares = 0.0
        for value in mine:
            difference = np.float64(value) - mean
            squares += difference * difference
        sort_run(ordered[:n], spare[:n])
        is_tied |= n > 1 and ordered[n - 1] == ordered[n - 2]
        sorted_values = values_of(ordered[:n])
        result[0, k], result[1, k], result[2, k] = total, mean, np.sqrt(squares / n)
        result[3, k], result[4, k] = sorted_values[0], sorted_values[n - 1]
        centre_x, centre_y = moment_x / total, moment_y / total
        off_x, off_y = sum_x / n - centre_x, sum_y / n - centre_y
        result[10, k] = np.sqrt(off_x * off_x + off_y * off_y)
        result[11, k] = quantile(sorted_values, 0.25)
        result[12, k] = quantile(sorted_values, 0.5)
        result[13, k] = median_deviation(sorted_values, result[12, k])
        result[14, k] = quantile(sorted_values, 0.75)
        result[15, k], result[16, k] = centre_x, centre_y
        result[17, k] = 0 / total  # the third coordinate of a flat image; NaN where all is black
    return brightest, is_tied


@kernel
def measure_edges(values, pixels, starts, result) -> None:
    """Rows: integrated, mean, standard deviation, minimum, maximum."""
    for k in range(starts.size - 1):
        mine = pixels[starts[k] : starts[k + 1]]
        if mine.size == 0:
            continue
        total = 0.0
        # The highest of values with a NaN among them is NaN, the lowest is not: so they sort.
        low, high, is_whole = np.float32(np.inf), np.float32(-np.inf), True
        for pixel in mine:
            total += np.float64(values[pixel])
            if np.isnan(values[pixel]):
                is_whole = False
            else:
                low, high = min(low, values[pixel]), max(high, values[pixel])
        if not is_whole:
            low, high = low if high >= low else np.float32(np.nan), np.float32(np.nan)
        mean = total / mine.size
        squares = 0.0
        for pixel in mine:
            difference = np.float64(values[pixel]) - mean
            squares += difference * difference
        result[0, k], result[1, k], result[2, k] = total, mean, np.sqrt(squares / mine.size)
        result[3, k], result[4, k] = low, high


@kernel
def quantile(ordered: np.ndarray, fraction: float) -> float:
    """The value at index n * fraction, interpolated; the last value where that is beyond it."""
    place = ordered.size * fraction
    at = int(place)
    share = place - at
    if at < ordered.size - 1:
        return ordered[at] * (1 - share) + ordered[at + 1] * share
    return np.float64(ordered[at])


@kernel
def median_deviation(ordered: np.ndarray, median: float) -> float:
    """`quantile(sorted |value - median|, 1/2)`: deviations rise both ways from the median."""
    n = ordered.size
    first = n // 2  # of the values from the median on; it lies at or beside this one
    while first > 0 and ordered[first - 1] >= median:
        first -= 1
    while first < n and ordered[first] < median:
        first += 1
    place = n * 0.5
    at = int(place)
    # How many of the `at` smallest deviations lie above: as many as are less than what would be taken below instead.
    low, high = max(0, at - first), min(at, n - first)
    while low < high:
        above = (low + high) // 2
        if ordered[first + above] - median < median - ordered[first - (at - above)]:
            low = above + 1
        else:
            high = above
    above, below = first + low, first - 1 - (at - low)
    last = current = 0.0
    for _ in range(2):  # the deviation at that place, and the next one
        last = current
        if below < 0 or (above < n and np.abs(ordered[above] - median) <= np.abs(ordered[below] - median)):
            current = np.abs(ordered[above] - median)
            above += 1
        else:
            current = np.abs(ordered[below] - median)
            below -= 1
        if at == n - 1:
            return current
    share = place - at
    return last * (1 - share) + current * share
