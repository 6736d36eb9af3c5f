"""What a piece of work costs: CPU seconds, wall seconds, and peak memory in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import psutil

from pipeline.executors.cluster import MEMORY


class Cost(NamedTuple):
    """`cpu_seconds` of this process with all its threads; `peak_mb`: most it held meanwhile, `before_mb` before."""

    cpu_seconds: float
    seconds: float
    peak_mb: float
    before_mb: float


def cost(work: Callable[[], Any]) -> tuple[Any, Cost]:
    """Do the work; what came of it, and what it took. Sizes are resident memory, 10^6 bytes."""
    before = psutil.Process().memory_info().rss / 1e6
    # The peak begins anew here (Linux: "5" resets VmHWM). ru_maxrss would hold that of the parent process too.
    Path("/proc/self/clear_refs").write_text("5")
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
    return result, Cost(cpu, seconds, _peak_mb(), before)


def _peak_mb() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def apart(function: Callable[..., Any], *arguments: Any, limit_seconds: float = 1800) -> Any:
    """Call in a fresh process, so that its memory is its own, and in a thread, with memory as a worker handles it.

    Raises `multiprocessing.TimeoutError` at the limit.
    """
    with (
        patch.dict(os.environ, {name: str(size) for name, size in MEMORY.items()}),
        multiprocessing.get_context("spawn").Pool(1) as pool,  # leaving the block ends the process, whatever it does
    ):
        result = pool.apply_async(_in_thread, (function, *arguments)).get(timeout=limit_seconds)
        pool.close()
        pool.join()
    return result


def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()
