"""Object intensities against the formulas, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.segmentation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.modules.measure_object_intensity import (
    INTENSITY,
    LOCATION,
    Region,
    inner_edge,
    median_deviation,
    quantile,
)
from pipeline.engines.native.workspace import Objects, Workspace
from tests.engines.native.sites import (
    assert_same_as_cellprofiler,
    images,
    label_images,
    reference_runs,
    reference_site,
    shapes,
    step,
)


def plain_quantile(values: np.ndarray, fraction: float) -> float:
    """At index n * fraction of the sorted values, not (n - 1) * fraction; beyond the last one, the last one."""
    values = np.sort(values.astype(np.float64))
    place = values.size * fraction
    below = int(place)
    if below >= values.size - 1:
        return values[below]
    return values[below] * (1 - (place - below)) + values[below + 1] * (place - below)


def plain(image: np.ndarray, segmented: np.ndarray, label: int) -> dict[str, float]:
    mask = segmented == label
    y, x = np.nonzero(mask)
    inside = image[mask].astype(np.float64)
    edge = mask & skimage.segmentation.find_boundaries(segmented[None], mode="inner")[0]
    on_edge = image[edge].astype(np.float64)
    median = plain_quantile(inside, 0.5)
    with np.errstate(invalid="ignore"):
        centre_x, centre_y = np.sum(x * inside) / inside.sum(), np.sum(y * inside) / inside.sum()
    result = {
        "IntegratedIntensity": inside.sum(),
        "MeanIntensity": inside.mean(),
        "StdIntensity": inside.std(),
        "MinIntensity": inside.min(),
        "MaxIntensity": inside.max(),
        "MassDisplacement": np.hypot(x.mean() - centre_x, y.mean() - centre_y),
        "LowerQuartileIntensity": plain_quantile(inside, 0.25),
        "MedianIntensity": median,
        "MADIntensity": plain_quantile(np.abs(inside - median), 0.5),
        "UpperQuartileIntensity": plain_quantile(inside, 0.75),
        "CenterMassIntensity_X": centre_x,
        "CenterMassIntensity_Y": centre_y,
        "CenterMassIntensity_Z": 0.0 if inside.sum() else np.nan,
        "MaxIntensity_Z": 0.0,
    }
    for name, value in (("Integrated", np.sum), ("Mean", np.mean), ("Std", np.std), ("Min", np.min), ("Max", np.max)):
        result[f"{name}IntensityEdge"] = value(on_edge) if on_edge.size else 0.0
    return result


@given(st.data())
def test_every_feature_is_what_its_formula_says(data):
    shape = data.draw(shapes())
    image, segmented = data.draw(images(shape)), data.draw(label_images(shape))
    objects = Objects.of(segmented)

    measured = dict(zip(INTENSITY + LOCATION, Region(objects).measure(image), strict=True))

    for label in range(1, objects.count + 1):
        here = {name: values[label - 1] for name, values in measured.items()}
        if not (segmented == label).any():
            assert not any(here.values())
            continue
        brightest = int(here.pop("MaxIntensity_Y")), int(here.pop("MaxIntensity_X"))
        assert segmented[brightest] == label
        assert image[brightest] == here["MaxIntensity"]
        assert here == pytest.approx(plain(image, segmented, label), rel=1e-6, abs=1e-9, nan_ok=True)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.sampled_from([0.25, 0.5, 0.75]))
def test_a_quantile_counts_from_n_not_from_n_less_one(values, fraction):
    values = np.sort(np.array(values, np.float32)).astype(np.float64)

    assert quantile(values, fraction) == plain_quantile(values, fraction)


@given(st.lists(st.integers(0, 40) | st.floats(0, 1, width=32), min_size=1, max_size=60))
def test_the_median_deviation_is_that_of_the_sorted_deviations(values):
    values = np.sort(np.array(values, np.float32)).astype(np.float64)
    median = quantile(values, 0.5)
    assert median_deviation(values, median) == plain_quantile(np.abs(values - median), 0.5)


def test_quantiles_of_three_pixels_by_hand():
    values = np.array([1, 2, 4], np.float32)

    assert [quantile(values, fraction) for fraction in (0.25, 0.5, 0.75)] == [1.75, 3.0, 4.0]


def test_the_border_of_the_image_is_no_edge():
    assert not inner_edge(np.ones((3, 4), np.int32)).any()
    assert inner_edge(np.array([[1, 1, 2]], np.int32)).tolist() == [[False, True, True]]


@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_values(shared_data, run):
    site = reference_site(shared_data, run)
    workspace: Workspace = site.workspace()
    step(
        "MeasureObjectIntensity",
        4,
        """
        Select images to measure:AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA
        Select objects to measure:Nuclei, Cytoplasm, Cells
        """,
    ).run(workspace)

    expected = {name: dict(features) for name, features in site.measured.items()}
    for features in expected.values():
        for name in [name for name in features if name.startswith("Location_Center_")]:
            del features[name]  # the Identify modules'
    for prefix in ("Intensity_", "Location_"):
        mine = Workspace(
            {},
            {},
            {
                name: {key: values for key, values in features.items() if key.startswith(prefix)}
                for name, features in workspace.measurements.items()
            },
        )
        assert_same_as_cellprofiler(mine, expected, prefix)
