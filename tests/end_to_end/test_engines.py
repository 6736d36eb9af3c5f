"""Both engines in the pipeline: the same scores, a certificate, and failures that stay with their site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import pipeline
from pipeline import flow
from pipeline.config import Config
from pipeline.errors import CppipeError
from pipeline.executors import open_executor
from pipeline.progress import Progress
from pipeline.report import read_summary, write_report
from pipeline.report.certificate import PAGE
from pipeline.results.run import open_run
from pipeline.status import well_states
from pipeline.verify import verify

QUIET = Progress(quiet=True)


def test_both_engines_give_the_same_scores(config: Callable[..., Config], scored: Path, tmp_path: Path) -> None:
    whole = {"subset.plates": [], "subset.wells": [], "engine.kind": "native"}
    settings = config(str(tmp_path / "native"), **whole)
    flow.run(settings, lambda: open_executor(settings), QUIET)
    ours, theirs = (pipeline.open_scores(place, "detection") for place in (str(tmp_path / "native"), str(scored)))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)
    profiles = [pipeline.open_profiles(place, level="augmented") for place in (str(tmp_path / "native"), str(scored))]
    # The store is float32, so that its last digit is what the engines may differ by.
    pd.testing.assert_frame_equal(*profiles, rtol=2e-6, atol=1e-5)


def test_a_certificate_covers_the_run_it_was_made_for(config: Callable[..., Config], tmp_path: Path) -> None:
    settings = config(str(tmp_path / "verified"), **{"engine.kind": "native", "subset.wells": ["A01", "B01"]})
    flow.run(settings, lambda: open_executor(settings), QUIET)
    here = open_run(settings.results)
    assert "No certificate covers this run" in here.storage.get("report/index.html").decode()

    record = verify(settings, 2, lambda: open_executor(settings), QUIET)

    assert record["sites"] == 2
    assert record["is_equal"], record
    assert record["versions"]["pipeline"] == pipeline.__version__
    assert "Equal." in here.storage.get(PAGE).decode()
    write_report(here)
    page = " ".join(here.storage.get("report/index.html").decode().split())
    assert "equal to CellProfiler on 2 sites" in page
    assert f"written by version {pipeline.__version__}" in page
    assert read_summary(here.storage).version == pipeline.__version__


def test_a_site_that_takes_too_long_fails_alone_and_the_run_ends(config: Callable[..., Config], tmp_path: Path) -> None:
    hurried = {"limits.site_seconds": 0.05, "subset.plates": ["SIM00101"], "subset.wells": ["A01", "B01"]}
    settings = config(str(tmp_path / "hurried"), **hurried)
    summary = flow.run(settings, lambda: open_executor(settings), QUIET)
    assert not summary.failures
    assert summary.wells["failed"] == 2
    why = well_states(open_run(settings.results)).query("state == 'failed'")["why"]
    assert why.str.contains("0.05").all() or why.str.contains("time").all(), list(why)


def test_what_native_cannot_run_is_refused_before_anything_starts(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    settings = config(str(tmp_path / "refused"), **{"engine.kind": "native"})
    text = settings.engine.cppipe.read_text().replace("MeasureTexture:", "MeasureImageSkeleton:")
    other = tmp_path / "other.cppipe"
    other.write_text(text)
    changed = config(str(tmp_path / "refused"), **{"engine.kind": "native", "engine.cppipe": str(other)})
    with pytest.raises(CppipeError, match=r"MeasureImageSkeleton.*engine: {kind: cellprofiler}"):
        flow.run(changed, lambda: open_executor(changed), QUIET)
    assert not (tmp_path / "refused").exists()
