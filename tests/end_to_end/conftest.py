"""A small simulated screen on a real S3 server, and configs that run on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline
from pipeline import compare
from pipeline.config import SCREENS, Config, load_config
from pipeline.engines import ENGINES
from pipeline.simulate.design import DESIGNS
from pipeline.simulate.dry_run import copy_results
from pipeline.simulate.s3_server import LocalS3
from pipeline.simulate.screen import simulate, write_tables
from pipeline.storage import Location, open_storage
from tests.test_extending import example


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """`server`: an S3 server that holds the tiny screen; `tables`: the folder with the screen's tables."""
    folder = tmp_path_factory.mktemp("screen")
    with LocalS3() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment("admin").items():
            patch.setenv(name, value)
        simulate(Location(url="s3://images/screen", profile="admin"), "tiny")
        write_tables(folder, DESIGNS["tiny"])
        patch.setenv("AWS_PROFILE", "worker")
        yield {"server": server, "tables": folder}


@pytest.fixture(scope="session")
def config(screen: dict[str, Any]) -> Callable[..., Config]:
    """Make a config: `config("s3://results/name")`, with dotted keys changed as given."""

    def make(results: str, **changes: Any) -> Config:
        shipped = SCREENS / "embedded" / "config.yaml"
        keys = {"screen": str(screen["tables"] / "screen.yaml"), "results.url": results, "engine.kind": "cellprofiler"}
        # Eight wells of two plates: one well with a missing image is among them.
        keys |= {"subset.plates": ["SIM00101", "SIM00102"], "subset.wells": ["A01", "A02", "B01", "B02"]}
        return load_config(shipped, **{**keys, "execution.cluster": "serial", **changes})

    return make


def stored(location: Location | str) -> dict[str, str]:
    """Key -> SHA-256 of everything a run leaves behind that must not depend on how it went."""
    return compare.stored(open_storage(location))


def start_run(config: Config, folder: Path) -> subprocess.Popen[str]:
    """`python -m pipeline run` as a user starts it, in a process of its own; its progress comes on stderr."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(config.to_yaml())))
    command = [sys.executable, "-m", "pipeline", "run", str(path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="session")
def scored(config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole tiny screen, run on two worker processes from bucket to report, and copied out of the bucket."""
    settings = config("s3://results/scored", **{"subset.plates": [], "subset.wells": [], "execution.cluster": "local"})
    pipeline.run(settings)
    folder = tmp_path_factory.mktemp("scored") / "results"
    copy_results(settings.results, folder)
    return folder


#: of two conditions
QUICK_PLATES = ["SIM00101", "SIM00102", "SIM00201"]


@pytest.fixture(scope="session")
def quick_screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the tiny screen in it, and an engine that measures at once."""
    folder = tmp_path_factory.mktemp("quick")
    simulate(Location(url=str(folder / "screen")), "tiny")
    (folder / "quick_engine").mkdir()
    (folder / "quick_engine/__init__.py").write_text(example("pipeline/engines/otsu/__init__.py"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setitem(ENGINES, "quick", "quick_engine")
        yield folder


@pytest.fixture(scope="session")
def quick(quick_screen: Path) -> Callable[..., Config]:
    """Make a config of three plates that an engine measures at once: `quick("name of the results")`, with changes."""

    def make(results: str, **changes: Any) -> Config:
        keys = {
            "screen": str(quick_screen / "screen/tables/screen.yaml"),
            "images.url": str(quick_screen / "screen/images"),
        }
        keys |= {"results.url": str(quick_screen / results), "engine.kind": "quick", "cells.compartments": ["Nuclei"]}
        keys |= {"illumination": "compute", "execution.cluster": "serial", "subset.plates": QUICK_PLATES}
        return load_config(SCREENS / "embedded/config.yaml", **{**keys, **changes})

    return make
