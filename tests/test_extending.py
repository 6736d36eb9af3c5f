"""Each example of docs/extending.md, added from outside as the page says. (A module: tests/engines/native.)"""

from __future__ import annotations

import re
from collections import deque
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline import flow, open_profiles
from pipeline.config import SCREENS, Config, load_config
from pipeline.engines import ENGINES, open_engine
from pipeline.errors import ConfigError, CppipeError
from pipeline.executors import clusters, open_executor
from pipeline.progress import Progress
from pipeline.simulate.design import DESIGNS
from pipeline.simulate.screen import simulate, write_tables
from pipeline.storage import Location
from tests.conftest import ROOT
from tests.executors.scripted import attempts, run, task


def example(file: str) -> str:
    """The source of a file as the page shows it."""
    page = (ROOT / "docs" / "extending.md").read_text()
    return re.search(rf"```python\n(# {re.escape(file)}\n.*?)```", page, re.S)[1]


@pytest.fixture
def screen(tmp_path: Path) -> Path:
    """A folder with the tables of the tiny screen in it."""
    write_tables(tmp_path / "screen/tables", DESIGNS["tiny"])
    return tmp_path


def config_of(folder: Path, **changes: object) -> Config:
    keys = {"screen": str(folder / "screen/tables/screen.yaml"), "images.url": str(folder / "screen/images")}
    keys |= {"results.url": str(folder / "results"), "engine.kind": "native", "execution.cluster": "serial"}
    return load_config(SCREENS / "embedded/config.yaml", **{**keys, **changes})


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds/pool.py").write_text(example("pipeline/executors/clusters/pool.py"))
    monkeypatch.setattr(clusters, "__path__", [*clusters.__path__, str(tmp_path / "kinds")])


def test_a_kind_of_cluster_is_added_by_the_one_file_that_the_docs_show(pool: None, screen: Path) -> None:
    config = config_of(screen, **{"execution.cluster": "pool", "execution.workers": 2})
    with closing(open_executor(config)) as executor:
        outcomes = run(
            executor,
            task(screen, "throttled", "throttled", "work"),
            task(screen, "refused", "refused"),
            *(task(screen, f"t{number}", "work") for number in range(5)),
        )
        tasks, order = deque([task(screen, "first", "work")]), []
        for outcome in executor.run(tasks):
            order.append(outcome.task.place[0])
            if len(order) == 1:
                tasks.append(task(screen, "second", "work"))
    assert outcomes["throttled"].record == {"name": "throttled", "attempt": 2}
    assert (str(outcomes["refused"].error), attempts(screen, "refused")) == ("never", 1)
    assert all(outcomes[f"t{number}"].error is None for number in range(5))
    assert order == ["first", "second"]


def test_a_kind_of_cluster_that_there_is_not_is_refused_with_those_there_are(screen: Path) -> None:
    for cluster in ("pool", "pbs://short", "http://scheduler:8786"):
        with pytest.raises(ConfigError, match=r"must be serial, local, or.*: local, serial, slurm, tcp, tls"):
            config_of(screen, **{"execution.cluster": cluster})


def test_an_engine_is_added_by_the_folder_and_the_line_that_the_docs_show(
    screen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="there is no engine 'otsu'; there are cellprofiler, native"):
        config_of(screen, **{"engine.kind": "otsu"})
    (screen / "otsu_from_outside").mkdir()
    (screen / "otsu_from_outside/__init__.py").write_text(example("pipeline/engines/otsu/__init__.py"))
    monkeypatch.syspath_prepend(screen)
    monkeypatch.setitem(ENGINES, "otsu", "otsu_from_outside")

    config = config_of(
        screen, **{"engine.kind": "otsu", "cells.compartments": ["Nuclei"], "subset.plates": ["SIM00101"]}
    )
    pixels = np.zeros((20, 20), np.uint16)
    pixels[2:5, 2:5], pixels[10:14, 10:15] = 65535, 52428
    with open_engine("otsu", config.engine.cppipe) as engine:
        measured = engine.measure({engine.inputs[0]: pixels}).objects["Nuclei"]
    np.testing.assert_allclose(measured.values, [[9, 1.0], [20, 0.8]])
    with pytest.raises(CppipeError, match="CorrectIlluminationApply is missing"):
        open_engine("otsu", SCREENS / "cpjump1/illumination.cppipe")

    simulate(Location(url=str(screen / "screen")), "tiny")
    summary = flow.run(config, progress=Progress(quiet=True))
    assert (set(summary.wells), summary.failures) == ({"measured"}, {})
    profiles = open_profiles(str(screen / "results"), level="")
    assert {"Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity"} <= set(profiles)
    assert (profiles["Nuclei_AreaShape_Area"] > 0).all()
