"""Kernels of MeasureImageQuality against plain ones, and against centrosome where that is what CellProfiler asks."""

from __future__ import annotations

import centrosome.otsu
import numpy as np
from centrosome.haralick import Haralick
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.engines.native import brightness
from pipeline.engines.native.modules.measure_image_quality import (
    correlation,
    otsu,
    otsu3,
    radial_sums,
    slope,
    tile_of,
    tile_statistics,
)
from tests.engines.native.sites import images, shapes


def a_mask(data: st.DataObject, shape: tuple[int, int]) -> np.ndarray:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    return random.random(shape) < data.draw(st.sampled_from((0.0, 0.3, 0.9, 1.0)))


@given(st.data(), st.integers(1, 20))
def test_tiles_have_the_statistics_of_their_pixels(data, scale):
    shape = data.draw(shapes())
    image, mask = data.draw(images(shape)), a_mask(data, shape)
    rows, columns = (tile_of(length, scale) for length in shape)
    tiles = rows[:, None] * (columns[-1] + 1) + columns

    counts, means, squares = tile_statistics(image, mask, rows, columns)

    assert counts.size == -(-shape[0] // scale) * -(-shape[1] // scale)
    for tile in range(counts.size):
        pixels = image[mask & (tiles == tile)].astype(np.float64)
        assert counts[tile] == pixels.size
        if pixels.size:
            np.testing.assert_allclose(means[tile], pixels.mean(), rtol=1e-12)
            np.testing.assert_allclose(squares[tile], pixels.size * pixels.var(), rtol=1e-6, atol=1e-12)


@given(st.data(), st.integers(1, 20))
def test_correlation_is_that_of_centrosome(data, scale):
    shape = data.draw(shapes())
    image, mask = data.draw(images(shape)), a_mask(data, shape)
    with np.errstate(all="ignore"):
        found = correlation(image, mask, scale)
        expected = 0.0
        if mask.any() and scale < shape[1]:
            [expected] = Haralick(image, mask.astype(int), 0, scale).H3()

    np.testing.assert_allclose(found, expected if np.isfinite(expected) else 0.0, rtol=1e-9, atol=1e-12)


@given(shapes(largest=40), st.integers(0, 2**32 - 1))
def test_rings_of_a_spectrum_are_summed(shape, seed):
    random = np.random.default_rng(seed)
    spectrum = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
    down, right = (np.minimum(np.arange(length), np.arange(length)[::-1]) for length in shape)
    frequency = np.floor(np.sqrt(down[:, None] ** 2 + right**2))
    rings = np.arange(1, 6)

    magnitudes, powers = radial_sums(spectrum, rings.size)

    np.testing.assert_allclose(magnitudes, ndimage.sum(np.abs(spectrum), frequency, rings), rtol=1e-6)
    np.testing.assert_allclose(powers, ndimage.sum(np.abs(spectrum) ** 2, frequency, rings), rtol=1e-6)


@given(st.lists(st.tuples(st.integers(2, 60), st.floats(-9, 9)), min_size=1, max_size=20, unique_by=lambda xy: xy[0]))
def test_a_slope_is_that_of_least_squares(points):
    x, y = np.log([x for x, _ in points]), np.array([y for _, y in points])
    [expected, _], *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y)

    np.testing.assert_allclose(slope(x, y), expected, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from((2, 3, 127, 128, 129, 255, 256, 257, 513, 3000)), st.integers(0, 3))
def test_thresholds_of_two_and_three_classes_are_those_of_centrosome(seed, n, kind):
    random = np.random.default_rng(seed)
    peaks = np.concatenate([random.normal(0.2, 0.05, n // 2), random.normal(0.7, 0.05, n - n // 2)])
    values = np.sort((random.random(n), np.round(random.random(n) * 5) / 8, random.random(n) ** 4, peaks)[kind])
    if values[0] == values[-1]:
        values[-1] += 1
    with np.errstate(all="ignore"):
        assert otsu(values) == centrosome.otsu.otsu(values.copy())
        assert otsu3(values) == centrosome.otsu.otsu3(values.copy())


@given(st.data())
def test_percentiles_and_medians_are_numpys(data):
    pixels = data.draw(images(data.draw(shapes()))).ravel()
    wanted = data.draw(st.lists(st.integers(0, 100), max_size=4))
    in_order = brightness.ordered(pixels)

    np.testing.assert_array_equal(in_order, np.sort(pixels))
    np.testing.assert_allclose(brightness.percentiles(in_order, wanted), np.percentile(pixels, wanted), rtol=2e-7)
    summary = dict(zip(brightness.SUMMARY, brightness.summary(pixels, in_order), strict=True))
    assert summary["MedianIntensity"] == np.median(pixels)
    assert summary["MADIntensity"] == np.median(np.abs(pixels - np.median(pixels)))
    centre = np.float32(data.draw(st.floats(-1, 2, width=32)))
    assert brightness.median_deviation(in_order, centre) == np.median(np.abs(pixels - centre))
    np.testing.assert_allclose(summary["StdIntensity"], pixels.astype(np.float64).std(), rtol=1e-4, atol=1e-6)
