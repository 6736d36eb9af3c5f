"""The rules against pycytominer's own, and two published plates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycytominer.cyto_utils import get_blocklist_features
from pycytominer.operations import correlation_threshold, frequency_threshold, get_na_columns, variance_threshold

from pipeline.config import SelectConfig
from pipeline.profiles import feature_names, select_features
from pipeline.profiles.select import (
    correlations,
    is_blocked,
    is_constant,
    is_missing,
    is_redundant,
    is_repetitive,
)

PEDIATRIC = SelectConfig(
    operations=("frequency_threshold", "correlation_threshold", "blocklist", "drop_na_columns"),
    combine="sequential",
    unique_cut=0.01,
    na_cutoff=0,
)


@pytest.fixture(scope="module", params=[("BR00147001", 524, 509), ("BR00147003", 632, 627)], ids=lambda case: case[0])
def published(request, shared_data):
    """One plate: normalised values, names, the features its authors selected, and how many each rule gives."""
    name, sequential, union = request.param
    normalized = pd.read_parquet(shared_data / "pediatric" / f"{name}_bulk_normalized.parquet")
    selected = pd.read_parquet(shared_data / "pediatric" / f"{name}_bulk_feature_selected.parquet")
    names = feature_names(normalized)
    return normalized[names].to_numpy(), names, feature_names(selected), sequential, union


@pytest.mark.real_data
def test_published_plates_keep_the_features_their_authors_kept(published):
    values, names, theirs, count, _ = published
    ours = select_features(values, names, PEDIATRIC).kept
    assert len(ours) == len(theirs) == count
    extra, missing = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    # Which of two identical features stays is chance in pycytominer: BR00147003 has two such pairs, BR00147001 none.
    assert len(extra) <= 2
    assert ours == theirs or extra
    table = pd.DataFrame(values, columns=names)
    total = table.corr().abs().sum()
    for name in extra:
        twins = [other for other in missing if np.isclose(table[name].corr(table[other]), 1, rtol=0, atol=1e-12)]
        assert len(twins) == 1
        assert total[name] == pytest.approx(total[twins[0]], abs=1e-9)


@pytest.mark.real_data
def test_one_published_plate_is_the_same_set_in_the_same_order(shared_data):
    normalized = pd.read_parquet(shared_data / "pediatric" / "BR00147001_bulk_normalized.parquet")
    theirs = feature_names(pd.read_parquet(shared_data / "pediatric" / "BR00147001_bulk_feature_selected.parquet"))
    names = feature_names(normalized)
    assert select_features(normalized[names].to_numpy(), names, PEDIATRIC).kept == theirs


@pytest.mark.real_data
def test_the_union_of_independent_rules_is_told_from_their_sequence(published):
    values, names, _, _, union = published
    ours = select_features(values, names, PEDIATRIC.model_copy(update={"combine": "union"}))
    assert len(ours.kept) == union
    assert set(ours.kept) == set(names).difference(*ours.dropped.values())


@pytest.mark.real_data
def test_the_two_variance_rules_are_told_apart_by_name_whatever_is_installed(published):
    values, names, _, count, _ = published
    other = ("variance_threshold", "correlation_threshold", "blocklist", "drop_na_columns")
    ours = select_features(values, names, PEDIATRIC.model_copy(update={"operations": other}))
    assert len(ours.kept) > count + 40  # what pycytominer 1.7 gives under the old name: 573 and 700


def random_profiles(seed: int, wells: int = 60, features: int = 40, missing: float = 0.0) -> pd.DataFrame:
    """Correlated, discrete, constant, twin and missing features."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(wells, 6)) @ random.normal(size=(6, features)) + random.normal(size=(wells, features))
    values[:, ::7] = np.round(values[:, ::7])
    values[:, 3] = np.round(values[:, 3] / 4)
    values[:, 5] = -values[:, 4] + random.normal(size=wells) / 100
    values[:, 8] = values[:, 9] + random.normal(size=wells) / 100
    values[:, 11] = 0.1
    values[:, 12] = 1e-4 * values[:, 12]
    values[random.random(values.shape) < missing] = np.nan
    if missing:
        values[:, 13] = np.nan
        values[: wells // 2, 14] = np.nan
    return pd.DataFrame(values, columns=[f"Cells_{number}" for number in range(features)])


def marked(table: pd.DataFrame, drop: np.ndarray) -> set[str]:
    return set(table.columns[drop])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("missing", [0.0, 0.04])
@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_each_rule_drops_what_pycytominers_drops(seed, missing):
    table = random_profiles(seed, missing=missing)
    values, names = table.to_numpy(), list(table.columns)
    for cuts in ((0.05, 0.01), (0.05, 0.1), (0.3, 0.5)):
        theirs = frequency_threshold(table, names, freq_cut=cuts[0], unique_cut=cuts[1])
        assert marked(table, is_repetitive(values, *cuts)) == set(theirs)
    assert marked(table, is_constant(values)) == set(variance_threshold(table, names))
    for cutoff in (0, 0.03, 0.05, 0.5):
        assert marked(table, is_missing(values, cutoff)) == set(get_na_columns(table, names, cutoff=cutoff))
    # Without the constant: there pycytominer's numpy divides rounding by rounding.
    table = table.drop(columns="Cells_11")
    for threshold in (0.5, 0.9):
        theirs = correlation_threshold(table, list(table.columns), threshold=threshold)
        assert marked(table, is_redundant(table.to_numpy(), threshold)) == set(theirs)
        assert theirs


def test_correlations_are_pandas():
    table = random_profiles(7, missing=0.1).drop(columns="Cells_11")
    np.testing.assert_allclose(correlations(table.to_numpy()), table.corr().to_numpy(), rtol=0, atol=1e-12)
    whole = random_profiles(7).drop(columns="Cells_11")
    np.testing.assert_allclose(correlations(whole.to_numpy()), whole.corr().to_numpy(), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), wells=st.integers(1, 12), features=st.integers(1, 8), share=st.floats(0, 0.6))
def test_correlations_are_pandas_on_few_wells_too(seed, wells, features, share):
    random = np.random.default_rng(seed)
    values = np.round(random.normal(size=(wells, features)), 1) + 100
    values[random.random(values.shape) < share] = np.nan
    np.testing.assert_allclose(correlations(values), pd.DataFrame(values).corr().to_numpy(), rtol=0, atol=1e-6)


def test_a_feature_that_does_not_vary_correlates_with_nothing():
    values = np.column_stack([np.full(30, 0.1), np.arange(30.0), np.arange(30.0) ** 2])
    r = correlations(values)
    assert np.isnan(r[0]).all()
    assert np.isnan(r[:, 0]).all()
    assert np.isfinite(r[1:, 1:]).all()


def test_correlation_is_signed_and_judges_all_pairs_at_once():
    """a-b and b-c pass the threshold, a-c does not; b resembles the others most, so b alone goes."""
    random = np.random.default_rng(5)
    b = random.normal(size=400)
    a, c = b + 0.4 * random.normal(size=400), b + 0.4 * random.normal(size=400)
    opposite = -a
    values = np.column_stack([a, b, c, opposite])
    r = correlations(values)
    assert r[0, 1] > 0.9
    assert r[1, 2] > 0.9
    assert r[0, 2] < 0.9
    assert r[0, 3] == pytest.approx(-1)
    assert is_redundant(values[:, :3]).tolist() == [False, True, False]
    assert not is_redundant(values[:, [0, 3]]).any()


def test_of_identical_features_the_last_stays():
    one, other = np.random.default_rng(0).normal(size=(2, 50))
    assert is_redundant(np.column_stack([one, other, one, one * 3 + 1])).tolist() == [True, False, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_which_of_two_alike_features_stays_does_not_hang_on_rounding(seed):
    random = np.random.default_rng(seed)
    values = random.normal(size=(50, 6))
    values[:, 4] = values[:, 1] * random.uniform(0.1, 9) + random.normal()
    assert np.flatnonzero(is_redundant(values)).tolist() == [1]


def test_the_blocklist_is_pycytominers():
    names = np.array(["Cells_AreaShape_Area", get_blocklist_features()[0]], dtype=object)
    assert is_blocked(names).tolist() == [False, True]


def test_each_rule_of_a_sequence_sees_what_the_earlier_ones_left():
    """Without the constant, the share of missing values, ... the sum of correlations is another one."""
    table = random_profiles(2, missing=0.04)
    operations = ("correlation_threshold", "drop_na_columns", "frequency_threshold")
    settings = SelectConfig(operations=operations, na_cutoff=0.03)
    one = select_features(table.to_numpy(), list(table.columns), settings.model_copy(update={"combine": "sequential"}))
    left = list(table.columns)
    rules = {
        "correlation_threshold": lambda: correlation_threshold(table, left),
        "drop_na_columns": lambda: get_na_columns(table, left, cutoff=0.03),
        "frequency_threshold": lambda: frequency_threshold(table, left, unique_cut=0.1),
    }
    for operation in operations:
        dropped = rules[operation]()
        assert set(one.dropped[operation]) == set(dropped)
        left = [name for name in left if name not in dropped]
    assert one.kept == left
    union = select_features(table.to_numpy(), list(table.columns), settings)
    left = list(table.columns)
    assert {name: set(found) for name, found in union.dropped.items()} == {
        name: set(rule()) for name, rule in rules.items()
    }
    assert list(union.dropped) == list(operations)


def test_infinite_values_count_as_missing():
    table = random_profiles(3)
    names = list(table.columns)
    values = table.to_numpy().copy()
    values[:5, 20] = np.nan
    with_inf = values.copy()
    with_inf[:3, 20], with_inf[3:5, 20] = np.inf, -np.inf
    for combine in ("union", "sequential"):
        settings = SelectConfig(combine=combine)
        assert select_features(with_inf, names, settings) == select_features(values, names, settings)
    assert "Cells_20" in select_features(with_inf, names, SelectConfig()).dropped["drop_na_columns"]


def test_a_feature_that_is_all_missing_goes_by_every_rule_but_the_names():
    table = random_profiles(3).assign(Cells_none=np.nan)
    settings = SelectConfig(
        operations=("frequency_threshold", "variance_threshold", "correlation_threshold", "drop_na_columns")
    )
    dropped = select_features(table.to_numpy(), list(table.columns), settings).dropped
    assert [rule for rule, names in dropped.items() if "Cells_none" in names] == [
        "frequency_threshold",
        "variance_threshold",
        "drop_na_columns",
    ]


def test_wells_without_cells_take_no_part():
    table = random_profiles(4)
    names = list(table.columns)
    empty = np.full((30, len(names)), np.nan)
    with_empty = np.concatenate([empty, table.to_numpy()])
    assert select_features(with_empty, names, SelectConfig()) == select_features(
        table.to_numpy(), names, SelectConfig()
    )


def test_a_single_well_keeps_nothing():
    table = random_profiles(4).iloc[:1]
    assert select_features(table.to_numpy(), list(table.columns), SelectConfig()).kept == []
