"""Workers, tasks and schedulers that stand still or go away: noticed, said, and put elsewhere. Real processes."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

from pipeline.executors import Outcome
from pipeline.executors.base import WorkerDied
from pipeline.executors.cluster import DaskExecutor
from pipeline.executors.watch import Patience
from tests.executors.scripted import attempts, run, task

PROFILER = "distributed.worker.profile.enabled"


@pytest.fixture(scope="module")
def two() -> Iterator[DaskExecutor]:
    """A cluster of two workers, for drivers of different patience."""
    with closing(DaskExecutor("local", workers=2)) as executor:
        yield executor


def address(executor: DaskExecutor) -> str:
    return executor.client.scheduler_info()["address"]


def test_what_is_on_a_worker_that_stands_still_is_started_on_another(tmp_path: Path) -> None:
    said: list[str] = []
    patience = Patience(look=0.5, silent=8)  # the cluster's own, which a driver cannot change, is of minutes
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        closing(DaskExecutor(cluster.scheduler_address, patience=patience, say=said.append)) as executor,
    ):
        others = [task(tmp_path, f"t{i}", "work") for i in range(9)]
        outcomes = run(executor, task(tmp_path, "frozen", "stop", "work"), *others)
    assert len(outcomes) == 10
    assert all(outcome.error is None for outcome in outcomes.values())
    assert outcomes["frozen"].record == {"name": "frozen", "attempt": 2}
    assert any(line.startswith("No sign of life from the worker tcp://127.0.0.1:") for line in said), said
    assert any(
        line.startswith(f"{tmp_path.name}/frozen") and "started once more on another" in line for line in said
    ), said


@pytest.mark.slow  # five workers have to die and be replaced
def test_a_task_that_lost_its_workers_is_tried_by_itself_and_set_aside_only_if_it_kills_again(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    one_death = {"allowed-failures": 0, "worker-saturation": 1.0}
    with (
        dask.config.set({f"distributed.scheduler.{name}": value for name, value in one_death.items()}),
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        closing(DaskExecutor(cluster.scheduler_address, say=said.append)) as executor,
    ):
        unlucky, killer = task(tmp_path, "unlucky", "kill", "kill", "work"), task(tmp_path, "killer", "kill")
        outcomes: dict[str, Outcome] = {}
        for outcome in executor.run(deque([unlucky, killer, *(task(tmp_path, f"t{i}", "work") for i in range(8))])):
            order.append(outcome.task.place[0])
            outcomes[order[-1]] = outcome
    assert outcomes["unlucky"].record == {"name": "unlucky", "attempt": 3}
    assert isinstance(outcomes["killer"].error, WorkerDied)
    assert f"{tmp_path.name}/killer: 3 workers died" in str(outcomes["killer"].error)
    assert attempts(tmp_path, "killer") == 3
    assert all(outcomes[f"t{i}"].error is None for i in range(8))
    assert set(order[-2:]) == {"unlucky", "killer"}  # when all else was done
    assert sum("It is tried by itself later" in line for line in said) == 2


@pytest.mark.slow  # the scheduler's patience, a worker that has to be ended by force, and another that starts
def test_a_worker_that_stands_still_is_replaced(tmp_path: Path) -> None:
    with closing(DaskExecutor("local", workers=1, patience=Patience(look=0.5, silent=5))) as executor:
        outcomes = run(executor, task(tmp_path, "frozen", "stop", "work"), task(tmp_path, "next", "work"))
    assert [outcome.error for outcome in outcomes.values()] == [None, None]
    assert attempts(tmp_path, "frozen") == 2


def test_a_task_far_beyond_its_peers_is_started_once_more_and_does_not_hold_up_the_run(
    two: DaskExecutor, tmp_path: Path
) -> None:
    said: list[str] = []
    patience = Patience(look=0.2, at_least=1)
    with closing(DaskExecutor(address(two), patience=patience, say=said.append)) as executor:
        peers = [task(tmp_path, f"t{i}", "work") for i in range(6)]
        outcomes = run(executor, task(tmp_path, "endless", "hang", "work"), *peers)
        assert outcomes["endless"].record == {"name": "endless", "attempt": 2}
        (tmp_path / "endless.go").touch()  # only now may the first end
        assert run(executor, task(tmp_path, "later", "work"))["later"].error is None
    assert len(outcomes) == 7
    assert attempts(tmp_path, "endless") == 2
    assert [line.partition(" ")[0] for line in said] == [f"{tmp_path.name}/endless"], said


def answering(folder: Path, name: str, words: str) -> tuple[list[str], Callable[[str], None]]:
    """What is said; the task that hangs goes on when the words are among it."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if words in line:
            (folder / f"{name}.go").touch()

    return said, say


def test_with_one_worker_a_task_far_beyond_its_peers_is_said_and_waited_for(tmp_path: Path) -> None:
    said, say = answering(tmp_path, "endless", "There is no other worker")
    with closing(DaskExecutor("local", workers=1, patience=Patience(look=0.2, at_least=1), say=say)) as executor:
        peers = [task(tmp_path, f"t{i}", "work") for i in range(6)]
        outcomes = run(executor, *peers, task(tmp_path, "endless", "hang"))
    assert outcomes["endless"].record == {"name": "endless", "attempt": 1}
    assert len(said) == 1, said


def test_a_run_in_which_nothing_ends_says_what_it_waits_for_and_since_when(two: DaskExecutor, tmp_path: Path) -> None:
    said, say = answering(tmp_path, "long", "Nothing has ended")
    with closing(DaskExecutor(address(two), patience=Patience(look=0.2, quiet=1), say=say)) as executor:
        run(executor, task(tmp_path, "long", "hang"))
        assert f"Waiting for {tmp_path.name}/long (on the worker tcp://127.0.0.1:" in said[0]
        assert " since " in said[0]


def test_workers_run_without_the_profiler(two: DaskExecutor) -> None:
    assert list(two.client.run(dask.config.get, PROFILER).values()) == [False, False]


def test_dasks_settings_in_this_process_are_as_they_were_when_an_executor_is_closed(two: DaskExecutor) -> None:
    with dask.config.set({PROFILER: True, "distributed.comm.retry.count": 7}):
        before = copy.deepcopy(dask.config.config)
        with closing(DaskExecutor(address(two))):
            assert dask.config.get("distributed.comm.retry.count") == 3
        assert dask.config.config == before


def test_a_worker_holds_one_task_at_a_time_so_that_its_death_is_blamed_on_no_other(
    two: DaskExecutor, tmp_path: Path
) -> None:
    held: list[list[int]] = []

    def say(line: str) -> None:
        held.append(sorted(len(keys) for keys in executor.client.processing().values()))
        for name in "abcdef":
            (tmp_path / f"{name}.go").touch()

    with closing(DaskExecutor(address(two), patience=Patience(look=0.2, quiet=1), say=say)) as executor:
        run(executor, *(task(tmp_path, name, "hang") for name in "abcdef"))
    assert held[0] == [1, 1]


def listening(process: psutil.Process) -> set[str]:
    """The addresses on which a process and its children wait for connections."""
    family = [process, *process.children(recursive=True)]
    return {socket.laddr.ip for one in family for socket in one.net_connections("inet") if socket.status == "LISTEN"}


def test_a_local_cluster_listens_on_this_machine_only(two: DaskExecutor) -> None:
    assert listening(psutil.Process()) == {"127.0.0.1"}
