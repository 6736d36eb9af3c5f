from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import tifffile

from pipeline.errors import ImageError
from pipeline.images.read import decode
from pipeline.screen import well_name
from pipeline.simulate.design import BATCH, DESIGNS, Fault
from pipeline.simulate.screen import render_well_site, simulate

TINY = DESIGNS["tiny"]
NAME = re.compile(r"r(\d\d)c(\d\d)f(\d\d)p01-ch([1-8])sk1fk1fl1\.tiff")


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    root = tmp_path_factory.mktemp("screen")
    simulate(str(root), "tiny")
    return root


def _images(screen, plate: str):
    folder = next((screen / "images" / BATCH / "images").glob(f"{plate}__*-Measurement1")) / "Images"
    return {path.name: path for path in folder.iterdir()}


def _path(screen, plate, well, site, channel):
    found = {}
    for name, path in _images(screen, plate).items():
        row, column, field, number = map(int, NAME.fullmatch(name).groups())
        found[well_name(row, column), field, number] = path
    return found.get((well, site, channel))


def test_each_plate_has_the_images_its_manifest_says(screen):
    plates = pd.read_csv(screen / "tables/image_plates.csv")
    for row in plates.itertuples():
        names = _images(screen, row.plate)
        assert len(names) == row.number_of_images
        assert all(NAME.fullmatch(name) for name in names)
    assert plates.missing_images.sum() == 1 + 8 * TINY.sites  # one image, and one well that was not imaged


def test_images_are_16_bit_lzw_tiff_of_one_page_and_one_strip(screen):
    with tifffile.TiffFile(_path(screen, "SIM00101", "A01", 1, 5)) as file:
        assert len(file.pages) == 1
        page = file.pages[0]
        assert (page.compression.name, page.dtype, page.shape, len(page.dataoffsets)) == (
            *("LZW", np.uint16, (TINY.image_size, TINY.image_size), 1),
        )


def test_any_site_rendered_alone_is_the_one_in_the_screen(screen):
    alone = render_well_site(TINY, "crispr", "SIM00202", "B01", 1)
    for channel in (1, 5, 8):
        np.testing.assert_array_equal(
            decode(_path(screen, "SIM00202", "B01", 1, channel).read_bytes()), alone[channel - 1]
        )


def test_faults_are_as_the_table_says(screen):
    table = pd.read_csv(screen / "tables/faults.csv", dtype={"site": "Int64", "channel": "Int64"})
    for row in table.itertuples(index=False):
        fault = Fault(*row)
        if fault.kind == "truncated":
            with pytest.raises(ImageError):
                decode(_path(screen, fault.plate, fault.well, fault.site, fault.channel).read_bytes())
        elif fault.kind == "missing":
            assert _path(screen, fault.plate, fault.well, fault.site, fault.channel) is None
            assert _path(screen, fault.plate, fault.well, fault.site, 1) is not None
        elif fault.kind == "not imaged":
            assert _path(screen, fault.plate, fault.well, 1, 1) is None
        else:
            dna = decode(_path(screen, fault.plate, fault.well, 1, 5).read_bytes())
            assert dna.max() < 1500


def test_a_finished_screen_is_left_as_it_is_and_another_design_is_not_taken_for_it(screen, monkeypatch):
    def refuse(*_):
        raise AssertionError("rendered again")

    monkeypatch.setattr("pipeline.simulate.screen._write_well", refuse)
    assert simulate(str(screen), "tiny") == TINY
    with pytest.raises(AssertionError, match="rendered again"):
        simulate(str(screen), "tiny", seed=2)
