"""Depth first: a plate is finished before the next begins, and what is ready can be read. Whatever the order of tasks
and however often the scores are refreshed on the way, the same bytes come out."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from pipeline import flow, open_scores
from pipeline.config import Config
from pipeline.executors import Executor, Outcome, Task
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.progress import Progress
from pipeline.report import read_summary
from pipeline.storage import open_storage
from tests.end_to_end.conftest import QUICK_PLATES, stored


class Watched:
    """A serial executor that keeps the order in which tasks end. `look`: called after each outcome."""

    def __init__(self, look: Callable[[Outcome], None] = lambda outcome: None) -> None:
        self.order: list[Task] = []
        self.look = look

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        for outcome in SerialExecutor(3).run(self.choose(tasks)):
            self.order.append(outcome.task)
            yield outcome
            self.look(outcome)

    def choose(self, tasks: deque[Task]) -> deque[Task]:
        return tasks

    def close(self) -> None:
        pass


class AnyOf(deque[Task]):
    """Looks at the deque of the steps, and takes any of it."""

    def __init__(self, tasks: deque[Task], random: random.Random) -> None:
        self.tasks, self.random = tasks, random

    def __bool__(self) -> bool:
        return bool(self.tasks)

    def popleft(self) -> Task:
        place = self.random.randrange(len(self.tasks))
        task = self.tasks[place]
        del self.tasks[place]
        return task


class Shuffled(Watched):
    """Takes any of the tasks that are ready, by a seed: as the fastest of many workers would have it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def choose(self, tasks: deque[Task]) -> deque[Task]:
        return AnyOf(tasks, self.random)


def run(config: Config, executor: Executor) -> None:
    assert not flow.run(config, lambda: executor, Progress(quiet=True)).failures


@pytest.fixture(scope="module")
def undisturbed(quick: Callable[..., Config]) -> tuple[dict[str, str], list[Task]]:
    """What a run leaves that refreshes nothing on the way, and the order of its tasks."""
    executor = Watched()
    run(quick("undisturbed"), executor)
    return stored(quick("undisturbed").results), executor.order


def test_plates_are_finished_one_after_another(undisturbed: tuple[dict[str, str], list[Task]]) -> None:
    _, order = undisturbed
    by_plate = ("illuminate", "smooth", "measure", "publish", "profile")
    plates = list(dict.fromkeys(task.place[:2] for task in order if task.stage in by_plate))
    assert [(task.place[:2], task.stage) for task in order if task.stage in by_plate] == [
        (plate, stage)
        for plate in plates
        for stage in by_plate
        for task in order
        if (task.place[:2], task.stage) == (plate, stage)
    ]
    assert len(plates) == len(QUICK_PLATES)
    first = next(place for place, task in enumerate(order) if task.stage == "publish")
    assert first + 1 <= len(order) / len(plates)


def test_scores_and_report_appear_for_the_plates_that_are_ready_and_end_as_if_they_had_not(
    quick: Callable[..., Config], undisturbed: tuple[dict[str, str], list[Task]]
) -> None:
    settings = quick("refreshed", **{"report.refresh_minutes": 1e-9})
    seen: list[tuple[str, str]] = []
    missing: list[int] = []

    def look(outcome: Outcome) -> None:
        if outcome.task.stage == "refresh":
            assert outcome.error is None
            summary = read_summary(open_storage(settings.results))
            page = open_storage(settings.results).get("report/index.html").decode()
            assert f"partial: {summary.partial}" in page
            with pytest.warns(UserWarning, match=f"detection is partial, of {summary.partial}: the run at"):
                detection = open_scores(settings.results, "detection")
            missing.append(int(detection["n_plates_missing"].sum()))
            seen.append((outcome.task.place[0], summary.partial))

    run(settings, Watched(look))
    assert [first for first, _ in seen] == [second for _, second in seen] == ["1 of 3 plates", "2 of 3 plates"]
    assert missing[0] > 0
    assert open_scores(settings.results, "detection")["n_plates_missing"].sum() == 0
    assert read_summary(open_storage(settings.results)).partial == ""
    assert stored(settings.results) == undisturbed[0]


def test_two_drivers_at_once_on_one_root_leave_the_same_bytes(
    quick: Callable[..., Config], undisturbed: tuple[dict[str, str], list[Task]]
) -> None:
    settings = quick("two-drivers")
    ended: list[Outcome] = []

    def look(outcome: Outcome) -> None:
        ended.append(outcome)
        if len(ended) == 3:  # in the midst of a plate another driver begins, and ends
            run(settings, Watched())

    run(settings, Watched(look))
    assert ended[2].task.stage == "measure"
    assert stored(settings.results) == undisturbed[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bytes_do_not_hang_on_the_order_of_tasks(
    quick: Callable[..., Config], undisturbed: tuple[dict[str, str], list[Task]], seed: int
) -> None:
    executor = Shuffled(seed)
    settings = quick(f"shuffled-{seed}", **{"report.refresh_minutes": 1e-9})
    run(settings, executor)
    assert [task.key for task in executor.order] != [task.key for task in undisturbed[1]]
    assert stored(settings.results) == undisturbed[0]
