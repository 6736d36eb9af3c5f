"""The dry run, its S3 server included, killed half way and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import stored


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "dry-run", "--design", "small"]
    return subprocess.Popen(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(folder: Path) -> str:
    process = start(folder)
    text, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, text
    assert f"Stores:        {folder / 'results'}" in text, text
    return text


def test_a_dry_run_that_was_killed_goes_on_to_the_same_stores_and_the_planted_answer(tmp_path: Path) -> None:
    process = start(tmp_path / "killed")
    assert process.stdout is not None
    for line in process.stdout:
        if "Measuring:" in line and int(line.split("%")[0].split()[-1]) >= 40:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "results").exists()

    answer = finish(tmp_path / "killed")
    assert "10 of 10 strong perturbations retrieved" in answer
    finish(tmp_path / "whole")

    ours, theirs = (stored(str(tmp_path / name / "results")) for name in ("killed", "whole"))
    assert len(ours) > 100
    assert ours == theirs
    assert "nothing is left to do" in finish(tmp_path / "killed")
