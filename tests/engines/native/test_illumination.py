"""Illumination correction against plain loops, scikit-image, and the functions CellProfiler computed."""

from __future__ import annotations

import centrosome.smooth
import numpy as np
import pytest
import scipy.ndimage
import skimage.filters
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.engines.native.kernels import smoothing, surfaces
from pipeline.engines.native.modules.correct_illumination_apply import correct
from pipeline.engines.native.modules.correct_illumination_calculate import (
    block_minima,
    disk_median,
    rescaled,
    smooth_blocks,
)
from tests.engines.native.sites import images, shapes


@given(st.data(), st.integers(1, 9))
def test_a_block_holds_the_minimum_of_nearly_equal_shares_of_the_image(data, size):
    image = data.draw(images(data.draw(shapes(1, 30))))

    minima, rows, columns = block_minima(image, size)

    height, width = image.shape
    assert minima.shape == (max(height // size, 1), max(width // size, 1))
    assert rows.tolist() == [int(y * (minima.shape[0] / height)) for y in range(height)]
    for i in range(minima.shape[0]):
        for j in range(minima.shape[1]):
            assert minima[i, j] == image[np.ix_(rows == i, columns == j)].min()
    expanded = np.ascontiguousarray(minima[np.ix_(rows, columns)])
    np.testing.assert_array_equal(smooth_blocks(image, size, 3.0), smoothing.smooth(expanded, 3.0))


@given(st.data(), st.integers(1, 9))
def test_the_median_in_a_disk_is_scikit_images_rank_median(data, radius):
    shape = data.draw(shapes(1, 25))
    steps = (data.draw(images(shape)) * np.float32(65535)).astype(np.uint16)
    reach = np.arange(-radius, radius + 1)
    disk = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)

    # Values up to 16 bits make scikit-image warn that its histogram is slow.
    expected = skimage.filters.rank.median(steps, disk) if steps.max() < 4096 else plain_median(steps, disk)
    np.testing.assert_array_equal(disk_median(steps, radius), expected)


def plain_median(steps: np.ndarray, disk: np.ndarray) -> np.ndarray:
    """The upper of two middle values, among the pixels of the window that lie in the image."""
    radius = disk.shape[0] // 2
    offsets = np.argwhere(disk) - radius
    result = np.empty_like(steps)
    for (y, x), _ in np.ndenumerate(steps):
        inside = [
            steps[y + dy, x + dx] for dy, dx in offsets if 0 <= y + dy < steps.shape[0] and 0 <= x + dx < steps.shape[1]
        ]
        result[y, x] = sorted(inside)[len(inside) // 2]
    return result


def test_rescaling_divides_by_the_value_above_the_darkest_two_percent():
    function = np.arange(100, dtype=np.float32).reshape(10, 10)

    scaled = rescaled(function, "Yes")

    assert scaled.min() == 1  # 99 positive values; the second darkest, 2, is the robust minimum
    assert scaled[9, 9] == np.float32(99) / np.float32(2)
    assert rescaled(function, "No") is function
    assert rescaled(function, "Median")[0, 0] == 0


@pytest.mark.parametrize(("divide", "expected"), [(True, [[0.5, 1.0, np.inf]]), (False, [[0, 0.5, 0.75]])])
def test_dividing_and_subtracting_by_hand(divide, expected):
    image = np.array([[0.5, 1.0, 0.75]], np.float32)
    function = np.array([[1.0, 0.5, 0.0]], np.float32)

    assert correct(image, function, divide, True, True).tolist() == np.minimum(expected, 1).tolist()
    if divide:
        assert correct(image, function, divide, False, False).tolist() == [[0.5, 2.0, np.inf]]


@given(st.data())
def test_a_polynomial_is_the_one_that_lstsq_fits_to_the_pixels_above_zero(data):
    image = data.draw(images(data.draw(shapes(1, 25))))
    lit = image > 0
    y, x = np.nonzero(lit)
    columns = np.stack([y, x, y * y, x * x, y * x, np.ones_like(x)], axis=1) / 25.0
    singular = np.linalg.svd(columns, compute_uv=False) if y.size else np.zeros(1)
    has_one_answer = y.size >= 6 and singular[-1] > 1e-3 * singular[0]
    assume(has_one_answer or y.size in (0, image.size))

    found = surfaces.quadratic(image)

    expected = centrosome.smooth.fit_polynomial(image, np.ones_like(lit))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_pixels_that_leave_a_polynomial_open_are_an_error():
    image = np.zeros((30, 30), np.float32)
    image[10:12, 10:12] = 0.5

    with pytest.raises(ValueError, match="many polynomials fit the 4 pixels above zero"):
        surfaces.quadratic(image)


@given(st.data(), st.integers(1, 3))
def test_a_dilated_image_is_centrosomes(data, radius):
    image = data.draw(images(data.draw(shapes(2, 20))))
    weights = centrosome.smooth.circular_gaussian_kernel(radius, radius * 3)

    expected = centrosome.smooth.smooth_with_function_and_mask(
        image, lambda pixels: scipy.ndimage.convolve(pixels, weights, mode="constant"), np.ones(image.shape, bool)
    )
    np.testing.assert_allclose(surfaces.dilated(image, radius), expected, rtol=1e-6, atol=1e-9)
