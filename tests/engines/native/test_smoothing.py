"""The Gaussian, bit for bit that of SciPy in CellProfiler's interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines.native.kernels import smoothing
from tests.engines.native.numpy1 import ask

SIGMAS = (3 / 0.6744 / 2, 50 / 2.35, 0.7)
SHAPES = ((1, 1), (1, 40), (37, 1), (20, 31), (200, 190))


def test_it_is_scipys_to_the_last_bit_also_at_the_borders():
    random = np.random.default_rng(0)
    cases = [
        {"image": (random.integers(0, 65536, shape) / 65535).astype(dtype), "sigma": np.array(sigma)}
        for shape in SHAPES
        for sigma in SIGMAS
        for dtype in (np.float32, np.float64)
    ]
    for case, answer in zip(cases, ask("gaussian", cases), strict=True):
        image, sigma = case["image"], float(case["sigma"])
        weights = smoothing.gaussian_weights(sigma, max(image.shape))
        filtered = smoothing.filter_rows(smoothing.filter_columns(image, weights), weights)
        assert filtered.dtype == image.dtype
        np.testing.assert_array_equal(filtered, answer["image"])
        rows, which = smoothing.coverage(image.shape, weights)
        np.testing.assert_array_equal(rows[which], answer["ones"])
        expected = answer["image"] / (answer["ones"] + np.finfo(float).eps)
        np.testing.assert_array_equal(smoothing.smooth(image, sigma), expected)


def test_a_flat_image_stays_flat_up_to_its_corners():
    image = np.full((30, 50), np.float32(0.25))

    assert smoothing.smooth(image, 4.0) == pytest.approx(0.25, rel=1e-6)
