"""The rehearsal of `make chaos`, with three seeds."""

from __future__ import annotations

import re

import pytest

from pipeline.simulate.chaos import main
from tests.conftest import ROOT


@pytest.mark.slow  # four runs on a local cluster whose workers die and stand still
def test_runs_with_faults_leave_the_bytes_of_an_undisturbed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(3) == 0
    table = capsys.readouterr().out
    assert "Of 3 runs 3 left equal bytes." in table
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    struck = [sum(map(int, row.split("|")[3:8])) for row in rows]
    assert all(number > 0 for number in struck)


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "chaos.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", page)
    assert len(named) > 25
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []
