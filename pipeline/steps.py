"""Tasks that wait for tasks: a step is ready when all it waits for has ended well."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from pipeline.errors import PipelineError
from pipeline.executors import Executor, Outcome, Task
from pipeline.results.records import MISSING, Standing


@dataclass(frozen=True, eq=False)
class Step:
    """A task and the steps that must have ended well before it. (Identity is equality: steps are many.)

    `or_else` is asked, with the error, where the task fails: if it answers true, the step counts as well ended all the
    same, and what comes after it goes on without it. `standing`: of what it makes, as it is before.
    """

    task: Task
    after: Sequence[Step]
    or_else: Callable[[PipelineError], bool] | None = None
    standing: Standing = MISSING


class Beside(Protocol):
    """A task that now and then runs beside the steps. While it does, steps of these `stages` are held back."""

    stages: tuple[str, ...]

    def ended(self, outcome: Outcome, ended_well: bool) -> None:
        """A step has ended."""
        ...

    def task(self, waiting: Iterable[Step]) -> Task | None:
        """The task, when it is due. `waiting`: the steps that wait for others."""
        ...


def run_steps(
    steps: Sequence[Step],
    executor: Executor,
    beside: Beside | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Outcome, bool]]:
    """Run all steps, each in its turn; yields every outcome, and whether the step ended well.

    What waits for a step that did not end well is not run. Once there is `enough`, what runs is finished and nothing
    else is begun. Raises `ValueError` where two tasks have one key, or where
    steps wait for each other.
    """
    by_key = {step.task.key: step for step in steps}
    if len(by_key) < len(steps):
        twice = [key for key, times in Counter(step.task.key for step in steps).items() if times > 1]
        raise ValueError(f"There are several tasks of one key: {', '.join(twice)}")
    turn = turns(steps)
    sorter = TopologicalSorter({step: step.after for step in steps})
    sorter.prepare()
    ready: deque[Task] = deque()
    waiting = dict.fromkeys(steps)
    held: list[Step] = []
    extra: Task | None = None

    def make_ready(found: Iterable[Step]) -> None:
        for step in found:
            waiting.pop(step, None)
            if extra is not None and beside is not None and step.task.stage in beside.stages:
                held.append(step)
            else:
                insort(ready, step.task, key=lambda task: turn[task.key])

    make_ready(sorter.get_ready())
    for outcome in executor.run(ready):
        if extra is not None and outcome.task.key == extra.key:
            yield outcome, outcome.error is None
            extra, released, held = None, held, []
            make_ready(released)
            if enough():
                ready.clear()
            continue
        ended, error = by_key[outcome.task.key], outcome.error
        ended_well = error is None or (ended.or_else is not None and ended.or_else(error))
        yield outcome, ended_well
        if ended_well:
            sorter.done(ended)
            make_ready(sorter.get_ready())
        if beside is not None:
            beside.ended(outcome, ended_well)
            if extra is None and (extra := beside.task(waiting)) is not None:
                turn[extra.key] = (-1, 0)  # before all others
                ready.appendleft(extra)
        if enough():
            ready.clear()


def turns(steps: Sequence[Step]) -> dict[str, tuple[int, int]]:
    """Task -> its turn among those that are ready: depth first.

    A step that waits for nothing has its turn by its place in the list; any other comes as soon as it can, right after
    the last that it waits for. So a plate is published before the next is measured, and workers that this leaves idle
    begin with the next.
    """
    try:
        ordered = TopologicalSorter({step: step.after for step in steps}).static_order()
        first: dict[Step, int] = {}
        place = {step: number for number, step in enumerate(steps)}
        for step in ordered:
            first[step] = max((first[earlier] for earlier in step.after), default=place[step])
    except CycleError as error:
        raise ValueError(f"These tasks wait for each other: {', '.join(s.task.key for s in error.args[1])}") from None
    return {step.task.key: (first[step], place[step]) for step in steps}
