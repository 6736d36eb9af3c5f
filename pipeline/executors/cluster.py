"""Tasks on a Dask cluster: worker processes here, or any running scheduler.

Dask is muscle, the results root is memory: tasks carry keys, a few of them are in flight at any time, and nothing
that matters is held by the scheduler. Measured reasons for the settings: tasks are submitted in a window because
41,000 at once cost the client 466 MB; one task per worker thread is held processing because all tasks of a worker
that dies count the death as theirs.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed
from distributed.security import Security

from pipeline.errors import ConfigError, PipelineError
from pipeline.executors.base import Outcome, Task, WorkerDied, as_ours

#: Of a worker's environment. Dask has a worker give freed memory back at once, which for images that are made and
#: dropped all the time costs the native engine a third more CPU time. glibc by itself goes up to these bytes.
MEMORY = {"MALLOC_TRIM_THRESHOLD_": 64 << 20, "MALLOC_MMAP_THRESHOLD_": 32 << 20}
_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 3,
    "distributed.scheduler.worker-ttl": "10 minutes",  # native code may hold the GIL for long
    "distributed.comm.retry.count": 3,
    **{f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in MEMORY.items()},
}


class DaskExecutor:
    """`cluster`: "local", or the address of a scheduler."""

    def __init__(
        self,
        cluster: str = "local",
        *,
        workers: int = 2,
        tasks_per_worker: int = 3,
        attempts: int = 3,
        certificates: Path | None = None,
    ) -> None:
        self.attempts = attempts
        self.tasks_per_worker = tasks_per_worker
        dask.config.set(_SETTINGS)
        self._cluster = (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
            if cluster == "local"
            else None
        )
        try:
            security = None if self._cluster else _security(cluster, certificates)
            self.client = Client(self._cluster or cluster, security=security, timeout=10)
        except OSError as error:
            raise ConfigError(
                f"No Dask scheduler answers at {cluster}: {error}. "
                "Start one (infra/README.md says how), or use CLUSTER=local."
            ) from None
        try:
            self.client.wait_for_workers(1, timeout=300)
        except TimeoutError:
            raise ConfigError(f"The Dask scheduler at {cluster} has had no worker for five minutes") from None

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        running: dict[Future, tuple[Task, int]] = {}
        answers = as_completed()

        def submit(task: Task, attempt: int) -> None:
            # A key names one attempt: Dask would answer a second one from the failed first.
            key = task.key if attempt == 1 else f"{task.key}#{attempt}"
            future = self.client.submit(task.function, *task.arguments, key=key, pure=False)
            running[future] = task, attempt
            answers.add(future)

        while tasks or running:
            while tasks and len(running) < self._window():
                submit(tasks.popleft(), 1)
            future = next(answers)
            task, attempt = running.pop(future)
            record, error = self._answer(task, future)
            future.release()
            if error is not None and error.retry and attempt < self.attempts:
                submit(task, attempt + 1)
            else:
                yield Outcome(task, record, error, attempt)

    def _window(self) -> int:
        threads = sum(self.client.nthreads().values())
        return max(1, threads) * self.tasks_per_worker

    def _answer(self, task: Task, future: Future) -> tuple[dict[str, Any] | None, PipelineError | None]:
        if future.cancelled():
            raise PipelineError(
                "The Dask scheduler has gone, and the tasks with it. Nothing is lost: start it and `run` again.",
                retry=True,
            )
        error = future.exception()
        if error is None:
            return future.result(), None
        if isinstance(error, KilledWorker):
            return None, WorkerDied(
                f"{task.key}: {error.allowed_failures + 1} workers died while they ran this task; it is set aside. "
                "Look at their logs for the reason (memory, most often)."
            )
        return None, as_ours(task.key, error)

    def close(self) -> None:
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()


def _security(address: str, certificates: Path | None) -> Security | None:
    if certificates is None:
        if address.startswith("tls://"):
            raise ConfigError(f"{address} needs certificates: name their folder as execution.certificates")
        return None
    missing = [name for name in ("ca.pem", "client.pem", "client-key.pem") if not (certificates / name).is_file()]
    if missing:
        raise ConfigError(f"execution.certificates: {certificates} lacks {', '.join(missing)}")
    return Security(
        tls_ca_file=str(certificates / "ca.pem"),
        tls_client_cert=str(certificates / "client.pem"),
        tls_client_key=str(certificates / "client-key.pem"),
        require_encryption=True,
    )
