"""How tasks run: one after another here, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Config
from pipeline.executors.base import Executor, Outcome, Task

__all__ = ["Executor", "Outcome", "Task", "open_executor"]


def open_executor(config: Config, say: Callable[[str], None] | None = None) -> Executor:
    """The executor a config asks for. `say` gets what there is to say of workers and tasks that stand still."""
    how = config.execution
    if how.cluster == "serial":
        from pipeline.executors.serial import SerialExecutor

        return SerialExecutor(attempts=config.limits.attempts)
    from pipeline.executors.cluster import DaskExecutor
    from pipeline.executors.watch import Patience

    return DaskExecutor(
        how.cluster,
        workers=how.workers,
        tasks_per_worker=how.tasks_per_worker,
        attempts=config.limits.attempts,
        certificates=how.certificates,
        patience=Patience(away=60 * config.limits.patience_minutes),
        **({} if say is None else {"say": say}),
    )
