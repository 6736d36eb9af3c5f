"""Knowing what happens: why a well is as it is, what two roots differ in, what is in the way of a run, its events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from pipeline import flow
from pipeline.compare import compare, described
from pipeline.config import Config
from pipeline.diagnosis import next_move
from pipeline.doctor import examine
from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.results.run import Run, open_run
from pipeline.storage import Location, patience
from pipeline.why import why

QUIET = Progress(quiet=True)
ONE_WELL = {"illumination": "none", "subset.plates": ["SIM00101"], "subset.wells": ["A01", "A02"]}
ONE_WELL |= {"scores.tasks": []}


def ran(config: Config) -> Run:
    flow.run(config, progress=QUIET)
    return open_run(config.results)


@pytest.fixture(scope="module")
def measured(quick: Callable[..., Config]) -> Run:
    return ran(quick("knowing", **ONE_WELL))


def test_a_measured_well_is_told_with_its_attempt_and_needs_nothing(measured: Run) -> None:
    first, *rest = why(measured, "SIM00101", "A1")
    assert first.startswith("2026_01_05_Simulated/SIM00101 A01: measured: ")
    assert sum(" on " in line and ": measured after" in line for line in rest) == 1
    assert rest[-2:] == ["  The plate is published.", "  Next: nothing; it is as it should be."]


def test_a_well_that_was_set_aside_is_told_with_the_reason_and_the_next_move(quick: Callable[..., Config]) -> None:
    run = ran(quick("knowing-full", **ONE_WELL, **{"cells.capacity": 2}))
    first, *rest = why(run, "2026_01_05_Simulated/SIM00101", "A01")
    assert ": failed: 0 cells" in first
    assert "  Next: raise `cells.capacity`" in rest[-1]


def test_a_well_or_plate_that_there_is_not_is_said_with_the_nearest(measured: Run) -> None:
    with pytest.raises(ConfigError, match="has no well P24 in the plan"):
        list(why(measured, "SIM00101", "P24"))
    with pytest.raises(ConfigError, match=r"There is no plate 'SIM00111' at .* Nearest: 'SIM00101'"):
        list(why(measured, "SIM00111", "A01"))


def test_two_roots_are_compared_by_settings_and_by_values(quick: Callable[..., Config], measured: Run) -> None:
    same, other = ran(quick("same", **ONE_WELL)), ran(quick("mean", **ONE_WELL, **{"profiles.aggregate": "mean"}))
    found = compare(measured, same)
    assert found.is_equal
    assert list(described(measured, same, found)) == ["All objects are equal, byte for byte."]
    found = compare(measured, other)
    lines = list(described(measured, other, found))
    assert lines[0] == "setting profiles.aggregate: 'median' here, 'mean' there"
    assert not found.is_equal
    assert any(line.startswith("differs: profiles/") and "values in " in line for line in lines)
    assert not any("cells/" in line for line in lines)


def test_what_a_run_needs_is_looked_at_before_it(quick: Callable[..., Config]) -> None:
    found = {one.what: one for one in examine(quick("not-yet"))}
    assert set(found) == {"python", "versions", "engine", "images", "results", "disk", "cluster", "processor"}
    assert all(one.is_well for one in found.values() if one.what != "disk")
    nowhere = Location(url="s3://images/x", endpoint="http://127.0.0.1:9", anonymous=True)
    config = quick("not-yet", **{"execution.cluster": "tcp://127.0.0.1:9"}).model_copy(update={"images": nowhere})
    with patience(0.1):
        found = {one.what: one for one in examine(config)}
    assert (found["images"].is_well, found["cluster"].is_well) == (False, False)
    assert "Next: see that the server runs" in found["images"].said
    assert "Next: start the scheduler" in found["cluster"].said


def test_every_event_of_a_run_is_a_line_in_its_prefix(measured: Run) -> None:
    entries = list(measured.storage.entries("events/"))
    lines = [json.loads(line) for entry in entries for line in measured.storage.get(entry.key).decode().splitlines()]
    assert [line["event"] for line in (lines[0], lines[-1])] == ["run began", "run ended"]
    ended = Counter(line["stage"] for line in lines if line["event"] == "task ended")
    assert ended["measure"] == 2
    assert sum(ended.values()) == lines[0]["tasks"]
    assert all(line["time"] for line in lines)


@pytest.mark.parametrize(
    ("reason", "move"),
    [
        ("site 2: OrigRNA (r01.tiff) is missing", "bring the image"),
        ("worker_died: measure/B/P/A01: 12 workers died while they had this task", "retry --class worker_died"),
        ("s3://b/k: access denied (AccessDenied) for worker: the right s3:GetObject", "right that is named"),
        ("s3://b/k: the keys of worker have expired (ExpiredToken).", "renew the keys"),
        ("/data/x cannot be written: No space left on device", "free some space"),
        ("image of DNA (x.tiff) cannot be decoded: it is damaged or cut short", "copy it anew"),
        ("something that nobody has seen", "look at the images"),
    ],
)
def test_a_known_failure_is_told_with_the_next_move(reason: str, move: str) -> None:
    assert move in next_move(reason)
