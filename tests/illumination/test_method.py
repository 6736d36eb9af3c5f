"""The method, against CellProfiler's own results and against a plain twin."""

from __future__ import annotations

from functools import reduce
from operator import add

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.errors import CppipeError, ImageError
from pipeline.illumination import PartialSum, methods, notes
from pipeline.illumination.method import SHIPPED, Method
from pipeline.illumination.sum import MOST_SITES, UNITS
from tests.engines.cppipes import write
from tests.engines.native.sites import _reference_images

CPJUMP1 = {"Mito": 1, "AGP": 2, "RNA": 3, "ER": 4, "DNA": 5, "HighZBF": 6, "LowZBF": 7, "Brightfield": 8}
PEDIATRIC = {"Brightfield": 1, "HighZBF": 1, "LowZBF": 1, "ER": 2, "AGP": 3, "Mito": 4, "DNA": 5, "RNA": 6}
#: pixels of 46,656 that are one 16-bit step from CellProfiler's, whose float32 sum rounds
STEPS_APART = {"DNA": 0, "ER": 0, "RNA": 0, "Mito": 0, "AGP": 6, "LowZBF": 10, "Brightfield": 27, "HighZBF": 36}

#: CPJUMP1's steps, which a channel gets without an illumination pipeline
USUAL = methods(None, (("Illum", "Orig"),))["Illum"]


def of_site(image: np.ndarray) -> PartialSum:
    return USUAL.of_site({"Orig": image})


def small(image: np.ndarray) -> np.ndarray:
    return of_site(image).mean()


def of_small(partial: PartialSum) -> np.ndarray:
    return USUAL.mean.finish(partial.mean())[USUAL.mean.function]


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
        return reduce(add, [of_site(image) for image in (one, one[:, ::-1], two, two[:, ::-1])])

    return total


@pytest.mark.real_data
@pytest.mark.parametrize("channel", STEPS_APART)
def test_the_small_function_is_cellprofilers_but_for_single_16_bit_steps(shared_data, reference_sum, channel):
    theirs = np.load(shared_data / "reference" / "illumination_small.npz")[f"small_Illum{channel}"]
    partial = reference_sum(channel)
    ours = of_small(partial)
    assert ours.dtype == np.float32
    assert np.count_nonzero(ours != theirs) == STEPS_APART[channel]
    # One step of the 16-bit median, in units of the function: its minimum, 1, stands for `lowest` steps.
    lowest = 65535 * partial.total.min() / UNITS / partial.count
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1.01 / lowest)


@pytest.mark.real_data
def test_the_full_size_function_is_cellprofilers_bit_for_bit(shared_data, reference_sum):
    theirs = np.load(shared_data / "reference" / "illumination_full.npz")["IllumDNA"]
    ours = USUAL.finish(reference_sum("DNA"), (1080, 1080))
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


def images(count: int, shape: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 65536, shape, np.uint16) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), height=st.integers(5, 60), width=st.integers(5, 60), count=st.integers(1, 7))
def test_sums_are_the_same_whatever_the_order_and_grouping(data, height, width, count):
    sites = [of_site(image) for image in images(count, (height, width), seed=data.draw(st.integers(0, 99)))]
    straight = reduce(add, sites)
    pile = data.draw(st.permutations(sites))
    while len(pile) > 1:  # merge any two, again and again
        first = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        second = pile.pop(data.draw(st.integers(0, len(pile) - 1)))
        pile.append(first + second)
    assert pile[0].count == straight.count == count
    assert pile[0].total.tobytes() == straight.total.tobytes()
    shape = (height, width)
    assert USUAL.finish(pile[0], shape).tobytes() == USUAL.finish(straight, shape).tobytes()


def test_the_mean_is_within_its_stated_bound():
    sites = images(50, (40, 70))
    fractions = [(site / 65535).astype(np.float32) for site in sites]
    total = reduce(add, [PartialSum.of(site) for site in fractions])
    exact = np.sum([site.astype(np.float64) for site in fractions], axis=0)  # 29 bits to spare
    np.testing.assert_allclose(total.total / UNITS, exact, rtol=0, atol=50 * 2.0**-45)


def test_the_most_sites_fit_and_one_more_is_refused():
    white = PartialSum.of(np.ones((10, 10), np.float32))
    most = PartialSum(white.total * MOST_SITES, MOST_SITES)
    assert (most.total // MOST_SITES == white.total).all()  # it did not overflow
    np.testing.assert_array_equal(most.mean(), 1)
    with pytest.raises(OverflowError, match="262,145 sites"):
        most + white


def test_sums_of_images_of_different_size_are_refused():
    with pytest.raises(ValueError, match="different size"):
        PartialSum.of(np.zeros((100, 100))) + PartialSum.of(np.zeros((100, 120)))


@pytest.mark.parametrize("shape", [(60, 110), (110, 60), (52, 73), (7, 200)])
def test_a_function_has_the_shape_of_its_images(shape):
    function = USUAL.finish(of_site(images(1, shape)[0]), shape)
    assert function.shape == shape
    assert function.dtype == np.float32
    assert function.min() >= 1


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 24), width=st.integers(1, 24), seed=st.integers(0, 999), dark=st.booleans())
@example(height=20, width=20, seed=2, dark=False)  # 2 % of 400 is a whole number
def test_smoothing_is_median_then_robust_minimum_as_a_plain_loop_has_it(height, width, seed, dark):
    mean = np.random.default_rng(seed).integers(0, 9 if dark else 65536, (height, width)) / 65535
    total = np.rint(mean * UNITS).astype(np.int64) * 3
    np.testing.assert_array_equal(of_small(PartialSum(total, 3)), plain(total, 3))


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
        return median
    lowest = np.float32(lit[int(0.02 * len(lit))])
    return np.where(median < lowest, lowest, median) / lowest


def test_the_small_image_is_a_gaussian_blur_then_linear_sampling():
    image = images(1, (60, 90))[0]
    blurred = ndimage.gaussian_filter(image.astype(np.float32) / np.float32(65535), 2.0, mode="reflect", truncate=4)
    # Every output pixel lies at the middle of five input pixels, so sampling picks the third.
    np.testing.assert_allclose(small(image), blurred[2::5, 2::5], rtol=1e-6)


def test_a_channel_that_is_black_gets_a_function_that_changes_nothing():
    np.testing.assert_array_equal(USUAL.finish(of_site(np.zeros((50, 40), np.uint16)), (50, 40)), 1)


def test_eight_bits_and_fractions_are_the_same_picture_as_sixteen_bits():
    eight = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
    wide = small(eight.astype(np.uint16) * 257)
    np.testing.assert_allclose(small(eight), wide, rtol=1e-6)
    np.testing.assert_allclose(small(eight / 255), wide, rtol=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan])
def test_fractions_beyond_0_to_1_are_refused(value):
    with pytest.raises(ImageError, match="0 to 1 can be averaged"):
        of_site(np.full((10, 10), value, np.float32))
    with pytest.raises(ImageError, match="0 to 1 can be averaged"):
        PartialSum.of(np.full((10, 10), value, np.float32))


def read(functions: dict[str, str], text: str | None = None) -> dict[str, Method]:
    return methods(text or SHIPPED.read_text(), tuple(functions.items()))


def test_a_function_is_what_the_illumination_pipeline_saves_under_its_name():
    made = read({"IllumDNA": "OrigDNA", "IllumHighZBF": "OrigHighZBF"})
    assert (made["IllumDNA"].made, made["IllumDNA"].images) == ("UpsampledIllumDNA", ("OrigDNA",))
    assert (made["IllumHighZBF"].made, made["IllumHighZBF"].images) == ("UpsampledIllumHzBF", ("OrigHighZBF",))


def test_the_shipped_pipeline_by_name_gives_what_is_given_without_one():
    image = images(1, (60, 85))[0]
    named = read({"IllumER": "OrigER"})["IllumER"]
    by_name = named.finish(named.of_site({"OrigER": image}), image.shape)
    assert by_name.tobytes() == USUAL.finish(of_site(image), image.shape).tobytes()


def test_the_settings_of_the_illumination_pipeline_count():
    image = images(1, (40, 50))[0]
    text = SHIPPED.read_text()
    for old, new in (
        ("Resizing factor:0.2", "Resizing factor:1"),
        ("Resizing factor:5", "Resizing factor:1"),
        ("Smoothing method:Median Filter", "Smoothing method:No smoothing"),
    ):
        assert old in text
        text = text.replace(old, new)
    method = read({"IllumDNA": "OrigDNA"}, text)["IllumDNA"]
    mean = (image / np.float32(65535)).astype(np.float32)
    lowest = np.sort(mean, axis=None)[int(0.02 * np.count_nonzero(mean))]
    ours = method.finish(method.of_site({"OrigDNA": image}), image.shape)
    np.testing.assert_allclose(ours, np.maximum(mean, lowest) / lowest, rtol=1e-6)


def test_a_function_that_is_not_made_is_refused_with_what_is():
    with pytest.raises(CppipeError, match=r"makes no IllumRed, which the analysis .* saves .*_IllumAGP"):
        read({"IllumRed": "OrigRed"})


def test_a_function_of_an_image_that_the_analysis_has_not_is_refused():
    with pytest.raises(CppipeError, match="makes IllumDNA from OrigDNA, which is no image that has"):
        read({"IllumDNA": "Orig_DNA"})


def test_a_function_of_single_sites_is_refused():
    text = SHIPPED.read_text().replace("based on all images?:All: Across cycles", "based on all images?:Each")
    with pytest.raises(CppipeError, match="UpsampledIllumDNA is not made from one mean over all sites: 0 "):
        read({"IllumDNA": "OrigDNA"}, text)


def test_an_unsupported_module_is_refused_only_where_a_function_needs_it():
    text = SHIPPED.read_text()
    text = text.replace("Interpolation method:Bilinear", "Interpolation method:Psychic", 1)  # that of DNA
    read({"IllumER": "OrigER"}, text)
    with pytest.raises(CppipeError, match=r"Module 2 Resize: .*Psychic"):
        read({"IllumDNA": "OrigDNA"}, text)


def test_a_number_beyond_the_limits_in_an_illumination_pipeline_is_noted():
    text = SHIPPED.read_text().replace("    Resizing factor:0.2", "    Resizing factor:-1", 1)
    (said,) = notes(text)
    assert '"Resizing factor: -1" lies below CellProfiler\'s minimum of 0; CellProfiler takes its default, 0.25' in said


@pytest.mark.real_data
@pytest.mark.slow
def test_the_illumination_pipeline_gives_cellprofilers_functions(shared_data):
    """All eight channels, of two real sites and their mirror images; sums in CellProfiler's float32 round otherwise."""
    sites = [
        {f"Orig{channel}": image[:, ::step] for channel, image in _reference_images(shared_data, run).items()}
        for run in ("BR00117035_A01_s1", "BR00143976_C03_s3")
        for step in (1, -1)
    ]
    made = read({f"Illum{channel}": f"Orig{channel}" for channel in STEPS_APART})
    with np.load(shared_data / "reference" / "illumination_small.npz") as theirs:
        for channel, apart in STEPS_APART.items():
            method = made[f"Illum{channel}"]
            partial = reduce(add, [method.of_site(site) for site in sites])
            ours = method.mean.finish(partial.mean())[method.mean.function]
            assert np.count_nonzero(ours != theirs[f"small_Illum{channel}"]) == apart


SKIPPING = (
    ("MeasureImageIntensity", {"Select images to measure": "Orig"}),
    (
        "FlagImage",
        {
            "Which measurement?": "Intensity_MeanIntensity_Orig",
            "Flag images based on high values?": "Yes",
            "Maximum value": "0.6",
            "Skip image set if flagged?": "Yes",
        },
    ),
)
MEAN = (
    "CorrectIlluminationCalculate",
    {
        "Select the input image": "Orig",
        "Name the output image": "Illum",
        "Calculate function for each image individually, or based on all images?": "All: Across cycles",
    },
)


def test_a_site_that_the_illumination_pipeline_skips_does_not_count():
    dim, bright = np.full((20, 30), 20_000, np.uint16), np.full((20, 30), 50_000, np.uint16)
    method = read({"Illum": "Orig"}, write(*SKIPPING, MEAN))["Illum"]
    assert method.of_site({"Orig": dim}).count == 1
    with pytest.raises(ImageError, match="of a site that the illumination pipeline skips"):
        method.of_site({"Orig": bright})
    without = read({"Illum": "Orig"}, write(MEAN))["Illum"]
    assert without.of_site({"Orig": bright}).count == 1


def test_sites_that_are_skipped_after_their_mean_are_refused():
    with pytest.raises(CppipeError, match=r"skips sites .*comes after the mean"):
        read({"Illum": "Orig"}, write(MEAN, *SKIPPING))
