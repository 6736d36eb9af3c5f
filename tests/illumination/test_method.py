"""The method, against CellProfiler's own results and against a plain twin."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.errors import ImageError
from pipeline.illumination import PartialSum, finish, reduce_image
from pipeline.illumination.method import MOST_SITES, UNITS, smooth

CPJUMP1 = {"Mito": 1, "AGP": 2, "RNA": 3, "ER": 4, "DNA": 5, "HighZBF": 6, "LowZBF": 7, "Brightfield": 8}
PEDIATRIC = {"Brightfield": 1, "HighZBF": 1, "LowZBF": 1, "ER": 2, "AGP": 3, "Mito": 4, "DNA": 5, "RNA": 6}
#: pixels of 46,656 that are one 16-bit step from CellProfiler's, whose float32 sum rounds
STEPS_APART = {"DNA": 0, "ER": 0, "RNA": 0, "Mito": 0, "AGP": 6, "LowZBF": 10, "Brightfield": 27, "HighZBF": 36}


@pytest.fixture(scope="module")
def reference_sum(shared_data):
    """The sum over the four sites of the reference: two real ones and their mirror images."""
    gallery = shared_data / "gallery"
    jump = gallery / "cpg0016-jump/source_4/images/2021_04_26_Batch1/images"
    jump /= "BR00117035__2021-05-02T16_02_51-Measurement1/Images"
    pediatric = gallery / "pediatric_cancer_atlas/BR00143976__2024-07-04T16_04_45-Measurement 2/Images"

    def read(path) -> np.ndarray:
        return imagecodecs.tiff_decode(path.read_bytes())

    def total(channel: str) -> PartialSum:
        one = read(jump / f"r01c01f01p01-ch{CPJUMP1[channel]}sk1fk1fl1.tiff")
        two = read(pediatric / f"r03c03f03p01-ch{PEDIATRIC[channel]}sk1fk1fl1.tiff")
        return sum(
            (PartialSum.of(image) for image in (one, one[:, ::-1], two, two[:, ::-1])), PartialSum.zero((1080, 1080))
        )

    return total


@pytest.mark.real_data
@pytest.mark.parametrize("channel", STEPS_APART)
def test_the_small_function_is_cellprofilers_but_for_single_16_bit_steps(shared_data, reference_sum, channel):
    theirs = np.load(shared_data / "reference" / "illumination_small.npz")[f"small_Illum{channel}"]
    partial = reference_sum(channel)
    ours = smooth(partial)
    assert ours.dtype == np.float32
    assert np.count_nonzero(ours != theirs) == STEPS_APART[channel]
    # One step of the 16-bit median, in units of the function: its minimum, 1, stands for `lowest` steps.
    lowest = 65535 * partial.total.min() / UNITS / partial.count
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1.01 / lowest)


@pytest.mark.real_data
def test_the_full_size_function_is_cellprofilers_bit_for_bit(shared_data, reference_sum):
    theirs = np.load(shared_data / "reference" / "illumination_full.npz")["IllumDNA"]
    ours = finish(reference_sum("DNA"), (1080, 1080))
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


def images(count: int, shape: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 65536, shape, np.uint16) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), height=st.integers(5, 60), width=st.integers(5, 60), count=st.integers(1, 7))
def test_sums_are_the_same_whatever_the_order_and_grouping(data, height, width, count):
    sites = [PartialSum.of(image) for image in images(count, (height, width), seed=data.draw(st.integers(0, 99)))]
    straight = sum(sites, PartialSum.zero((height, width)))
    pile = data.draw(st.permutations(sites))
    while len(pile) > 1:  # merge any two, again and again
        first = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        second = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        pile.append(first + second)
    assert pile[0].count == straight.count == count
    assert pile[0].total.tobytes() == straight.total.tobytes()
    assert finish(pile[0], (height, width)).tobytes() == finish(straight, (height, width)).tobytes()


def test_the_mean_is_within_its_stated_bound():
    sites = images(50, (40, 70))
    total = sum((PartialSum.of(site) for site in sites), PartialSum.zero((40, 70)))
    exact = np.sum([reduce_image(site).astype(np.float64) for site in sites], axis=0)  # 29 bits to spare
    np.testing.assert_allclose(total.total / UNITS, exact, rtol=0, atol=50 * 2.0**-45)


def test_the_most_sites_fit_and_one_more_is_refused():
    white = PartialSum.of(np.full((10, 10), 65535, np.uint16))
    most = PartialSum(white.total * MOST_SITES, MOST_SITES)
    assert (most.total // MOST_SITES == white.total).all()  # it did not overflow
    np.testing.assert_array_equal(finish(most, (10, 10)), 1)
    with pytest.raises(OverflowError, match="262,145 sites"):
        most + white


def test_sums_of_images_of_different_size_are_refused():
    with pytest.raises(ValueError, match="different size"):
        PartialSum.zero((100, 100)) + PartialSum.zero((100, 120))


def test_zero_changes_nothing():
    site = PartialSum.of(images(1, (33, 21))[0])
    total = PartialSum.zero((33, 21)) + site
    np.testing.assert_array_equal(total.total, site.total)
    assert total.count == 1


@pytest.mark.parametrize("shape", [(60, 110), (110, 60), (52, 73), (7, 200)])
def test_a_function_has_the_shape_of_its_images(shape):
    function = finish(PartialSum.of(images(1, shape)[0]), shape)
    assert function.shape == shape
    assert function.dtype == np.float32
    assert function.min() >= 1


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 24), width=st.integers(1, 24), seed=st.integers(0, 999), dark=st.booleans())
@example(height=20, width=20, seed=2, dark=False)  # 2 % of 400 is a whole number
def test_smoothing_is_median_then_robust_minimum_as_a_plain_loop_has_it(height, width, seed, dark):
    mean = np.random.default_rng(seed).integers(0, 9 if dark else 65536, (height, width)) / 65535
    total = np.rint(mean * UNITS).astype(np.int64) * 3
    np.testing.assert_array_equal(smooth(PartialSum(total, 3)), plain(total, 3))


def plain(total: np.ndarray, count: int) -> np.ndarray:
    steps = [[int(np.float32(value / UNITS / count) * np.float32(65535)) for value in row] for row in total.tolist()]
    height, width = total.shape
    median = np.zeros(total.shape, np.float32)
    for y in range(height):
        for x in range(width):
            window = sorted(
                steps[i][j]
                for i in range(max(0, y - 9), min(height, y + 10))
                for j in range(max(0, x - 9), min(width, x + 10))
                if (i - y) ** 2 + (j - x) ** 2 <= 81
            )
            median[y, x] = np.float32(window[len(window) // 2]) / np.float32(65535)
    lit = sorted(median[median > 0].tolist())
    if not lit:
        return np.ones_like(median)
    lowest = np.float32(lit[int(0.02 * len(lit))])
    return np.where(median < lowest, lowest, median) / lowest


def test_the_small_image_is_a_gaussian_blur_then_linear_sampling():
    image = images(1, (60, 90))[0]
    blurred = ndimage.gaussian_filter(image.astype(np.float32) / np.float32(65535), 2.0, mode="reflect", truncate=4)
    # Every output pixel lies at the middle of five input pixels, so sampling picks the third.
    np.testing.assert_allclose(reduce_image(image), blurred[2::5, 2::5], rtol=1e-6)


def test_a_channel_that_is_black_gets_a_function_that_changes_nothing():
    np.testing.assert_array_equal(finish(PartialSum.of(np.zeros((50, 40), np.uint16)), (50, 40)), 1)


def test_eight_bits_and_fractions_are_the_same_picture_as_sixteen_bits():
    eight = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    wide = reduce_image(eight.astype(np.uint16) * 257)
    np.testing.assert_allclose(reduce_image(eight), wide, rtol=1e-6)
    np.testing.assert_allclose(reduce_image(eight / 255), wide, rtol=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_fractions_beyond_0_to_1_are_refused(value):
    with pytest.raises(ImageError, match="0 to 1 can be averaged"):
        PartialSum.of(np.full((10, 10), value, np.float32))


def test_no_sites_have_no_function():
    with pytest.raises(ValueError, match="no sites"):
        finish(PartialSum.zero((10, 10)), (10, 10))
