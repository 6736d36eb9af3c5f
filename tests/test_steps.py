"""Steps run when what they wait for has ended well, and not otherwise."""

from __future__ import annotations

from typing import Any

from pipeline.errors import PipelineError
from pipeline.executors import Task
from pipeline.executors.serial import SerialExecutor
from pipeline.steps import Step, run_steps


def record(log: list[str], name: str, fails: bool = False) -> dict[str, Any]:
    log.append(name)
    if fails:
        raise PipelineError(f"{name} failed")
    return {}


def step(log: list[str], name: str, *after: Step, fails: bool = False, **more: Any) -> Step:
    return Step(Task(name, record, (log, name, fails)), list(after), **more)


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
