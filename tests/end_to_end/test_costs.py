"""What a run costs: foreseen from a rehearsal, counted while it goes on, bounded by a budget."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import flow
from pipeline.config import Config
from pipeline.costs.account import FORECAST, actual
from pipeline.costs.shown import cost_table, forecast_text
from pipeline.forecast import forecast
from pipeline.progress import Progress
from pipeline.report.page import PAGE
from pipeline.results.records import encode
from pipeline.storage import open_storage
from tests.end_to_end.conftest import stored

QUIET = Progress(quiet=True)
NATIVE = {"engine.kind": "native", "subset.plates": [], "subset.wells": []}

pytestmark = pytest.mark.slow  # a rehearsal and a run


@pytest.fixture(scope="module")
def foreseen(config: Callable[..., Config]) -> tuple[Config, Any]:
    """The whole tiny screen: what was foreseen of it, then run."""
    settings = config("s3://results/foreseen", **NATIVE)
    run, found = forecast(settings, QUIET)
    open_storage(run.storage.location).put(FORECAST, encode(found.as_record()))
    flow.run(settings, progress=QUIET)
    return settings, found


@pytest.mark.parametrize("what", ["requests", "bytes_in", "bytes_out"])
def test_requests_and_bytes_are_foreseen_within_15_percent(foreseen: tuple[Config, Any], what: str) -> None:
    settings, found = foreseen
    spent = actual(open_storage(settings.results))["spent"]
    assert getattr(found.spent, what) == pytest.approx(getattr(spent, what), rel=0.15)


def test_what_is_kept_is_foreseen_within_15_percent(foreseen: tuple[Config, Any]) -> None:
    settings, found = foreseen
    kept = sum(entry.size for entry in open_storage(settings.results).entries())
    assert found.stored == pytest.approx(kept, rel=0.15)


def test_every_plate_is_named_with_its_part(foreseen: tuple[Config, Any]) -> None:
    _, found = foreseen
    text = forecast_text(found.as_record())
    assert len(found.plates) == 6
    assert all(plate in text for plate in found.plates)
    assert sum(found.plate_sites.values()) == found.sites
    assert not found.lacking


def test_the_report_shows_what_was_foreseen_beside_what_was_spent(foreseen: tuple[Config, Any]) -> None:
    settings, _ = foreseen
    storage = open_storage(settings.results)
    page = storage.get(PAGE).decode()
    assert "<th>foreseen</th>" in page
    [money] = [row for row in cost_table(storage) if row["what"] == "money"]
    assert f"<td>{money['foreseen']}</td>" in page


def test_a_finished_run_is_foreseen_to_cost_no_measuring(foreseen: tuple[Config, Any]) -> None:
    settings, _ = foreseen
    _, again = forecast(settings, QUIET)
    assert again.plates == {}
    assert again.spent.writes == 0


def test_a_budget_ends_a_run_with_4_and_a_greater_one_finishes_it(
    foreseen: tuple[Config, Any], config: Callable[..., Config], tmp_path: Path
) -> None:
    uninterrupted, _ = foreseen
    settings = config("s3://results/budget", **NATIVE)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(settings.to_yaml())))

    def run(budget: float) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline", "run", str(path), "--budget", str(budget)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    half = actual(open_storage(uninterrupted.results))["dollars"] / 2
    first = run(half)
    assert first.returncode == 4, first.stderr
    assert "is spent" in first.stdout
    assert "tasks were not begun" in first.stdout
    ledger = len(list(open_storage(settings.results).entries("ledger/")))
    assert 0 < ledger < len(list(open_storage(uninterrupted.results).entries("ledger/")))
    again = run(half)  # nothing is begun
    assert again.returncode == 4
    assert len(list(open_storage(settings.results).entries("ledger/"))) == ledger
    assert run(1000).returncode == 3  # complete; one site of the screen has an image that is missing
    assert stored(settings.results) == stored(uninterrupted.results)
