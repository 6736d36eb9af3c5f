"""Costes' threshold of two images: below it they no longer go together (Costes et al. 2004).

Pixels of which one lies below the threshold of its image make up the rest. The threshold is lowered along the line of
orthogonal regression until Pearson's r of the rest is no longer above zero. CellProfiler computes r anew for each
threshold; here the sums behind it are kept, and only where these cannot tell on which side of a limit r lies is it
computed from all pixels. The thresholds are CellProfiler's to the last bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels.sorting import rising_order, scratch
from pipeline.engines.native.numpy1 import sums

#: the error of a sum as a part of what was summed, at most
ERROR = 1e-9
#: r from which on a fast search takes so many steps at a time
STRIDES = ((0.45, 10), (0.35, 5), (0.25, 2))
#: the number of the first step whose thresholds the bisection has at hand
FIRST = -2


class Line(NamedTuple):
    """Orthogonal regression: the threshold of the second image is `slope` times that of the first plus `offset`."""

    slope: float
    offset: float

    def thresholds(self, at: float) -> tuple[np.float32, np.float32]:
        """What pixels are compared with, as float32."""
        return np.float32(at), np.float32(self.slope * at + self.offset)

    @classmethod
    def through(cls, first: np.ndarray, second: np.ndarray) -> Line:
        """In CellProfiler's mixture of float32 and float64."""
        is_lit = (first > 0) | (second > 0)
        x, y = first[is_lit], second[is_lit]
        x_variance, y_variance = (np.float32(sums.variance(values, 1)) for values in (x, y))
        x_mean, y_mean = np.float32(sums.mean(x)), np.float32(sums.mean(y))
        total = np.float32(sums.variance(x + y, 1))
        covariance = np.float64(0.5) * np.float64(total - (x_variance + y_variance))
        apart = y_variance - x_variance
        root = np.sqrt(np.float64(apart * apart) + 4 * (covariance * covariance))
        slope = (np.float64(apart) + root) / (2 * covariance)
        return cls(float(slope), float(np.float64(y_mean) - slope * np.float64(x_mean)))


def thresholds(first: np.ndarray, second: np.ndarray, scale: float, method: str) -> tuple[np.float32, np.float32]:
    """Of the pixels of two images (float32 vectors without NaN), whose values are multiples of 1 / `scale`, or nearly.

    `method`: "Accurate", "Fast" or "Faster". Raises ValueError of fewer than two pixels, as CellProfiler does.
    """
    if first.size < 2:
        raise ValueError("Costes' threshold needs two pixels at least")
    line = Line.through(first, second)
    if method == "Faster":
        return line.thresholds(bisection(first, second, line, int(scale)))
    return line.thresholds(descent(first, second, line, scale, method == "Fast"))


def bisection(first: np.ndarray, second: np.ndarray, line: Line, scale: int) -> float:
    """The threshold of the first image: a sixth of what is left is cut off at a time."""
    steps = np.arange(FIRST, scale + 3) / scale
    table = np.array([steps, line.slope * steps + line.offset], np.float32)
    centre = (float(sums.mean(first)), float(sums.mean(second)))
    kept = sums_below(first, second, table, line.slope, scale, *centre)

    def sign_at(step: int) -> float:
        """-1, 0 or 1 as r, NaN where it has no value; -1 of too few pixels."""
        if kept[step - FIRST, 0] <= 2:
            return -1
        r, margin = _r_of(kept[step - FIRST], kept[-1])
        if not abs(r) > margin:
            r = r_below(first, second, *table[:, step - FIRST])
        return np.sign(r)

    left, right, before, valid = 1, scale, 0, 1
    middle = int((right - left) // (6 / 5)) + left
    while before != middle:
        sign = sign_at(middle)
        if sign < 0:
            left = middle - 1
        elif sign >= 0:
            right, valid = middle + 1, middle
        before = middle
        width = right - left
        middle = (int(width // (6 / 5)) if width > 6 else width // 2) + left
    return (valid - 1) / scale


@kernel
def sums_below(first, second, table, slope, scale, x_centre, y_centre):
    """float64 (steps, 6): of pixels of which one lies below its threshold at this step, number and sums of x, y, xx,
    yy, xy about the centre. `table`: float32 (2, steps), the thresholds, which rise; with a negative slope those of the
    second image fall.
    """
    n_steps = table.shape[1]
    found = np.zeros((n_steps + 1, 6))  # the last row is of no step, for pixels that are never below
    for i in range(first.size):
        below = first_above(table[0], first[i], scale)
        if slope < 0:
            until = last_above(table[1], second[i])  # below the other threshold up to this step
            if below > until + 1:
                _add(found[0], first[i] - x_centre, second[i] - y_centre, 1.0 if until >= 0 else 0.0)
                _add(found[until + 1], first[i] - x_centre, second[i] - y_centre, -1.0 if until >= 0 else 0.0)
            else:
                below = 0
        else:
            below = min(below, first_above(table[1], second[i], scale / slope if slope > 0 else 0.0))
        _add(found[below], first[i] - x_centre, second[i] - y_centre, 1.0)
    for step in range(1, n_steps + 1):
        found[step] += found[step - 1]
    return found


@kernel
def _add(row, x, y, weight) -> None:
    row[0] += weight
    row[1] += weight * x
    row[2] += weight * y
    row[3] += weight * (x * x)
    row[4] += weight * (y * y)
    row[5] += weight * (x * y)


@kernel
def first_above(rising, value, density) -> int:
    """Index of the first number of a rising vector above a value; its length where there is none, or they are NaN.

    `density`: numbers in one unit, about; where it misleads the vector is searched.
    """
    size = rising.size
    if not rising[size - 1] > value:
        return size
    place = (np.float64(value) - np.float64(rising[0])) * density
    at = int(min(max(place, 0.0), size - 1.0)) if place == place else 0
    for near in range(max(at - 1, 0), min(at + 3, size)):
        if rising[near] > value and (near == 0 or rising[near - 1] <= value):
            return near
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        if rising[middle] > value:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def last_above(falling, value) -> int:
    """Index of the last number of a falling vector above a value; -1 where there is none."""
    low, high = -1, falling.size - 1
    while low < high:
        middle = (low + high + 1) // 2
        if falling[middle] > value:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def _r_of(rest, everything) -> tuple[float, float]:
    """r of these sums, and how far it may be off. Both of `_add`."""
    n = rest[0]
    xx, yy = rest[3] - rest[1] * rest[1] / n, rest[4] - rest[2] * rest[2] / n
    if not (xx > 0 and yy > 0):
        return 0.0, 1.0
    margin = ERROR * (1 + everything[3] / xx + everything[4] / yy)
    return (rest[5] - rest[1] * rest[2] / n) / (math.sqrt(xx) * math.sqrt(yy)), margin


@kernel
def r_below(first, second, x_threshold, y_threshold) -> float:
    """Pearson's r of the pixels of which one lies below its threshold; NaN where one image does not vary."""
    n, x_mean, y_mean = 0, 0.0, 0.0
    x_first = y_first = x_last = y_last = np.float32(0)
    x_varies = y_varies = False
    for i in range(first.size):
        if first[i] < x_threshold or second[i] < y_threshold:
            if n == 0:
                x_first, y_first = first[i], second[i]
            x_varies |= first[i] != x_first
            y_varies |= second[i] != y_first
            x_last, y_last = first[i], second[i]
            n += 1
            x_mean += first[i]
            y_mean += second[i]
    if not (x_varies and y_varies):
        return np.nan
    if n == 2:
        return np.sign(x_last - x_first) * np.sign(y_last - y_first)
    x_mean, y_mean = x_mean / n, y_mean / n
    xx = xy = yy = 0.0
    for i in range(first.size):
        if first[i] < x_threshold or second[i] < y_threshold:
            x, y = first[i] - x_mean, second[i] - y_mean
            xx += x * x
            xy += x * y
            yy += y * y
    return xy / (math.sqrt(xx) * math.sqrt(yy))


def descent(first: np.ndarray, second: np.ndarray, line: Line, scale: float, is_fast: bool) -> float:
    """The threshold of the first image: step by step from above the brightest pixel."""
    room = scratch(first.size)
    orders = rising_order(first, room), rising_order(second, room)
    highest = float(max(first.max(), second.max()))
    step = 1 / scale
    begin = step * (highest // step + 1)
    centre = (float(sums.mean(first)), float(sums.mean(second)))
    return descend(first, second, *orders, line.slope, line.offset, begin, step, is_fast, *centre)


@kernel
def descend(first, second, x_order, y_order, slope, offset, begin, step, is_fast, x_centre, y_centre) -> float:
    """See `descent`. Pixels leave the rest as thresholds pass their values, in the orders (rising) of these."""
    n = first.size
    everything, above = np.zeros(6), np.zeros(6)
    for i in range(n):
        _add(everything, first[i] - x_centre, second[i] - y_centre, 1.0)
    passes = np.zeros((n, 2), np.bool_)
    x_at = y_at = n  # what comes from here on in its order passes
    at, r, counted = begin, float(np.nan), -1.0
    while at > first[x_order[n - 1]] and slope * at + offset > second[y_order[n - 1]]:
        at -= step
    threshold = begin
    while at > step:
        threshold = at
        x_threshold, y_threshold = np.float32(at), np.float32(slope * at + offset)
        while x_at > 0 and first[x_order[x_at - 1]] >= x_threshold:
            x_at -= 1
            _let_pass(first, second, passes, x_order[x_at], 0, above, x_centre, y_centre)
        while y_at > 0 and not second[y_order[y_at - 1]] < y_threshold:
            y_at -= 1
            _let_pass(first, second, passes, y_order[y_at], 1, above, x_centre, y_centre)
        while y_at < n and second[y_order[y_at]] < y_threshold:  # with a negative slope
            if passes[y_order[y_at], 0]:
                pixel = y_order[y_at]
                _add(above, first[pixel] - x_centre, second[pixel] - y_centre, -1.0)
            passes[y_order[y_at], 1] = False
            y_at += 1
        left = n - above[0]
        if left != counted:
            if left < 2:
                break
            r = _r_left(first, second, x_threshold, y_threshold, everything, above)
            counted = left
        if r <= 0:
            break
        at -= step * (_stride(r) if is_fast and not at < step * 10 else 1)
    return threshold


@kernel
def _let_pass(first, second, passes, pixel, which, above, x_centre, y_centre) -> None:
    passes[pixel, which] = True
    if passes[pixel, 1 - which]:
        _add(above, first[pixel] - x_centre, second[pixel] - y_centre, 1.0)


@kernel
def _stride(r: float) -> int:
    for limit, stride in STRIDES:
        if r > limit:
            return stride
    return 1


@kernel
def _r_left(first, second, x_threshold, y_threshold, everything, above) -> float:
    r, margin = _r_of(everything - above, everything)
    is_sure = abs(r) > margin
    for limit, _ in STRIDES:
        is_sure &= abs(r - limit) > margin
    return r if is_sure else r_below(first, second, x_threshold, y_threshold)


@kernel
def object_sums(values, starts, pairs, limits):
    """float64 (pairs, 4, objects): of the first and the second image, what lies at or above its threshold, and what
    lies above where the other does too. And bool (pairs): whether any pixel does.
    `values`: float32 (images, pixels); `limits`: float32 (pairs, 2).
    """
    has_both = np.zeros(len(pairs), np.bool_)
    found = np.zeros((len(pairs), 4, starts.size - 1))
    for p in range(len(pairs)):
        first, second = values[pairs[p, 0]], values[pairs[p, 1]]
        x_limit, y_limit = limits[p]
        for k in range(starts.size - 1):
            x_all = y_all = x_both = y_both = 0.0
            for at in range(starts[k], starts[k + 1]):
                x, y = first[at], second[at]
                x_all += np.float64(x) if x >= x_limit else 0.0
                y_all += np.float64(y) if y >= y_limit else 0.0
                if x > x_limit and y > y_limit:
                    has_both[p] = True
                    x_both += x
                    y_both += y
            found[p, 0, k], found[p, 1, k], found[p, 2, k], found[p, 3, k] = x_all, y_all, x_both, y_both
    return found, has_both
