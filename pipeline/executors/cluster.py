"""Tasks on a Dask cluster: worker processes here, or any running scheduler.

Dask is muscle, the results root is memory: tasks carry keys, a few of them are in flight at any time, and nothing
that matters is held by the scheduler. Tasks are submitted in a window because 41,000 at once cost the client 466 MB.
Dask's own settings, with their reasons, are in dask.yaml.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import yaml
from distributed import Client, LocalCluster
from distributed.security import Security

from pipeline.errors import ConfigError, PipelineError
from pipeline.executors.base import Outcome, Task
from pipeline.executors.flight import Flight, SchedulerGone
from pipeline.executors.watch import Patience

if TYPE_CHECKING:
    from pipeline.config import Config

logger = logging.getLogger(__name__)

SETTINGS_FILE = Path(__file__).with_name("dask.yaml")
SETTINGS: dict[str, Any] = yaml.safe_load(SETTINGS_FILE.read_text())
#: of a worker's environment
MEMORY: dict[str, int] = SETTINGS["distributed"]["nanny"]["pre-spawn-environ"]


def open(config: Config, say: Callable[[str], None], start: Callable[[], Any] | None = None) -> DaskExecutor:
    """On what the config names, or on what `start` starts: a cluster of Dask's, which is taken down at the end."""
    how = config.execution
    return DaskExecutor(
        how.cluster,
        workers=how.workers,
        tasks_per_worker=how.tasks_per_worker,
        attempts=config.limits.attempts,
        certificates=how.certificates,
        patience=Patience(away=60 * config.limits.patience_minutes),
        say=say,
        start=start,
    )


class DaskExecutor:
    """`cluster`: "local", or the address of a scheduler.

    `say` gets a line for everything that stands still, and for everything that is done about it. Dask's settings hold
    from here to `close`, and are then as they were.
    """

    def __init__(
        self,
        cluster: str = "local",
        *,
        workers: int = 2,
        tasks_per_worker: int = 3,
        attempts: int = 3,
        certificates: Path | None = None,
        patience: Patience = Patience(),  # noqa: B008
        say: Callable[[str], None] = logger.warning,
        start: Callable[[], Any] | None = None,
    ) -> None:
        self._new_flight = lambda: Flight(
            attempts=attempts, tasks_per_worker=tasks_per_worker, patience=patience, say=say
        )
        self._patience, self._say = patience, say
        self._address = cluster
        self._security = None if cluster == "local" else _security(cluster, certificates)
        self._start = start
        self._cluster: Any = None
        self._settings = ExitStack()
        self._settings.enter_context(dask.config.set(dask.config.merge(dask.config.config, SETTINGS)))
        self._settings.enter_context(dask.config.set({"distributed.scheduler.worker-ttl": patience.silent}))
        try:
            self._open(workers)
        except BaseException:
            self.close()
            raise

    def _open(self, workers: int) -> None:
        if self._address == "local":
            self._cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
        elif self._start is not None:
            self._cluster = self._start()
        try:
            self.client = self._connect()
        except OSError as error:
            raise ConfigError(
                f"No Dask scheduler answers at {self._address}: {error}. "
                "Start one (infra/README.md says how), or use CLUSTER=local."
            ) from None
        try:
            self.client.wait_for_workers(1, timeout=300)
        except TimeoutError:
            raise ConfigError(f"The Dask scheduler at {self._address} has had no worker for five minutes") from None

    def _connect(self) -> Client:
        return Client(self._cluster or self._address, security=self._security, timeout=10)

    @property
    def workers(self) -> int:
        return self._flight.workers

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        flight = self._flight = self._new_flight()
        while tasks or flight:
            try:
                outcome = flight.step(self.client, tasks)
            except SchedulerGone as gone:
                self._find_scheduler_again(gone)
                flight.start_over(tasks)
                continue
            if outcome is not None:
                yield outcome

    def _find_scheduler_again(self, gone: SchedulerGone) -> None:
        """Connect anew to a scheduler that was started again; raises PipelineError after the patience."""
        lost = f"The Dask scheduler at {self._address} has gone, and the tasks that were on it with it."
        until = time.monotonic() + self._patience.away
        minutes = f"{self._patience.away / 60:.0f} min"
        self._say(f"{lost} Nothing that is done is lost; it may take {minutes} to come back.")
        with suppress(Exception):
            self.client.close(timeout=5)
        while time.monotonic() < until:
            with suppress(OSError):
                self.client = self._connect()
                self._say(f"The Dask scheduler at {self._address} is back; the run goes on.")
                return
        raise PipelineError(
            f"{lost} It did not come back in {minutes}. Nothing that is done is lost: start it and its workers "
            "(infra/README.md), and `run` again."
        ) from None

    def close(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._settings.close()


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
