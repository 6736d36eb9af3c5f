"""What a task takes is told with its record, wherever it ran, and with its error."""

from __future__ import annotations

import pickle
from collections import deque
from typing import Any

import pytest

from pipeline.costs.account import plate_of, spent_on
from pipeline.costs.meter import metered, outside_tasks
from pipeline.costs.spent import Spent
from pipeline.errors import StorageError
from pipeline.executors import Outcome, Task
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.screen import Plate
from pipeline.storage import open_storage


def work(place: str) -> dict[str, Any]:
    storage = open_storage(place)
    storage.put("a/one", b"12345")
    storage.put_if_absent("a/one", b"12345")  # is asked, and refused: a bucket takes money for it
    storage.get("a/one")
    storage.stat("a/two")
    list(storage.entries("a/"))
    return {"done": True}


def fail(place: str) -> dict[str, Any]:
    work(place)
    raise StorageError("no")


def of(function: Any, place: object) -> Outcome:
    task = Task("measure", ("B", "P", "A01"), metered(function), (str(place),))
    [outcome] = SerialExecutor().run(deque([task]))
    return outcome


def counted(spent: Spent) -> tuple[float, ...]:
    return spent.reads, spent.writes, spent.lists, spent.bytes_in, spent.bytes_out


def test_requests_and_bytes_of_a_task_are_counted(tmp_path: Any) -> None:
    outcome = of(work, tmp_path)
    assert outcome.record is not None
    assert outcome.record["done"]
    assert counted(spent_on(outcome)) == (2, 2, 1, 5, 10)
    assert spent_on(outcome).seconds > 0


def test_a_task_that_fails_has_cost_as_much(tmp_path: Any) -> None:
    outcome = of(fail, tmp_path)
    assert isinstance(outcome.error, StorageError)
    assert counted(spent_on(outcome)) == (2, 2, 1, 5, 10)
    sent = Outcome(outcome.task, error=pickle.loads(pickle.dumps(outcome.error)))  # as from another process
    assert spent_on(sent) == spent_on(outcome)


def test_what_the_driver_itself_does_is_told_apart_from_tasks_in_its_process(tmp_path: Any) -> None:
    before = outside_tasks()
    of(work, tmp_path)
    open_storage(str(tmp_path)).put("b", b"123")
    assert counted(outside_tasks() - before) == (0, 1, 0, 0, 3)


@pytest.mark.parametrize(
    ("stage", "place", "plate"),
    [
        ("measure", ("B", "P", "A01"), Plate("B", "P")),
        ("publish", ("B", "P"), Plate("B", "P")),
        ("select", ("B",), None),
        ("score", ("detection", "compound_A549"), None),
        ("compare", (), None),
    ],
)
def test_a_task_is_of_a_plate_or_of_none(stage: str, place: tuple[str, ...], plate: Plate | None) -> None:
    assert plate_of(Task(stage, place, work, ())) == plate
