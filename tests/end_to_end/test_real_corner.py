"""The real pixels that come with the tests, the whole way: S3, the CPJUMP1 pipeline unchanged, store, profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline import flow
from pipeline.config import SCREENS, Config
from pipeline.engines import open_engine
from pipeline.errors import NotFound
from pipeline.executors import open_executor
from pipeline.images import decode
from pipeline.progress import Progress
from pipeline.storage import Location, open_storage

CORNER = Path(__file__).parents[1] / "data" / "real_site" / "images"
STAINS = ("Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield")
CPPIPE = SCREENS / "cpjump1" / "analysis.cppipe"


def test_the_corner_of_a_real_site_has_cellprofilers_numbers_in_the_store(screen: dict[str, Any]) -> None:
    files = sorted(CORNER.rglob("*.tiff"))
    bucket = open_storage(Location(url="s3://images/corner", profile="admin"))
    for path in files:
        bucket.put(path.relative_to(CORNER).as_posix(), path.read_bytes())
    config = Config.model_validate(
        {
            "screen": {"name": "corner", "channels": dict(enumerate(STAINS, 1))},
            "images": {"url": "s3://images/corner", "profile": "worker"},
            "results": {"url": "s3://results/corner", "profile": "worker"},
            "engine": {"kind": "native", "cppipe": CPPIPE},
            "illumination": "none",
        }
    )
    summary = flow.run(config, lambda: open_executor(config), Progress(quiet=True))
    assert summary.wells == {"measured": 1}

    images = {f"Orig{stain}": decode(path.read_bytes()) for stain, path in zip(STAINS, files, strict=True)}
    with open_engine("cellprofiler", CPPIPE.read_text()) as cellprofiler:
        flat = np.ones(next(iter(images.values())).shape, np.float32)
        functions = {name: flat for name in cellprofiler.inputs if name.startswith("Illum")}
        theirs = cellprofiler.measure({name: (images | functions)[name] for name in cellprofiler.inputs})

    frame = pipeline.cells_frame(config.results)
    assert len(frame) == summary.cells > 8
    assert set(theirs.objects) == {"Nuclei", "Cells", "Cytoplasm"}
    for compartment, measured in theirs.objects.items():
        rows = frame[f"Metadata_ObjectNumber_{compartment}"].to_numpy() - 1
        for column, feature in enumerate(measured.features):
            name = f"{compartment}_{feature}"
            assert name in frame, name
            # The store is float32; Granularity is a percentage, of which 1e-6 is asked.
            limit = {"rtol": 0, "atol": 1e-5} if "Granularity" in feature else {"rtol": 1.2e-6, "atol": 1e-9}
            expected = measured.values[rows, column].astype(np.float32)
            np.testing.assert_allclose(frame[name], expected, **limit, err_msg=name)


def test_a_set_that_makes_no_cell_has_a_table_of_its_own(tmp_path: Path) -> None:
    said: list[str] = []
    progress = Progress(quiet=True)
    progress.say = said.append  # type: ignore[method-assign]
    config = Config.model_validate(
        {
            "screen": {"name": "corner", "channels": dict(enumerate(STAINS, 1))},
            "images": {"url": str(CORNER)},
            "results": {"url": str(tmp_path / "results")},
            "engine": {"kind": "native", "cppipe": CPPIPE},
            "illumination": "none",
            "cells": {"compartments": ["Nuclei", "Cells"]},
        }
    )
    assert flow.run(config, lambda: open_executor(config), progress).wells == {"measured": 1}
    assert any("Cytoplasm make no cell, and have a table of their own" in line for line in said)

    images = {f"Orig{stain}": path for stain, path in zip(STAINS, sorted(CORNER.rglob("*.tiff")), strict=True)}
    with open_engine("native", CPPIPE.read_text()) as engine:
        given = {name: decode(images[name].read_bytes()) for name in engine.inputs if name in images}
        flat = np.ones(next(iter(given.values())).shape, np.float32)
        theirs = engine.measure({name: given.get(name, flat) for name in engine.inputs}).objects["Cytoplasm"]

    table = pipeline.open_objects(config.results, "Cytoplasm")
    assert table["Metadata_ObjectNumber"].tolist() == list(range(1, len(theirs.values) + 1))
    assert table[["Metadata_Well", "Metadata_Site"]].drop_duplicates().to_numpy().tolist() == [["A01", 1]]
    np.testing.assert_array_equal(table[[f"Cytoplasm_{name}" for name in theirs.features]], theirs.values)
    cells = pipeline.cells_frame(config.results)
    assert "Cytoplasm_AreaShape_Area" not in cells
    joined = cells.merge(table, left_on="Metadata_ObjectNumber_Cells", right_on="Cytoplasm_Parent_Cells")
    assert len(joined) == len(cells) > 8
    with pytest.raises(NotFound, match="no table of objects called 'Foci'"):
        pipeline.open_objects(config.results, "Foci")
