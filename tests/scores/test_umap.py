from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.scores import run_task
from pipeline.scores.wells import feature_names
from tests.scores.small import screen


@pytest.fixture
def small() -> pd.DataFrame:
    return screen({f"c{i}": 2.0 for i in range(6)}, n_plates=3)


@pytest.mark.parametrize("mode", ["correct", "published"])
def test_a_value_missing_in_every_well_costs_features_and_no_well(small, mode):
    names = feature_names(small)
    for row in range(len(small)):
        small.loc[row, names[row % 5]] = np.nan
    table = run_task("umap", small, mode=mode)["umap"]
    whole = run_task("umap", small.drop(columns=names[:5]), mode=mode)["umap"]
    assert len(whole) == {"correct": 54, "published": 18}[mode]
    pd.testing.assert_frame_equal(table, whole)


def test_where_no_feature_is_finite_in_all_wells_the_wells_that_are_finite_are_shown(small):
    names = feature_names(small)
    small.loc[0, names[:15]] = np.nan
    small.loc[1, names[15:30]] = np.nan
    small.loc[2, names[30:]] = np.nan
    table = run_task("umap", small, mode="published")["umap"]
    assert len(table) == 15
    assert np.isfinite(table[["umap_1", "umap_2"]]).all().all()


@pytest.mark.parametrize("mode", ["correct", "published"])
def test_where_nothing_is_finite_there_is_a_table_without_rows(small, mode):
    columns = run_task("umap", small, mode=mode)["umap"].columns
    names = feature_names(small)
    for row in range(len(small)):
        small.loc[row, names[row % 3 :: 3]] = np.inf
    table = run_task("umap", small, mode=mode)["umap"]
    assert len(table) == 0
    assert table.columns.tolist() == columns.tolist()


def test_few_wells_are_embedded_and_fewer_are_not():
    assert len(run_task("umap", screen({"a": 1.0}, n_plates=1, n_controls=3))["umap"]) == 4
    assert len(run_task("umap", screen({"a": 1.0}, n_plates=1, n_controls=2))["umap"]) == 0
