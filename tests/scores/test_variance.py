from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

from pipeline.scores import Condition, Rules
from pipeline.screen.conditions import conditions
from pipeline.screen.variants import well_annotations
from pipeline.tasks.variance import explained_variance, variance
from tests.scores.small import screen

A549 = Condition(("compound", "A549", "short"))


def test_explained_variance_agrees_with_the_f_statistic_of_scipy():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    codes = np.repeat([0, 1, 2], [5, 10, 15])
    features += codes[:, None]
    statistic = f_oneway(*(features[codes == code] for code in range(3))).statistic
    # F = (R2 / (k - 1)) / ((1 - R2) / (n - k))
    expected = statistic * 2 / (statistic * 2 + 27)
    np.testing.assert_allclose(explained_variance(features, codes), expected)


def test_a_constant_feature_has_no_share():
    assert np.isnan(explained_variance(np.ones((4, 1)), np.array([0, 0, 1, 1]))).all()


@pytest.fixture(scope="module")
def shares() -> pd.Series:
    profiles = screen(dict.fromkeys("abcdef", 0.0), n_plates=6, n_controls=60, n_features=50)
    features = [name for name in profiles if name.startswith("Cells")]
    column = profiles["Metadata_Well"].str[1:].astype(float)
    plate = pd.factorize(profiles["Metadata_Plate"])[0]
    profiles[features[0]] += 3 * (column - column.mean()) / column.std()
    profiles[features[1]] += 2 * plate
    profiles.loc[profiles["Metadata_broad_sample"] == "a", features[2]] += 30
    table = variance(profiles, (A549,), Rules(), {})["variance"]
    return table.set_index(["wells", "factor", "feature"])["adjusted"]


def test_each_planted_factor_explains_its_feature_and_nothing_else(shares):
    assert shares["all", "column", "Cells_Feature_0"] > 0.8
    assert shares["all", "plate", "Cells_Feature_1"] > 0.8
    assert shares["all", "treatment", "Cells_Feature_2"] > 0.8
    assert abs(shares["all", "plate", "Cells_Feature_0"]) < 0.05
    for factor in ("row", "column", "plate", "treatment"):
        assert shares.loc["all", factor].iloc[3:].median() == pytest.approx(0, abs=0.02)


def test_a_column_effect_shows_among_the_negative_controls(shares):
    assert shares["negcon", "column", "Cells_Feature_0"] > 0.8
    assert ("negcon", "treatment") not in shares.index.droplevel("feature")


def test_a_factor_with_one_level_is_left_out(shares):
    assert "batch" not in shares.index.get_level_values("factor")


def test_batch_is_a_factor_where_a_condition_spans_batches_and_none_of_cpjump1_does(cpjump1):
    profiles = screen(dict.fromkeys("abcdef", 0.0), n_plates=4)
    second = profiles["Metadata_Plate"].str.endswith(("3", "4"))
    profiles.loc[second, "Metadata_Batch"] = "batch2"
    profiles.loc[second, "Cells_Feature_0"] += 30
    table = variance(profiles, (A549,), Rules(), {})["variance"].set_index(["wells", "factor", "feature"])
    assert table.loc[("all", "batch", "Cells_Feature_0"), "explained"] > 0.9

    wells = well_annotations(cpjump1)
    spans = {condition: wells.loc[condition.rows(wells), "Metadata_Batch"].nunique() for condition in conditions(wells)}
    assert set(spans.values()) == {1}, "else docs/scores.md is wrong"
