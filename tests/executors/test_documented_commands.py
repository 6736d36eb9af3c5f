"""Scheduler and workers started as infra/README.md says, but for the certificates: where they listen, what they run
with, and what a run does when they go away."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dask
import psutil
import pytest

from pipeline.errors import PipelineError
from pipeline.executors.cluster import DaskExecutor
from pipeline.executors.watch import Patience
from tests.conftest import ROOT
from tests.executors.scripted import attempts, run, task
from tests.executors.test_liveness import listening

README = (ROOT / "infra" / "README.md").read_text()


def documented(role: str, address: str) -> list[str]:
    """The command of the README, without TLS, for a scheduler at this address and one worker process."""
    line = next(line for line in README.splitlines() if line.startswith(f"    dask {role} "))
    line = re.sub(r"--(tls-\w+(-\w+)?|protocol) \S+", "", line)
    port = address.rpartition(":")[2]
    for shown, here in {
        "tls://scheduler:8786": address,
        "--port 8786": f"--port {port}",
        "127.0.0.1:8787": "127.0.0.1:0",
        "$(hostname -i)": "127.0.0.1",
        "$(nproc)": "1",
    }.items():
        line = line.replace(shown, here)
    return shlex.split(line)


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def start(address: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a scheduler or a worker; `always`: again whenever it ends, as a systemd unit does."""
    started: list[subprocess.Popen[bytes]] = []
    settings = re.search(r"export DASK_CONFIG=/opt/cellpainting/(\S+)", README)
    assert settings is not None
    environment = os.environ | {
        "DASK_CONFIG": str(ROOT / settings[1]),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }

    def start(role: str, always: bool = False) -> subprocess.Popen[bytes]:
        command = documented(role, address)
        if always:
            command = ["/bin/sh", "-c", f"while true; do {shlex.join(command)}; done"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, **quiet))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


def test_the_documented_commands_listen_where_they_are_told_and_have_the_settings(
    start: Callable[..., subprocess.Popen[bytes]], address: str
) -> None:
    scheduler, worker = start("scheduler"), start("worker")
    with closing(DaskExecutor(address)) as executor:
        assert listening(psutil.Process(scheduler.pid)) == {"127.0.0.1"}
        assert listening(psutil.Process(worker.pid)) == {"127.0.0.1"}
        asked = executor.client.run(dask.config.get, "distributed.worker.profile.enabled")
        assert list(asked.values()) == [False]
        asked = executor.client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_")
        assert list(asked.values()) == [str(64 << 20)]
        settings = {
            name: executor.client.run_on_scheduler(dask.config.get, f"distributed.scheduler.{name}")
            for name in ("worker-saturation", "allowed-failures", "worker-ttl")
        }
        assert settings == {"worker-saturation": 1.0, "allowed-failures": 3, "worker-ttl": "60 s"}


def test_a_scheduler_that_does_not_come_back_ends_the_run_in_one_sentence(
    start: Callable[..., subprocess.Popen[bytes]], address: str, tmp_path: Path
) -> None:
    scheduler = start("scheduler")
    start("worker")
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        os.killpg(scheduler.pid, signal.SIGKILL)  # while a task runs

    patience = Patience(look=0.2, quiet=1, away=0)
    with (
        closing(DaskExecutor(address, patience=patience, say=say)) as executor,
        pytest.raises(PipelineError, match=r"has gone.*did not come back.*`run` again") as raised,
    ):
        run(executor, task(tmp_path, "t", "hang"))
    assert address in str(raised.value)
    assert raised.value.__suppress_context__
    assert f"Waiting for {tmp_path.name}/t" in said[0]


@pytest.mark.slow  # a scheduler and a worker have to end and start again
def test_a_run_goes_on_by_itself_when_the_scheduler_and_its_workers_are_back(
    start: Callable[..., subprocess.Popen[bytes]], address: str, tmp_path: Path
) -> None:
    schedulers = [start("scheduler")]
    start("worker", always=True)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "Waiting for" in line and len(schedulers) == 1:
            os.killpg(schedulers[0].pid, signal.SIGKILL)
        elif "has gone" in line:
            (tmp_path / "t.go").touch()
            schedulers.append(start("scheduler"))

    patience = Patience(look=0.2, quiet=1, away=300)
    with closing(DaskExecutor(address, patience=patience, say=say)) as executor:
        outcomes = run(executor, task(tmp_path, "t", "hang"), *(task(tmp_path, f"t{i}", "work") for i in range(5)))
    assert len(outcomes) == 6
    assert all(outcome.error is None for outcome in outcomes.values())
    assert attempts(tmp_path, "t") >= 2
    assert any("is back" in line for line in said)


def test_workers_that_do_not_come_back_end_the_run_in_one_sentence(
    start: Callable[..., subprocess.Popen[bytes]], address: str, tmp_path: Path
) -> None:
    start("scheduler")
    worker = start("worker")
    patience = Patience(look=0.2, quiet=1, away=1)

    def say(line: str) -> None:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)

    with (
        closing(DaskExecutor(address, patience=patience, say=say)) as executor,
        pytest.raises(PipelineError, match=r"has had no worker for \d+ s.*`run` again"),
    ):
        run(executor, task(tmp_path, "t", "hang"))
