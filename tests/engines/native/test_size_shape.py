"""Sizes and shapes against scikit-image, centrosome, CellProfiler's interpreter and its results."""

from __future__ import annotations

import warnings

import centrosome.zernike
import numpy as np
import pytest
import skimage.measure
import skimage.morphology
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.engines.native.kernels import moments, zernike
from pipeline.engines.native.kernels.circles import enclosing_circles
from pipeline.engines.native.kernels.moments import inertia_tensor
from pipeline.engines.native.modules.measure_object_size_shape import (
    FEATURES,
    MeasureSizeShape,
    advanced,
    orientation,
)
from pipeline.engines.native.workspace import Objects
from tests.engines.native.numpy1 import ask
from tests.engines.native.sites import (
    assert_same_as_cellprofiler,
    label_images,
    reference_runs,
    reference_site,
    shapes,
    step,
)

# The engine runs its steps with NumPy's warnings off: dots have no perimeter.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SAME_AS_SCIKIT_IMAGE = {
    "Area": "area",
    "BoundingBoxArea": "area_bbox",
    "Center_X": lambda region: region.centroid[1],
    "Center_Y": lambda region: region.centroid[0],
    "EquivalentDiameter": "equivalent_diameter_area",
    "EulerNumber": "euler_number",
    "Extent": "extent",
    "MajorAxisLength": "axis_major_length",
    "MinorAxisLength": "axis_minor_length",
    "Perimeter": "perimeter",
}


def without_gaps(segmented: np.ndarray) -> np.ndarray:
    return np.unique(np.append(0, segmented.ravel()), return_inverse=True)[1][1:].reshape(segmented.shape)


@st.composite
def objects_of(draw, largest: int = 16):
    return Objects.of(without_gaps(draw(label_images(draw(shapes(2, largest))))).astype(np.int32))


def measure(objects: Objects) -> dict[str, np.ndarray]:
    return dict(
        zip(FEATURES, MeasureSizeShape(("A",), with_zernike=False, is_advanced=False).measure(objects), strict=True)
    )


@given(objects_of())
def test_region_properties_are_scikit_images(objects):
    measured = measure(objects)

    for k, region in enumerate(skimage.measure.regionprops(objects.segmented)):
        for name, their in SAME_AS_SCIKIT_IMAGE.items():
            expected = their(region) if callable(their) else getattr(region, their)
            assert measured[name][k] == pytest.approx(expected, rel=1e-9, abs=1e-7), name
        distances = ndimage.distance_transform_edt(np.pad(region.image, 1))
        inside = distances[distances > 0]
        expected = [inside.max(), inside.mean(), np.median(inside)]
        found = [measured[f"{name}Radius"][k] for name in ("Maximum", "Mean", "Median")]
        assert found == pytest.approx(expected, rel=1e-12)


@given(objects_of(30))
def test_the_convex_area_counts_the_pixels_of_scikit_images_convex_hull(objects):
    measured = measure(objects)

    for k, region in enumerate(skimage.measure.regionprops(objects.segmented)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            hull = skimage.morphology.convex_hull_image(region.image)
        assert measured["ConvexArea"][k] == hull.sum()


def test_a_disk_and_a_bar_by_hand():
    segmented = np.zeros((60, 60), np.int32)
    y, x = np.ogrid[:60, :60]
    segmented[(y - 20) ** 2 + (x - 20) ** 2 <= 100] = 1
    segmented[45:47, 5:55] = 2
    measured = measure(Objects.of(segmented))

    assert measured["Eccentricity"][0] == pytest.approx(0, abs=1e-6)
    assert measured["Solidity"][1] == 1
    assert measured["FormFactor"][0] == pytest.approx(1, abs=0.1)
    assert measured["Orientation"][1] == pytest.approx(90)
    assert measured["MaxFeretDiameter"][1] == pytest.approx(np.hypot(1, 49))
    assert measured["MinFeretDiameter"][1] == pytest.approx(1)
    assert measured["BoundingBoxMinimum_X"][1] == 5
    assert measured["BoundingBoxMaximum_Y"][1] == 47
    assert measured["Compactness"][0] == pytest.approx(1 / measured["FormFactor"][0])


@pytest.mark.parametrize(("lean", "expected"), [(-0.1, -45), (0.0, 45), (0.1, 45)])
def test_an_object_as_wide_as_tall_leans_as_scikit_image_0_20_has_it(lean, expected):
    assert np.degrees(orientation(1.0, lean, lean, 1.0)) == expected


def symmetric_masks() -> list[np.ndarray]:
    """As wide as tall, upright, or both: the sign of a rounding error decides how they lean."""
    random = np.random.default_rng(0)
    masks = []
    for size in random.integers(1, 41, 300):
        dust = random.random((size, size)) < random.choice([0.3, 0.6, 0.9])
        y, x = np.ogrid[:size, :size]
        disk = np.hypot(y - size * random.random(), x - size * random.random()) <= size * random.random()
        turned = dust | np.rot90(dust)
        masks += [
            dust | dust[::-1],
            dust | dust.T,
            dust | dust[::-1, ::-1].T,
            turned | turned[::-1, ::-1],
            disk | disk.T,
        ]
    return [mask for mask in masks if mask.any()]


def test_symmetric_objects_lean_as_in_cellprofilers_interpreter_to_the_last_bit():
    masks = symmetric_masks()
    for mask, answer in zip(masks, ask("ellipse", [{"mask": mask} for mask in masks]), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        tensor = inertia_tensor(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        np.testing.assert_array_equal(tensor, answer["tensor"])
        objects = Objects.of(mask.astype(np.int32))
        assert measure(objects)["Orientation"][0] == answer["orientation"] * (180 / np.pi)


@given(objects_of(24))
def test_zernike_magnitudes_are_centrosomes(objects):
    if objects.count == 0:
        return
    numbers = np.arange(1, objects.count + 1)
    assert zernike.indices(9) == [tuple(pair) for pair in centrosome.zernike.get_zernike_indexes(10).tolist()]
    with np.errstate(all="ignore"):
        expected = centrosome.zernike.zernike(centrosome.zernike.get_zernike_indexes(10), objects.segmented, numbers)
        circles = centrosome.zernike.minimum_enclosing_circle(objects.segmented, numbers)
        found = zernike.magnitudes(objects.pixels, objects.starts, objects.segmented.shape[1], *circles, 9)

    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_circles_are_centrosomes_in_cellprofilers_interpreter_to_the_last_bit():
    cases = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        segmented = np.zeros((150, 150), np.int32)
        for label in range(1, 21):
            y, x = random.integers(0, 140, 2)
            if label % 3:
                segmented[y : y + random.integers(1, 15), x : x + random.integers(1, 15)] = label
            else:
                rows, columns = np.ogrid[:150, :150]
                segmented[(rows - y) ** 2 + (columns - x) ** 2 <= random.integers(1, 150)] = label
        cases.append({"labels": without_gaps(segmented).astype(np.int32)})

    for answer in ask("circles", cases):
        centres, radii = enclosing_circles(answer["hull"][:, 1:].astype(np.int64), answer["counts"].astype(np.int64))
        np.testing.assert_array_equal(centres, answer["centres"])
        np.testing.assert_array_equal(radii, answer["radii"])


@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_values(shared_data, run):
    site = reference_site(shared_data, run)
    workspace = site.workspace()
    step(
        "MeasureObjectSizeShape",
        3,
        """
        Select object sets to measure:Cells, Nuclei, Cytoplasm
        Calculate the Zernike features?:Yes
        Calculate the advanced features?:No
        """,
    ).run(workspace)

    assert_same_as_cellprofiler(workspace, site.measured, "AreaShape_")


@given(st.data())
def test_advanced_features_are_scikit_images_moments(data):
    objects = Objects.of(data.draw(label_images(data.draw(shapes(2, 16)))))

    found = dict(zip(moments.FEATURES, advanced(objects), strict=True))

    for region in skimage.measure.regionprops(objects.segmented):
        expected = {
            "SpatialMoment": region.moments,
            "CentralMoment": region.moments_central,
            "NormalizedMoment": region.moments_normalized,
            "HuMoment": region.moments_hu,
        }
        for name, values in found.items():
            kind, *at = name.split("_")
            value = expected[kind][tuple(map(int, at))]
            assert values[region.label - 1] == pytest.approx(value, rel=1e-9, abs=1e-8, nan_ok=True)
