"""The child's life: be told a pipeline, then measure one site after the other until the parent is gone."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from typing import IO, Any


def main(parent: int, replies_fd: int) -> None:
    """Serve the process `parent`: requests come on standard input, answers go to `replies_fd`."""
    _die_with(parent)
    faulthandler.enable()
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    replies = os.fdopen(replies_fd, "wb")
    try:
        _serve(requests, replies)
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _die_with(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        # The kernel asks nobody before it kills for memory; it shall take this process, not the worker.
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    from . import wire

    request, _ = wire.receive(requests)
    from . import standins  # noqa: F401  (before anything of CellProfiler)
    from .load import Refusal, load
    from .site import Flagged, measure, versions

    try:
        loaded = load(**request)
    except Refusal as refusal:
        wire.send(replies, {"kind": "refused", "reason": str(refusal)})
        return
    ready = {"inputs": loaded.inputs, "features": loaded.features, "left_out": loaded.left_out}
    wire.send(replies, {"kind": "ready", "version": versions(), "numbers": loaded.numbers, **ready})
    while True:
        _, images = wire.receive(requests)
        at_work = ""

        def on_module(title: str) -> None:
            nonlocal at_work
            at_work = title
            wire.send(replies, {"kind": "module", "module": title})

        try:
            answer, arrays = measure(loaded, images, on_module)
        except Flagged as flag:
            answer, arrays = {"kind": "flagged", "module": at_work, "reason": str(flag)}, {}
        except Exception as error:
            answer, arrays = _failure(at_work, error), {}
        wire.send(replies, {"kind": "measured", **answer}, arrays)
        # CellProfiler's objects refer to each other in circles; freed now, a site takes what the first one took.
        del images, answer, arrays
        gc.collect()


def _failure(module: str, error: Exception) -> dict[str, Any]:
    traceback.print_exc()
    sys.stderr.flush()
    return {
        "kind": "failed",
        "module": module,
        "reason": f"{type(error).__name__}: {error}",
        "retry": isinstance(error, MemoryError),
    }
