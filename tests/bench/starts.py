"""From the start of a process to an engine that is ready, with and without compiled kernels and byte code on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pandas as pd

from tests.bench.report import Section, Target

# The second call does the same work with everything in place: what it takes is no part of the start.
PROGRAM = """
import time
from pipeline.engines.native import warm_up
imported = time.process_time()
warm_up()
first = time.process_time()
warm_up()
print(imported, 2 * first - time.process_time())
"""


def run(full: bool) -> Iterator[Section]:
    """Empty caches of kernels and of byte code once, then the ones it left."""
    with tempfile.TemporaryDirectory() as cache:
        rows = [[what, *_start(cache)] for what in ("cold: every kernel compiled", "warm", "warm, again")]
    table = pd.DataFrame(rows, columns=["start", "CPU s", "wall s"])
    cold, warm = table["CPU s"].iloc[0], table["CPU s"].iloc[1:].min()
    yield Section(
        "Start of the native engine",
        table,
        ("A fresh process each time: interpreter, imports, and all kernels compiled or loaded; cold: byte code too.",),
        (
            Target("native engine, cold start", "under 40 s", f"{cold:.1f} s", cold < 40),
            Target("native engine, warm start", "under 2 s", f"{warm:.2f} s", warm < 2),
        ),
    )


def _start(cache: str) -> tuple[float, float]:
    start = time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    _, ready = map(float, done.stdout.split())
    return ready, time.perf_counter() - start
