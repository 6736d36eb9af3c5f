"""A screen that lives for months: after each kind of change, `run` does again what the change touches and nothing else,
and the root is, byte for byte, the one that a fresh run of the final config makes.

What may differ is listed here: shards and ledger entries of wells that were measured and then excluded stay (taking
them back costs nothing), and so do the sums from which illumination functions were computed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline import flow, measure, open_cells, open_profiles, open_scores, report
from pipeline.config import SCREENS, Config, load_config
from pipeline.errors import ConfigError, Incomplete, NotFound, SettingsDiffer
from pipeline.executors import Outcome, open_executor
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.progress import Progress
from pipeline.report import certificate
from pipeline.results import ledger
from pipeline.results.records import CURRENT, MISSING
from pipeline.results.run import find_measured, open_run
from pipeline.retry import retry
from pipeline.scores.stage import score_unit
from pipeline.screen import Plate
from pipeline.simulate.screen import simulate
from pipeline.standings import show_todo, todo
from pipeline.start import plan_run, start
from pipeline.storage import LocalStorage, Location, open_storage
from tests.end_to_end.conftest import stored

QUIET = Progress(quiet=True)
BATCH = "2026_01_05_Simulated"
COMPOUNDS, ALL = ["SIM00101", "SIM00102"], ["SIM00101", "SIM00102", "SIM00201", "SIM00202"]


class Counting:
    """Any executor, counting what it is given to do, by stage; `die_after`: the driver dies after so many tasks."""

    def __init__(self, executor: Any, die_after: int | None = None) -> None:
        self.executor, self.done, self.die_after = executor, Counter[str](), die_after

    def run(self, tasks: Any) -> Iterator[Outcome]:
        for outcome in self.executor.run(tasks):
            self.done[outcome.task.stage] += 1
            yield outcome
            if sum(self.done.values()) == self.die_after:
                raise KeyboardInterrupt

    def close(self) -> None:
        self.executor.close()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(Location(url=str(folder / "screen")), "tiny")
    return folder


@pytest.fixture(scope="module", params=["serial", pytest.param("local", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest) -> str:
    return request.param


class Screen:
    """A screen in a folder of its own, its tables and images free to be changed, and roots of results."""

    def __init__(self, folder: Path, simulated: Path, cluster: str) -> None:
        self.folder, self.cluster = folder, cluster
        shutil.copytree(simulated, folder, dirs_exist_ok=True)

    def config(self, results: str = "results", **changes: Any) -> Config:
        keys = {
            "screen": str(self.folder / "screen" / "tables" / "screen.yaml"),
            "images": {"url": str(self.folder / "screen" / "images")},
            "results": {"url": str(self.folder / results)},
            "engine.kind": "native",
            "execution.cluster": self.cluster,
            "scores.tasks": ["detection"],
            "subset.plates": COMPOUNDS,
        }
        return load_config(SCREENS / "embedded" / "config.yaml", **{**keys, **changes})

    def run(self, results: str = "results", *, new_measuring: bool = False, **changes: Any) -> dict[str, int]:
        """Run, and how often each stage was invoked."""
        config = self.config(results, **changes)
        made: list[Counting] = []

        def executor() -> Counting:
            made.append(Counting(open_executor(config)))
            return made[-1]

        summary = flow.run(config, executor, QUIET, new_measuring=new_measuring)
        assert not summary.failures
        assert flow.flow(open_run(Location(url=summary.results))) == []  # and now nothing is left to do
        return dict(made[0].done) if made else {}

    def kill(self, after: int, **changes: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            flow.run(self.config(**changes), lambda: Counting(SerialExecutor(), die_after=after), QUIET)

    def assert_as_fresh(self, but: Callable[[str], bool] = lambda key: False, **changes: Any) -> None:
        self.run("fresh", **changes)
        ours, fresh = (stored(str(self.folder / name)) for name in ("results", "fresh"))
        assert {key: sha for key, sha in ours.items() if not but(key)} == {
            key: sha for key, sha in fresh.items() if not but(key)
        }
        shutil.rmtree(self.folder / "fresh")

    def edit(self, table: str, old: str, new: str) -> None:
        path = self.folder / "screen" / "tables" / table
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, simulated: Path, cluster: str) -> Path:
    """The screen with two plates measured, for each test to take up in a copy of its own."""
    screen = Screen(tmp_path_factory.mktemp("begun"), simulated, cluster)
    done = screen.run()
    assert (done["measure"], done["publish"], done["profile"], done["select"]) == (14, 2, 2, 1)
    return screen.folder


@pytest.fixture
def screen(tmp_path: Path, begun: Path, cluster: str) -> Screen:
    screen = Screen(tmp_path, begun, cluster)
    assert screen.run() == {}  # also where the results have been moved to
    return screen


def test_a_score_or_a_seed_costs_that_score_and_the_report(screen: Screen) -> None:
    page = (screen.folder / "results/report/index.html").read_text()
    more = {"scores.tasks": ["detection", "variance"]}
    assert screen.run(**more) == {"score": 2, "compare": 1}  # one condition, then the table of all
    assert (screen.folder / "results/report/index.html").read_text() != page
    assert not open_scores(screen.folder / "results", "variance").empty
    assert screen.run(**more, **{"scores.seed": 1}) == {"score": 4, "compare": 1}
    assert screen.run(**more, **{"scores.seed": 1, "scores.mode": "published"}) == {"score": 4, "compare": 1}
    last = {**more, "scores.seed": 1, "scores.mode": "published", "scores.steps": ["clip"]}
    assert screen.run(**last) == {"score": 4, "compare": 1}
    screen.assert_as_fresh(**last)


def test_a_score_that_is_asked_for_no_more_is_not_left_to_grow_old(screen: Screen) -> None:
    more = {"scores.tasks": ["detection", "variance"]}
    screen.run(**more)
    table = open_scores(screen.folder / "results", "variance")
    assert screen.run() == {"compare": 1}
    with pytest.raises(NotFound, match="has no scores named 'variance'"):
        open_scores(screen.folder / "results", "variance")
    assert screen.run(**more) == {"score": 1, "compare": 1}  # its parts are there
    assert open_scores(screen.folder / "results", "variance").equals(table)


def test_a_well_without_profile_that_turns_out_to_hold_a_sample_is_counted_as_missing(screen: Screen) -> None:
    path = "platemaps/Simulated_compound_platemap.txt"
    screen.edit(path, "CPD-02-2\tDMSO", "CPD-02-2\tDMSO\nSimulated_compound_platemap\tB04\t\t")
    screen.run()
    before = open_scores(screen.folder / "results", "detection")["n_wells_missing"].unique().tolist()
    screen.edit(path, "B04\t\t", "B04\tCPD-02-2\tDMSO")
    assert screen.run() == {"score": 2, "compare": 1}
    after = open_scores(screen.folder / "results", "detection")["n_wells_missing"].unique().tolist()
    assert [count + 2 for count in before] == after


def test_selection_normalisation_and_aggregation_cost_what_comes_after_them(screen: Screen) -> None:
    selected = {"select.correlation": 0.8}
    assert screen.run(**selected) == {"select": 1, "score": 2, "compare": 1}
    profiled = {**selected, "profiles.normalize": "standardize", "profiles.aggregate": "mean"}
    assert screen.run(**profiled) == {"profile": 2, "select": 1, "score": 2, "compare": 1}
    screen.assert_as_fresh(**profiled)


def test_a_corrected_plate_map_costs_the_profiles_of_the_plates_it_touches(screen: Screen) -> None:
    screen.run(**{"subset.plates": ALL})
    screen.edit("platemaps/Simulated_compound_platemap.txt", "CPD-01-1", "CPD-99-9")
    screen.edit("perturbations/compound_metadata.tsv", "CPD-01-1", "CPD-99-9")
    done = screen.run(**{"subset.plates": ALL})
    assert (done["profile"], done["select"]) == (2, 1)
    assert "measure" not in done
    assert "publish" not in done
    profiles = open_profiles(screen.folder / "results")
    assert "CPD-99-9" in set(profiles["Metadata_broad_sample"])
    screen.assert_as_fresh(**{"subset.plates": ALL})


def test_worker_processes_do_again_what_a_change_touches_and_nothing_else(tmp_path: Path, simulated: Path) -> None:
    """One of the rows on a Dask cluster; the slow tests do all of them there."""
    screen = Screen(tmp_path, simulated, "local")
    screen.run(**{"subset.plates": ["SIM00101"], "subset.wells": ["A01", "A02", "B01"]})
    changed = {"subset.plates": ["SIM00101"], "scores.seed": 1}
    done = screen.run(**changed)
    assert (done["measure"], done["publish"], done["profile"], done["select"]) == (4, 1, 1, 1)
    screen.cluster = "serial"
    screen.assert_as_fresh(**changed)


def test_wells_and_plates_that_join_cost_themselves(tmp_path: Path, simulated: Path, cluster: str) -> None:
    screen = Screen(tmp_path, simulated, cluster)
    few = {"subset.plates": ["SIM00101"], "subset.wells": ["A01", "A02"]}
    assert screen.run(**few)["measure"] == 2
    done = screen.run(**{**few, "subset.wells": ["A02", "B01"]})
    assert (done["measure"], done["publish"], done["profile"]) == (1, 1, 1)  # A01 stays, though this call is not of it
    assert len(open_profiles(screen.folder / "results", level="")) == 3
    done = screen.run()
    assert (done["measure"], done["publish"], done["profile"], done["select"]) == (11, 2, 2, 1)
    done = screen.run(**{"subset.plates": ALL})
    assert (done["measure"], done["publish"], done["profile"], done["select"]) == (16, 2, 2, 1)
    screen.assert_as_fresh(**{"subset.plates": ALL})


def test_a_plate_that_is_new_in_the_bucket_joins_and_one_whose_images_are_gone_stays(screen: Screen) -> None:
    everything = {"subset.plates": []}
    images = screen.folder / "screen/images" / BATCH / "images"
    screen.edit("image_plates.csv", "SIM00201", "SIM00201")  # it is in the plates table from the beginning
    away = screen.folder / "away"
    away.mkdir()
    for plate in ("SIM00201", "SIM00202", "SIM00301", "SIM00302"):
        shutil.move(next(images.glob(f"{plate}__*")), away)
    assert screen.run(**everything) == {}
    shutil.move(next(away.glob("SIM00201__*")), images)
    done = screen.run(**everything)
    assert (done["measure"], done["publish"], done["profile"], done["select"]) == (8, 1, 1, 1)
    screen.assert_as_fresh(**everything)
    shutil.move(next(images.glob("SIM00101__*")), away)
    assert screen.run(**everything) == {}
    findings = plan_run(screen.config(**everything), QUIET, write=False).findings
    (gone,) = findings.loc[findings["kind"] == "images_gone", "what"]
    assert gone.startswith(f"{BATCH}/SIM00101 was planned before and cannot be now")
    assert screen.run(**everything, **{"select.correlation": 0.8})["select"] == 1
    assert set(open_profiles(screen.folder / "results")["Metadata_Plate"]) == {"SIM00101", "SIM00102", "SIM00201"}


def test_tables_are_corrected_and_wells_excluded_where_images_were_moved_away(screen: Screen) -> None:
    """Of one plate, then of all."""
    images = screen.folder / "screen/images" / BATCH / "images"
    away = screen.folder / "away"
    away.mkdir()
    shutil.move(next(images.glob("SIM00101__*")), away)
    screen.edit("platemaps/Simulated_compound_platemap.txt", "CPD-01-1", "CPD-99-9")
    screen.edit("perturbations/compound_metadata.tsv", "CPD-01-1", "CPD-99-9")
    changed = {"subset.plates": ["SIM00101"], "subset.exclude": {"SIM00101": {"a02": "pipetting failed"}}}
    done = screen.run(**changed)
    assert (done["publish"], done["profile"], done["select"]) == (1, 2, 1)
    assert "measure" not in done
    profiles = open_profiles(screen.folder / "results", level="augmented", plates="SIM00101")
    assert "A02" not in set(profiles["Metadata_Well"])
    assert "CPD-99-9" in set(profiles["Metadata_broad_sample"])
    shutil.rmtree(screen.folder / "screen/images")
    assert screen.run(**changed, **{"scores.seed": 1}) == {"score": 2, "compare": 1}


def test_a_measured_well_that_map_and_images_name_no_more_stays(screen: Screen) -> None:
    screen.edit("platemaps/Simulated_compound_platemap.txt", "Simulated_compound_platemap\tB03\tCPD-02-2\tDMSO", "")
    folder = next((screen.folder / "screen/images" / BATCH / "images").glob("SIM00101__*")) / "Images"
    for path in folder.glob("r02c03*"):
        path.unlink()
    done = screen.run(**{"profiles.aggregate": "mean"})
    assert (done["profile"], done["select"]) == (2, 1)
    profiles = open_profiles(screen.folder / "results", level="augmented", plates="SIM00101")
    assert "B03" in set(profiles["Metadata_Well"])
    findings = plan_run(screen.config(), QUIET, write=False).findings
    assert ["SIM00101", "B03", "images_gone"] in findings[["plate", "well", "kind"]].to_numpy().tolist()


def test_a_plate_that_the_screen_names_no_more_is_not_read_and_comes_back_for_nothing(screen: Screen) -> None:
    results = screen.folder / "results"
    text = (screen.folder / "screen/tables/image_plates.csv").read_text()
    (row,) = [line for line in text.splitlines() if ",SIM00102," in line]
    screen.edit("image_plates.csv", f"{row}\n", "")
    assert screen.run(**{"subset.plates": ["SIM00101"]}) == {"select": 1, "score": 2, "compare": 1}
    for level in ("", "normalized", "normalized_feature_select_batch"):
        assert set(open_profiles(results, level=level)["Metadata_Plate"]) == {"SIM00101"}
    assert set(open_cells(results).plate.values) == {"SIM00101"}
    assert "SIM00102/" not in (results / "report/index.html").read_text()  # no link to its tables
    (screen.folder / "screen/tables/image_plates.csv").write_text(text)
    assert screen.run() == {"select": 1, "score": 2, "compare": 1}
    assert set(open_profiles(results, level="normalized")["Metadata_Plate"]) == set(COMPOUNDS)


def test_a_well_that_is_excluded_leaves_the_profiles_and_comes_back_for_nothing(screen: Screen) -> None:
    before = stored(str(screen.folder / "results"))
    without = {"subset.exclude": {"SIM00101": {"A02": "pipetting failed"}}}
    done = screen.run(**without)
    assert (done["publish"], done["profile"], done["select"]) == (1, 1, 1)
    assert "measure" not in done
    profiles = open_profiles(screen.folder / "results", level="", plates="SIM00101")
    assert "A02" not in set(profiles["Metadata_Well"])
    cells = open_cells(screen.folder / "results", plates="SIM00101")
    assert cells.sel(feature=cells.family == "AreaShape").isel(well=cells.well == "A02").features.isnull().all()
    stays = ("/features/c/1/", "/A02.", "parts/")
    screen.assert_as_fresh(but=lambda key: "SIM00101" in key and any(part in key for part in stays), **without)
    done = screen.run()
    assert "measure" not in done
    assert stored(str(screen.folder / "results")) == before


def test_replaced_images_are_named_and_measured_again_when_asked(screen: Screen) -> None:
    results = screen.folder / "results"
    before = open_profiles(results, level="").set_index(["Metadata_Plate", "Metadata_Well"])
    folder = next((screen.folder / "screen/images" / BATCH / "images").glob("SIM00101__*")) / "Images"
    for path in folder.glob("r01c01*"):
        path.write_bytes(path.with_name(path.name.replace("r01c01", "r02c02")).read_bytes())
    assert screen.run() == {}
    findings = plan_run(screen.config(), QUIET, write=False).findings
    replaced = findings[findings["kind"] == "images_replaced"]
    assert replaced[["plate", "well"]].to_numpy().tolist() == [["SIM00101", "A01"]]
    assert "`retry" in replaced["what"].iloc[0]

    assert retry(open_run(screen.config().results), replaced=True) == {Plate(BATCH, "SIM00101"): ["A01"]}
    assert open_cells(results, plates="SIM00101").sizes["well"] == 96  # the old cells are there yet
    screen.kill(after=1)
    with pytest.raises(Incomplete, match="SIM00101 is being published anew"):
        open_cells(results, plates="SIM00101")  # the new cells of A01 would be read by the old counts
    done = screen.run()
    assert (done["publish"], done["profile"], done["select"]) == (1, 1, 1)
    assert "measure" not in done
    after = open_profiles(results, level="").set_index(["Metadata_Plate", "Metadata_Well"])
    changed = (before != after) & before.notna()
    assert changed.any(axis=1)[lambda rows: rows].index.tolist() == [("SIM00101", "A01")]
    # The functions of the plate were made before from the images of then; nothing else differs from a fresh root.
    findings = plan_run(screen.config(), QUIET, write=False).findings
    assert "images_replaced" not in set(findings["kind"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"illumination": "none"}, "illumination: 'none' here, 'compute' there"),
        pytest.param({"cells.capacity": 512}, "cells.capacity: 512 here, 16384 there", marks=pytest.mark.slow),
        pytest.param({"subset.sites": [1]}, r"sites: \[1\] here, \[\] there", marks=pytest.mark.slow),
    ],
)
def test_cells_measured_otherwise_are_refused_and_can_be_measured_beside(
    screen: Screen, change: dict[str, Any], said: str
) -> None:
    before = stored(str(screen.folder / "results"))
    with pytest.raises(SettingsDiffer, match=said) as refused:
        screen.run(**change)
    assert "run --new-measuring" in str(refused.value)
    assert stored(str(screen.folder / "results")) == before
    done = screen.run(**change, new_measuring=True)
    assert done["measure"] == 14
    assert stored(str(screen.folder / "results")) == before
    assert screen.run(**change) == {}  # found again without being asked for
    (beside,) = (screen.folder / "results/measurings").iterdir()
    assert find_measured(screen.config(**change)).url == str(beside)  # the one that `report` writes to
    assert find_measured(screen.config()).url == str(screen.folder / "results")
    assert len(open_profiles(beside, level="")) == len(open_profiles(screen.folder / "results", level="")) == 13


@pytest.mark.parametrize("field", ["engine_version", "schema"])
def test_another_engine_version_or_schema_is_refused_by_driver_and_worker_with_both_values(
    tmp_path: Path, simulated: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.seals import sealed_json

    screen = Screen(tmp_path, simulated, "serial")
    config = screen.config(**{"subset.plates": ["SIM00101"], "subset.wells": ["A01", "A02"]})
    begun = start(config, QUIET)
    record = begun.record
    other = {**record, "measuring": {**record["measuring"], field: "of yesterday"}}
    open_storage(config.results).put("run.json", sealed_json(other, indent=1))
    with pytest.raises(SettingsDiffer, match=rf"{field}: '.*' here, 'of yesterday' there"):
        start(config, QUIET)
    with pytest.raises(SettingsDiffer, match=rf"This worker .*\n.*{field}: '.*' here, 'of yesterday' there"):
        measure.measure_well(config.results, BATCH, "SIM00101", "A01")
    assert ledger.listed_wells(begun.storage, begun.measuring12, Plate(BATCH, "SIM00101")) == {}


def test_a_worker_of_another_version_stops_the_run_before_a_well_is_measured(
    tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(tmp_path, simulated, "serial")
    config = screen.config(**{"subset.plates": ["SIM00101"], "illumination": "none"})
    begun = start

    def overtaken(*args: Any, **named: Any) -> Any:
        run = begun(*args, **named)
        record = {**run.record, "measuring": {**run.record["measuring"], "engine_version": "of yesterday"}}
        run.storage.put("run.json", json.dumps(record).encode())
        return run

    monkeypatch.setattr(flow, "start", overtaken)
    counting = Counting(SerialExecutor())
    with pytest.raises(SettingsDiffer, match="This worker"):
        flow.run(config, lambda: counting, QUIET)
    assert counting.done == {"measure": 1}
    assert not list((tmp_path / "results").glob("ledger/**/*.json"))


def test_a_root_of_the_layout_before_is_refused_with_both_numbers(screen: Screen) -> None:
    storage = open_storage(str(screen.folder / "results"))
    storage.put("run.json", b'{"digest": "0", "settings": {"layout": 1, "engine_version": "native 4"}, "plates": []}')
    for ask in (screen.run, lambda: open_run(screen.config().results)):
        with pytest.raises(SettingsDiffer, match=r"of layout 1, and this version of the pipeline writes layout 2"):
            ask()
    assert len(open_profiles(screen.folder / "results", level="")) == 13
    assert open_cells(screen.folder / "results").sizes["well"] == 192


@pytest.mark.slow
def test_a_change_that_is_killed_anywhere_goes_on_to_the_same_bytes(tmp_path: Path, simulated: Path) -> None:
    screen = Screen(tmp_path, simulated, "serial")
    screen.run(**{"subset.plates": ["SIM00101"]})
    changed = {"subset.exclude": {"SIM00101": {"A02": "dust"}}, "profiles.normalize": "standardize"}
    shutil.copytree(screen.folder / "results", screen.folder / "before")
    screen.run(**changed)
    whole = stored(str(screen.folder / "results"))
    total = 0
    while True:
        total += 1
        shutil.rmtree(screen.folder / "results")
        shutil.copytree(screen.folder / "before", screen.folder / "results")
        try:
            screen.kill(total, **changed)
        except BaseException as ended:
            if isinstance(ended, pytest.fail.Exception):
                break
            raise
        screen.run(**changed)
        assert stored(str(screen.folder / "results")) == whole, f"killed after {total} tasks"
    assert total > 10


def test_results_that_were_being_made_when_a_run_was_killed_are_not_taken_for_what_they_were(
    tmp_path: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the tables and before the record, then taken back: the old record would speak of the new tables."""
    from pipeline.profiles import stage

    screen = Screen(tmp_path, simulated, "serial")
    screen.run(**{"subset.plates": ["SIM00101"]})
    before = stored(str(screen.folder / "results"))

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    for name in ("profile_plate", "select_batch"):
        screen.folder.joinpath("ignored").touch()
        with monkeypatch.context() as patch:
            patch.setattr(stage, "finish", killed)
            change = {"profile_plate": {"profiles.aggregate": "mean"}, "select_batch": {"select.correlation": 0.1}}[
                name
            ]
            with pytest.raises(KeyboardInterrupt):
                flow.run(screen.config(**{"subset.plates": ["SIM00101"]}, **change), SerialExecutor, QUIET)
        assert stored(str(screen.folder / "results")) != before
        screen.run(**{"subset.plates": ["SIM00101"]})
        assert stored(str(screen.folder / "results")) == before


def test_the_report_is_stale_while_a_task_has_failed(screen: Screen) -> None:
    here = open_run(screen.config().results)
    assert report.standing(here).is_current
    report.write_report(here, {"score/detection": "no memory"})
    assert report.standing(here).why == "tasks had failed"
    assert screen.run() == {}
    assert report.standing(here).is_current


def test_what_a_run_would_do_is_said_without_writing_and_counts_the_report(screen: Screen) -> None:
    before = stored(str(screen.folder / "results"))
    assert todo(screen.config(), QUIET) == ([], CURRENT)
    steps, page = todo(screen.config(**{"report.wells": ["A01"]}), QUIET)
    assert steps == []
    assert "settings.wells" in page.why
    console = Console(record=True, width=200)
    show_todo(steps, page, console)
    assert "Everything is current but the report (settings.wells" in console.export_text()
    assert stored(str(screen.folder / "results")) == before
    steps, page = todo(screen.config("nowhere"), QUIET)
    found = Counter(step.task.stage for step in steps)
    assert (found["measure"], found["publish"], found["profile"], page) == (14, 2, 2, MISSING)
    assert not (screen.folder / "nowhere").exists()


def test_a_report_is_stale_when_a_certificate_was_made_since(screen: Screen) -> None:
    run = open_run(screen.config().results)
    version = run.record["measuring"]["engine_version"]
    about = {"cppipe": sha256(run.cppipe.encode()).hexdigest(), "versions": {"native": version}}
    run.storage.put(certificate.RECORD, json.dumps(about).encode())
    assert report.standing(run).why == "certificate changed"


def test_a_published_function_that_the_run_does_not_use_may_change(screen: Screen) -> None:
    folder = screen.folder / "screen/images" / BATCH / "illum/SIM00101"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("SIM00101_IllumDNA.npy").write_bytes(b"of another")
    assert screen.run() == {}


def test_retry_refuses_a_name_that_is_not_there_with_the_nearest(screen: Screen) -> None:
    run, before = open_run(screen.config().results), stored(str(screen.folder / "results"))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"plates": ["SIM00111"]}, "no plate 'SIM00111' .*Nearest: 'SIM0010"),
        ({"wells": ["B09"]}, "no well 'B09' .*Nearest: 'B0"),
        ({"wells": ["Z99x"]}, "Z99x"),
        ({"kinds": ["imagee"]}, "no kind of failure 'imagee' .*Nearest: 'image'"),
    ]
    for names, said in wrong:
        with pytest.raises(ConfigError, match=said):
            retry(run, **names)
    assert stored(str(screen.folder / "results")) == before
    assert retry(run, plates=["SIM00101"], wells=["a1"]) == {Plate(BATCH, "SIM00101"): ["A01"]}


def test_a_worker_whose_run_was_overtaken_by_another_plan_enters_nothing(screen: Screen) -> None:
    config = screen.config()
    run = open_run(config.results)
    retry(run, plates=["SIM00101"], wells=["A01"])
    folder = next((screen.folder / "screen/images" / BATCH / "images").glob("SIM00101__*")) / "Images"
    for path in folder.glob("r01c01*"):
        path.unlink()
    plan_run(config, QUIET, write=True)
    with pytest.raises(Incomplete, match="SIM00101 A01 has no images in the plan now"):
        measure.measure_well(config.results, BATCH, "SIM00101", "A01")
    assert "A01" not in ledger.listed_wells(run.storage, run.measuring12, Plate(BATCH, "SIM00101"))
    assert "planned anew" in score_unit(config.results, "detection", "of_yesterday")["why"]


def test_profiles_of_a_plate_that_a_call_does_not_finish_follow_the_settings(tmp_path: Path, simulated: Path) -> None:
    screen = Screen(tmp_path, simulated, "serial")
    few = {"subset.plates": ["SIM00101"], "subset.wells": ["A01", "A02"]}
    screen.run(**few)
    plan_run(screen.config(**{"subset.plates": ["SIM00101"]}), QUIET, write=True)
    counting = Counting(SerialExecutor())
    flow.run(screen.config(**few, **{"profiles.aggregate": "mean"}), lambda: counting, QUIET)
    assert (counting.done["profile"], counting.done["publish"], counting.done["measure"]) == (1, 0, 0)


def test_a_current_root_is_looked_through_without_asking_for_single_wells(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("get", "stat", "entries", "put_if_absent"):
        method = getattr(LocalStorage, name)

        def noted(self: LocalStorage, key: str = "", *args: Any, _method: Any = method, **more: Any) -> Any:
            asked.append(f"{self.root}/{key}")
            return _method(self, key, *args, **more)

        monkeypatch.setattr(LocalStorage, name, noted)
    run = start(screen.config(), QUIET)
    assert flow.flow(run) == []
    of_plate = [key for key in asked if "/results/" in key and "SIM00101" in key]
    assert not [key for key in of_plate if re.search(r"/[AB]0\d", key.partition("/results/")[2])]
    assert len(of_plate) < 12, of_plate
