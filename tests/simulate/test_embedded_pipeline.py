"""The embedded screen's own `.cppipe`, run by CellProfiler on simulated and on real cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config import SCREENS
from pipeline.engines import open_engine
from pipeline.images.read import decode
from pipeline.simulate.render import CHANNELS, Microscope, Phenotype, render_site

CPPIPE = SCREENS / "embedded" / "analysis.cppipe"
REAL_SITE = Path(__file__).parents[1] / "data" / "real_site"


@pytest.fixture(scope="module")
def engine():
    with open_engine("cellprofiler", CPPIPE) as engine:
        yield engine


def _inputs(images: np.ndarray) -> dict[str, np.ndarray]:
    even = np.ones(images.shape[1:], np.float32)
    given = {f"Orig{name}": image for name, image in zip(CHANNELS, images, strict=True)}
    return given | {f"Illum{name}": even for name in CHANNELS}


def test_it_takes_all_eight_channels_and_their_illumination_and_leaves_out_the_loader_only(engine):
    assert set(engine.inputs) == {f"{kind}{name}" for kind in ("Orig", "Illum") for name in CHANNELS}
    assert list(engine.left_out) == ["1 LoadData"]


def test_it_finds_the_planted_cells_also_under_strong_phenotypes(engine):
    even = Microscope(np.ones(8), np.zeros((8, 2)), np.zeros(8))
    looks = [{}, {}, {"nuclear_size": 1.2}, {"nuclear_size": -1.2}, {"cell_size": -1.2}, {"rna_intensity": -1.2}]
    looks += [{"rna_intensity": 1.2}, {"chromatin": 1.2}, {"nuclear_elongation": 1.2}, {"nucleoli": 1.2}]
    planted = found = 0
    for seed, look in enumerate(looks):
        picture = render_site(np.random.default_rng(seed), Phenotype(**look), even, 280)
        count = len(engine.measure(_inputs(picture.images)).objects["Nuclei"].values)
        assert abs(count - picture.cells) <= 2, look
        planted, found = planted + picture.cells, found + count
    assert planted > 80
    assert abs(found - planted) <= 0.04 * planted


def test_a_well_without_cells_has_none_and_all_columns(engine):
    even = Microscope(np.ones(8), np.zeros((8, 2)), np.zeros(8))
    measured = engine.measure(_inputs(render_site(np.random.default_rng(0), None, even, 280).images))
    assert {name: values.values.shape for name, values in measured.objects.items()} == {
        name: (0, len(features)) for name, features in engine.features.items()
    }


def test_it_finds_the_cells_of_the_real_site_too(engine):
    folder = next(REAL_SITE.glob("images/*/images/*/Images"))
    images = np.stack([decode((folder / f"r01c01f01p01-ch{n}sk1fk1fl1.tiff").read_bytes()) for n in range(1, 9)])
    measured = engine.measure(_inputs(images))
    # Counted by eye: 9 spread cells, 2 dividing, 2 dead ones; the pairs may be called one or two.
    assert 11 <= len(measured.objects["Nuclei"].values) <= 14
    assert 900 < np.median(measured.objects["Nuclei"].column("AreaShape_Area")) < 1400
