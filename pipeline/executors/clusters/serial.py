"""`cluster: serial`: tasks one after another, here: for debugging, and as the plain meaning of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.executors.base import Outcome, Task, as_ours

if TYPE_CHECKING:
    from pipeline.config import Config


def open(config: Config, say: Callable[[str], None]) -> SerialExecutor:
    return SerialExecutor(config.limits.attempts)


class SerialExecutor:
    workers = 1

    def __init__(self, attempts: int = 3) -> None:
        self.attempts = attempts

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        while tasks:
            yield self._run(tasks.popleft())

    def _run(self, task: Task) -> Outcome:
        for attempt in range(1, self.attempts + 1):
            try:
                return Outcome(task, record=task.function(*task.arguments), attempts=attempt)
            except Exception as error:
                ours = as_ours(task.key, error)
                if not ours.retry or attempt == self.attempts:
                    return Outcome(task, error=ours, attempts=attempt)
        raise AssertionError("unreachable")  # pragma: no cover

    def close(self) -> None:
        pass
