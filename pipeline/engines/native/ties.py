"""Which of several equal maxima CellProfiler takes: the last one in numpy's unstable argsort.

`scipy.ndimage.maximum_position` sorts all pixels and keeps, for each label, the last. Among equal values numpy's
quicksort leaves an order that depends on every other value, so the sort has to be repeated; but only those
partitions in which such a value lies. This is numpy 1.26's introsort (npysort/quicksort.cpp), the one it runs
where its AVX-512 kernels are switched off: median of three, insertion sort up to 16 elements, heap sort for
ranges that have been split twice as often as their number has bits.
"""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel

#: ranges of up to 16 elements are sorted by insertion
SMALL = 15


@kernel
def last_maxima(keys: np.ndarray, labels: np.ndarray, pixels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each object the index of its maximum, as `scipy.ndimage.maximum_position(keys, labels)` finds it.

    `keys`: unsigned or signed integers, flat, what is sorted. `labels`: flat, 0 = background. `pixels`, `starts`:
    the indices into `keys` of each object, as in `Objects`. int64 (objects); 0 for an object without pixels.
    """
    count = starts.size - 1
    best = np.zeros(count, np.int64)
    tied = np.empty(count, keys.dtype)
    n_tied = 0
    for k in range(count):
        is_tied = False
        for at in range(starts[k], starts[k + 1]):
            pixel = pixels[at]
            if at == starts[k] or keys[pixel] > keys[best[k]]:
                best[k] = pixel
                is_tied = False
            elif keys[pixel] == keys[best[k]]:
                is_tied = True
        if is_tied:
            tied[n_tied] = keys[best[k]]
            n_tied += 1
    if n_tied == 0:
        return best
    order = np.arange(keys.size)
    sort_around(keys, order, rising(tied[:n_tied]))
    for at in range(keys.size):
        pixel = order[at]
        label = labels[pixel]
        if label > 0 and keys[pixel] == keys[best[label - 1]]:
            best[label - 1] = pixel
    return best


@kernel
def first_minima(keys: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """For each owner 0 .. count - 1 the index of its minimum, as `scipy.ndimage.minimum_position` finds it.

    0 for an owner without elements.
    """
    best = np.zeros(count, np.int64)
    has_any, is_tied = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for at in range(keys.size):
        owner = owners[at]
        if not has_any[owner] or keys[at] < keys[best[owner]]:
            best[owner], has_any[owner], is_tied[owner] = at, True, False
        elif keys[at] == keys[best[owner]]:
            is_tied[owner] = True
    tied = np.empty(count, keys.dtype)
    n_tied = 0
    for owner in range(count):
        if is_tied[owner]:
            tied[n_tied] = keys[best[owner]]
            n_tied += 1
    if n_tied == 0:
        return best
    order = np.arange(keys.size)
    sort_around(keys, order, rising(tied[:n_tied]))
    for at in range(keys.size - 1, -1, -1):
        owner = owners[order[at]]
        if is_tied[owner] and keys[order[at]] == keys[best[owner]]:
            best[owner] = order[at]
    return best


@kernel
def rising(keys: np.ndarray) -> np.ndarray:
    """A few keys, sorted in place. (`np.sort` takes ten seconds to compile.)"""
    for at in range(1, keys.size):
        moving, to = keys[at], at
        while to > 0 and moving < keys[to - 1]:
            keys[to] = keys[to - 1]
            to -= 1
        keys[to] = moving
    return keys


@kernel
def sort_around(keys: np.ndarray, order: np.ndarray, wanted: np.ndarray) -> None:
    """Put `order` in numpy's order as far as elements with a `wanted` key (sorted) are concerned, in place."""
    lowest = highest = keys[0]
    for key in keys:
        lowest, highest = min(lowest, key), max(highest, key)
    depth = 0
    while order.size >> (depth + 1):
        depth += 1
    # Pending ranges: first, last, depth left; and the bounds of the keys within.
    stack, bounds = np.empty((130, 3), np.int64), np.empty((130, 2), keys.dtype)
    put(stack, bounds, 0, 0, order.size - 1, 2 * depth, lowest, highest)
    n_stack = 1
    while n_stack > 0:
        n_stack -= 1
        left, right, depth = stack[n_stack, 0], stack[n_stack, 1], stack[n_stack, 2]
        low, high = bounds[n_stack, 0], bounds[n_stack, 1]
        if not holds(wanted, low, high):
            continue
        if depth < 0:
            heap_sort(keys, order[left : right + 1])
            continue
        while right - left > SMALL and holds(wanted, low, high):
            at = partition(keys, order, left, right)
            pivot = keys[order[at]]
            depth -= 1
            # The larger part waits, as in numpy: only parts that have waited are held against the depth.
            if at - left < right - at:
                put(stack, bounds, n_stack, at + 1, right, depth, pivot, high)
                right, high = at - 1, pivot
            else:
                put(stack, bounds, n_stack, left, at - 1, depth, low, pivot)
                left, low = at + 1, pivot
            n_stack += 1
        if right - left <= SMALL:
            insertion_sort(keys, order, left, right)


@kernel
def partition(keys: np.ndarray, order: np.ndarray, left: int, right: int) -> int:
    """Split a range at the median of its first, middle and last key; returns where that one comes to stand."""
    middle = left + ((right - left) >> 1)
    if keys[order[middle]] < keys[order[left]]:
        order[middle], order[left] = order[left], order[middle]
    if keys[order[right]] < keys[order[middle]]:
        order[right], order[middle] = order[middle], order[right]
    if keys[order[middle]] < keys[order[left]]:
        order[middle], order[left] = order[left], order[middle]
    pivot = keys[order[middle]]
    i, j = left, right - 1
    order[middle], order[j] = order[j], order[middle]
    while True:
        i += 1
        while keys[order[i]] < pivot:
            i += 1
        j -= 1
        while pivot < keys[order[j]]:
            j -= 1
        if i >= j:
            break
        order[i], order[j] = order[j], order[i]
    order[i], order[right - 1] = order[right - 1], order[i]
    return i


@kernel
def insertion_sort(keys: np.ndarray, order: np.ndarray, left: int, right: int) -> None:
    for at in range(left + 1, right + 1):
        moving = order[at]
        to = at
        while to > left and keys[moving] < keys[order[to - 1]]:
            order[to] = order[to - 1]
            to -= 1
        order[to] = moving


@kernel
def put(stack, bounds, at, left, right, depth, low, high) -> None:
    stack[at, 0], stack[at, 1], stack[at, 2] = left, right, depth
    bounds[at, 0], bounds[at, 1] = low, high


@kernel
def holds(wanted: np.ndarray, low, high) -> bool:
    """Whether a wanted key (sorted) lies in [low, high]."""
    first, end = 0, wanted.size
    while first < end:
        middle = (first + end) // 2
        if wanted[middle] < low:
            first = middle + 1
        else:
            end = middle
    return first < wanted.size and wanted[first] <= high


@kernel
def heap_sort(keys: np.ndarray, order: np.ndarray) -> None:
    """numpy's heap sort of `order` by key, in place."""
    size = order.size
    for start in range(size // 2, 0, -1):
        sift(keys, order, start, size, order[start - 1])
    while size > 1:
        moving = order[size - 1]
        order[size - 1] = order[0]
        size -= 1
        sift(keys, order, 1, size, moving)


@kernel
def sift(keys: np.ndarray, order: np.ndarray, place: int, size: int, moving: int) -> None:
    """Places count from 1."""
    child = place * 2
    while child <= size:
        if child < size and keys[order[child - 1]] < keys[order[child]]:
            child += 1
        if not keys[moving] < keys[order[child - 1]]:
            break
        order[place - 1] = order[child - 1]
        place = child
        child += child
    order[place - 1] = moving
