"""Sums over the pixels of pairs of images, from which MeasureColocalization's coefficients follow."""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import lanes
from pipeline.engines.native.kernels.sorting import rank_among

#: pixels of an object that are looked at together, for all pairs, while they are in the cache
BLOCK = 1024


@kernel
def object_sums(
    values: np.ndarray,
    ranks: np.ndarray,
    places: np.ndarray,
    tables: np.ndarray,
    starts: np.ndarray,
    fraction: np.float32,
    pairs: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The sums over each object's pixels from which its coefficients follow.

    `values`: float32 (images, pixels), object after object. `ranks`: `Ranks.all`. `places`, `tables`: of
    `Ranks.among`. `pairs`: int64 (pairs, 2). Returns float64 (images, 2, objects): squares about the mean, values that
    pass the threshold; and (pairs, 9, objects): products about the means; then over pixels where both pass: their
    number, first and second values, their squares, their products, and first and second values times the difference of
    ranks.
    """
    n_images, n_objects = len(values), starts.size - 1
    of_image = np.zeros((n_images, 2, n_objects))
    of_pair = np.zeros((len(pairs), 9, n_objects))
    block = np.empty((n_images, BLOCK), np.float32)
    centred = np.empty((n_images, BLOCK))
    passes = np.empty((n_images, BLOCK))
    among = np.zeros((n_images, BLOCK), np.int32)
    means = np.empty(n_images)
    thresholds = np.empty(n_images, np.float32)
    for k in range(n_objects):
        begin, end = starts[k], starts[k + 1]
        for c in range(n_images):
            means[c], highest = _mean_and_highest(values[c, begin:end])
            thresholds[c] = fraction * highest
        for first in range(begin, end, BLOCK):
            size = min(BLOCK, end - first)
            whole = -(-size // lanes.WIDTH) * lanes.WIDTH
            for c in range(n_images):
                squares, above = _prepare(
                    values[c, first : first + size],
                    means[c],
                    thresholds[c],
                    block[c, :whole],
                    centred[c, :whole],
                    passes[c, :whole],
                )
                of_image[c, 0, k] += squares
                of_image[c, 1, k] += above
                _rank(ranks[c], places[first : first + size], tables[c], among[c])
            for p in range(len(pairs)):
                a, b = pairs[p]
                found = _block_sums(
                    block[a, :whole], block[b, :whole], among[a], among[b], centred[a], centred[b], passes[a], passes[b]
                )
                for i in range(9):
                    of_pair[p, i, k] += found[i]
    return of_image, of_pair


@kernel
def _rank(ranks: np.ndarray, places: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """The ranks at these places, among those in the table; as they are where there is no table."""
    if table.size == 0:
        for i in range(places.size):
            out[i] = ranks[np.uint64(places[i])]
    else:
        for i in range(places.size):
            out[i] = rank_among(table, ranks[np.uint64(places[i])])


@kernel
def _mean_and_highest(values: np.ndarray) -> tuple[float, np.float32]:
    """The highest of values with a NaN among them is NaN."""
    highest, without_value = np.float32(-np.inf), 0
    for value in values:
        highest = max(highest, value)
        without_value += value != value
    return lanes.sum_of(values) / max(values.size, 1), np.float32(np.nan) if without_value else highest


@kernel
def _prepare(
    values: np.ndarray, mean: float, threshold: np.float32, block: np.ndarray, centred: np.ndarray, passes: np.ndarray
) -> tuple[float, float]:
    """Write the values, their distances from the mean and whether they pass; zeros where these arrays are longer.

    Returns the sum of squares of the distances, and of the values that pass.
    """
    size = values.size
    for i in range(size):
        block[i] = values[i]
    for i in range(size):
        centred[i] = values[i] - mean
    for i in range(size):
        passes[i] = 1.0 if values[i] >= threshold else 0.0
    block[size:] = 0
    centred[size:] = 0
    passes[size:] = 0
    squares = above = lanes.zeros()
    for at in range(0, block.size, lanes.WIDTH):
        away = lanes.load(centred, at)
        squares += away * away
        above += lanes.load(passes, at) * lanes.load(block, at)
    return lanes.total(squares), lanes.total(above)


@kernel
def _block_sums(
    first: np.ndarray,
    second: np.ndarray,
    first_ranks: np.ndarray,
    second_ranks: np.ndarray,
    first_centred: np.ndarray,
    second_centred: np.ndarray,
    first_passes: np.ndarray,
    second_passes: np.ndarray,
) -> tuple[float, float, float, float, float, float, float, float, float]:
    xy = count = f = s = ff = ss = fs = f_apart = s_apart = lanes.zeros()
    for at in range(0, first.size, lanes.WIDTH):
        both = lanes.load(first_passes, at) * lanes.load(second_passes, at)
        in_first, in_second = both * lanes.load(first, at), both * lanes.load(second, at)
        apart = lanes.absolute(lanes.load(first_ranks, at) - lanes.load(second_ranks, at))
        xy += lanes.load(first_centred, at) * lanes.load(second_centred, at)
        count += both
        f += in_first
        s += in_second
        # Products of two pixels are float32 in CellProfiler.
        ff += both * lanes.single_products(first, first, at)
        ss += both * lanes.single_products(second, second, at)
        fs += both * lanes.single_products(first, second, at)
        f_apart += in_first * apart
        s_apart += in_second * apart
    return (
        lanes.total(xy),
        lanes.total(count),
        lanes.total(f),
        lanes.total(s),
        lanes.total(ff),
        lanes.total(ss),
        lanes.total(fs),
        lanes.total(f_apart),
        lanes.total(s_apart),
    )


@kernel
def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two float32 vectors; NaN where one does not vary."""
    n = first.size
    mean_x, mean_y = lanes.sum_of(first) / n, lanes.sum_of(second) / n
    whole = n - n % lanes.WIDTH
    xx = xy = yy = lanes.zeros()
    for at in range(0, whole, lanes.WIDTH):
        x, y = lanes.load(first, at) - lanes.spread(mean_x), lanes.load(second, at) - lanes.spread(mean_y)
        xx += x * x
        xy += x * y
        yy += y * y
    sum_xx, sum_xy, sum_yy = lanes.total(xx), lanes.total(xy), lanes.total(yy)
    for at in range(whole, n):
        x_away, y_away = first[at] - mean_x, second[at] - mean_y
        sum_xx += x_away * x_away
        sum_xy += x_away * y_away
        sum_yy += y_away * y_away
    r = sum_xy / np.sqrt(sum_xx) / np.sqrt(sum_yy)
    return min(max(r, -1.0), 1.0) if abs(r) > 1 else r
