"""The main job from images to report, in ways it may be run; always the same bytes come out."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from rich.console import Console

from pipeline import flow, measure, open_cells, open_profiles
from pipeline.config import Config
from pipeline.errors import AccessDenied, ConfigError, EngineError, SettingsDiffer, SiteFlagged, StorageError
from pipeline.executors import open_executor
from pipeline.executors.base import WorkerDied
from pipeline.progress import Progress
from pipeline.report import Summary, write_report
from pipeline.results import ledger
from pipeline.results.run import open_run
from pipeline.screen import Plate
from pipeline.start import start
from pipeline.status import show_status, well_states
from pipeline.storage import Entry, Location, open_storage
from tests.end_to_end.conftest import start_run, stored

QUIET = Progress(quiet=True)


def run(config: Config) -> Summary:
    return flow.run(config, lambda: open_executor(config), QUIET)


@pytest.fixture(scope="module")
def finished(config: Callable[..., Config]) -> Config:
    """A run of eight wells, one after another, in S3."""
    settings = config("s3://results/serial")
    run(settings)
    return settings


def test_every_well_is_accounted_for(finished: Config) -> None:
    wells = well_states(open_run(finished.results)).set_index(["Metadata_Plate", "Metadata_Well"])
    assert len(wells) == 8
    assert (wells["state"].drop(index=("SIM00102", "A02")) == "measured").all()
    assert (wells["n_cells"].drop(index=("SIM00102", "A02")) > 0).all()


def test_a_missing_image_is_its_sites_failure_by_name(finished: Config) -> None:
    wells = well_states(open_run(finished.results)).set_index(["Metadata_Plate", "Metadata_Well"])
    lost = wells.loc[("SIM00102", "A02")]
    assert lost["state"] == "failed"
    assert "OrigRNA is missing" in lost["why"]


def test_a_well_that_is_left_out_on_purpose_says_so_and_is_in_no_profile(
    config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"engine.kind": "native", "subset.plates": ["SIM00101"], "illumination": "compute"}
    settings = config(str(tmp_path / "results"), **changes, **{"subset.exclude": {"SIM00101": {"B01": "no drug left"}}})
    summary = run(settings)
    assert (summary.wells, summary.failures) == ({"measured": 3, "excluded": 1}, {})

    here = open_run(settings.results)
    wells = well_states(here).set_index("Metadata_Well")
    assert wells.loc["B01", ["state", "n_cells", "why"]].tolist() == ["excluded", 0, "no drug left"]
    results = str(tmp_path / "results")
    assert open_profiles(results, level="")["Metadata_Well"].tolist() == ["A01", "A02", "B02"]
    cells = open_cells(results)
    assert dict(zip(cells["well"].values, cells["state"].values, strict=True))["B01"] == "excluded"
    show_status(here, Console())
    assert "B01 excluded: no drug left" in capsys.readouterr().out


def test_two_worker_processes_leave_the_same_bytes(finished: Config, config: Callable[..., Config]) -> None:
    settings = config("s3://results/dask", **{"execution.cluster": "local"})
    run(settings)
    assert stored(settings.results) == stored(finished.results)


def test_a_scheduler_that_is_running_already_is_used(config: Callable[..., Config], tmp_path: Path) -> None:
    few = {"engine.kind": "native", "subset.plates": ["SIM00101"], "subset.wells": ["A01"]}
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        settings = config(str(tmp_path / "results"), **few, **{"execution.cluster": cluster.scheduler_address})
        assert run(settings).wells == {"measured": 1}
        assert cluster.scheduler.workers, "the cluster is not ours to close"


def test_no_scheduler_at_an_address_is_said_with_the_way_out(config: Callable[..., Config], tmp_path: Path) -> None:
    settings = config(str(tmp_path / "results"), **{"execution.cluster": "tcp://127.0.0.1:9"})
    with pytest.raises(ConfigError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9.*CLUSTER=local"):
        open_executor(settings)


def test_a_folder_holds_the_same_bytes_as_a_bucket(
    finished: Config, config: Callable[..., Config], tmp_path: Path
) -> None:
    settings = config(str(tmp_path / "results"))
    run(settings)
    assert stored(settings.results) == stored(finished.results)


def test_a_run_that_was_killed_goes_on_and_leaves_the_same_bytes(
    finished: Config, config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config("s3://results/killed", **{"execution.cluster": "local"})
    process = start_run(settings, tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if "2/8" in line or "3/8" in line:
            break
    here = open_run(settings.results)
    show_status(here, Console())  # as somebody else, while the run goes on
    assert int(re.findall(r"(\d+) measured", capsys.readouterr().out)[0]) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {
        (plate, well): here.storage.get(entry.key)
        for plate in here.plates
        for well in ledger.listed_wells(here.storage, here.measuring12, plate)
        for entry in here.storage.entries(f"ledger/{here.measuring12}/{plate.key}/{well}.")
    }
    assert 2 <= len(before) < 8

    run(settings)

    assert stored(settings.results) == stored(finished.results)
    attempts = ledger.read_attempts(here.storage, here.measuring12, here.plates)
    measured = [(attempt["batch"], attempt["plate"], attempt["well"]) for attempt in attempts]
    for plate, well in before:
        assert measured.count((*plate, well)) == 1, f"{plate} {well} was finished and measured again"


def test_a_finished_run_that_is_run_again_does_nothing(finished: Config) -> None:
    def objects() -> set[Entry]:
        return {entry for entry in open_storage(finished.results).entries() if entry.key != "config.yaml"}

    before = objects()
    run(finished)
    assert objects() == before


def test_a_well_taken_up_again_is_published_also_if_the_run_is_killed_in_between(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    few = {"engine.kind": "native", "subset.plates": ["SIM00101"], "subset.wells": ["A01"]}
    settings = config(str(tmp_path / "results"), **few)
    run(settings)
    before = stored(settings.results)
    for part in ("cells", "ledger"):
        next((tmp_path / "results" / part).rglob("c/0/0/0" if part == "cells" else "A01.*.json")).unlink()

    def killed() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flow.run(settings, killed, QUIET)
    here = open_run(settings.results)
    measure.measure_well(settings.results, *here.plates[0], "A01")
    run(settings)
    assert stored(settings.results) == before


def test_a_root_measured_otherwise_is_refused_with_the_fields_that_differ(
    finished: Config, config: Callable[..., Config]
) -> None:
    other = config("s3://results/serial", **{"illumination": "none"})
    with pytest.raises(SettingsDiffer) as refused:
        run(other)
    assert "illumination: 'none' here, 'compute' there" in str(refused.value)


def test_a_well_with_more_cells_than_there_is_room_is_set_aside_by_name(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    few = {"engine.kind": "native", "subset.plates": ["SIM00101"], "subset.wells": ["A01", "B01"], "cells.capacity": 2}
    settings = config(str(tmp_path / "results"), **few)
    summary = run(settings)
    assert (summary.wells, summary.failures) == ({"failed": 2}, {})
    assert well_states(open_run(settings.results))["why"].str.contains("Set cells.capacity to").all()


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditional_writes_is_refused_before_the_root_is_claimed(
    config: Callable[..., Config], header: str
) -> None:
    settings = config(f"s3://results/careless-{header}", **{"engine.kind": "native"})
    storage = open_storage(settings.results)
    storage.client.meta.events.register(  # type: ignore[attr-defined]
        "before-sign.s3.PutObject", lambda request, **_: request.headers.__delitem__(header)
    )
    with pytest.raises(ConfigError, match=r"ignores conditional writes.*AWS S3, or in a folder"):
        start(settings, QUIET)
    assert storage.stat("run.json") is None


def test_limits_and_workers_may_change_between_two_calls(finished: Config, config: Callable[..., Config]) -> None:
    run(config("s3://results/serial", **{"limits.site_seconds": 99, "execution.workers": 1}))


def test_what_is_not_the_wells_fault_leaves_it_open(finished: Config) -> None:
    here = open_run(finished.results)
    plate = Plate("2026_01_05_Simulated", "SIM00101")
    for error in (StorageError("slow down", retry=True), AccessDenied("no"), EngineError("does not start")):
        assert not measure.set_aside(here, plate, "C03", error)
    assert not ledger.is_finished(here.storage, here.measuring12, plate, "C03")


def test_a_well_that_keeps_killing_its_worker_is_set_aside_by_name(
    config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("s3://results/killer", **{"engine.kind": "native", "subset.plates": ["SIM00101"]})
    measured = measure.measure_well

    def deadly(results: Location, batch: str, plate: str, well: str) -> dict[str, Any]:
        if well == "B01":
            raise WorkerDied(f"{well}: 4 workers died")
        return measured(results, batch, plate, well)

    monkeypatch.setattr(measure, "measure_well", deadly)
    summary = run(settings)
    assert not summary.failures
    assert summary.wells["failed"] == 1
    wells = well_states(open_run(settings.results)).set_index("Metadata_Well")
    assert "4 workers died" in wells.loc["B01", "why"]
    assert run(settings) == summary  # nothing is left to do


def test_a_report_written_by_hand_does_not_end_a_run(config: Callable[..., Config]) -> None:
    settings = config("s3://results/begun", **{"engine.kind": "native", "subset.plates": ["SIM00101"]})
    here = start(settings, QUIET)
    write_report(here)
    assert run(settings).wells["measured"] == 4


def test_a_score_that_there_is_not_is_refused_before_the_root_is_claimed(config: Callable[..., Config]) -> None:
    settings = config("s3://results/misspelt", **{"engine.kind": "native", "scores.tasks": ["detektion"]})
    with pytest.raises(ConfigError, match="detection"):
        run(settings)
    assert list(open_storage(settings.results).entries()) == []


def test_a_site_that_the_pipeline_flags_is_skipped_and_counted_and_no_failure(
    config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("s3://results/flagged", **{"engine.kind": "native", "subset.plates": ["SIM00101"]})
    from pipeline.measure import well as measuring

    whole = measuring._measure_site
    seen: list[int] = []

    def flagging(*args: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise SiteFlagged("the module flags this site as one to skip", module="5 FlagImage")
        return whole(*args)

    monkeypatch.setattr(measuring, "_measure_site", flagging)
    summary = run(settings)
    assert (summary.wells, summary.failed_sites, summary.flagged_sites) == ({"measured": 3, "flagged": 1}, 0, 1)
    assert summary.is_complete
    assert "1 sites were skipped" in summary.text
    assert len(open_profiles(str(settings.results), level="", profile="worker")) == 3


def test_a_run_takes_nothing_away_so_that_workers_need_no_right_to(
    config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Any, key: str) -> None:
        raise AccessDenied(f"s3:DeleteObject on {key}")

    monkeypatch.setattr("pipeline.storage.LocalStorage.remove", refused)
    settings = config(
        str(tmp_path / "results"), **{"engine.kind": "native", "subset.plates": ["SIM00201"], "subset.wells": []}
    )
    summary = run(settings)
    assert not summary.failures
