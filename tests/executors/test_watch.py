"""What stands still, by looks at the cluster. Time is what the tests say it is."""

from __future__ import annotations

import pytest

from pipeline.executors.watch import Held, Patience, Watch

A, B = "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"


@pytest.fixture
def watch() -> Watch:
    return Watch(Patience(silent=60, beyond=4, at_least=60, peers=5))


def ran(watch: Watch, stage: str, *seconds: float) -> None:
    """Tasks of a stage that took so long, one after another."""
    for number, took in enumerate(seconds):
        watch.look(0, {A: 0}, {A: [f"{stage}/{number}"]})
        watch.ended(took, f"{stage}/{number}", stage)


def test_a_worker_whose_sign_of_life_is_the_same_for_a_minute_is_silent(watch: Watch) -> None:
    watch.look(100, {A: 7.0, B: 7.0}, {})
    watch.look(159, {A: 7.0, B: 66.0}, {})
    assert watch.silent(159) == {}
    assert watch.silent(160) == {A: 60}


def test_a_sign_of_life_is_new_whatever_the_clock_of_the_scheduler_says(watch: Watch) -> None:
    watch.look(100, {A: 1e9}, {})
    watch.look(150, {A: 5.0}, {})  # set back
    assert watch.silent(170) == {}
    assert watch.silent(210) == {A: 60}


def test_a_worker_that_has_left_is_not_silent(watch: Watch) -> None:
    watch.look(0, {A: 1}, {})
    watch.look(100, {}, {})
    assert watch.silent(100) == {}


def test_a_task_is_on_its_worker_since_it_was_first_seen_there(watch: Watch) -> None:
    watch.look(10, {A: 1}, {A: ["measure/1"]})
    watch.look(30, {A: 2}, {A: ["measure/1", "measure/2", "another/driver"]})
    assert watch.held(35, ["measure/1", "measure/2"]) == [Held("measure/1", A, 25), Held("measure/2", A, 5)]
    watch.look(40, {B: 1}, {B: ["measure/1"]})  # its worker died, and another has it
    assert watch.held(50, ["measure/1"]) == [Held("measure/1", B, 10)]


def test_a_task_is_far_beyond_its_peers_after_four_times_what_nine_in_ten_took(watch: Watch) -> None:
    ran(watch, "measure", *range(21, 31), 1000)  # ten of 21 to 30 s, and one that stood still
    assert watch.limit("measure") == 4 * 30


def test_short_tasks_have_a_minute(watch: Watch) -> None:
    ran(watch, "measure", 1, 1, 1, 1, 1)
    assert watch.limit("measure") == 60


def test_too_few_peers_tell_nothing_and_other_stages_are_none(watch: Watch) -> None:
    ran(watch, "measure", 1, 1, 1, 1)
    ran(watch, "publish", 1, 1, 1, 1, 1)
    assert watch.limit("measure") is None


def test_a_task_that_ended_between_two_looks_counts_as_short(watch: Watch) -> None:
    for number in range(5):
        watch.ended(50, f"measure/{number}", "measure")
    assert watch.limit("measure") == 60
