"""What is refused before anything is listed: a pipeline file that is none, results that cannot be written."""

from __future__ import annotations

import re

import pytest

from pipeline.config import SCREENS
from pipeline.errors import ConfigError, CppipeError
from pipeline.plan import make_plan
from pipeline.progress import Progress
from pipeline.results.plan import write_plan
from pipeline.start import _with_unusable_plates, plan_run, start
from pipeline.storage import open_storage


def test_an_empty_pipeline_file_is_refused_by_its_name(screen):
    screen.plate("P1")
    with pytest.raises(CppipeError, match=r"analysis.cppipe is no CellProfiler pipeline: an empty file"):
        plan_run(screen.config(engine={"kind": "native", "cppipe": "analysis.cppipe"}), Progress(), write=False)


@pytest.mark.parametrize("below", ["", "/deeper/down"])
def test_results_that_cannot_be_made_are_refused_by_their_key(screen, below):
    (screen.root / "results").write_text("a file where the folder should be")
    engine = {"kind": "native", "cppipe": str(SCREENS / "embedded" / "analysis.cppipe")}
    config = screen.config(results=f"{screen.root}/results{below}", engine=engine)
    for begin in (lambda: start(config, Progress()), lambda: plan_run(config, Progress(), write=True)):
        with pytest.raises(ConfigError, match=rf"^results: {screen.root}/results{below} cannot be written to: "):
            begin()


def test_showing_a_plan_makes_no_folder_of_results(screen):
    with pytest.raises(CppipeError):
        plan_run(screen.config(), Progress(), write=False)
    assert not (screen.root / "results").exists()


def test_a_plate_whose_map_cannot_be_read_any_more_keeps_its_place_in_the_plan(screen):
    for plate in ("P1", "P2"):
        screen.plate(plate)
    screen.metadata("batch,plate,plate_map_name\nB1,P1,map\nB1,P2,map\n", "well_position broad_sample\nA01\tdrug\n")
    config = screen.config()
    storage, before = open_storage(config.results), make_plan(config)
    write_plan(before, storage)
    screen.table("plates.csv", "batch,plate,plate_map_name\nB1,P1,gone\nB1,P2,map\n")
    now = make_plan(config, earlier=before.wells)
    assert now.plate_list == [("B1", "P2")]
    plan = _with_unusable_plates(now, storage, config.screen, before.wells)
    assert plan.plate_list == before.plate_list == [("B1", "P1"), ("B1", "P2")]
    assert plan.wells["Metadata_Plate"].tolist() == before.wells["Metadata_Plate"].tolist()


def test_what_looks_odd_in_the_pipeline_file_is_a_finding_of_the_plan(screen):
    screen.plate("P1")
    text = (SCREENS / "embedded" / "analysis.cppipe").read_text()
    (screen.root / "odd.cppipe").write_text(re.sub("ModuleCount:.*", "ModuleCount:99", text))
    stains = ["Mito", "DNA", "AGP", "RNA", "ER", "HighZBF", "LowZBF", "Brightfield"]
    screen.keys |= {"channels": dict(enumerate(stains, 1))}
    plan = plan_run(screen.config(engine={"kind": "native", "cppipe": "odd.cppipe"}), Progress(), write=False)
    [what] = plan.findings.loc[plan.findings["kind"] == "pipeline_file", "what"]
    assert "says ModuleCount:99, and the file holds" in what
