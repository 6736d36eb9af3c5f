"""Thresholds against plain loops, centrosome, and CellProfiler's interpreter."""

from __future__ import annotations

import centrosome.threshold
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.engines.native import threshold
from pipeline.engines.native.numpy1 import sums
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.threshold import Threshold
from pipeline.engines.native.workspace import Workspace
from pipeline.errors import CppipeError
from tests.engines.native.numpy1 import ask
from tests.engines.native.sites import images, shapes

BLOCK = {
    "Threshold setting version": "12",
    "Threshold strategy": "Global",
    "Thresholding method": "Minimum Cross-Entropy",
    "Threshold smoothing scale": "0",
    "Threshold correction factor": "1.25",
    "Lower and upper bounds on threshold": "0.014,1.0",
    "Manual threshold": "0.5",
    "Two-class or three-class thresholding?": "Three classes",
    "Log transform before thresholding?": "No",
}


def read(**changes: str) -> Threshold:
    block = BLOCK | {name.replace("_", " "): value for name, value in changes.items()}
    return Threshold.read(Settings("IdentifyPrimaryObjects", 3, 15, list(block.items())))


@st.composite
def pictures(draw):
    return draw(images(draw(shapes(2, 20))))


def plain_minimum_cross_entropy(image: np.ndarray, tolerance: float) -> float:
    """Li & Tam's iteration as scikit-image 0.20 has it; 0.26 steers clear of a black background, which is 0 here."""
    raised = image - image.min()
    threshold, previous = raised.mean(), -2 * tolerance
    with np.errstate(divide="ignore", invalid="ignore"):
        while abs(threshold - previous) > tolerance:
            previous = threshold
            above, below = raised[raised > previous].mean(), raised[raised <= previous].mean()
            threshold = (below - above) / (np.log(below) - np.log(above))
    return threshold + image.min()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(pictures())
def test_minimum_cross_entropy_is_the_plain_iteration(image):
    assume(image.min() != image.max())
    tolerance = max(np.min(np.diff(np.unique(image))) / 2, 0.5 / 65536)

    expected = plain_minimum_cross_entropy(image, tolerance)
    assert threshold.minimum_cross_entropy(image) == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_thresholds_and_what_is_measured_of_them_are_those_of_cellprofilers_interpreter_to_the_last_bit():
    cases = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        shape = tuple(random.integers(2, 200, 2))
        image = random.integers(0, random.choice([3, 40, 65536]), shape) / random.choice([65535, 70000.5])
        if seed % 3:
            image = image ** random.uniform(1, 6)
        image = image.astype(np.float32)
        if seed % 5 == 4:
            image[random.random(shape) < 0.05] = random.choice([np.inf, -np.inf])
        cases.append({"image": image, "foreground": random.random(shape) < 0.2})

    for case, answer in zip(cases, ask("threshold", cases), strict=True):
        image = case["image"]
        assert threshold.minimum_cross_entropy(image) == answer["li"]
        assert threshold.weighted_variance(**case) == pytest.approx(float(answer["variance"]), rel=1e-12, nan_ok=True)
        assert threshold.sum_of_entropies(**case) == pytest.approx(float(answer["entropies"]), rel=1e-12)
        assert sums.total(image.ravel()) == answer["sum"]
        assert sums.mean(image.ravel()) == answer["mean"]


@given(pictures())
def test_the_smallest_gap_is_exact_where_the_tolerance_depends_on_it(image):
    assume(image.min() != image.max())
    exact = np.min(np.diff(np.unique(image)))

    found = threshold.smallest_gap(image)
    assert found == exact or (found < 1 / 65536 and exact <= 1 / 65536)
    assert threshold.smallest_gap(image * np.float32(1000)) == np.min(np.diff(np.unique(image * np.float32(1000))))


@pytest.mark.parametrize(
    ("pixels", "expected"), [([0.3, 0.3], 0.3), ([np.inf, np.inf], np.inf), ([np.inf, -np.inf], 0)]
)
def test_a_flat_image_is_its_own_threshold_and_an_infinite_one_has_none(pixels, expected):
    assert threshold.minimum_cross_entropy(np.float32([pixels])) == np.float32(expected)


def test_an_image_with_pixels_that_have_no_value_is_an_error():
    image = np.float32([[0.1, np.nan, 0.2], [np.nan, 0.5, 0.4]])

    with pytest.raises(ValueError, match="2 pixels of the image in which Nuclei are sought have no value"):
        read().foreground(Workspace({"DNA": image}), image, "Nuclei")


@given(pictures(), st.integers(0, 99))
def test_variance_and_entropies_are_centrosomes(image, seed):
    foreground = np.random.default_rng(seed).random(image.shape) < 0.3
    mask = np.ones(image.shape, bool)

    expected = centrosome.threshold.weighted_variance(image, mask, foreground)
    assert threshold.weighted_variance(image, foreground) == pytest.approx(expected, rel=1e-5, abs=1e-9)
    expected = centrosome.threshold.sum_of_entropies(image, mask, foreground)
    # A pixel on the edge of a bin may fall to either side of it.
    assert threshold.sum_of_entropies(image, foreground) == pytest.approx(expected, rel=1e-9, abs=4 / image.size)


@given(st.lists(st.floats(0, 1, width=32), max_size=300))
def test_float32_sums_below_a_buffer_are_numpys(values):
    values = np.array(values, np.float32)

    assert sums.total(values) == np.sum(values)
    if values.size:
        assert sums.mean(values) == np.mean(values)
        assert sums.variance(values) == np.var(values)


@pytest.mark.parametrize(
    ("method", "final", "original"),
    [("Manual", 0.5, 0.5), ("Minimum Cross-Entropy", None, None), ("Otsu", None, None)],
)
def test_the_threshold_is_corrected_bounded_and_recorded(method, final, original):
    random = np.random.default_rng(0)
    image = (random.random((40, 40)) * 0.01 + (random.random((40, 40)) < 0.2) * 0.5).astype(np.float32)
    site = Workspace({"DNA": image})
    changes = {"Thresholding_method": method}
    if method == "Otsu":
        changes["Two-class_or_three-class_thresholding?"] = "Two classes"

    foreground = read(**changes).foreground(site, image, "Nuclei")

    recorded = site.image_measurements
    assert set(recorded) == set(Threshold.features("Nuclei"))
    if original is None:
        original = recorded["Threshold_OrigThreshold_Nuclei"]
        assert 0.01 < original < 0.5
        final = max(1.25 * original, 0.014)
    assert recorded["Threshold_OrigThreshold_Nuclei"] == original
    assert recorded["Threshold_FinalThreshold_Nuclei"] == final
    np.testing.assert_array_equal(foreground, image >= np.float32(final))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Threshold_strategy", "Adaptive"),
        ("Thresholding_method", "Robust Background"),
        ("Log_transform_before_thresholding?", "Yes"),
        ("Threshold_setting_version", "4"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_setting_and_the_way_out(setting, value):
    with pytest.raises(CppipeError, match=rf"3 IdentifyPrimaryObjects.*{value}.*engine: {{kind: cellprofiler}}"):
        read(**{setting: value})
