"""Granularity against its definition in scipy and scikit-image, and against CellProfiler's own results."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.morphology import disk, reconstruction

from pipeline.engines.native.kernels.spectrum import (
    LANES,
    component_tree,
    float32_sums,
    reconstructions,
)
from pipeline.engines.native.modules.measure_granularity import (
    Spans,
    bilinear,
    granularity,
    lowest_in_disk,
    room_for_rows,
)
from pipeline.engines.native.workspace import Objects, Workspace
from pipeline.errors import CppipeError
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
Measure within objects?:Yes
Select objects to measure:Nuclei, Cytoplasm, Cells
Subsampling factor for granularity measurements:0.5
Subsampling factor for background reduction:0.5
Radius of structuring element:10
Range of the granular spectrum:16
"""
CROSS = disk(1)


def numpy1_mean(values: np.ndarray) -> np.float32:
    """numpy.mean of float32 in NumPy 1, whose reductions work through a buffer of 8192."""
    total = np.float32(0)
    for first in range(0, values.size, 8192):
        total += np.sum(values[first : first + 8192])
    return np.float32(float(total) / values.size)


def plain_granularity(image, labels, subsampling, background, radius, length):
    """The module step by step, as its documentation and source describe it."""

    def sampled(pixels, mask, shape, factor):
        if factor == 1:
            return pixels, mask
        at = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float) / factor
        return (ndi.map_coordinates(pixels, at, order=1), ndi.map_coordinates(mask.astype(float), at) > 0.9)

    def stretched(pixels, small, large):
        y, x = np.mgrid[0 : large[0], 0 : large[1]].astype(float)
        y *= float(small[0] - 1) / float(large[0] - 1)
        x *= float(small[1] - 1) / float(large[1] - 1)
        return ndi.map_coordinates(pixels, (y, x), order=1)

    shape = np.array(image.shape) * subsampling
    pixels, mask = sampled(image.copy(), np.ones(image.shape, bool), shape, subsampling)
    back_shape = shape * background
    back, back_mask = sampled(pixels, mask, back_shape, background)
    back = ndi.grey_erosion(np.where(back_mask, back, 0), footprint=disk(radius))
    back = ndi.grey_dilation(np.where(back_mask, back, 0), footprint=disk(radius))
    pixels = pixels - (back if background == 1 else stretched(back, back_shape, shape))
    pixels[pixels < 0] = 0

    numbers = np.arange(1, labels.max() + 1)
    previous = numpy1_mean(pixels[mask])
    start = max(float(previous), np.finfo(float).eps)
    object_previous = ndi.mean(image, labels, numbers)
    object_start = np.maximum(object_previous, np.finfo(float).eps)
    eroded = np.where(mask, pixels, np.float32(0))
    whole, within = [], []
    for _ in range(length):
        eroded = ndi.grey_erosion(np.where(mask, eroded, np.float32(0)), footprint=CROSS)
        kept = reconstruction(eroded, pixels, footprint=CROSS).astype(np.float32)
        mean = numpy1_mean(kept[mask])
        whole.append(float(previous - mean) * 100 / start)
        object_mean = ndi.mean(stretched(kept, shape, image.shape), labels, numbers)
        within.append((object_previous - object_mean) * 100 / object_start)
        previous, object_previous = mean, object_mean
    return np.array(whole), np.array(within).reshape(length, numbers.size)


@pytest.mark.filterwarnings("ignore:invalid value")  # the mean of an object without pixels
@settings(max_examples=40)
@given(data=st.data())
def test_the_spectrum_is_that_of_the_definition(data):
    image = data.draw(shapes(3, 24).flatmap(images))
    sets = [data.draw(label_images(image.shape)) for _ in range(2)]
    factors = st.sampled_from((0.25, 0.5, 0.7, 1.0))
    arguments = {
        "subsampling": data.draw(factors),
        "background_subsampling": data.draw(factors),
        "radius": data.draw(st.integers(1, 3)),
        "length": data.draw(st.sampled_from((1, 3, LANES + 2))),
    }
    assume(min(image.shape) * arguments["subsampling"] > 1)
    labelled = Spans.of([Objects.of(labels) for labels in sets])
    whole, within = granularity(image, labelled, room_for_rows(image.shape, arguments["subsampling"]), **arguments)
    for labels, of_set in zip(sets, zip(*map(labelled.split, within), strict=True), strict=True):
        expected_whole, expected_within = plain_granularity(image, labels, *arguments.values())
        np.testing.assert_allclose(whole, expected_whole, rtol=0, atol=1e-9)
        np.testing.assert_allclose(of_set, expected_within, rtol=0, atol=1e-9)


@given(data=st.data())
def test_one_tree_gives_every_opening_by_reconstruction(data):
    image = data.draw(shapes(1, 30).flatmap(images))
    rows = np.empty((image.size, LANES), np.float32)
    reconstructions(image.ravel(), *component_tree(image, LANES, np.ones(image.shape, np.bool_)), 1, rows)
    eroded = image
    for k in range(LANES):
        eroded = ndi.grey_erosion(eroded, footprint=CROSS)
        np.testing.assert_array_equal(rows[:, k].reshape(image.shape), reconstruction(eroded, image, footprint=CROSS))


@pytest.mark.parametrize("n", [1, 7, 8, 128, 129, 1000, 8192, 8193, 20000])
def test_float32_sums_round_as_numpy_rounds_blocks_of_8192(n):
    rows = np.random.default_rng(n).random((n, LANES), np.float32)
    expected = [numpy1_mean(np.ascontiguousarray(column)) for column in rows.T]
    np.testing.assert_array_equal([np.float32(float(total) / n) for total in float32_sums(rows)], expected)


@given(data=st.data())
def test_bilinear_sampling_is_scipys_and_zero_outside(data):
    image = data.draw(shapes().flatmap(images))
    coordinates = st.lists(st.floats(-2, 18) | st.integers(0, 15).map(float), min_size=1, max_size=8)
    rows, columns = np.array(data.draw(coordinates)), np.array(data.draw(coordinates))
    expected = ndi.map_coordinates(image, np.meshgrid(rows, columns, indexing="ij"), order=1)
    np.testing.assert_array_equal(bilinear(image, rows, columns), expected)


@given(data=st.data())
def test_the_lowest_value_in_a_disk_is_that_of_an_erosion(data):
    image = data.draw(shapes().flatmap(images))
    # scipy reads outside an image that is four times narrower than the footprint's radius.
    radius = data.draw(st.integers(1, min(20, 4 * min(image.shape) - 1)))
    np.testing.assert_array_equal(lowest_in_disk(image, radius), ndi.grey_erosion(image, footprint=disk(radius)))


@given(data=st.data())
def test_spans_and_their_owners_are_the_label_images(data):
    shape = data.draw(shapes())
    sets = [data.draw(label_images(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    found = Spans.of([Objects.of(labels) for labels in sets])
    drawn, first = np.zeros((len(sets), *shape), np.int32), 0
    for column, labels in enumerate(sets):
        for (row, start, end), owner in zip(found.spans, found.owners[:, column], strict=True):
            drawn[column, row, start:end] += max(owner - first + 1, 0)
        first += labels.max()
    np.testing.assert_array_equal(drawn, sets)
    assert (np.diff(found.spans[:, 1:]) > 0).all()


def test_without_images_or_objects_nothing_is_measured():
    site = Workspace({}, {})
    settings = SETTINGS.replace("AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA", "")
    step("MeasureGranularity", 4, settings.replace("Nuclei, Cytoplasm, Cells", "")).run(site)
    assert site.measurements == site.image_measurements == {}


def test_squares_vanish_in_the_round_that_outgrows_them():
    # A diamond of radius 1 fits into squares of 3, one of radius 2 does not: all of it goes in round 2.
    image = np.zeros((60, 60), np.float32)
    image[10:13, 10:13] = image[30:33, 40:43] = 1
    labels = np.zeros(image.shape, np.int32)
    labels[8:15, 8:15] = 1
    labelled, rows = Spans.of([Objects.of(labels)]), room_for_rows(image.shape, 1)
    whole, within = granularity(image, labelled, rows, subsampling=1, background_subsampling=1, radius=4, length=3)
    np.testing.assert_allclose(whole, [0, 100, 0], atol=1e-5)
    np.testing.assert_allclose(within[:, 0], [0, 100, 0], atol=1e-5)


def test_an_image_too_small_to_subsample_is_an_error_that_names_its_size():
    with pytest.raises(ValueError, match=r"\(1\.0, 9\.0\) pixels would divide by zero"):
        granularity(
            np.zeros((1, 9), np.float32),
            Spans.of([]),
            room_for_rows((1, 9), 1),
            subsampling=1,
            background_subsampling=0.5,
            radius=1,
            length=1,
        )


def test_features_are_declared_in_cellprofilers_order():
    features = step("MeasureGranularity", 4, SETTINGS).features()
    assert list(features) == ["Image", "Nuclei", "Cytoplasm", "Cells"]
    assert features["Image"][:2] == ["Granularity_1_AGP", "Granularity_2_AGP"]
    assert features["Nuclei"][16] == "Granularity_1_Brightfield"
    assert len(features["Nuclei"]) == 8 * 16


def test_a_site_without_objects_has_the_spectrum_of_the_image_alone():
    image = np.random.default_rng(0).random((40, 30), np.float32)
    names = ("AGP", "Brightfield", "DNA", "ER", "HighZBF", "LowZBF", "Mito", "RNA")
    nothing = Objects.of(np.zeros(image.shape, np.int32))
    site = Workspace(dict.fromkeys(names, image), dict.fromkeys(("Nuclei", "Cytoplasm", "Cells"), nothing))
    step("MeasureGranularity", 4, SETTINGS).run(site)
    assert site.measurements["Cells"]["Granularity_1_RNA"].shape == (0,)
    assert site.image_measurements["Granularity_1_RNA"] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("spectrum:16", "spectrum:256"), "spectrum: 256. is more than 255"),
        (("element:10", "element:300"), "element: 300. is more than 255"),
    ],
)
def test_sizes_beyond_a_byte_are_refused_with_the_way_out(change, reason):
    with pytest.raises(CppipeError, match=f"MeasureGranularity: .*{reason}.*engine: {{kind: cellprofiler}}"):
        step("MeasureGranularity", 4, SETTINGS.replace(*change))


@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_granularity(shared_data, run):
    reference = reference_site(shared_data, run)
    site = reference.workspace()
    step("MeasureGranularity", 4, SETTINGS).run(site)
    assert_same_as_cellprofiler(site, reference.measured, "Granularity_", relative=0, absolute=1e-6)
