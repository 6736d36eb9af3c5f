"""`cluster: tcp://host:8786`: a Dask scheduler that runs already on this machine, spoken to without encryption.

Whoever reaches a scheduler can run code on it and read what is sent: elsewhere it is spoken to by TLS alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.errors import ConfigError
from pipeline.executors import cluster

if TYPE_CHECKING:
    from pipeline.config import Config


def open(config: Config, say: Callable[[str], None]) -> cluster.DaskExecutor:
    """Raises `ConfigError` where the scheduler is on another machine."""
    address = config.execution.cluster
    if not _is_here(urlsplit(address).hostname or ""):
        raise ConfigError(
            f"{address} is on another machine, and tcp:// is neither encrypted nor closed to others: give the "
            "scheduler certificates (`make certificates`, infra/README.md) and name it as tls://."
        )
    return cluster.open(config, say)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
