"""Real images the whole way: S3, the CPJUMP1 analysis pipeline unchanged, store, profiles, report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline import flow
from pipeline.config import SCREENS, Config, load_screen
from pipeline.executors import open_executor
from pipeline.progress import Progress
from pipeline.report import Summary
from pipeline.results.run import open_run
from pipeline.simulate.s3_server import LocalS3
from pipeline.status import well_states
from pipeline.storage import Location, open_storage

pytestmark = pytest.mark.real_data

ENGINES = ["native", pytest.param("cellprofiler", marks=pytest.mark.slow)]

JUMP = {
    "name": "jump",
    "channels": dict(enumerate(["Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield"], 1)),
}
PEDIATRIC = {
    "name": "pediatric",
    "batch": "Round_3",
    "channels": dict(enumerate(["Brightfield", "ER", "AGP", "Mito", "DNA", "RNA"], 1)),
    "copies": {"HighZBF": "Brightfield", "LowZBF": "Brightfield"},
}


@pytest.fixture(scope="module")
def gallery(shared_data: Path) -> Iterator[LocalS3]:
    """An S3 server with the real images, in the folders and under the names they have in the gallery."""
    with LocalS3() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment("admin").items():
            patch.setenv(name, value)
        bucket = open_storage(Location(url="s3://images", profile="admin", endpoint=server.endpoint))
        for path in (shared_data / "gallery").rglob("*.tiff"):
            bucket.put(path.relative_to(shared_data / "gallery").as_posix(), path.read_bytes())
        yield server


def run(server: LocalS3, results: str, prefix: str, screen: dict[str, Any], engine: str, **more: Any) -> Summary:
    def place(url: str) -> dict[str, str]:
        return {"url": url, "profile": "worker", "endpoint": server.endpoint}

    config = Config.model_validate(
        {
            "screen": screen,
            "images": place(f"s3://images/{prefix}"),
            "results": place(f"s3://results/{results}-{engine}"),
            "engine": {"kind": engine, "cppipe": SCREENS / "cpjump1" / "analysis.cppipe"},
            "illumination": "none",
            **more,
        }
    )
    return flow.run(config, lambda: open_executor(config), Progress(quiet=True))


def assert_equals_reference(results: str, server: LocalS3, reference: Path) -> None:
    """Every cell of the store against what CellProfiler wrote for this site, in the store's float32."""
    frame = pipeline.cells_frame(results, profile="worker", endpoint=server.endpoint)
    with np.load(reference) as theirs:
        for compartment in ("Nuclei", "Cells", "Cytoplasm"):
            names = [f"{compartment}_{name}" for name in theirs[f"{compartment}__features"]]
            ours, expected = frame[names].to_numpy(), theirs[f"{compartment}__values"].T.astype(np.float32)
            granularity = np.array(["_Granularity_" in name for name in names])
            np.testing.assert_allclose(ours[:, ~granularity], expected[:, ~granularity], rtol=1.2e-6, atol=1e-9)
            np.testing.assert_allclose(ours[:, granularity], expected[:, granularity], rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_site_of_eight_channels_gives_the_reference_numbers(gallery: LocalS3, shared_data: Path, engine: str) -> None:
    summary = run(gallery, "jump", "cpg0016-jump/source_4", JUMP, engine)
    assert summary.wells == {"measured": 1}
    assert summary.cells == 68
    assert_equals_reference(summary.results, gallery, shared_data / "reference" / "BR00117035_A01_s1.npz")
    profiles = pipeline.open_profiles(
        Location(url=summary.results, profile="worker", endpoint=gallery.endpoint), level="augmented"
    )
    assert profiles["Metadata_Count_Cells"].tolist() == [68]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_name_with_a_space_and_a_copied_brightfield_are_measured(
    gallery: LocalS3, shared_data: Path, engine: str
) -> None:
    summary = run(gallery, "pediatric", "pediatric_cancer_atlas", PEDIATRIC, engine)
    assert summary.wells == {"measured": 1}
    assert_equals_reference(summary.results, gallery, shared_data / "reference" / "BR00143976_C03_s3.npz")


def test_a_cpjump1_plate_of_three_channels_fails_by_name_and_its_run_ends(gallery: LocalS3) -> None:
    prefix = "cpg0000-jump-pilot/source_4"
    cpjump1 = (SCREENS / "cpjump1" / "screen.yaml").as_posix()
    summary = run(
        gallery, "cpjump1", prefix, load_screen(cpjump1).model_dump(), "native", subset={"plates": ["BR00117006"]}
    )
    assert not summary.is_complete
    assert not summary.failures
    assert summary.wells["failed"] == 1
    here = open_run(Location(url=summary.results, profile="worker", endpoint=gallery.endpoint))
    wells = well_states(here)
    why = wells.set_index("Metadata_Well").loc["A01", "why"]
    for image in ("OrigMito", "OrigER", "OrigHighZBF", "OrigLowZBF", "OrigBrightfield"):
        assert f"{image} is missing" in why
    assert "OrigDNA" not in why
