"""Thresholds against plain loops, centrosome, and CellProfiler's interpreter."""

from __future__ import annotations

import centrosome.threshold
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.engines.native import threshold_methods, threshold_quality
from pipeline.engines.native.kernels import smoothing
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
    "Two-class or three-class thresholding?": "Two classes",
    "Log transform before thresholding?": "No",
    "Size of adaptive window": "50",
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
    assert threshold_methods.minimum_cross_entropy(image) == pytest.approx(expected, rel=1e-6, nan_ok=True)


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
        assert threshold_methods.minimum_cross_entropy(image) == answer["li"]
        assert threshold_quality.weighted_variance(**case) == pytest.approx(
            float(answer["variance"]), rel=1e-12, nan_ok=True
        )
        assert threshold_quality.sum_of_entropies(**case) == pytest.approx(float(answer["entropies"]), rel=1e-12)
        assert sums.total(image.ravel()) == answer["sum"]
        assert sums.mean(image.ravel()) == answer["mean"]


@given(pictures())
def test_the_smallest_gap_is_exact_where_the_tolerance_depends_on_it(image):
    assume(image.min() != image.max())
    exact = np.min(np.diff(np.unique(image)))

    found = threshold_methods.smallest_gap(image)
    assert found == exact or (found < 1 / 65536 and exact <= 1 / 65536)
    assert threshold_methods.smallest_gap(image * np.float32(1000)) == np.min(
        np.diff(np.unique(image * np.float32(1000)))
    )


@pytest.mark.parametrize(
    ("pixels", "expected"), [([0.3, 0.3], 0.3), ([np.inf, np.inf], np.inf), ([np.inf, -np.inf], 0)]
)
def test_a_flat_image_is_its_own_threshold_and_an_infinite_one_has_none(pixels, expected):
    assert threshold_methods.minimum_cross_entropy(np.float32([pixels])) == np.float32(expected)


def test_an_image_with_pixels_that_have_no_value_is_an_error():
    image = np.float32([[0.1, np.nan, 0.2], [np.nan, 0.5, 0.4]])

    with pytest.raises(ValueError, match="2 pixels of the image in which Nuclei are sought have no value"):
        read().foreground(Workspace({"DNA": image}), image, "Nuclei")


@given(pictures(), st.integers(0, 99))
def test_variance_and_entropies_are_centrosomes(image, seed):
    foreground = np.random.default_rng(seed).random(image.shape) < 0.3
    mask = np.random.default_rng(seed + 1).random(image.shape) < 0.8
    foreground &= mask

    expected = centrosome.threshold.weighted_variance(image, mask, foreground)
    assert threshold_quality.weighted_variance(image, foreground, mask) == pytest.approx(expected, rel=1e-5, abs=1e-9)
    expected = centrosome.threshold.sum_of_entropies(image, mask, foreground)
    # A pixel on the edge of a bin may fall to either side of it.
    assert threshold_quality.sum_of_entropies(image, foreground, mask) == pytest.approx(
        expected, rel=1e-9, abs=4 / image.size
    )


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
    block = read(Thresholding_method=method)

    foreground = block.foreground(site, image, "Nuclei")

    recorded = site.image_measurements
    assert set(recorded) == set(block.features("Nuclei"))
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
        ("Threshold_strategy", "Per object"),
        ("Thresholding_method", "Sauvola"),
        ("Thresholding_method", "Kapur"),
        ("Threshold_setting_version", "4"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_setting_and_the_way_out(setting, value):
    with pytest.raises(CppipeError, match=rf"3 IdentifyPrimaryObjects.*{value}.*engine: {{kind: cellprofiler}}"):
        read(**{setting: value})


def between_classes(counts: np.ndarray, first: int, second: int) -> float:
    """Sum of squared first moments over numbers, of the classes that end with these bins."""
    places = np.maximum(np.arange(counts.size), 1)  # scikit-image gives the first bin the place of the second
    parts = (slice(0, first + 1), slice(first + 1, second + 1), slice(second + 1, None))
    return sum((counts[part] @ places[part]) ** 2 / max(counts[part].sum(), 1) for part in parts)


@given(st.lists(st.integers(0, 40), min_size=3, max_size=200), st.sampled_from([8, 20]))
def test_three_classes_are_as_far_apart_as_any_three(values, bins):
    pixels = np.array(values, np.float32)
    counts, edges = np.histogram(pixels, bins)
    assume(np.count_nonzero(counts) > 3)

    found = threshold_methods.three_class_otsu(pixels, bins)

    first, second = (int(np.searchsorted(edges, value) - 1) for value in found)
    best = max(between_classes(counts, i, j) for i in range(bins - 2) for j in range(i + 1, bins - 1))
    assert between_classes(counts, first, second) == pytest.approx(best, rel=1e-5)


def test_three_classes_of_two_kinds_of_pixels_are_refused_for_the_whole_image_and_two_in_a_part_of_it():
    pixels = np.float32([0.1] * 9 + [0.5] * 3)
    method = threshold_methods.ThreeClassOtsu(0)

    with pytest.raises(ValueError, match="only 2 different values"):
        method.of(pixels)
    assert method.of_block(pixels, 1e-5) == threshold_methods.Otsu().of(pixels)


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=80), st.floats(0, 0.4), st.floats(0, 0.4))
def test_robust_background_is_centrosomes(values, lower, upper):
    pixels = np.array(values, np.float32)
    low, high = round(pixels.size * lower), pixels.size - round(pixels.size * upper)
    kept = np.sort(pixels)[low:high] if low else np.sort(pixels)
    assume(kept.size and kept[0] != kept[-1])

    def found(average: str, variation: str) -> float:
        return threshold_methods.RobustBackground(lower, upper, average, variation, 1.5).of(pixels)

    mean, deviation, mad = kept.mean(dtype=float), kept.std(dtype=float), centrosome.threshold.mad(kept)
    close = {"rel": 1e-5, "abs": 1e-6}
    assert found("Mean", "Standard deviation") == pytest.approx(mean + 1.5 * deviation, **close)
    assert found("Median", "Median absolute deviation") == pytest.approx(np.median(kept) + 1.5 * mad, **close)
    try:
        mode = centrosome.threshold.binned_mode(kept)
    except ValueError:
        with pytest.raises(ValueError, match="no mode"):
            found("Mode", "Standard deviation")
    else:
        assert found("Mode", "Median absolute deviation") == pytest.approx(mode + 1.5 * mad, **close)


@given(pictures(), st.integers(0, 99), st.floats(0.3, 4))
def test_pixels_outside_a_mask_weigh_nothing_when_an_image_is_smoothed(image, seed, sigma):
    mask = np.random.default_rng(seed).random(image.shape) < 0.7
    other = np.where(mask, image, np.float32(0.77))

    found = smoothing.smooth(image, sigma, mask)

    np.testing.assert_array_equal(found, smoothing.smooth(other, sigma, mask))
    expected = scipy.ndimage.gaussian_filter(np.where(mask, image, 0).astype(np.float64), sigma, mode="constant")
    covered = scipy.ndimage.gaussian_filter(mask.astype(np.float64), sigma, mode="constant")
    np.testing.assert_allclose(found, expected / (covered + np.finfo(float).eps), rtol=1e-4, atol=1e-6)


def test_a_threshold_of_parts_is_flat_where_parts_are_alike_and_follows_the_light_where_they_are_not():
    random = np.random.default_rng(3)
    image = np.float32(0.1 + 0.3 * (random.random((80, 80)) < 0.3)) * np.linspace(0.5, 1, 80, dtype=np.float32)
    changes = {"Threshold_strategy": "Adaptive", "Size_of_adaptive_window": "20", "Thresholding_method": "Otsu"}

    final, local, guide = read(**changes).find(Workspace({}), image, None)

    assert local.shape == image.shape
    assert local[:, -5:].mean() > 1.3 * local[:, :5].mean()
    assert final.min() >= 0.7 * guide * (1 - 1e-9)
    with pytest.raises(ValueError, match="window of 50 pixels is wider than half"):
        read(**changes | {"Size_of_adaptive_window": "50"}).find(Workspace({}), image, None)
