"""Texture against mahotas, which CellProfiler calls, and against CellProfiler's own results."""

from __future__ import annotations

import mahotas.features
import numpy as np
import pytest
import skimage.util
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.kernels import flat_texture
from pipeline.engines.native.kernels.haralick import DIRECTIONS, FEATURES
from pipeline.engines.native.modules.measure_texture import grey_levels, texture_of_image, texture_of_objects
from pipeline.engines.native.workspace import Objects, Workspace
from pipeline.engines.parity import equal_values
from pipeline.errors import CppipeError
from tests.engines.native.numpy1 import ask
from tests.engines.native.sites import (
    assert_same_as_cellprofiler,
    images,
    label_images,
    reference_runs,
    reference_site,
    shapes,
    step,
)

SETTINGS = """
Select images to measure:AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA
Select objects to measure:Nuclei, Cytoplasm, Cells
Enter how many gray levels to measure the texture at:256
Hidden:3
Measure whole images or objects?:Both
Texture scale to measure:3
Texture scale to measure:5
Texture scale to measure:10
"""


def small(where: str, levels: int = 256) -> str:
    return f"""
    Select images to measure:DNA
    Select objects to measure:Cells
    Enter how many gray levels to measure the texture at:{levels}
    Hidden:1
    Measure whole images or objects?:{where}
    Texture scale to measure:1
    """


def of_one_object(levels: np.ndarray, mask: np.ndarray, scale: int) -> np.ndarray:
    """MeasureTexture on one object, as CellProfiler writes it: mahotas on the bounding box, other pixels 0."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.where(mask, levels, 0)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    try:
        features = mahotas.features.haralick(box, distance=scale, ignore_zeros=True)
    except ValueError:
        return np.zeros((len(DIRECTIONS), len(FEATURES)))
    return np.where(np.isfinite(features), features, 0)


@given(data=st.data())
def test_each_object_has_the_texture_mahotas_finds_in_its_bounding_box(data):
    shape = data.draw(shapes())
    labels = data.draw(label_images(shape))
    levels = [grey_levels(data.draw(images(shape))) for _ in range(2)]
    scales = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=2, unique=True)))

    found = texture_of_objects(levels, Objects.of(labels), scales)

    for image, features in zip(levels, found, strict=True):
        assert features.shape == (labels.max(), len(scales), len(DIRECTIONS), len(FEATURES))
        for label in np.unique(labels[labels > 0]):
            expected = np.stack([of_one_object(image, labels == label, scale) for scale in scales])
            # InfoMeas2 is the root of a difference that can be all rounding: 1e-15 under the root is 3e-8 above.
            np.testing.assert_allclose(features[label - 1][..., :-1], expected[..., :-1], rtol=1e-9, atol=1e-11)
            np.testing.assert_allclose(features[label - 1][..., -1] ** 2, expected[..., -1] ** 2, rtol=1e-9, atol=1e-13)


@given(data=st.data())
def test_a_whole_image_has_the_texture_mahotas_finds_with_level_zero(data):
    shape = data.draw(shapes(smallest=4))
    levels = grey_levels(data.draw(images(shape)))

    found = texture_of_image(levels, (1, 3))

    for features, scale in zip(found, (1, 3), strict=True):
        expected = mahotas.features.haralick(levels, distance=scale)
        np.testing.assert_allclose(features[:, :-1], expected[:, :-1], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(features[:, -1] ** 2, expected[:, -1] ** 2, rtol=1e-9, atol=1e-13)


def flat_textures() -> list[np.ndarray]:
    """Uint8 images whose Correlation or InfoMeas2 is mostly rounding: nearly one level, or levels in no relation."""
    random = np.random.default_rng(0)
    textures = []
    for high in (2, 7, 40, 100, 255):
        for height, width in random.integers(7, 50, (6, 2)):
            low = random.integers(1, high)
            flat = np.full((height, width), high, np.uint8)
            spot, stripes, half, quarter = (flat.copy() for _ in range(4))
            spot[random.integers(height), random.integers(width)] = low
            stripes[:, ::2] = low
            half[: height // 2] = low
            quarter[height // 2 :, width // 2 :] = low
            chequered = low + np.add.outer(np.arange(height), np.arange(width)) % 2
            grid = low + np.add.outer(np.arange(height) % 2, 2 * (np.arange(width) % 3))
            textures += [flat, spot, stripes, half, quarter, chequered.astype(np.uint8), grid.astype(np.uint8)]
        for height, width in random.integers(5, 12, (60, 2)):  # by chance, what is there tells nothing of what is here
            textures.append(random.choice(np.uint8([high - 1, high]), (height, width)))
    nearly_saturated = np.full((600, 700), 255, np.uint8)
    nearly_saturated[300, 400] = 254
    return [*textures, nearly_saturated]


@pytest.mark.parametrize("whole", [True, False], ids=["whole image", "object"])
def test_flat_textures_are_cellprofilers_down_to_what_is_only_rounding(whole):
    textures, scale = flat_textures(), 3
    cases = [{"levels": image, "scale": np.array(scale), "ignore_zeros": np.array(not whole)} for image in textures]
    n_rounding = 0
    for image, answer in zip(textures, ask("texture", cases), strict=True):
        if whole:
            [found] = texture_of_image(image, (scale,))
        else:
            [[[found]]] = texture_of_objects([image], Objects.of(np.ones(image.shape, np.int32)), (scale,))
        assert equal_values(found, answer["features"], "Texture_").all()
        rounding = flat_texture.is_rounding(found)
        n_rounding += rounding.sum()
        np.testing.assert_array_equal(
            found[rounding][:, flat_texture.ROUNDED], answer["features"][rounding][:, flat_texture.ROUNDED]
        )
    assert n_rounding > 20


@pytest.mark.parametrize(("size", "levels"), [(40, 3), (40, 256), (9, 256)])
def test_objects_of_few_and_of_many_levels_are_counted_alike(size, levels):
    random = np.random.default_rng(0)
    image = random.integers(1, levels, (size, size)).astype(np.uint8)
    mask = np.ones((size, size), np.int32)
    [features] = texture_of_objects([image], Objects.of(mask), (2,))
    np.testing.assert_allclose(features[0, 0], of_one_object(image, mask == 1, 2), rtol=1e-9)


def test_two_levels_side_by_side_give_the_features_worked_by_hand():
    # Rows of 1 2: three pairs, all of levels (1, 2), so half of the symmetric matrix lies at (1, 2), half at (2, 1).
    levels = np.array([[1, 2], [1, 2], [1, 2]], np.uint8)
    [features] = texture_of_objects([levels], Objects.of(np.ones((3, 2), np.int32)), (1,))
    horizontal = dict(zip(FEATURES, features[0, 0, 0], strict=True))
    expected = {
        "AngularSecondMoment": 0.5,
        "Contrast": 1,
        "Correlation": -1,
        "Variance": 0.25,
        "InverseDifferenceMoment": 0.5,
        "SumAverage": 3,
        "SumVariance": 0,
        "SumEntropy": 0,
        "Entropy": 1,
        "DifferenceVariance": 2 / 9,  # of (0, 1, 0): levels 0 to 2 leave room for three differences
        "DifferenceEntropy": 0,
        "InfoMeas1": -1,
        "InfoMeas2": np.sqrt(1 - np.exp(-2)),
    }
    assert horizontal == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_levels_are_those_of_skimage(values):
    image = np.float32([values])
    np.testing.assert_array_equal(grey_levels(image), skimage.util.img_as_ubyte(image))


def test_fewer_levels_truncate_the_256():
    image = np.float32([[0, 127, 128, 254, 255]]) / np.float32(255)
    assert grey_levels(image, 2).tolist() == [[0, 0, 0, 0, 1]]
    assert grey_levels(image, 8).tolist() == [[0, 3, 3, 6, 7]]


def test_an_image_outside_its_range_is_refused_as_by_cellprofiler():
    with pytest.raises(ValueError, match=r"between -1 and 1, this one runs from 0 to 1\.5"):
        grey_levels(np.float32([[0, 1.5]]))


def test_an_image_smaller_than_a_scale_has_no_texture():
    with pytest.raises(ValueError, match="no texture at scale 10"):
        texture_of_image(np.zeros((10, 30), np.uint8), (3, 10))


def test_features_are_declared_in_cellprofilers_order():
    features = step("MeasureTexture", 7, SETTINGS).features()
    assert list(features) == ["Image", "Nuclei", "Cytoplasm", "Cells"]
    assert len(features["Cells"]) == len(set(features["Cells"])) == 13 * 8 * 3 * 4
    assert features["Cells"][:5] == [
        "Texture_AngularSecondMoment_AGP_3_00_256",
        "Texture_AngularSecondMoment_AGP_3_01_256",
        "Texture_AngularSecondMoment_AGP_3_02_256",
        "Texture_AngularSecondMoment_AGP_3_03_256",
        "Texture_AngularSecondMoment_AGP_5_00_256",
    ]


def test_rows_move_up_over_missing_numbers_as_in_cellprofiler():
    image = np.float32([[1, 2, 0, 0, 5, 6]]).repeat(2, axis=0) / 255
    with_gap = Objects.of(np.int32([[1, 1, 0, 0, 3, 3]]).repeat(2, axis=0))
    without = Objects.of(np.int32([[1, 1, 0, 0, 2, 2]]).repeat(2, axis=0))
    sites = [Workspace({"DNA": image}, {"Cells": cells}) for cells in (with_gap, without)]
    for site in sites:
        step("MeasureTexture", 7, small("Objects")).run(site)
    gap, whole = (site.measurements["Cells"]["Texture_SumAverage_DNA_1_02_256"] for site in sites)
    np.testing.assert_array_equal(gap, [*whole, np.nan])


def test_where_to_measure_and_how_many_levels_come_from_the_settings():
    site = Workspace({"DNA": np.float32([[0, 1], [1, 0]])}, {"Cells": Objects.of(np.ones((2, 2), np.int32))})
    step("MeasureTexture", 7, small("Images", levels=16)).run(site)
    assert not site.measurements
    assert site.image_measurements["Texture_Contrast_DNA_1_00_16"] == 15**2
    assert list(step("MeasureTexture", 7, small("Objects")).features()) == ["Cells"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("Texture scale to measure:3", "Texture scale to measure:0"), "Texture scale to measure: 0, 5, 10"),
        (("Both", "Neither"), "Neither"),
    ],
)
def test_settings_that_are_not_supported_are_refused_with_the_way_out(change, reason):
    with pytest.raises(CppipeError, match=rf"MeasureTexture: .*{reason}.*engine: {{kind: cellprofiler}}"):
        step("MeasureTexture", 7, SETTINGS.replace(*change))


@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_texture(shared_data, run):
    reference = reference_site(shared_data, run)
    site = reference.workspace()
    step("MeasureTexture", 7, SETTINGS).run(site)
    assert_same_as_cellprofiler(site, reference.measured, "Texture_")
