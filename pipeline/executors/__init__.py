"""How tasks run: one after another here, or on a Dask cluster."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.executors import clusters
from pipeline.executors.base import Executor, Outcome, Task

if TYPE_CHECKING:
    from pipeline.config import Config

__all__ = ["Executor", "Outcome", "Task", "cluster_kinds", "kind_of", "open_executor"]


def cluster_kinds() -> list[str]:
    """The kinds of cluster that there are."""
    return sorted(found.name for found in pkgutil.iter_modules(clusters.__path__))


def kind_of(cluster: str) -> str:
    """The kind of a cluster: "tls" of "tls://host:8786", "local" of "local"."""
    return cluster.partition("://")[0]


def open_executor(config: Config, say: Callable[[str], None] | None = None) -> Executor:
    """The executor a config asks for. `say` gets what there is to say of workers and tasks that stand still."""
    module = import_module(f"{clusters.__name__}.{kind_of(config.execution.cluster)}")
    executor: Executor = module.open(config, say or logging.getLogger(__name__).warning)
    return executor
