"""Steps run when what they wait for has ended well, and not otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.executors import Task
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.steps import Step, run_steps


def record(log: list[str], name: str, fails: bool = False) -> dict[str, Any]:
    log.append(name)
    if fails:
        raise PipelineError(f"{name} failed")
    return {}


def step(log: list[str], name: str, *after: Step, fails: bool = False, **more: Any) -> Step:
    return Step(Task(name, (), record, (log, name, fails)), list(after), **more)


def run(*steps: Step) -> dict[str, bool]:
    """Task -> whether it counts as well ended, of those that ran."""
    return {outcome.task.key: ended_well for outcome, ended_well in run_steps(list(steps), SerialExecutor())}


def test_a_step_runs_after_all_that_it_waits_for() -> None:
    log: list[str] = []
    a, b = step(log, "a"), step(log, "b")
    c = step(log, "c", a, b)
    d = step(log, "d", c)
    run(d, c, b, a)
    assert sorted(log[:2]) == ["a", "b"]
    assert log[2:] == ["c", "d"]


def test_what_waits_for_a_step_that_failed_is_not_run() -> None:
    log: list[str] = []
    a = step(log, "a", fails=True)
    b = step(log, "b", a)
    c = step(log, "c", b)
    other = step(log, "other")
    assert run(a, b, c, other) == {"a": False, "other": True}


def test_a_step_with_something_to_do_instead_holds_up_nobody() -> None:
    log: list[str] = []
    told: list[str] = []
    a = step(log, "a", fails=True, or_else=lambda error: not told.append(str(error)))
    b = step(log, "b", a)
    assert run(a, b) == {"a": True, "b": True}
    assert told == ["a failed"]


def test_a_step_that_refuses_to_be_passed_over_holds_up_what_waits() -> None:
    log: list[str] = []
    a = step(log, "a", fails=True, or_else=lambda error: False)
    b = step(log, "b", a)
    assert run(a, b) == {"a": False}


def test_steps_that_wait_for_each_other_are_said_and_none_is_run() -> None:
    log: list[str] = []
    a = step(log, "a")
    b = step(log, "b", a)
    a.after.append(b)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"wait for each other: (a, b, a|b, a, b)"):
        run(a, b, step(log, "c"))
    assert log == []


def test_two_tasks_of_one_key_are_said_and_none_is_run() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match=r"several tasks of one key: a$"):
        run(step(log, "a"), step(log, "b"), step(log, "a"))
    assert log == []


def test_what_an_ended_step_made_ready_comes_before_what_lies_behind_it() -> None:
    log: list[str] = []
    plates = []
    for plate in "12":
        sums = step(log, f"sums{plate}")
        wells = [step(log, f"well{plate}{name}", sums) for name in "AB"]
        plates += [sums, *wells, step(log, f"publish{plate}", *wells)]
    run(*plates, step(log, "select", *(one for one in plates if one.task.stage.startswith("publish"))))
    first, second = ([f"sums{n}", f"well{n}A", f"well{n}B", f"publish{n}"] for n in "12")
    assert log == [*first, *second, "select"]


def test_once_there_is_enough_what_runs_is_finished_and_nothing_else_begun() -> None:
    log: list[str] = []
    first, second = step(log, "first"), step(log, "second")
    last, third = step(log, "last", first), step(log, "third")
    done = [
        outcome.task.key
        for outcome, _ in run_steps([first, second, third, last], SerialExecutor(), enough=lambda: True)
    ]
    assert done == [first.task.key]
