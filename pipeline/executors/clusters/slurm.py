"""`cluster: slurm`, or `slurm://partition`: a Slurm job for each worker (dask-jobqueue), the scheduler within the run.

Start the run where jobs can reach it: on a login node, or in a job of its own. Jobs that are cancelled or preempted are
asked for again. All end with the run; where it was killed, by themselves, after `death_timeout` seconds. They speak
TLS, with certificates made for this run, which lie in the folder that it is started from (`shared_temp_directory`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask
from distributed.security import Security

from pipeline.errors import ConfigError
from pipeline.executors import cluster

if TYPE_CHECKING:
    from pipeline.config import Config

#: of a job, where `execution.options` does not say otherwise
USUAL: dict[str, Any] = {"cores": 1, "processes": 1, "memory": "4GB", "walltime": "24:00:00", "death_timeout": 120}
#: plain HTTP, which is open on all networks otherwise
_DASHBOARD = "127.0.0.1:0"


def open(config: Config, say: Callable[[str], None]) -> cluster.DaskExecutor:
    return cluster.open(config, say, lambda: _start(config, say))


def _start(config: Config, say: Callable[[str], None]) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise ConfigError(
            "cluster: slurm needs dask-jobqueue and cryptography: pip install 'cellpainting-pipeline[slurm]'"
        ) from None
    how = config.execution
    queue = how.cluster.partition("://")[2]
    options: dict[str, Any] = USUAL | ({"queue": queue} if queue else {}) | how.options
    where = options.get("queue", "the default partition")
    say(
        f"Starting {how.workers} Slurm jobs on {where}, each of {options['memory']} and at most {options['walltime']}. "
        "They end with this run."
    )
    settings = [f"export {name}={value}" for name, value in cluster.MEMORY.items()]
    settings.append(f"export DASK_CONFIG={cluster.SETTINGS_FILE}")
    options["job_script_prologue"] = [*settings, *options.get("job_script_prologue", ())]
    options["scheduler_options"] = {"dashboard_address": _DASHBOARD} | options.get("scheduler_options", {})
    options["worker_extra_args"] = ["--dashboard-address", _DASHBOARD, *options.get("worker_extra_args", ())]
    try:
        started = SLURMCluster(python=sys.executable, security=Security.temporary(), **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"execution.options: {error}") from None
    # Adapting asks anew for jobs that were cancelled, which scaling does not, once they are given up (cluster.py puts
    # Dask's settings back at the end).
    dask.config.set({"distributed.deploy.lost-worker-timeout": "20 s"})
    started.adapt(minimum=how.workers, maximum=how.workers, interval="5s")
    return started
