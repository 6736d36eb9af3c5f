"""Ask CellProfiler's interpreter, whose NumPy sorts and sums in its own order."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from pipeline.engines.cellprofiler.process import ENVIRONMENT, interpreter

SCRIPT = Path(__file__).with_name("in_numpy1.py")


def ask(task: str, cases: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Run one task of `in_numpy1.py` on each case, all in one process."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **{f"{k}/{name}": array for k, case in enumerate(cases) for name, array in case.items()})
        command = [str(interpreter()), "-W", "ignore", str(SCRIPT), task, str(source), str(output)]
        done = subprocess.run(command, env=dict(ENVIRONMENT), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, np.ndarray]] = [{} for _ in cases]
        with np.load(output) as results:
            for name in results.files:
                number, argument = name.split("/")
                answers[int(number)][argument] = results[name]
        return answers
