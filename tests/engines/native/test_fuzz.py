"""Random pipelines in both engines, and in kernels whose every index is checked.

A failing case is named by its seed; to see it again, or others, give seeds:

    FUZZ=17 .venv/bin/python -m pytest tests/engines/native/test_fuzz.py -m slow
    FUZZ=1000:1500 ...
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.base import SiteMeasurements
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import EngineError
from tests.engines.cppipes import measured_by_cellprofiler
from tests.engines.native.fuzz import case

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
#: cases that one process of CellProfiler measures one after another
BATCH = 60


def seeds() -> range:
    first, _, end = os.environ.get("FUZZ", "0:240").partition(":")
    return range(int(first), int(end or int(first) + 1))


def batches() -> list[range]:
    return [seeds()[start : start + BATCH] for start in range(0, len(seeds()), BATCH)]


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: f"{batch[0]}:{batch[-1] + 1}")
def test_random_pipelines_are_measured_as_by_cellprofiler(batch):
    cases = [case(seed) for seed in batch]
    differing, compared = [], 0
    for seed, (text, images), theirs in zip(batch, cases, measured_by_cellprofiler(cases), strict=True):
        try:
            ours = native(text, images)
        except EngineError as error:
            if not isinstance(theirs, str):
                differing.append(f"FUZZ={seed}: only the native engine ends with an error: {error}")
            continue
        if isinstance(theirs, str):  # only CellProfiler cannot measure it
            if theirs.startswith("Flagged"):
                differing.append(f"FUZZ={seed}: only CellProfiler skips the site")
            continue
        comparison = compare(ours, theirs)
        compared += 1
        if not is_equal(comparison):
            unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
            differing.append(f"FUZZ={seed}:\n{unequal.to_string()}")

    assert not differing, "\n".join(differing)
    assert compared > 0.8 * len(batch)


def native(text: str, images: dict[str, np.ndarray]) -> SiteMeasurements:
    with open_engine("native", text) as engine:
        return engine.measure({name: images[name] for name in engine.inputs})


def test_no_kernel_reads_or_writes_outside_its_arrays(tmp_path):
    """Also with numbers as large as they can be written; with Numba's bounds checking, which compiles all anew."""
    environment = dict(os.environ) | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.engines.native.test_fuzz", str(seeds().start), str(seeds().stop)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"FUZZ={done.stderr[-3000:]}"
    assert done.stdout.strip().endswith("0 outside"), done.stdout


def main(first: int, end: int) -> None:
    """Measure wild cases in this process, and say which kernels left their arrays: an IndexError, where checked."""
    outside = 0
    for seed in range(first, end):
        print(seed, file=sys.stderr, flush=True)  # the last one, should the process die
        try:
            native(*case(seed, wild=True))
        except EngineError as error:
            if "IndexError" in str(error):
                outside += 1
                print(f"FUZZ={seed}: {error}")
    print(f"{end - first} cases, {outside} outside")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
