"""What an engine is given for a site: each channel by its own type, divided by what the pipeline says."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from pipeline import illumination
from pipeline.errors import CppipeError, ImageError
from pipeline.measure import SiteInputs
from pipeline.results.plan import read_plates, read_well_sites
from tests.engines.test_loading import MAXIMUM, NAME, RANGE, names_and_types
from tests.illumination.test_plates import CPPIPE, PLATE, SHAPE, Gallery, apply, compute


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    return Gallery(tmp_path)


@pytest.fixture
def eight_bit_er(gallery) -> Gallery:
    for (channel, well, site), pixels in gallery.pixels.items():
        if channel == "ER":
            tifffile.imwrite(gallery.path(channel, well, site), (pixels // 256).astype(np.uint8))
    return gallery


def read(run, names=("OrigDNA", "OrigER")):
    (first, _) = read_well_sites(run.storage, PLATE, "A01")
    return SiteInputs(run, PLATE, names).read(first)


def manual(*images: dict[str, str]) -> str:
    return apply(DNA="Divide", ER="Divide").replace("ModuleCount:1", "ModuleCount:2") + "\n" + names_and_types(*images)


def test_an_eight_bit_channel_beside_a_sixteen_bit_one_is_read(eight_bit_er):
    run = eight_bit_er.run("none")
    assert illumination.image_kind(run, PLATE).dtypes == {"OrigDNA": "uint16", "OrigER": "uint8"}
    images = read(run)
    assert {name: image.dtype for name, image in images.items()} == {"OrigDNA": np.uint16, "OrigER": np.uint8}
    np.testing.assert_array_equal(images["OrigER"], eight_bit_er.pixels["ER", "A01", 1] // 256)


def test_an_image_unlike_the_others_of_its_channel_fails_its_site(eight_bit_er):
    run = eight_bit_er.run("none")
    tifffile.imwrite(eight_bit_er.path("ER", "A01", 1), np.zeros(SHAPE, np.uint16))
    again = eight_bit_er.run("none")
    for where in (again, run):  # the second says that it was replaced
        with pytest.raises(ImageError, match=r"OrigER .* (holds uint16 pixels where uint8 is expected|was replaced)"):
            read(where)


def test_illumination_of_channels_of_two_types_is_summed(eight_bit_er):
    run = eight_bit_er.run("compute")
    assert compute(run) == {"functions": 2, "images": 12, "left_out": 0}


def test_a_plan_of_before_channels_had_types_of_their_own_still_holds(gallery, monkeypatch):
    run = gallery.run("none")
    older = read_plates(run.storage).drop(columns=["Dtype_OrigDNA", "Dtype_OrigER"])
    monkeypatch.setattr("pipeline.results.run.read_plates", lambda storage: older)
    assert illumination.image_kind(run, PLATE).dtypes == {"OrigDNA": "uint16", "OrigER": "uint16"}


def test_an_image_is_divided_by_the_maximum_that_names_and_types_gives_it(gallery):
    text = manual({NAME: "OrigDNA", RANGE: "Manual", MAXIMUM: "4095.0"}, {NAME: "OrigER"})
    images = read(gallery.run("none", text))
    expected = gallery.pixels["DNA", "A01", 1].astype(np.float32) / np.float32(4095)
    np.testing.assert_array_equal(images["OrigDNA"], expected)
    np.testing.assert_array_equal(images["OrigER"], gallery.pixels["ER", "A01", 1])


@pytest.mark.parametrize(("answer", "divided"), [("Yes", True), ("No", False)])
def test_a_maximum_that_the_file_names_counts_where_load_data_rescales(gallery, answer, divided):
    stored = gallery.pixels["DNA", "A01", 1] % 4096
    for channel, well, site in gallery.pixels:
        tifffile.imwrite(gallery.path(channel, well, site), stored, extratags=[(281, "H", 1, 4095, True)])
    text = CPPIPE.replace("CorrectIlluminationApply:", "LoadData:") + f"    Rescale intensities?:{answer}\n"
    image = read(gallery.run("none", text, inputs=("OrigDNA", "OrigER")))["OrigDNA"]
    np.testing.assert_array_equal(image, stored.astype(np.float32) / np.float32(4095) if divided else stored)


def test_a_copy_with_a_range_of_its_own_is_refused(gallery):
    text = manual({NAME: "OrigDNA"}, {NAME: "OrigHighDNA", RANGE: "Manual", MAXIMUM: "4095"})
    run = gallery.run("none", text)
    screen = run.config.screen.model_copy(update={"copies": {"HighDNA": "DNA"}})
    object.__setattr__(run, "config", run.config.model_copy(update={"screen": screen}))
    with pytest.raises(CppipeError, match="divides OrigHighDNA by another maximum than OrigDNA"):
        SiteInputs(run, PLATE, ("OrigDNA", "OrigHighDNA"))
