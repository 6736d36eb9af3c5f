"""Colocalization against its definition in numpy, and against CellProfiler's own results."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, rankdata

from pipeline.engines.native.kernels import costes
from pipeline.engines.native.kernels.sorting import dense_ranks, mark_ranks, rank_among, rising_order, scratch
from pipeline.engines.native.modules.measure_colocalization import in_image, in_objects
from pipeline.engines.native.numpy1.line_fit import slope
from pipeline.engines.native.workspace import Objects, Workspace
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
Set threshold as percentage of maximum intensity for the images:15.0
Select where to measure correlation:Within objects
Select objects to measure:Nuclei, Cytoplasm, Cells
Run all metrics?:No
Calculate correlation and slope metrics?:Yes
Calculate the Manders coefficients?:Yes
Calculate the Rank Weighted Colocalization coefficients?:Yes
Calculate the Overlap coefficients?:Yes
Calculate the Manders coefficients using Costes auto threshold?:No
Method for Costes thresholding:Fast
"""
values = st.floats(-2, 2, width=32) | st.sampled_from([0.0, -0.0, 0.5])


def plain_colocalization(first, second, labels, threshold):
    """One object after another, from the formulas in the module's documentation."""
    inside = labels > 0
    rank_f, rank_s = (rankdata(image[inside], "dense") - 1 for image in (first, second))
    highest = max(rank_f.max(), rank_s.max()) + 1
    weights = np.zeros(labels.shape)
    weights[inside] = (highest - np.abs(rank_f - rank_s)) / highest
    rows, any_passes = [], False
    for label in range(1, labels.max() + 1):
        f, s, weight = first[labels == label], second[labels == label], weights[labels == label]
        fraction = np.float32(threshold / 100)
        in_f, in_s = (image >= fraction * image.max(initial=-np.inf) for image in (f, s))
        both = in_f & in_s
        any_passes |= both.any()
        f, s, weight = f.astype(float), s.astype(float), weight[both]
        x, y = f - f.mean(), s - s.mean()
        fs, ff, ss = (f[both] * s[both]).sum(), (f[both] ** 2).sum(), (s[both] ** 2).sum()
        rows.append(
            {
                "Correlation": (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()),
                "Overlap": fs / np.sqrt(ff * ss),
                "K": fs / ff,
                "K back": fs / ss,
                "Manders": f[both].sum() / f[in_f].sum(),
                "Manders back": s[both].sum() / s[in_s].sum(),
                "RWC": (f[both] * weight).sum() / f[in_f].sum(),
                "RWC back": (s[both] * weight).sum() / s[in_s].sum(),
            }
        )
    if not any_passes:
        rows = [{kind: value if kind == "Correlation" else 0.0 for kind, value in row.items()} for row in rows]
    return {kind: np.array([row[kind] for row in rows]) for kind in rows[0]}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # empty objects, and zero by zero
@given(data=st.data())
def test_each_pair_in_each_object_has_the_coefficients_of_the_definition(data):
    shape = data.draw(shapes())
    channels = [data.draw(images(shape)) for _ in range(3)]
    sets = [data.draw(label_images(shape)) for _ in range(2)]
    threshold = data.draw(st.sampled_from((0.0, 15.0, 60.0, 99.0)))

    found = in_objects(channels, [Objects.of(labels) for labels in sets], threshold)

    for labels, of_set in zip(sets, found, strict=True):
        for (first, second), coefficients in zip(combinations(channels, 2), of_set, strict=True):
            if not labels.any():
                assert all(value.shape == (0,) for value in coefficients.values())
                continue
            expected = plain_colocalization(first, second, labels, threshold)
            assert coefficients.keys() == expected.keys()
            for kind, value in coefficients.items():
                # Correlation divides by deviations that may be rounding alone; products of pixels are float32.
                np.testing.assert_allclose(value, expected[kind], rtol=3e-7, atol=1e-9, err_msg=kind)


@given(arrays(np.float32, st.integers(0, 60), elements=values))
def test_pixels_are_sorted_by_value_and_ties_by_place(pixels):
    np.testing.assert_array_equal(rising_order(pixels, scratch(pixels.size)), np.argsort(pixels, kind="stable"))


@given(arrays(np.float32, st.integers(1, 150), elements=values), st.data())
def test_ranks_are_dense_among_all_pixels_and_among_some(pixels, data):
    ranks, room = np.empty(pixels.size, np.int32), scratch(pixels.size)
    n_ranks = dense_ranks(pixels, room, ranks)
    assert n_ranks == np.unique(pixels).size
    np.testing.assert_array_equal(ranks, rankdata(pixels, "dense") - 1)
    some = np.array(data.draw(st.lists(st.integers(0, pixels.size - 1), min_size=1, unique=True)))
    table = np.empty(pixels.size // 32 + 1, np.uint64)
    assert mark_ranks(ranks, some, table) == np.unique(pixels[some]).size
    among = [rank_among(table, rank) for rank in ranks[some]]
    np.testing.assert_array_equal(among, rankdata(pixels[some], "dense") - 1)


def test_ranks_follow_numpys_order_of_what_is_no_number():
    bits = np.array([0x7FC00000, 0xFFC00000, 0x7F800000, 0xFF800000, 0, 0x80000000, 0x3F800000], np.uint32)
    ranks = np.empty(bits.size, np.int32)
    # NaN of either sign above infinity, both zeros alike.
    assert dense_ranks(bits.view(np.float32), scratch(bits.size), ranks) == 5
    assert ranks.tolist() == [4, 4, 3, 0, 1, 1, 2]


def test_objects_larger_than_a_block_are_summed_whole():
    random = np.random.default_rng(0)
    cells = np.repeat(np.int32([[1, 2]]), 60, axis=1).repeat(40, axis=0)  # 2,400 pixels each
    nuclei = np.where(random.random(cells.shape) < 0.5, cells, 0)
    first, second = random.random((2, *cells.shape), np.float32)
    for labels, [found] in zip(
        (cells, nuclei), in_objects([first, second], [Objects.of(cells), Objects.of(nuclei)], 15), strict=True
    ):
        for kind, expected in plain_colocalization(first, second, labels, 15).items():
            np.testing.assert_allclose(found[kind], expected, rtol=3e-7, atol=1e-9, err_msg=kind)


def test_two_pixels_give_the_coefficients_worked_by_hand():
    first, second = np.float32([[0.5, 1.0]]), np.float32([[1.0, 0.25]])
    [[found]] = in_objects([first, second], [Objects.of(np.int32([[1, 1]]))], 30)
    # Both pixels of the first pass 0.3, only the left one of the second passes: the left one counts.
    assert {kind: value.item() for kind, value in found.items()} == pytest.approx(
        {
            "Correlation": -1,
            "Overlap": 1,
            "K": 0.5 / 0.25,
            "K back": 0.5,
            "Manders": 0.5 / 1.5,
            "Manders back": 1,
            "RWC": 0.5 * (1 / 2) / 1.5,  # two ranks, one apart: weight 1/2
            "RWC back": 1 / 2,
        }
    )


def test_a_channel_that_is_constant_in_an_object_has_no_correlation_there():
    flat, other = np.full((3, 3), 0.1, np.float32), np.arange(9, dtype=np.float32).reshape(3, 3) / 9
    with np.errstate(invalid="ignore"):
        [[found]] = in_objects([flat, other], [Objects.of(np.ones((3, 3), np.int32))], 15)
    assert np.isnan(found["Correlation"]).all()
    assert np.isfinite(found["Overlap"]).all()


@given(data=st.data())
def test_a_whole_image_has_the_coefficients_of_the_definition_with_strict_thresholds(data):
    shape = data.draw(shapes(smallest=2))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first, second = (random.integers(1, 65536, shape).astype(np.float32) / np.float32(65535) for _ in range(2))

    found = in_image(first, second, 15.0)

    f, s = first.ravel().astype(float), second.ravel().astype(float)
    in_f, in_s = f > 0.15 * f.max(), s > 0.15 * s.max()
    both = in_f & in_s
    ranks = [rankdata(image, "dense") for image in (f, s)]
    weight = 1 - np.abs(ranks[0] - ranks[1]) / max(map(np.max, ranks))
    expected = {
        "Correlation": np.corrcoef(f, s)[0, 1],
        "Slope": np.polyfit(f, s, 1)[0],
        "Overlap": (f * s)[both].sum() / np.sqrt((f * f)[both].sum() * (s * s)[both].sum()),
        "K": (f * s)[both].sum() / (f * f)[both].sum(),
        "K back": (f * s)[both].sum() / (s * s)[both].sum(),
        "Manders": f[both].sum() / f[in_f].sum(),
        "Manders back": s[both].sum() / s[in_s].sum(),
        "RWC": (f * weight)[both].sum() / f[in_f].sum(),
        "RWC back": (s * weight)[both].sum() / s[in_s].sum(),
    }
    for kind, value in expected.items():
        np.testing.assert_allclose(found[kind], value, rtol=1e-5, atol=1e-5 if kind == "Slope" else 1e-9, err_msg=kind)


def test_the_slope_is_that_of_cellprofilers_interpreter_to_the_last_bit():
    random = np.random.default_rng(0)
    cases = []
    for size in [*range(2, 40), 4096, 4097, 4101, 8192, 30003, 171 * 144]:
        first = random.random(size, np.float32) * np.float32(10.0 ** random.integers(-3, 3))
        second = (first * random.normal() + random.random(size)).astype(np.float32)
        cases += [(first, second), (second, first)]
        cases.append((np.where(np.arange(size) < size // 2, first, 0).astype(np.float32), second))  # black at the end
        cases.append((np.float32(0.3) + first * np.float32(1e-6), second))  # all but constant
    cases += [(np.full(50, level, np.float32), random.random(50, np.float32)) for level in (0, 0.1, 1)]
    cases += [(random.random(50, np.float32), np.full(50, level, np.float32)) for level in (0, 0.1, 1)]

    theirs = ask("slope", [{"first": first, "second": second} for first, second in cases])

    for (first, second), answer in zip(cases, theirs, strict=True):
        assert slope(first, second) == answer["slope"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_line_fits_pixels_that_are_no_numbers(value):
    with pytest.raises(ValueError, match="no line fits"):
        slope(np.float32([0.1, value, 0.3]), np.float32([0.1, 0.2, 0.3]))


def test_features_are_declared_in_cellprofilers_order():
    features = step("MeasureColocalization", 5, SETTINGS.replace("Within objects", "Both")).features()
    assert features["Nuclei"][:9] == [
        "Correlation_Correlation_AGP_Brightfield",
        "Correlation_Overlap_AGP_Brightfield",
        "Correlation_K_AGP_Brightfield",
        "Correlation_K_Brightfield_AGP",
        "Correlation_Manders_AGP_Brightfield",
        "Correlation_Manders_Brightfield_AGP",
        "Correlation_RWC_AGP_Brightfield",
        "Correlation_RWC_Brightfield_AGP",
        "Correlation_Correlation_AGP_DNA",
    ]
    assert len(features["Cells"]) == 28 * 8
    assert features["Image"][:2] == ["Correlation_Correlation_AGP_Brightfield", "Correlation_Slope_AGP_Brightfield"]
    assert len(features["Image"]) == 28 * 9


def test_only_what_is_switched_on_is_measured():
    settings = """
    Select images to measure:DNA, RNA
    Set threshold as percentage of maximum intensity for the images:15.0
    Select where to measure correlation:Both
    Select objects to measure:Cells
    Run all metrics?:No
    Calculate correlation and slope metrics?:No
    Calculate the Manders coefficients?:Yes
    Calculate the Rank Weighted Colocalization coefficients?:No
    Calculate the Overlap coefficients?:No
    Calculate the Manders coefficients using Costes auto threshold?:No
    """
    image = np.float32([[0.2, 0.4], [0.6, 0.8]])
    site = Workspace({"DNA": image, "RNA": image}, {"Cells": Objects.of(np.ones((2, 2), np.int32))})
    step("MeasureColocalization", 5, settings).run(site)
    expected = dict.fromkeys(["Correlation_Manders_DNA_RNA", "Correlation_Manders_RNA_DNA"], 1)
    assert site.measurements["Cells"] == site.image_measurements == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA", "AGP"), "fewer than two images"),
        (("Within objects", "Nowhere"), "Nowhere"),
    ],
)
def test_settings_that_are_not_supported_are_refused_with_the_way_out(change, reason):
    with pytest.raises(CppipeError, match=f"MeasureColocalization: .*{reason}.*engine: {{kind: cellprofiler}}"):
        step("MeasureColocalization", 5, SETTINGS.replace(*change))


@pytest.mark.filterwarnings("ignore:invalid value")  # zero by zero, which the engine lets pass
@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_colocalization(shared_data, run):
    reference = reference_site(shared_data, run)
    site = reference.workspace()
    step("MeasureColocalization", 5, SETTINGS).run(site)
    assert_same_as_cellprofiler(site, reference.measured, "Correlation_")


def plain_threshold(first: np.ndarray, second: np.ndarray, scale: int, method: str) -> tuple[float, float]:
    """As CellProfiler 4.2.8 seeks it: r anew for each threshold."""
    line = costes.Line.through(first, second)

    def rest(at: float) -> np.ndarray:
        return (first < np.float32(at)) | (second < np.float32(line.slope * at + line.offset))

    def r_of(which: np.ndarray) -> float:
        x, y = first[which].astype(float), second[which].astype(float)
        return pearsonr(x, y)[0]

    if method == "Faster":
        left, right, before, valid = 1, scale, 0, 1
        middle = (right - left) // (6 / 5) + left
        while before != middle:
            below = rest(middle / scale)
            r = r_of(below) if below.sum() > 2 else -1
            if r < 0:
                left = middle - 1
            elif r >= 0:
                right, valid = middle + 1, middle
            before = middle
            middle = (right - left) // (6 / 5 if right - left > 6 else 2) + left
        return line.thresholds((valid - 1) / scale)
    step, counted, r = 1 / scale, None, np.nan
    at = step * (float(max(first.max(), second.max())) // step + 1)
    found = at
    # as numbers of NumPy 1, which compares in double precision
    while at > float(first.max()) and line.slope * at + line.offset > float(second.max()):
        at -= step
    while at > step:
        found, below = at, rest(at)
        if below.sum() != counted:
            if below.sum() < 2:
                break
            r, counted = r_of(below), below.sum()
        if r <= 0:
            break
        strides = 10 if r > 0.45 else 5 if r > 0.35 else 2 if r > 0.25 else 1
        at -= step * (strides if method == "Fast" and at >= step * 10 else 1)
    return line.thresholds(found)


@st.composite
def two_channels(draw):
    """Pixels of two images that go together more or less, in whole steps of a scale or in between."""
    random, scale = np.random.default_rng(draw(st.integers(0, 9999))), draw(st.sampled_from([1, 40, 255]))
    n, shared = draw(st.integers(3, 300)), draw(st.floats(-1, 1))
    common = random.gamma(1, 0.1, n)
    first, second = (common + random.gamma(1, 0.05, n) for _ in range(2))
    second = second * abs(shared) + (0.6 - common if shared < 0 else common * 0) * (1 - abs(shared))
    if draw(st.booleans()):
        first, second = np.round(first * scale) / scale, np.round(second * scale) / scale
    return first.clip(0, 1).astype(np.float32), second.clip(0, 1).astype(np.float32), scale


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["Accurate", "Fast", "Faster"])
@given(case=two_channels())
def test_costes_threshold_is_that_of_the_plain_search(method, case):
    expected = plain_threshold(*case, method)

    assert costes.thresholds(*case, method) == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(-2, 2, width=32)), st.floats(-3, 3, width=32))
def test_places_in_rising_and_falling_vectors_are_found_wherever_the_estimate_points(values, value):
    rising = np.sort(values)
    above = int(np.count_nonzero(rising <= np.float32(value)))

    for density in (0.0, 3.0, 1e30):
        assert costes.first_above(rising, np.float32(value), density) == above
    assert costes.last_above(rising[::-1].copy(), np.float32(value)) == values.size - above - 1


def test_images_in_which_costes_finds_no_line_have_thresholds_all_the_same():
    flat = np.full(9, 0.5, np.float32)

    for method in ("Accurate", "Fast", "Faster"):
        with np.errstate(all="ignore"):
            assert np.isnan(costes.thresholds(flat, flat, 255, method)[1])
    with pytest.raises(ValueError, match="two pixels"):
        costes.thresholds(flat[:1], flat[:1], 255, "Fast")
