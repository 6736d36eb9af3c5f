"""A real Slurm, controller and node on loopback, which dask-jobqueue sends workers to and `scancel` takes them from.

Left out, with a word, where Debian's slurm-wlm and munge are not installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.executors import open_executor
from pipeline.executors.cluster import DaskExecutor
from tests.conftest import ROOT
from tests.executors.scripted import attempts, run, task
from tests.executors.test_notice import watch

pytestmark = pytest.mark.slow

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
KillWait=2
JobRequeue=0
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm of this test's own, with four cores; it is gone afterwards."""
    daemons = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("munged", "slurmctld", "slurmd")]
    if None in daemons:
        pytest.skip("left out: needs Slurm (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("left out: a Slurm node is started by root only")
    folder = tmp_path_factory.mktemp("slurm")
    for part in (*list(folder.parents)[:2], folder):
        part.chmod(0o755)  # munged wants a path that others cannot write to and that all can walk
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host, ports = socket.gethostname().partition(".")[0], free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, ports=ports, folder=folder, user="root"))
    munge = ["--foreground", "--force", *(f"--{name}={folder}/munge.{end}" for name, end in MUNGE.items())]
    commands = [
        [daemons[0], *munge],
        [daemons[1], "-D", "-f", str(conf)],
        [daemons[2], "-D", "-f", str(conf), "-N", host],
    ]
    started = []
    with (folder / "log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        try:
            for command, ready in zip(commands, (f"test -S {folder}/munge.socket", "scontrol ping", IDLE), strict=True):
                started.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=log))
                wait_for(ready, folder)
            yield folder
        finally:
            subprocess.run(["scancel", "--full", "--user", "root"], check=False)
            for process in reversed(started):
                process.terminate()
                process.wait(30)


MUNGE = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
IDLE = "sinfo --noheader --format %T | grep -q idle"


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def wait_for(command: str, folder: Path) -> None:
    tick = threading.Event()
    for _ in range(240):
        if subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False).returncode == 0:
            return
        tick.wait(0.25)
    raise AssertionError(f"{command} failed for a minute:\n{(folder / 'log').read_text()}")


def jobs() -> list[str]:
    """The ids of the jobs that run."""
    answer = subprocess.run(["squeue", "--noheader", "--states", "R", "--format", "%A"], capture_output=True, text=True)
    return answer.stdout.split()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "x.cppipe").write_text("")
    options = {"interface": "lo", "memory": "2GB", "walltime": "00:30:00", "log_directory": str(tmp_path / "jobs")}
    return Config.model_validate(
        {
            "screen": {"name": "s", "channels": {1: "DNA"}, "images": {"url": str(tmp_path)}},
            "results": {"url": str(tmp_path / "results")},
            "engine": {"cppipe": tmp_path / "x.cppipe"},
            "execution": {"cluster": "slurm://main", "workers": 2, "options": options},
        }
    )


@pytest.fixture
def executor(slurm: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaskExecutor]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    said: list[str] = []
    opened = open_executor(config, said.append)
    assert isinstance(opened, DaskExecutor)
    with closing(opened):
        opened.client.wait_for_workers(2, timeout=300)
        assert said == ["Starting 2 Slurm jobs on main, each of 2GB and at most 00:30:00. They end with this run."]
        yield opened
    wait_for('test -z "$(squeue --noheader)"', slurm)  # and takes its jobs with it


def test_workers_are_jobs_that_speak_tls_and_have_the_settings(executor: DaskExecutor, tmp_path: Path) -> None:
    assert len(jobs()) == 2
    workers = executor.client.scheduler_info(n_workers=-1)["workers"]
    assert all(address.startswith("tls://127.0.0.1:") for address in workers)
    assert executor.client.scheduler.address.startswith("tls://")
    asked = executor.client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_")
    assert set(asked.values()) == {str(64 << 20)}
    outcomes = run(executor, *(task(tmp_path, f"t{i}", "work") for i in range(8)))
    assert all(outcome.error is None for outcome in outcomes.values())
    assert executor.workers == 2


def test_jobs_that_are_cancelled_are_asked_for_again_and_their_tasks_run_elsewhere(
    executor: DaskExecutor, tmp_path: Path
) -> None:
    first = jobs()
    cancelled = threading.Event()

    def cancel() -> bool:
        if attempts(tmp_path, "held") == 1:
            subprocess.run(["scancel", "--full", *first], check=True)
            (tmp_path / "held.go").touch()
            return True
        return False

    watch(executor.client, cancel, cancelled)
    outcomes = run(executor, task(tmp_path, "held", "hang"), *(task(tmp_path, f"t{i}", "work") for i in range(4)))
    assert all(outcome.error is None for outcome in outcomes.values())
    assert cancelled.is_set()
    executor.client.wait_for_workers(2, timeout=300)
    assert not set(jobs()) & set(first)
