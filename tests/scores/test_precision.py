from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from pipeline.scores.precision import (
    average_precision,
    average_precisions,
    cosine,
    expected_average_precision,
)


def test_average_precision_is_the_mean_of_precision_at_each_positive():
    # ranks 1, 3 and 4 of 6: (1/1 + 2/3 + 3/4) / 3
    result = average_precision(np.array([0.9, 0.6, 0.5]), np.array([0.8, 0.4, -0.2]))
    assert result == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_a_query_without_positives_has_no_average_precision():
    assert np.isnan(average_precision(np.array([]), np.array([0.3])))


def test_a_tie_counts_against_the_positive_unless_copairs_order_is_asked_for():
    tied = np.array([0.5]), np.array([0.5, 0.1])
    assert average_precision(*tied) == pytest.approx(1 / 2)
    assert average_precision(*tied, ties="positives first") == 1


def test_the_coin_is_thrown_only_above_sixteen_candidates():
    short = np.array([0.5]), np.r_[0.5, np.zeros(14)]
    long = np.array([0.5]), np.r_[0.5, np.zeros(15)]
    rng = np.random.default_rng(0)
    assert {average_precision(*short, ties="coin", rng=rng) for _ in range(50)} == {0.5}
    thrown = [average_precision(*long, ties="coin", rng=rng) for _ in range(400)]
    assert set(thrown) == {0.5, 1.0}
    assert np.mean([ap == 1 for ap in thrown]) == pytest.approx(0.5, abs=0.1)


@given(
    positives=arrays(float, st.integers(1, 8), elements=st.integers(0, 5).map(float)),
    negatives=arrays(float, st.integers(0, 12), elements=st.integers(0, 5).map(float)),
    ties=st.sampled_from(["negatives first", "positives first"]),
)
def test_average_precision_agrees_with_sorting_the_whole_list(positives, negatives, ties):
    second_key = 1 if ties == "negatives first" else 0
    entries = [(-s, second_key, 1) for s in positives] + [(-s, 1 - second_key, 0) for s in negatives]
    relevant = np.array([entry[2] for entry in sorted(entries)])
    precision = relevant.cumsum() / np.arange(1, len(relevant) + 1)
    assert average_precision(positives, negatives, ties) == pytest.approx(precision[relevant == 1].mean())


def test_cosine_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 7)), rng.normal(size=(3, 7))
    np.testing.assert_allclose(cosine(a, b), 1 - cdist(a, b, "cosine"), atol=1e-12)


@pytest.mark.parametrize("block", [1, 3, 512])
def test_blocks_do_not_change_the_result(block):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 6))
    queries = np.arange(7)
    positives = [np.array([i + 1, 19]) for i in queries]
    negatives = [np.arange(9, 9 + i) for i in queries]
    similarity = np.round(cosine(features, features), 12)
    expected = [average_precision(similarity[i, positives[i]], similarity[i, negatives[i]]) for i in queries]
    result = average_precisions(features, queries, positives, negatives, block=block)
    np.testing.assert_allclose(result, expected, atol=0)


def test_absolute_similarity_ranks_the_opposite_profile_first():
    features = np.array([[1.0, 0.0], [-1.0, 0.1], [1.0, 1.0]])
    args = features, [0], [np.array([1])], [np.array([2])]
    assert average_precisions(*args) == [0.5]
    assert average_precisions(*args, absolute=True) == [1.0]


@pytest.mark.parametrize(("m", "n"), [(1, 5), (2, 6), (3, 3), (4, 9)])
def test_expected_average_precision_is_the_mean_over_all_placements(m, n):
    from itertools import combinations

    placements = [np.mean(np.arange(1, m + 1) / np.array(ranks)) for ranks in combinations(range(1, n + 1), m)]
    assert expected_average_precision([m], [n])[0] == pytest.approx(np.mean(placements))
