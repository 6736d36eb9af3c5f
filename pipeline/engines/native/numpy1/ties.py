"""Which of several equal maxima CellProfiler takes: the last one in numpy's unstable argsort.

`scipy.ndimage.maximum_position` sorts all pixels and keeps, for each label, the last. Among equal values numpy's
quicksort leaves an order that depends on every other value, so the sort has to be repeated; but only those
partitions in which such a value lies. This is numpy 1.26's introsort (npysort/quicksort.cpp), the one it runs
where its AVX-512 kernels are switched off: median of three, insertion sort up to 16 elements, heap sort for
ranges that have been split twice as often as their number has bits.

Here a key travels with its index in one word, key above, so that a pass over a range reads what lies side by side.
"""

from __future__ import annotations

import numpy as np

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels.keys import HALF, LOW, sort_run

#: ranges of up to 16 elements are sorted by insertion
SMALL = 15
#: words that are compared before any is moved
BLOCK = 128
ONE = np.uint64(1)


@kernel
def last_maxima(keys: np.ndarray, labels: np.ndarray, count: int, words: np.ndarray) -> np.ndarray:
    """For each label 1 .. count the index of its maximum, as `scipy.ndimage.maximum_position(keys, labels)` finds it.

    `keys`: uint32, flat, what is sorted. `labels`: flat, 0 = background. `words`: uint64, room for as many as there are
    keys. int64 (count); 0 for a label that is nowhere.
    """
    best, highest = np.zeros(count, np.int64), np.zeros(count, np.uint32)
    has_any, is_tied = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for at in range(keys.size):
        k = labels[at] - 1
        if k >= 0 and keys[at] >= highest[k]:
            is_tied[k] = has_any[k] and keys[at] == highest[k]
            best[k], highest[k], has_any[k] = at, keys[at], True
    wanted = highest[is_tied]
    if wanted.size == 0:
        return best
    sort_run(wanted, np.empty_like(wanted))
    join(keys, words)
    sort_around(words, wanted)
    next_one = 0
    for word in words:
        next_one = onward(wanted, next_one, word)
        if next_one == wanted.size:
            break
        if wanted[next_one] == word >> HALF:
            k = labels[word & LOW] - 1
            if k >= 0 and highest[k] == word >> HALF:
                best[k] = word & LOW
    return best


@kernel
def first_minima(keys: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """For each owner 0 .. count - 1 the index of its minimum, as `scipy.ndimage.minimum_position` finds it.

    `keys`: uint32. 0 for an owner without elements.
    """
    best = np.zeros(count, np.int64)
    has_any, is_tied = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for at in range(keys.size):
        owner = owners[at]
        if not has_any[owner] or keys[at] < keys[best[owner]]:
            best[owner], has_any[owner], is_tied[owner] = at, True, False
        elif keys[at] == keys[best[owner]]:
            is_tied[owner] = True
    wanted = keys[best[is_tied]]
    if wanted.size == 0:
        return best
    sort_run(wanted, np.empty_like(wanted))
    words, next_one = np.empty(keys.size, np.uint64), 0
    join(keys, words)
    sort_around(words, wanted)
    for word in words:
        next_one = onward(wanted, next_one, word)
        if next_one == wanted.size:
            break
        owner = owners[word & LOW]
        if is_tied[owner] and keys[best[owner]] == word >> HALF:
            best[owner], is_tied[owner] = word & LOW, False
    return best


@kernel
def join(keys: np.ndarray, words: np.ndarray) -> None:
    """Write to `words` (uint64) each uint32 key, and below it its index."""
    for at in range(keys.size):
        words[at] = np.uint64(keys[at]) << HALF | np.uint64(at)


@kernel
def onward(wanted: np.ndarray, at: int, word: np.uint64) -> int:
    """Where in `wanted` the first key is that the word's does not exceed, from `at` on.

    For words one after another, once `sort_around` is done: ranges that it left as they were lie between wanted keys.
    """
    while at < wanted.size and wanted[at] < word >> HALF:
        at += 1
    return at


@kernel
def sort_around(words: np.ndarray, wanted: np.ndarray) -> None:
    """Put words (see `join`) in numpy's order as far as those with a `wanted` key (sorted) are concerned."""
    lowest = highest = words[0]
    for word in words:
        lowest, highest = min(lowest, word), max(highest, word)
    depth = 0
    while words.size >> (depth + 1):
        depth += 1
    # Pending ranges: first, last, depth left; and the bounds of the keys within.
    stack, bounds = np.empty((130, 3), np.int64), np.empty((130, 2), np.uint64)
    waiting = np.empty((2, BLOCK), np.uint64)
    put(stack, bounds, 0, 0, words.size - 1, 2 * depth, lowest >> HALF, highest >> HALF)
    n_stack = 1
    while n_stack > 0:
        n_stack -= 1
        left, right, depth = stack[n_stack, 0], stack[n_stack, 1], stack[n_stack, 2]
        low, high = bounds[n_stack, 0], bounds[n_stack, 1]
        if not holds(wanted, low, high):
            continue
        if depth < 0:
            heap_sort(words[left : right + 1])
            continue
        while right - left > SMALL and holds(wanted, low, high):
            at = partition(words, left, right, waiting)
            pivot = words[at] >> HALF
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
            insertion_sort(words, left, right)


@kernel
def is_less(one: np.uint64, other: np.uint64) -> bool:
    """By their keys."""
    return bool(one >> HALF < other >> HALF)


@kernel
def partition(words: np.ndarray, left: int, right: int, waiting: np.ndarray) -> int:
    """Split a range at the median of its first, middle and last key; returns where that one comes to stand.

    `waiting`: see `swap_blocks`.
    """
    middle = left + ((right - left) >> 1)
    if is_less(words[middle], words[left]):
        words[middle], words[left] = words[left], words[middle]
    if is_less(words[right], words[middle]):
        words[right], words[middle] = words[middle], words[right]
    if is_less(words[middle], words[left]):
        words[middle], words[left] = words[left], words[middle]
    first_equal, last_equal = words[middle] & ~LOW, words[middle] | LOW
    i, j = left, right - 1
    words[middle], words[j] = words[j], words[middle]
    i, j = swap_blocks(words, i, j, first_equal, last_equal, waiting)
    while True:
        i += 1
        while words[i] < first_equal:
            i += 1
        j -= 1
        while words[j] > last_equal:
            j -= 1
        if i >= j:
            break
        words[i], words[j] = words[j], words[i]
    words[i], words[right - 1] = words[right - 1], words[i]
    return i


@kernel
def swap_blocks(words, left, right, first_equal, last_equal, waiting) -> tuple[int, int]:
    """Begin to split what lies between left and right, both excluded, and return between which two it goes on.

    The first word from the left that is no less than `first_equal` changes places with the first from the right that is
    no more than `last_equal`, and so on. What has to move is listed first, a block on either side: the same swaps in
    the same order as one by one, but no branch that the processor has to guess. It ends where two blocks are no longer
    left. `waiting`: uint64 (2, BLOCK), room for the lists. Method: Edelkamp & Weiß, BlockQuicksort, ESA 2016,
    doi:10.4230/LIPIcs.ESA.2016.38.
    """
    from_left, from_right = waiting
    at_left = n_left = at_right = n_right = np.uint64(0)  # unsigned indices need no test for one from the end
    while right - left > 2 * BLOCK:
        if at_left == n_left:
            at_left = n_left = np.uint64(0)
            for at in range(np.uint64(left + 1), np.uint64(left + 1 + BLOCK)):
                from_left[n_left] = at
                n_left += np.uint64(words[at] >= first_equal)
        if at_right == n_right:
            at_right = n_right = np.uint64(0)
            for back in range(BLOCK):
                place = np.uint64(right - 1 - back)
                from_right[n_right] = place
                n_right += np.uint64(words[place] <= last_equal)
        for _ in range(min(n_left - at_left, n_right - at_right)):
            one, other = from_left[at_left], from_right[at_right]
            words[one], words[other] = words[other], words[one]
            at_left += ONE
            at_right += ONE
        if at_left == n_left:
            left += BLOCK
        if at_right == n_right:
            right -= BLOCK
    # One of the lists may have words left, which have yet to find their counterparts.
    if at_left < n_left:
        left = np.int64(from_left[at_left]) - 1
    if at_right < n_right:
        right = np.int64(from_right[at_right]) + 1
    return left, right


@kernel
def insertion_sort(words: np.ndarray, left: int, right: int) -> None:
    """numpy's insertion sort by key of a range, in place."""
    for at in range(left + 1, right + 1):
        moving = words[at]
        to = at
        while to > left and is_less(moving, words[to - 1]):
            words[to] = words[to - 1]
            to -= 1
        words[to] = moving


@kernel
def put(stack, bounds, at, left, right, depth, low, high) -> None:
    """Have a range wait; see `sort_around`."""
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
def heap_sort(words: np.ndarray) -> None:
    """numpy's heap sort by key, in place."""
    size = words.size
    for start in range(size // 2, 0, -1):
        sift(words, start, size, words[start - 1])
    while size > 1:
        moving = words[size - 1]
        words[size - 1] = words[0]
        size -= 1
        sift(words, 1, size, moving)


@kernel
def sift(words: np.ndarray, place: int, size: int, moving: np.uint64) -> None:
    """Places count from 1."""
    child = place * 2
    while child <= size:
        if child < size and is_less(words[child - 1], words[child]):
            child += 1
        if not is_less(moving, words[child - 1]):
            break
        words[place - 1] = words[child - 1]
        place = child
        child += child
    words[place - 1] = moving
