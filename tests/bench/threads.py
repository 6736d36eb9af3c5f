"""Sites in threads: throughput of two beside one, and beside two processes, which is what the machine can give."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache, partial

import pandas as pd

from pipeline.engines import Engine, open_engine
from pipeline.engines.native import warm_up
from tests.bench.cost import apart, cost
from tests.bench.report import Section, Target
from tests.bench.sites import CPPIPE, HAS_REAL_SITE, NAMES, site

SITE = "whole" if HAS_REAL_SITE else "mean"
MEASURED, ROUNDS = 4, 2


def run(full: bool) -> Iterator[Section]:
    """Wall time of the same sites by one and two threads and processes, in turn."""
    load = os.getloadavg()[0]
    table = pd.DataFrame(rounds(), columns=["workers", "sites", "wall s", "cores used"])
    table["sites a minute"] = 60 * table["sites"] / table["wall s"]
    rate = table.set_index("workers")["sites a minute"]
    threads, processes = rate["2 threads"] / rate["1 thread"], rate["2 processes"] / rate["1 process"]
    table["gain of two"] = [float("nan"), threads, float("nan"), processes]
    peak = apart(peak_mb)
    memory = f"{peak['threads 1']:.0f} MB with one thread, {peak['threads 2']:.0f} MB with two"
    gain, is_reached = f"{threads:.2f} (2 processes: {processes:.2f})", bool(threads >= 1.8)
    if not is_reached and processes < 1.8:  # they share nothing: where they gain so little, others had the cores
        gain, is_reached = f"{gain}: the machine is busy", None
    yield Section(
        "Native engine in threads",
        table,
        (
            f"Site: {NAMES[SITE]}. Wall time, the fastest of {ROUNDS} rounds in turn; load {load:.1f} at their start. "
            "Processes share nothing, so two of them gain what the machine can give.",
            f"Peak resident memory, interpreter and libraries included: {memory}.",
        ),
        (
            Target("native throughput, 2 threads / 1 thread", "1.8", gain, is_reached),
            Target(
                "native peak memory, a real site" if HAS_REAL_SITE else "native peak memory, a mean site",
                "under 1 GB",
                f"{peak['threads 1']:.0f} MB",
                peak["threads 1"] < 1000,
            ),
        ),
    )


def rounds() -> list[tuple[str, int, float, float]]:
    """(workers, sites, wall seconds, cores used) of each way of working."""
    start_processes = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))
    ways: dict[str, tuple[int, Callable[[int], Executor]]] = {
        "1 thread": (1, ThreadPoolExecutor),
        "2 threads": (2, ThreadPoolExecutor),
        "1 process": (1, start_processes),
        "2 processes": (2, start_processes),
    }
    pools = {name: open_pool(workers) for name, (workers, open_pool) in ways.items()}
    best: dict[str, tuple[float, float]] = {}
    try:
        for pool in pools.values():
            list(pool.map(measure_one, range(4)))  # every worker is warm
        for _ in range(ROUNDS):
            for name, pool in pools.items():
                start = time.perf_counter()
                cpu = sum(pool.map(measure_one, range(MEASURED)))
                wall = time.perf_counter() - start
                best[name] = min(best.get(name, (wall, cpu / wall)), (wall, cpu / wall))
    finally:
        for pool in pools.values():
            pool.shutdown()
    return [(name, MEASURED, *best[name]) for name in ways]


def measure_one(_: int) -> float:
    """Measure the site once; the CPU seconds of this thread."""
    start = time.thread_time()
    _engine().measure(site(SITE))
    return time.thread_time() - start


@cache
def _engine() -> Engine:
    warm_up()
    return open_engine("native", CPPIPE)


def peak_mb() -> dict[str, float]:
    """Most memory that a process holds while one and two threads measure."""
    measure_one(0)
    return {f"threads {workers}": cost(partial(in_threads, workers))[1].peak_mb for workers in (1, 2)}


def in_threads(workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(measure_one, range(2 * workers)))
