"""What each task takes, measured where it runs, and told with its record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

from pipeline.costs.spent import Spent
from pipeline.errors import PipelineError
from pipeline.traffic import TRAFFIC

#: key of a task's record
SPENT = "spent"

_in_tasks = Spent()


def metered(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The function of a task, whose record also says what it took. An error of ours carries it as `spent`."""
    return partial(_call, function)


def _call(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    before, own, children = _own(), Spent(), _children()
    try:
        record = function(*arguments)
    except PipelineError as error:
        own = _own() - before
        error.spent = (own + Spent(cpu_seconds=_children() - children)).as_record()  # type: ignore[attr-defined]
        raise
    else:
        own = _own() - before
        return {**record, SPENT: (own + Spent(cpu_seconds=_children() - children)).as_record()}
    finally:
        global _in_tasks
        _in_tasks += own


def outside_tasks() -> Spent:
    """What this process took since it began, but for tasks: a driver's own part is the difference of two of these."""
    return _own() - _in_tasks


def _own() -> Spent:
    traffic = (TRAFFIC.reads, TRAFFIC.writes, TRAFFIC.lists, TRAFFIC.bytes_in, TRAFFIC.bytes_out)
    return Spent(*traffic, cpu_seconds=time.process_time(), seconds=time.monotonic())


def _children() -> float:
    """CPU seconds of child processes (CellProfiler), those that have ended included."""
    ended = os.times()
    total = ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
