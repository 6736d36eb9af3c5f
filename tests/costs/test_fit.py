"""Straight lines through what tasks took."""

from __future__ import annotations

import pytest

from pipeline.costs.fit import fit
from pipeline.costs.spent import Spent


def taken(size: float) -> Spent:
    return Spent(reads=3 + 8 * size, writes=5, bytes_in=2e6 * size, seconds=1.5)


def test_what_is_needed_once_and_what_each_site_needs_come_apart() -> None:
    found = fit([(1,), (2,), (2,), (1,)], [taken(1), taken(2), taken(2), taken(1)], grows=True).at(9)
    assert found.reads == pytest.approx(75)
    assert found.writes == pytest.approx(5)
    assert found.bytes_in == pytest.approx(18e6)
    assert found.seconds == pytest.approx(1.5)


def test_tasks_of_one_size_grow_with_it_or_do_not() -> None:
    assert fit([(2,), (2,)], [taken(2), taken(2)], grows=True).at(4).reads == pytest.approx(38)
    assert fit([(2,), (2,)], [taken(2), taken(2)], grows=False).at(4).reads == pytest.approx(19)


def test_a_larger_task_is_never_foreseen_to_take_less() -> None:
    found = fit([(1,), (4,)], [Spent(seconds=9), Spent(seconds=3)], grows=True)
    assert found.at(100).seconds >= found.at(1).seconds >= 0


def test_plates_and_wells_come_apart_where_they_vary_by_themselves() -> None:
    def of(plates: float, wells: float) -> Spent:
        return Spent(reads=1 + 10 * plates + 2 * wells)

    sizes = [(1, 2), (1, 4), (2, 6)]
    assert fit(sizes, [of(*size) for size in sizes], grows=False).at(107, 41088).reads == pytest.approx(
        of(107, 41088).reads
    )
