"""Tasks that follow a script: what attempt 1 does, what attempt 2 does. Attempts are counted in files."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StorageError
from pipeline.executors import Executor, Outcome, Task


def task(folder: Path, name: str, *script: str) -> Task:
    return Task(folder.name, (name,), scripted, (str(folder), name, list(script)))


def run(executor: Executor, *tasks: Task) -> dict[str, Outcome]:
    """Name -> outcome."""
    return {outcome.task.place[0]: outcome for outcome in executor.run(deque(tasks))}


def scripted(folder: str, name: str, script: list[str]) -> dict[str, Any]:
    attempts = Path(folder, f"{name}.attempts")
    with attempts.open("a") as file:
        file.write("x")
    attempt = len(attempts.read_text())
    what = script[min(attempt, len(script)) - 1]
    if what == "throttled":
        raise StorageError("slow down", retry=True)
    if what == "refused":
        raise StorageError("never")
    if what == "defect":
        raise ZeroDivisionError("of ours")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stop":  # the whole process, as a machine that is frozen: no sign of life from here on
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "hang":  # until the test lets it go; the worker lives
        while not Path(folder, f"{name}.go").exists():
            time.sleep(0.05)
    return {"name": name, "attempt": attempt}


def faults(arrays: int) -> dict[str, Any]:
    """Page faults while arrays of 3 MB are made and dropped, one after another."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(arrays):
        np.ones(3 << 17)
    return {"faults": resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before}


def attempts(folder: Path, name: str) -> int:
    path = folder / f"{name}.attempts"
    return len(path.read_text()) if path.exists() else 0
