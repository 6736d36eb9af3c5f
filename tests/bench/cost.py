"""What a piece of work costs: CPU seconds, wall seconds, and peak memory in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil


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
    """Call in a fresh process, so that its memory is its own. Raises `multiprocessing.TimeoutError` at the limit."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # leaving the block ends the process, whatever it does
        result = pool.apply_async(function, arguments).get(timeout=limit_seconds)
        pool.close()
        pool.join()
        return result
