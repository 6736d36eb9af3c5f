"""Which of equal values CellProfiler takes: numpy 1.26's quicksort, step by step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.kernels.keys import sort_keys, sort_run, values_of
from pipeline.engines.native.numpy1.ties import LOW, first_minima, heap_sort, join, last_maxima, sort_around
from tests.engines.native.numpy1 import ask


def quicksort(keys: list[int]) -> list[int]:
    """numpy's `aquicksort` without its limit of depth: median of three, insertion sort up to 16 elements."""
    order = list(range(len(keys)))
    ranges = [(0, len(keys) - 1)]
    while ranges:
        left, right = ranges.pop()
        while right - left > 15:
            middle = (left + right) // 2
            for one, other in ((left, middle), (middle, right), (left, middle)):
                if keys[order[other]] < keys[order[one]]:
                    order[one], order[other] = order[other], order[one]
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
            ranges.append((i + 1, right))
            right = i - 1
        order[left : right + 1] = sorted(order[left : right + 1], key=keys.__getitem__)
    return order


def words_of(keys: np.ndarray) -> np.ndarray:
    words = np.empty(keys.size, np.uint64)
    join(keys, words)
    return words


def sorted_around(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    words = words_of(keys)
    sort_around(words, np.unique(wanted))
    return words & LOW


@given(st.lists(st.integers(0, 6), min_size=1, max_size=300))
def test_with_all_keys_wanted_the_order_is_that_of_a_plain_quicksort(keys):
    keys = np.array(keys, np.uint32)

    assert sorted_around(keys, keys).tolist() == quicksort(keys.tolist())


@given(st.integers(200, 2000), st.integers(1, 2000), st.integers(0, 99))
def test_long_ranges_are_split_as_short_ones(n, levels, seed):
    keys = np.random.default_rng(seed).integers(0, levels, n).astype(np.uint32)

    assert sorted_around(keys, keys).tolist() == quicksort(keys.tolist())


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.sets(st.integers(0, 30), min_size=1, max_size=3))
def test_wanted_keys_stand_where_the_whole_sort_puts_them_and_others_need_not(keys, wanted):
    keys = np.array(keys, np.uint32)
    partly, wholly = sorted_around(keys, np.array(list(wanted), np.uint32)), np.array(quicksort(keys.tolist()))

    for place in np.flatnonzero(np.isin(keys[wholly], list(wanted))):
        assert partly[place] == wholly[place]


@given(st.lists(st.integers(0, 9), max_size=60))
def test_heap_sort_sorts(keys):
    keys = np.array(keys, np.uint32)
    words = words_of(keys)
    heap_sort(words)
    order = words & LOW

    assert sorted(order) == list(range(keys.size))
    assert np.all(np.diff(keys[order].astype(int)) >= 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=200))
def test_the_last_maximum_and_the_first_minimum_of_each_label_in_that_order(pairs):
    keys, labels = (np.array(column) for column in zip(*pairs, strict=True))
    keys, labels = keys.astype(np.uint32), labels.astype(np.int32)
    order = quicksort(keys.tolist())
    last, first = {}, {}
    for pixel in order:
        last[labels[pixel]] = pixel
        first.setdefault(labels[pixel], pixel)

    found = last_maxima(keys, labels, labels.max(), np.empty(keys.size, np.uint64))
    assert found.tolist() == [last.get(label, 0) for label in range(1, labels.max() + 1)]
    assert first_minima(keys, labels, 4).tolist() == [first.get(label, 0) for label in range(4)]


def median_of_three_killer(n: int) -> np.ndarray:
    """A permutation that quicksort with median of three splits badly (Musser 1997), so that numpy turns to heaps."""
    k = n // 2
    values = np.empty(n)
    for i in range(1, k + 1):
        values[i - 1] = i if i % 2 else k + i - 1
        values[k + i - 1] = 2 * i
    return values


def test_numpy_1_in_cellprofilers_interpreter_agrees_also_where_it_turns_to_heaps():
    random = np.random.default_rng(1)
    cases = []
    for size, levels in [(10, 3), (17, 2), (500, 5), (5000, 40), (60_000, 900), (60_000, 60_000)]:
        for dtype in (np.float32, np.float64):
            values = (random.integers(0, levels, size) / 65535).astype(dtype)
            cases.append({"values": values, "labels": random.integers(0, 9, size).astype(np.int32)})
    for values in (median_of_three_killer(4000), median_of_three_killer(4000) // 7, np.ones(3000), np.arange(3000.0)):
        cases.append({"values": values, "labels": random.integers(0, 4, values.size).astype(np.int32)})

    for case, answer in zip(cases, ask("maxima", cases), strict=True):
        if case["values"].dtype == np.float32:
            keys = sort_keys(case["values"])
        else:
            keys = np.unique(case["values"], return_inverse=True)[1].astype(np.uint32)
        assert sorted_around(keys, keys).tolist() == answer["order"].tolist()
        found = last_maxima(keys, case["labels"], case["labels"].max(), np.empty(keys.size, np.uint64))
        assert found.tolist() == answer["places"].tolist()


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_keys_order_floats_as_numpy_sorts_them(values):
    values = np.array(values, np.float32)
    keys = sort_keys(values)

    np.testing.assert_array_equal(values[np.argsort(keys, kind="stable")], np.sort(values))
    assert all((keys[i] == keys[j]) for i in range(len(keys)) for j in range(i) if values[i] == values[j])
    back = values_of(keys)
    np.testing.assert_array_equal(back, values)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=400))
def test_runs_are_sorted(keys):
    expected = sorted(keys)
    keys = np.array(keys, np.uint32)
    sort_run(keys, np.empty_like(keys))

    assert keys.tolist() == expected
