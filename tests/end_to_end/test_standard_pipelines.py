"""The standard pipelines from images to the report: JUMP_analysis_v3 and that of Nature Protocols 2023."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import pipeline
from pipeline import flow
from pipeline.config import SCREENS, Config, load_screen
from pipeline.engines import open_engine
from pipeline.engines.cppipe import read_text
from pipeline.engines.parity import compare, is_equal
from pipeline.executors import open_executor
from pipeline.progress import Progress

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

SITE = "cpg0016-jump/source_4/images/2021_04_26_Batch1/images"


@pytest.fixture(scope="module")
def crop(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BR00117035 A01 site 1, rows and columns 0 to 539, in the gallery's folders."""
    root = tmp_path_factory.mktemp("crop")
    for path in (shared_data / "gallery" / SITE).rglob("*.tiff"):
        place = root / path.relative_to(shared_data / "gallery" / "cpg0016-jump" / "source_4")
        place.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place, tifffile.imread(path)[:540, :540])
    return root


@pytest.mark.parametrize("engine", ["cellprofiler", "native"])
@pytest.mark.parametrize("screen", ["jump_production", "standard"])
def test_a_standard_pipeline_goes_from_images_to_the_report(
    crop: Path, tmp_path: Path, screen: str, engine: str
) -> None:
    config = Config.model_validate(
        {
            "screen": load_screen(screen).model_dump(),
            "images": {"url": str(crop)},
            "results": {"url": str(tmp_path / "results")},
            "engine": {"kind": engine, "cppipe": SCREENS / screen / "analysis.cppipe"},
            "illumination": "none",
        }
    )
    summary = flow.run(config, lambda: open_executor(config), Progress(quiet=True))

    assert summary.wells == {"measured": 1}
    assert summary.cells == 23
    assert not summary.failures
    assert (tmp_path / "results" / "report" / "index.html").is_file()
    cells = pipeline.cells_frame(config.results)
    assert len(cells) == 23
    for compartment in ("Nuclei", "Cells", "Cytoplasm"):
        assert np.isfinite(cells[f"{compartment}_AreaShape_Area"]).all()
        assert np.isfinite(cells[f"{compartment}_Texture_Contrast_Mito_3_00_256"]).all()
    # A cytoplasm is what is left of its own cell without its own nucleus: the three are one.
    inner = cells["Cells_AreaShape_Area"] - cells["Cytoplasm_AreaShape_Area"]
    assert (inner <= cells["Nuclei_AreaShape_Area"]).all()
    assert (inner > 0.5 * cells["Nuclei_AreaShape_Area"]).all()
    [profile] = pipeline.open_profiles(config.results, level="augmented").to_dict("records")
    assert profile["Metadata_Count_Cells"] == 23
    assert profile["Cells_AreaShape_Area"] == pytest.approx(np.median(cells["Cells_AreaShape_Area"]), rel=1e-6)


@pytest.mark.parametrize("screen", ["jump_production", "standard"])
def test_both_engines_measure_a_standard_pipeline_alike(crop: Path, screen: str) -> None:
    text = read_text(SCREENS / screen / "analysis.cppipe")
    stains = load_screen(screen).channels
    images = {
        f"Orig{stains[int(path.name.partition('-ch')[2][0])]}": tifffile.imread(path) for path in crop.rglob("*.tiff")
    }
    flat = np.ones((540, 540), np.float32)
    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        assert native.features == cellprofiler.features
        given = {name: images.get(name, flat) for name in native.inputs}
        comparison = compare(native.measure(given), cellprofiler.measure(given))

    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()
