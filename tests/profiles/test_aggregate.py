from __future__ import annotations

import numpy as np
import pandas as pd
import pycytominer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.profiles import aggregate

VALUES = st.one_of(st.floats(-1e6, 1e6, width=32), st.just(np.nan))


@settings(max_examples=150, deadline=None)
@given(cells=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=VALUES))
@pytest.mark.parametrize(("how", "plain"), [("median", np.nanmedian), ("mean", np.nanmean)])
@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty slice")
def test_a_profile_is_the_exact_median_or_mean_of_the_values_there_are(how, plain, cells):
    np.testing.assert_allclose(aggregate(cells, how), plain(cells.astype(float), axis=0), rtol=1e-14, atol=1e-9)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_a_profile_is_pycytominers(how):
    random = np.random.default_rng(0)
    cells = random.normal(size=(60, 5)).astype(np.float32)
    cells[random.random(cells.shape) < 0.1] = np.nan
    names = [f"Cells_{number}" for number in range(5)]
    table = pd.DataFrame(cells.astype(float), columns=names).assign(Metadata_Well="A01")
    theirs = pycytominer.aggregate(table, strata=["Metadata_Well"], features=names, operation=how)
    np.testing.assert_allclose(aggregate(cells, how), theirs[names].to_numpy()[0], rtol=1e-14)


def test_the_median_of_an_even_number_of_cells_is_not_rounded_to_float32():
    cells = np.array([[1], [np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    assert aggregate(cells)[0] == (float(cells[0, 0]) + float(cells[1, 0])) / 2


def test_infinite_cells_count_as_what_they_are():
    cells = np.array([[1, -np.inf], [2, np.inf], [np.inf, np.nan]], np.float32)
    median = aggregate(cells)
    assert median[0] == 2
    assert np.isnan(median[1])  # halfway between the two infinities


@pytest.mark.parametrize("how", ["median", "mean"])
def test_no_cells_and_no_values_are_missing(how):
    assert np.isnan(aggregate(np.empty((0, 3), np.float32), how)).tolist() == [True] * 3
    cells = np.array([[np.nan, 1], [np.nan, 3]], np.float32)
    np.testing.assert_array_equal(aggregate(cells, how), [np.nan, 2])


def test_any_other_way_is_refused():
    with pytest.raises(ValueError, match="median or mean"):
        aggregate(np.ones((2, 2), np.float32), "mode")
