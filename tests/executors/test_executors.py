"""What every executor promises, on each of them: exact numbers of attempts, outcomes as they come, tasks in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.executors import Executor, Task
from pipeline.executors.base import TaskFailed
from pipeline.executors.cluster import DaskExecutor
from pipeline.executors.clusters.serial import SerialExecutor
from tests.executors.scripted import attempts, faults, run, task


@pytest.fixture(scope="module", params=["serial", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    executor = SerialExecutor(attempts=3) if request.param == "serial" else DaskExecutor("local", workers=2, attempts=3)
    yield executor
    executor.close()


def test_every_task_runs_once(executor: Executor, tmp_path: Path) -> None:
    outcomes = run(executor, *(task(tmp_path, f"t{i}", "work") for i in range(20)))
    assert len(outcomes) == 20
    assert all(outcome.error is None and outcome.attempts == 1 for outcome in outcomes.values())
    assert all(attempts(tmp_path, name) == 1 for name in outcomes)


def test_what_may_pass_is_tried_again(executor: Executor, tmp_path: Path) -> None:
    outcome = run(executor, task(tmp_path, "t", "throttled", "throttled", "work"))["t"]
    assert outcome.record == {"name": "t", "attempt": 3}
    assert outcome.attempts == attempts(tmp_path, "t") == 3


def test_there_is_a_last_attempt(executor: Executor, tmp_path: Path) -> None:
    outcome = run(executor, task(tmp_path, "t", "throttled"))["t"]
    assert str(outcome.error) == "slow down"
    assert outcome.attempts == attempts(tmp_path, "t") == 3


@pytest.mark.parametrize("what", ["refused", "defect"])
def test_what_cannot_pass_is_not_tried_again(executor: Executor, tmp_path: Path, what: str) -> None:
    outcome = run(executor, task(tmp_path, "t", what))["t"]
    assert outcome.error is not None
    assert attempts(tmp_path, "t") == 1


def test_a_defect_is_told_with_its_task(executor: Executor, tmp_path: Path) -> None:
    error = run(executor, task(tmp_path, "t", "defect"))["t"].error
    assert isinstance(error, TaskFailed)
    assert "/t: ZeroDivisionError: of ours" in str(error)


def test_tasks_that_an_outcome_made_ready_run_too(executor: Executor, tmp_path: Path) -> None:
    tasks, seen = deque([task(tmp_path, "first", "work")]), []
    for outcome in executor.run(tasks):
        seen.append(outcome.task.place[0])
        if seen[-1] == "first":
            tasks.extend([task(tmp_path, "second", "work"), task(tmp_path, "third", "work")])
    assert seen[0] == "first"
    assert sorted(seen) == ["first", "second", "third"]


def test_memory_that_a_task_frees_serves_the_next_image(executor: Executor) -> None:
    outcomes = run(executor, Task("memory", ("faults",), faults, (100,)))
    record = outcomes["faults"].record
    assert record is not None
    assert record["faults"] < 10 * 768  # 3 MB are 768 pages; given back each time, they would be 100 times as many
