"""The native engine against the running CellProfiler, on synthetic and on real sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import EngineError
from pipeline.simulate.design import DESIGNS, plate_names, well_sample
from pipeline.simulate.render import CHANNELS as SIMULATED
from pipeline.simulate.screen import render_well_site
from tests.engines.native.synthetic import IMPOSSIBLE, MORE, SMALL, blobs, no_light, with_neutral_illumination

ROOT = Path(__file__).parents[3]
ANALYSIS = (ROOT / "pipeline/screens/cpjump1/analysis.cppipe").read_text()
#: all modules, but five measured channels; CellProfiler takes seconds for each more
SHORT = ANALYSIS.replace("AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA", "AGP, DNA, ER, Mito, RNA")


@pytest.fixture(scope="module")
def engines():
    with open_engine("native", SHORT) as native, open_engine("cellprofiler", SHORT) as cellprofiler:
        yield native, cellprofiler


def only(inputs, site):
    return {name: image for name, image in site.items() if name in inputs}


def assert_equal(engines, site) -> None:
    native, cellprofiler = engines
    comparison = compare(native.measure(site), cellprofiler.measure(site))
    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()


def test_both_engines_declare_the_same(engines):
    native, cellprofiler = engines

    assert native.inputs == cellprofiler.inputs
    assert native.features == cellprofiler.features
    assert native.left_out == cellprofiler.left_out


@pytest.mark.parametrize("name", SMALL)
def test_an_awkward_site_has_the_same_objects_columns_and_values(engines, name):
    assert_equal(engines, only(engines[0].inputs, with_neutral_illumination(SMALL[name]())))


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_a_more_awkward_site_has_the_same_objects_columns_and_values(engines, name):
    assert_equal(engines, only(engines[0].inputs, with_neutral_illumination(MORE[name]())))


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_site_that_cellprofiler_cannot_measure_is_an_error_in_both(engines, name):
    site = only(engines[0].inputs, with_neutral_illumination(IMPOSSIBLE[name]()))

    for engine in engines:
        with pytest.raises(EngineError):
            engine.measure(site)


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["DNA", "RNA"])
def test_a_threshold_leaves_out_infinite_pixels_and_there_is_none_where_some_have_no_value(channel):
    unclipped = SHORT.replace(
        "output image values greater than 1 equal to 1?:Yes", "output image values greater than 1 equal to 1?:No"
    )
    for name in ("DNA", "RNA"):  # what has not been through ImageMath, which clips
        unclipped = unclipped.replace(f"    Select the input image:{name}\n", f"    Select the input image:Pre{name}\n")
    without_value = with_neutral_illumination(no_light(channel))
    infinite = without_value | {f"Orig{channel}": np.maximum(without_value[f"Orig{channel}"], 1)}

    with open_engine("native", unclipped) as native, open_engine("cellprofiler", unclipped) as cellprofiler:
        assert_equal((native, cellprofiler), only(native.inputs, infinite))
        for engine in (native, cellprofiler):
            with pytest.raises(EngineError, match=r"Identify.*ValueError"):
                engine.measure(only(engine.inputs, without_value))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_random_site_under_a_sloping_illumination_has_the_same_objects_columns_and_values(engines, seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(50, 170, 2))
    site = with_neutral_illumination(blobs(seed, shape, int(random.integers(1, 25))))
    for name, image in site.items():
        if name.startswith("Illum"):
            site[name] = image + np.linspace(0, random.random(), shape[1], dtype=np.float32)
    assert_equal(engines, only(engines[0].inputs, site))


def test_sites_of_the_embedded_screen_have_the_same_objects_columns_and_values():
    analysis = ROOT / "pipeline/screens/embedded/analysis.cppipe"
    design = DESIGNS["dry-run"]
    [plate, *_] = plate_names(design, "compound")
    wells = list(well_sample(design, "compound"))

    with open_engine("native", analysis) as native, open_engine("cellprofiler", analysis) as cellprofiler:
        for well in (wells[0], wells[-1]):
            pixels = render_well_site(design, "compound", plate, well, 1)
            site = {f"Orig{channel}": image for channel, image in zip(SIMULATED, pixels, strict=True)}
            assert_equal((native, cellprofiler), only(native.inputs, with_neutral_illumination(site)))
