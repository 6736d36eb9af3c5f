from __future__ import annotations

import threading

import pytest

from pipeline.errors import ImageError, StorageError
from pipeline.images import prefetch


def test_items_come_in_order_with_what_was_read():
    assert list(prefetch("abc", str.upper)) == [("a", "A"), ("b", "B"), ("c", "C")]


def test_no_items_are_no_work():
    assert list(prefetch([], str.upper)) == []


def test_the_next_item_is_read_while_this_one_is_used_and_no_more_than_that():
    started = {k: threading.Event() for k in range(4)}

    def read(k: int) -> int:
        started[k].set()
        return k

    for item, read_item in prefetch(range(4), read):
        assert item == read_item
        if item < 3:
            assert started[item + 1].wait(10)  # without our asking for it
        assert not any(started[later].is_set() for later in range(item + 2, 4))


def test_a_bad_image_is_handed_over_and_the_next_items_go_on():
    def read(k: int) -> int:
        if k == 1:
            raise ImageError("site 1 is broken")
        return k

    results = dict(prefetch(range(3), read))
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], ImageError)


def test_any_other_error_is_raised_when_its_item_is_due():
    def read(k: int) -> int:
        if k == 1:
            raise StorageError("throttled", retry=True)
        return k

    going = prefetch(range(3), read)
    assert next(going) == (0, 0)
    with pytest.raises(StorageError, match="throttled"):
        next(going)


def test_stopping_early_reads_nothing_more():
    read = []
    going = prefetch(range(100), lambda k: read.append(k) or k)
    next(going)
    going.close()
    assert len(read) <= 2
