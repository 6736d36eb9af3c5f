"""Products of matrices whose bits hang on no order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline import matrices


def standardised(seed: int, wells: int, features: int) -> np.ndarray:
    """Columns of mean 0 and variance 1, of numbers of very different size."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(wells, features)) * 10.0 ** random.integers(-9, 2, (wells, features))
    values -= values.mean(axis=0)
    return values / values.std(axis=0)


@pytest.mark.parametrize(("wells", "features"), [(1, 3), (7, 5), (384, 60), (9000, 20)])
def test_the_order_of_what_is_added_up_moves_no_bit(wells, features):
    values = standardised(0, wells, features) if wells > 1 else np.ones((1, 3))
    mixed = np.random.default_rng(1).permutation(wells)

    products = [matrices.product(some.T, some, wells) for some in (values, values[::-1], values[mixed])]

    assert products[0].tobytes() == products[1].tobytes() == products[2].tobytes()
    if wells <= matrices.BLOCK:  # beyond, rows are added up block by block
        grams = [matrices.gram(some, wells) for some in (values, values[::-1], values[mixed])]
        assert grams[0].tobytes() == grams[1].tobytes() == grams[2].tobytes()


@pytest.mark.parametrize(("wells", "features"), [(384, 12), (9000, 6)])
def test_products_are_those_of_exact_sums(wells, features):
    values = standardised(2, wells, features)
    exact = [[math.fsum(one * other) for other in values.T] for one in values.T]

    np.testing.assert_allclose(matrices.gram(values, wells), exact, rtol=0, atol=1e-13 * wells)
    np.testing.assert_allclose(matrices.product(values.T, values, wells), exact, rtol=0, atol=1e-13 * wells)


@pytest.mark.parametrize("extreme", [np.ones((4000, 2)), np.eye(4000, 2) * math.sqrt(4000)])
def test_sums_at_their_limit_are_right(extreme):
    expected = extreme.T @ extreme  # of whole numbers, or of one product

    np.testing.assert_allclose(matrices.product(extreme.T, extreme, 4000), expected, rtol=0, atol=1e-13 * 4000)


def test_a_missing_number_makes_its_row_and_column_missing():
    rows = np.array([[0.6, 0.8], [np.nan, 1.0]])

    found = matrices.product(rows, rows.T, 1)

    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found).tolist() == [[False, True], [True, True]]


def test_rounded_numbers_add_up_to_the_same_in_any_order():
    values = matrices.rounded(standardised(3, 5000, 1)[:, 0], 5000)

    assert {np.random.default_rng(seed).permutation(values).cumsum()[-1] for seed in range(5)} == {math.fsum(values)}
