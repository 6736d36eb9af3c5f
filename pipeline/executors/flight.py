"""The tasks of one run that are on a Dask cluster: few at a time, watched, and put elsewhere where they stand still."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from pipeline.errors import PipelineError, spoken
from pipeline.executors.base import Outcome, Task, WorkerDied, as_ours
from pipeline.executors.watch import Held, Patience, Watch

#: How often a task that lost its workers is tried with a machine to itself. Each time is as many deaths as the
#: scheduler allows (four), so that bad luck on machines that come and go does not look like a task that kills.
ALONE = 2
#: seconds in which a scheduler answers a question
ANSWERS = 60
#: seconds in which a worker that lives hands over a record
HANDS_OVER = 10


class SchedulerGone(Exception):
    """The scheduler does not answer, or has forgotten our tasks."""


@dataclass(eq=False)
class _Running:
    task: Task
    attempt: int = 1
    alone: int = 0  # times it was tried with a machine to itself
    deaths: int = 0
    copies: int = 0
    keys: list[str] = field(default_factory=list)  # of the runs that are on the cluster: one, or a copy too


class Flight:
    """What is in flight. Tasks come from a deque; `step` gives outcomes as they come.

    A task that stands still (its worker gives no sign of life, or it is far beyond its peers) is started once more on
    another worker, and the first to end wins: tasks are such that running them twice changes nothing.
    """

    def __init__(
        self,
        *,
        attempts: int,
        tasks_per_worker: int,
        patience: Patience,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts, self._tasks_per_worker, self._patience = attempts, tasks_per_worker, patience
        self._say, self._clock = say, clock
        self._suspects: deque[_Running] = deque()
        self._reset()

    def _reset(self) -> None:
        now = self._clock()
        self._running: dict[str, _Running] = {}
        #: of a future that lost against another: None. It is kept, so that the scheduler knows its worker is busy
        self._futures: dict[Future, _Running | None] = {}
        self._answers: queue.SimpleQueue[Future] = queue.SimpleQueue()
        #: ended, and lost with their worker before they were fetched: Dask runs them again
        self._lost: list[Future] = []
        self._watch = Watch(self._patience)
        self._workers: dict[str, Any] = {}
        self._said: set[str] = set()
        #: keys of runs that were to be on certain workers
        self._wished: set[str] = set()
        self._next_look = self._last_end = self._had_worker = now
        self._quiet = self._patience.quiet

    @property
    def workers(self) -> int:
        """How many there were at the last look."""
        return len(self._workers)

    def __bool__(self) -> bool:
        return bool(self._running or self._suspects)

    def start_over(self, tasks: deque[Task]) -> None:
        """Give everything that was on a cluster back to the deque: its scheduler has gone."""
        tasks.extendleft(reversed([entry.task for entry in self._running.values()]))
        self._reset()

    def step(self, client: Client, tasks: deque[Task]) -> Outcome | None:
        """Start what there is room for, and wait for the next outcome; None if nothing came of a while's waiting.

        Raises SchedulerGone, and PipelineError where there is no worker for too long.
        """
        if self._clock() >= self._next_look:
            self._look(client)
        self._fill(client, tasks)
        try:
            future = self._answers.get(timeout=self._patience.look)
        except queue.Empty:
            return None
        return self._ended(client, future)

    def _fill(self, client: Client, tasks: deque[Task]) -> None:
        if any(entry.alone for entry in self._running.values()):
            return
        threads = sum(worker["nthreads"] for worker in self._workers.values())
        while tasks and len(self._running) < max(1, threads) * self._tasks_per_worker:
            self._start(client, _Running(tasks.popleft()))
        if not self._running:
            self._start_alone(client)

    def _start(self, client: Client, entry: _Running, workers: Iterable[str] = (), copy: bool = False) -> None:
        # A key names one try: Dask would answer a second one from the failed first.
        key = entry.task.key + (f"#{entry.attempt}" if entry.attempt > 1 else "")
        entry.copies += copy
        key += (f"#alone{entry.alone}" if entry.alone else "") + (f"#copy{entry.copies}" if copy else "")
        # The scheduler keeps a task until a worker is free only if it is told that it is a producer of data (it guesses
        # so otherwise for large groups of keys only, which ours are not). A worker that dies takes down what it holds.
        where: dict[str, Any] = {"_data_producer": True}
        if workers:  # a wish: where they have gone, any will do
            where = {"workers": list(workers), "allow_other_workers": True}
            self._wished.add(key)
        function, arguments = entry.task.function, entry.task.arguments
        self._running[entry.task.key] = entry  # before it is sent: if the scheduler has gone it is given back
        with _asking(client):
            future = client.submit(function, *arguments, key=key, pure=False, priority=int(copy), **where)
        entry.keys.append(key)
        self._futures[future] = entry
        future.add_done_callback(self._answers.put)

    def _start_alone(self, client: Client) -> None:
        """Nothing else is on the cluster: try what has lost its workers again, one task a machine, where memory is."""
        by_memory = sorted(self._workers, key=lambda worker: self._workers[worker]["memory_limit"] or 0)
        idle = {self._workers[worker]["host"]: worker for worker in by_memory if worker not in self._silent()}
        places: list[list[str]] = [[worker] for worker in reversed(idle.values())]
        for place in places or [[]]:
            if self._suspects:
                self._start(client, self._suspects.popleft(), place)

    def _ended(self, client: Client, future: Future) -> Outcome | None:
        if future.status == "lost":
            self._lost.append(future)
            return None
        entry = self._futures.pop(future, None)
        if future.cancelled():
            raise SchedulerGone
        if entry is None:  # the slower of two, which write the same bytes
            return None
        with _asking(client):
            answer = _answer(entry.task, future)
        if answer is None:  # another finds it done
            has_it = _ask(client, "who_has", keys=[future.key]).get(future.key, ())
            self._futures[future] = None
            entry.keys.remove(str(future.key))
            self._start(client, entry, self._workers.keys() - {*has_it, *self._silent()}, copy=True)
            return None
        record, error = answer
        del self._running[entry.task.key]
        self._futures |= {slower: None for slower, owner in self._futures.items() if owner is entry}
        self._last_end, self._quiet = self._clock(), self._patience.quiet
        future.release()
        if isinstance(error, KilledWorker):
            return self._lost_its_workers(entry, error)
        self._watch.ended(self._last_end, str(future.key), entry.task.stage)
        if error is not None and error.retry and entry.attempt < self._attempts:
            self._start(client, _Running(entry.task, entry.attempt + 1))
            return None
        return Outcome(entry.task, record, error, entry.attempt)

    def _lost_its_workers(self, entry: _Running, error: KilledWorker) -> Outcome | None:
        deaths = entry.deaths + error.allowed_failures + 1
        if entry.alone < ALONE:
            if not entry.alone:
                self._say(f"{entry.task.key}: {deaths} workers died while they had it. It is tried by itself later.")
            self._suspects.append(_Running(entry.task, entry.attempt, entry.alone + 1, deaths))
            return None
        reason = WorkerDied(
            f"{entry.task.key}: {deaths} workers died while they had this task, the last {error.allowed_failures + 1} "
            "with nothing else to do; it is set aside. Look at their logs for the reason (memory, most often)."
        )
        return Outcome(entry.task, None, reason, entry.attempt)

    # --- looking around ---------------------------------------------------------------------------------------------

    def _look(self, client: Client) -> None:
        held = _ask(client, "processing", workers=None)
        scheduler = _ask(client, "identity", n_workers=-1)
        self._workers = scheduler["workers"]
        now = self._clock()
        self._next_look = now + self._patience.look
        self._watch.look(now, {name: worker["last_seen"] for name, worker in self._workers.items()}, held)
        if self._workers:
            self._had_worker = now
        elif now - self._had_worker > self._patience.away:
            raise PipelineError(
                f"The Dask scheduler at {scheduler['address']} has had no worker for "
                f"{spoken(now - self._had_worker)}. Nothing is lost: start workers, and `run` again."
            )
        while self._lost:
            self._lost.pop().add_done_callback(self._answers.put)
        self._put_elsewhere(client, now)
        if now - self._last_end >= self._quiet and self._running:
            self._quiet *= 2
            self._say(self._waiting(now))

    def _silent(self) -> dict[str, float]:
        return self._watch.silent(self._clock())

    def _put_elsewhere(self, client: Client, now: float) -> None:
        """Say which workers and tasks stand still, and start those tasks once more on other workers."""
        silent = self._watch.silent(now)
        keys = {key for entry in self._running.values() for key in entry.keys}
        self._said &= keys | silent.keys()
        self._wished &= keys
        for worker, seconds in silent.items():
            if worker not in self._said:
                self._said.add(worker)
                self._say(f"No sign of life from the worker {worker} for {spoken(seconds)}.")
        owners = {key: entry for entry in self._running.values() for key in entry.keys}
        on_workers = self._watch.held(now, owners)
        for key in owners.keys() - {held.key for held in on_workers}:
            # Dask leaves a task that wished for a worker without one if all workers were away when that one died.
            if self._workers and key in self._wished and len(owners[key].keys) == 1:
                self._start(client, owners[key], copy=True)
        for held in on_workers:
            limit = self._watch.limit(owners[held.key].task.stage)
            if held.worker in silent:
                self._copy(client, owners[held.key], held, silent, "its worker stands still")
            elif limit is not None and held.seconds > limit and not self._many_copies():
                self._copy(client, owners[held.key], held, silent, f"nine in ten take a quarter of {spoken(limit)}")

    def _many_copies(self) -> bool:
        """Whether a tenth of the workers has copies: a threshold that proves too low must not double the work."""
        return sum(len(entry.keys) > 1 for entry in self._running.values()) >= max(1, len(self._workers) // 10)

    def _copy(self, client: Client, entry: _Running, held: Held, silent: dict[str, float], why: str) -> None:
        if len(entry.keys) > 1:
            return
        others = [worker for worker in self._workers if worker not in silent and worker != held.worker]
        if others or held.key not in self._said:  # where there is none now, one may come
            self._said.add(held.key)
            what = "It is started once more on another." if others else "There is no other worker to start it on."
            self._say(f"{held.key} has been on the worker {held.worker} for {spoken(held.seconds)}: {why}. {what}")
        if others:
            self._start(client, entry, others, copy=True)

    def _waiting(self, now: float) -> str:
        since = time.strftime("%H:%M", time.localtime(time.time() - (now - self._last_end)))
        line = f"Nothing has ended since {since} ({spoken(now - self._last_end)}). Waiting for "
        oldest = self._watch.held(now, [key for entry in self._running.values() for key in entry.keys])
        if not oldest:
            return line + ("a worker to take a task." if self._workers else "a worker: none is connected.")
        named = [f"{task.key} (on the worker {task.worker}, for {spoken(task.seconds)})" for task in oldest[:3]]
        return line + ", ".join(named) + (f" and {len(oldest) - 3} more." if len(oldest) > 3 else ".")


def _answer(task: Task, future: Future) -> tuple[dict[str, Any] | None, Any] | None:
    """The record of a future that has ended, or its error: one of ours, or KilledWorker. None where the worker that has
    the record has gone since, or stands still."""
    try:
        error = future.exception(timeout=HANDS_OVER)
        if error is None:
            return future.result(timeout=HANDS_OVER), None
        return None, error if isinstance(error, KilledWorker) else as_ours(task.key, error)
    except TimeoutError:
        return None


def _ask(client: Client, operation: str, **arguments: Any) -> Any:
    """A question to the scheduler, and its answer."""
    with _asking(client):
        return client.sync(getattr(client.scheduler, operation), callback_timeout=ANSWERS, **arguments)


@contextmanager
def _asking(client: Client) -> Iterator[None]:
    """Whatever Dask's client raises when its scheduler has gone, by one name."""
    try:
        yield
    except (OSError, CancelledError, ClosedClientError) as error:
        raise SchedulerGone from error
    except (AttributeError, RuntimeError) as error:  # a client that is being closed loses its parts one by one
        if client.status == "running":
            raise
        raise SchedulerGone from error
