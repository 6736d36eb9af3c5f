"""The native engine as a whole: what it refuses, what it leaves out, that it holds nothing."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.native import engine as native_engine
from pipeline.engines.native import modules
from pipeline.engines.native.engine import last_uses
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError
from tests.engines.native.synthetic import CHANNELS, blobs, with_neutral_illumination

ROOT = Path(__file__).parents[3]
SCREENS = ROOT / "pipeline/screens"
ANALYSIS = (SCREENS / "cpjump1/analysis.cppipe").read_text()


def disabled(text: str, *modules: str) -> str:
    """The pipeline with these modules switched off."""
    return "\n".join(
        line.replace("enabled:True", "enabled:False") if line.partition(":")[0] in modules else line
        for line in text.split("\n")
    )


#: the analysis pipeline without its three slow modules
LIGHT = disabled(ANALYSIS, "MeasureTexture", "MeasureGranularity", "MeasureColocalization")


def test_every_file_of_a_module_has_what_is_asked_of_it():
    names = [found.name for found in pkgutil.iter_modules(modules.__path__)]
    assert names
    for name in names:
        module = importlib.import_module(f"{modules.__name__}.{name}")
        assert module.REVISIONS
        assert callable(module.compile)


def test_a_module_is_added_by_the_one_file_that_the_docs_show(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "extending.md").read_text()
    (tmp_path / "count_bright_pixels.py").write_text(
        re.search(r"```python\n(# pipeline/engines/native.*?)```", page, re.S)[1]
    )
    monkeypatch.setattr(modules, "__path__", [*modules.__path__, str(tmp_path)])
    title = ANALYSIS[: ANALYSIS.index("ModuleCount")]
    text = (
        f"{title}ModuleCount:1\nHasImagePlaneDetails:False\n\nCountBrightPixels:[module_num:1|svn_version:'Unknown'|"
        "variable_revision_number:1|show_window:False|notes:[]|batch_state:array([], dtype=uint8)|enabled:True|"
        "wants_pause:False]\n    Select the image:DNA\n    Bright from:{}\n"
    )
    image = np.array([[0, 0.25], [0.5, 1]], np.float32)
    with open_engine("native", text.format("0.5")) as engine:
        assert engine.inputs == ("DNA",)
        assert engine.measure({"DNA": image}).image["BrightPixels_DNA"] == 2
    with open_engine("native", text.format("-3")) as engine:
        assert "minimum of 0" in engine.notes[0]
        assert engine.measure({"DNA": image}).image["BrightPixels_DNA"] == 1


@pytest.mark.parametrize("screen", sorted(path.parent.name for path in SCREENS.glob("*/analysis.cppipe")))
def test_the_pipelines_of_our_own_screens_can_be_run(screen):
    assert open_engine("native", SCREENS / screen / "analysis.cppipe").features


def test_an_unknown_module_is_refused_by_name_with_the_way_out():
    text = ANALYSIS.replace("MeasureObjectNeighbors:[", "TrackObjects:[", 1)

    with pytest.raises(CppipeError, match=r"22 TrackObjects.*not supported.*`engine: {kind: cellprofiler}` can"):
        open_engine("native", text)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("Threshold strategy:Global", "Threshold strategy:Per object", "16 IdentifyPrimaryObjects.*Per object"),
        ("    Operation:None", "    Operation:Combine", "3 ImageMath.*Combine"),
        ("variable_revision_number:10", "variable_revision_number:9", "17 IdentifySecondaryObjects.*revision 9"),
        ("Typical diameter of objects, in pixel units (Min,Max):10,75", "Typical diameter:10,75", "is missing"),
        ("Neighbor distance:5", "Neighbor distance:five", '"Neighbor distance: five" is no whole number'),
        (":Each", ":All: Across cycles", "14 CorrectIlluminationCalculate.*Give the illumination function as an image"),
    ],
)
def test_an_unsupported_setting_is_refused_when_the_pipeline_is_opened(old, new, named):
    assert old in ANALYSIS

    with pytest.raises(CppipeError, match=named):
        open_engine("native", ANALYSIS.replace(old, new, 1))


def test_objects_that_no_enabled_module_makes_are_named():
    with pytest.raises(CppipeError, match=r"18 IdentifyTertiaryObjects reads the objects 'Cells'"):
        open_engine("native", disabled(ANALYSIS, "IdentifySecondaryObjects"))


def test_a_drawn_image_that_is_measured_is_refused_and_one_that_is_not_is_left_out():
    assert open_engine("native", ANALYSIS).left_out["29 OverlayOutlines"] == "nothing reads CellOutlines"
    text = ANALYSIS.replace("Select images to measure:AGP,", "Select images to measure:NucleiOutlines, AGP,", 1)
    moved = re.sub(r"(OverlayOutlines:\[module_num:28.*?\n\n)", "", text, flags=re.DOTALL)
    drawing = re.search(r"OverlayOutlines:\[module_num:28.*?\n\n", text, flags=re.DOTALL)
    assert drawing is not None
    text = moved.replace("MeasureColocalization:[", drawing[0] + "MeasureColocalization:[", 1)

    with pytest.raises(CppipeError, match=r"OverlayOutlines.*a later module reads the image"):
        open_engine("native", text)


def test_a_pipeline_that_measures_nothing_is_refused():
    modules = {line.partition(":")[0] for line in ANALYSIS.split("\n") if line[:1].isalpha() and ":[" in line}

    with pytest.raises(CppipeError, match="No module of this pipeline measures anything"):
        open_engine("native", disabled(ANALYSIS, *(modules - {"ImageMath"})))


def test_limits_of_the_other_engine_are_ignored_and_unknown_ones_refused():
    open_engine("native", LIGHT, time_limit_seconds=5, memory_limit_gb=1, recycle_after_sites=2)

    with pytest.raises(TypeError, match="threads"):
        open_engine("native", LIGHT, threads=2)


def test_sites_measured_at_once_in_threads_come_out_as_one_after_another():
    sites = [with_neutral_illumination(blobs(seed, (90 + 10 * seed, 100), 12)) for seed in range(4)]
    engine = open_engine("native", LIGHT)

    alone = [engine.measure(site) for site in sites]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(engine.measure, sites * 3))

    for k, measured in enumerate(together):
        for name, objects in alone[k % 4].objects.items():
            np.testing.assert_array_equal(measured.objects[name].values, objects.values)
            np.testing.assert_array_equal(measured.labels[name], alone[k % 4].labels[name])
        assert measured.image == alone[k % 4].image


def test_images_are_done_with_after_their_last_reader():
    # B is written again before it is read, C is read by nobody.
    steps = [("A", "B"), ("A", "BC"), ("B", "B"), ("BB", ""), ("", "")]

    found = last_uses([SimpleNamespace(images_in=reads, images_out=writes) for reads, writes in steps])

    assert found == [set(), {"A", "C"}, set(), {"B"}, set()]


def test_no_image_is_kept_to_the_end(monkeypatch):
    sites = []
    monkeypatch.setattr(native_engine, "Workspace", lambda images: sites.append(Workspace(images)) or sites[-1])

    open_engine("native", LIGHT).measure(with_neutral_illumination(blobs(3, (80, 90), 9)))

    assert sites[0].objects
    assert not sites[0].images


def test_images_given_are_not_written_to():
    site = with_neutral_illumination(blobs(3, (80, 90), 9))
    before = {name: image.copy() for name, image in site.items()}

    open_engine("native", LIGHT).measure(site)

    for name, image in site.items():
        np.testing.assert_array_equal(image, before[name])


def test_float_images_are_taken_as_they_are_and_bytes_are_scaled_by_their_maximum():
    site = with_neutral_illumination(blobs(5, (80, 90), 9, np.uint8))
    engine = open_engine("native", LIGHT)
    floats = {
        name: image.astype(np.float64) / 255 if image.dtype == np.uint8 else image for name, image in site.items()
    }

    of_bytes, of_floats = engine.measure(site), engine.measure(floats)

    assert of_bytes.objects["Nuclei"].values.shape[0] > 0
    np.testing.assert_array_equal(of_bytes.objects["Cells"].values, of_floats.objects["Cells"].values)
    assert CHANNELS[0] == "DNA"


@pytest.mark.slow
def test_after_warming_up_no_kernel_is_compiled_any_more(tmp_path):
    script = """
import sys
from numba.core import event
from pipeline.engines import native
native.warm_up()
from tests.engines.native.synthetic import blobs, with_neutral_illumination
engine = native.open(open(sys.argv[1]).read())
with event.install_recorder("numba:compile") as recorder:
    engine.measure(with_neutral_illumination(blobs(1, (200, 220), 20)))
print([entry.data["dispatcher"].__name__ for _, entry in recorder.buffer])
"""
    environment = dict(os.environ) | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", script, str(SCREENS / "cpjump1/analysis.cppipe")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
