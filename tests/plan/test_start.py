"""What is refused before anything is listed: a pipeline file that is none, results that cannot be written."""

from __future__ import annotations

import pytest

from pipeline.config import SCREENS
from pipeline.errors import ConfigError, CppipeError
from pipeline.progress import Progress
from pipeline.start import plan_run, start


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
