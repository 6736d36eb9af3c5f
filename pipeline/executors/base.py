"""How tasks run. An executor knows nothing of what they do."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.errors import NoSpace, PipelineError
from pipeline.storage import is_full


@dataclass(frozen=True)
class Task:
    """A function importable on a worker, with small arguments, that returns a small record.

    Running it twice, or twice at once, changes nothing. `stage`: what it is for, e.g. "measure"; tasks of one stage are
    each other's peers. `place`: what it is about, e.g. (batch, plate, well). The two name it.
    """

    stage: str
    place: tuple[str, ...]
    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]

    @property
    def key(self) -> str:
        """Its name, e.g. "measure/<batch>/<plate>/<well>". To be shown and compared; nothing is read out of it."""
        return "/".join((self.stage, *self.place))


@dataclass(frozen=True)
class Outcome:
    """What came of a task: its record, or the error of its last attempt."""

    task: Task
    record: dict[str, Any] | None = None
    error: PipelineError | None = None
    attempts: int = 1


class TaskFailed(PipelineError):
    """An error that is none of ours, raised inside a task: a defect, or a library's complaint."""

    kind = "task_failed"


class WorkerDied(PipelineError):
    """A task took its worker with it, again and again."""

    kind = "worker_died"


class Executor(Protocol):
    @property
    def workers(self) -> int:
        """How many there are now: what is paid for by the hour."""
        ...

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        """Run tasks until none is left, yielding outcomes as they come.

        Tasks are taken from the front. The caller puts those that an outcome made ready into the same deque, before
        asking for the next outcome. Failures that may pass (`PipelineError.retry`) are tried again, up to a limit.
        """
        ...

    def close(self) -> None: ...


def as_ours(key: str, error: BaseException) -> PipelineError:
    """Any error of a task as one of ours."""
    if isinstance(error, PipelineError):
        return error
    if is_full(error):
        return NoSpace(f"{key}: {error}. The temporary folder ({tempfile.gettempdir()}) is the likely place.")
    return TaskFailed(f"{key}: {type(error).__name__}: {error}")
