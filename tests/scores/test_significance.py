from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean, ks_2samp

from pipeline.errors import ConfigError
from pipeline.scores.rules import Rules
from pipeline.scores.significance import benjamini_hochberg, draws, fraction_retrieved, judge, null


def queries(*rows: tuple[str, int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "n_positives", "n_candidates", "average_precision"])


def by_label(classes: pd.DataFrame) -> pd.DataFrame:
    return classes.set_index("label")


def test_one_positive_among_sixty_one_has_the_exact_p_of_its_rank():
    single = null(1, 61, seed=0, size=100_000)
    assert single.exact
    np.testing.assert_allclose(single.p([1, 1 / 2, 1 / 61]), [1 / 61, 2 / 61, 1])


def test_p_of_a_perfect_list_is_one_over_the_placements():
    assert float(null(3, 67, 0, 1000).p(1.0)) == pytest.approx(1 / comb(67, 3))


@given(m=st.integers(1, 4), n=st.integers(4, 14))
def test_the_exact_null_is_the_enumeration_of_all_placements(m, n):
    exact = null(m, n, seed=0, size=10)
    values = [np.mean(np.arange(1, m + 1) / np.array(ranks)) for ranks in combinations(range(1, n + 1), m)]
    np.testing.assert_allclose(exact.values, np.sort(values))


@pytest.mark.parametrize(("m", "n"), [(1, 61), (3, 67), (4, 20), (9, 12)])
def test_the_sampled_null_has_the_distribution_of_the_exact_one(m, n):
    exact = [np.mean(np.arange(1, m + 1) / np.array(ranks)) for ranks in combinations(range(1, n + 1), m)]
    sampled = draws(m, n, seed=3, size=20_000)
    assert ks_2samp(np.round(sampled, 9), np.round(exact, 9)).statistic < 0.02


def test_a_null_depends_on_seed_and_counts_alone():
    first = draws(7, 71, seed=5, size=100)
    draws(2, 9, seed=5, size=100)
    np.testing.assert_array_equal(first, draws(7, 71, seed=5, size=100))
    assert not np.array_equal(first, draws(7, 71, seed=6, size=100))


def test_equal_fractions_from_different_sums_are_ties():
    # ranks 3 and 6 of 12 give (1/3 + 2/6)/2; ranks 2 and 12 give (1/2 + 2/12)/2: both 1/3
    pairs = null(2, 12, 0, 10)
    at_or_above = sum((1 / a + 2 / b) / 2 >= 1 / 3 - 1e-12 for a, b in combinations(range(1, 13), 2))
    for ap in ((1 / 3 + 2 / 6) / 2, (1 / 2 + 2 / 12) / 2):
        assert float(pairs.p(ap)) == pytest.approx(at_or_above / comb(12, 2))


def test_published_rule_gives_a_perfect_query_the_smallest_p_there_is():
    _, classes = judge(queries(("a", 3, 67, 1.0)), Rules("published"), by=["label"])
    assert -np.log10(classes["p"][0]) == pytest.approx(5.0000043, abs=1e-7)


def test_published_rule_reproduces_the_printed_p_of_one_and_a_half():
    # Extended Data 1, ccsbBroad304_00023 in P04: two queries of AP 1 and 0.5, one positive, 60 negatives
    _, classes = judge(queries(("a", 1, 61, 1.0), ("a", 1, 61, 0.5)), Rules("published"), by=["label"])
    # the authors' null is one draw of 100,000: p = 0.01675 where 1/61 is expected
    assert -np.log10(classes["p"][0]) == pytest.approx(3.38800, abs=0.5 * np.log10(1 + 4 * np.sqrt(60 / 100_000)))


@pytest.mark.parametrize(
    ("lists", "printed_map", "printed"),
    [
        # A549 24 h compounds, 96 h ORFs (7 ORFs and 16 compounds, each with the true one twice)
        ([(8, 1 / 8), (17, 1 / 17)], 0.0919118, 0.04155),  # HRH4
        ([(8, 1 / 8), (17, 1 / 12)], 0.1041667, 0.12340),  # GHSR
        # U2OS 48 h compounds, 144 h CRISPR: 145 guides retrieved, the true one twice
        ([(146, 1 / 10), (146, 1.0)], 0.55, 3.10663),  # ANXA1
    ],
)
def test_published_rule_reproduces_the_printed_p_of_classes_of_figure_4c(lists, printed_map, printed):
    table = queries(*(("a", 1, n, ap) for n, ap in lists))
    _, published = judge(table, Rules("published"), by=["label"])
    assert published["mean_average_precision"][0] == pytest.approx(printed_map, abs=1e-6)
    share = [max((1 / ap - 1) / n, 1e-5) for n, ap in lists]
    # one unseeded draw of 100,000 a query on their side and ours: four standard deviations of the mean of logs
    noise = np.sqrt(sum((1 - p) / p / 100_000 for p in share if p > 1e-5)) / np.log(10) / 2
    assert -np.log10(published["p"][0]) == pytest.approx(printed, abs=4 * np.sqrt(2) * noise)
    # without the duplicate, a positive at the end of its list is a place higher, and p counts it
    without = queries(*(("a", 1, n - 1, 1 / max(1 / ap - 1, 1)) for n, ap in lists))
    _, correct = judge(without, Rules("correct"), by=["label"])
    assert correct["mean_average_precision"][0] > printed_map
    assert -np.log10(correct["p"][0]) < printed - 4 * np.sqrt(2) * noise


@pytest.mark.parametrize(("n_classes", "n_perfect", "printed_q"), [(306, 93, 3.2903e-5), (316, 8, 3.9500e-4)])
def test_published_rule_reproduces_the_printed_q_of_perfect_classes(n_classes, n_perfect, printed_q):
    # Fig. 4a, A549 24 h compounds; Fig. 4b, the same condition, whose q implies 316 genes
    perfect = [(f"perfect {i}", 3, 67, 1.0) for i in range(n_perfect)]
    rest = [(f"rest {i}", 3, 67, 0.1) for i in range(n_classes - n_perfect)]
    _, classes = judge(queries(*perfect, *rest), Rules("published"), ["label"])
    # P(AP = 1) is 2e-5, so one or two of 100,000 draws reach it; strictly above there is none
    assert classes["q"].min() == pytest.approx(printed_q, rel=1e-4)


def test_correct_rule_says_one_in_sixty_one_where_the_published_one_says_one_in_a_hundred_thousand():
    perfect = queries(("a", 1, 61, 1.0), ("a", 1, 61, 1.0))
    assert judge(perfect, Rules("correct"), ["label"])[1]["p"][0] == pytest.approx(1 / 61)
    assert judge(perfect, Rules("published"), ["label"])[1]["p"][0] == pytest.approx(1 / 100_001)


def test_correct_corrects_queries_and_then_takes_the_geometric_mean():
    table = queries(("a", 1, 10, 1.0), ("a", 1, 10, 1 / 3), ("b", 1, 10, 1 / 2))
    judged, classes = judge(table, Rules("correct"), ["label"])
    # p = 1/10, 3/10, 2/10; BH over three: 0.3, 0.3, 0.3
    np.testing.assert_allclose(judged["q"], [0.3, 0.3, 0.3])
    np.testing.assert_allclose(by_label(classes)["p"], [np.sqrt(0.03), 0.2])
    np.testing.assert_allclose(by_label(classes)["q"], [0.3, 0.3])


def test_published_takes_the_geometric_mean_and_then_corrects_classes():
    table = queries(("a", 1, 10, 1 / 2), ("a", 1, 10, 1 / 3), ("b", 1, 10, 1 / 9))
    judged, classes = judge(table, Rules("published"), ["label"])
    assert judged["q"].isna().all(), "there is no q of a query under this rule"
    p_a = gmean(judged["p"][:2])
    np.testing.assert_allclose(by_label(classes)["p"], [p_a, judged["p"][2]])
    np.testing.assert_allclose(by_label(classes)["q"], [2 * p_a, judged["p"][2]])


def test_a_query_without_positives_is_counted_and_never_retrieved():
    table = queries(("a", 0, 60, np.nan), ("b", 3, 63, 1.0), ("b", 0, 60, np.nan))
    _, classes = judge(table, Rules("correct"), ["label"])
    a, b = (by_label(classes).loc[name] for name in "ab")
    assert (a["n_queries"], a["n_without_positives"], a["retrieved"]) == (0, 1, False)
    assert np.isnan(a["p"])
    assert (b["n_queries"], b["n_without_positives"], b["retrieved"]) == (1, 1, True)
    assert b["q"] == pytest.approx(1 / comb(63, 3)), "the query without positives must not count as a test"


def test_published_gives_a_query_without_positives_the_best_p():
    _, classes = judge(queries(("a", 0, 60, np.nan)), Rules("published"), ["label"])
    assert classes["p"][0] == pytest.approx(1 / 100_001)


def test_the_smallest_reachable_p_is_that_of_perfect_lists():
    _, classes = judge(queries(("a", 1, 61, 0.1), ("a", 2, 62, 0.1)), Rules("correct"), ["label"])
    assert classes["p_min"][0] == pytest.approx(np.sqrt(1 / 61 / comb(62, 2)))


def test_copairs_mode_tests_the_mean_against_the_mean_of_nulls():
    rules = Rules("copairs", null_size=20_000)
    table = queries(("a", 1, 20, 1.0), ("a", 3, 30, 0.2))
    _, classes = judge(table, rules, ["label"])
    mean_null = (draws(1, 20, 0, 20_000) + draws(3, 30, 0, 20_000)) / 2
    assert classes["p"][0] == pytest.approx((1 + (mean_null > 0.6 + 1e-9).sum()) / 20_001)


def test_benjamini_hochberg_by_hand():
    # sorted 0.01 0.02 0.03 0.5, times 4 / rank: 0.04 0.04 0.04 0.5
    q = benjamini_hochberg(pd.Series([0.5, 0.02, np.nan, 0.01, 0.03]))
    np.testing.assert_allclose(q, [0.5, 0.04, np.nan, 0.04, 0.04])


def test_fraction_retrieved_leaves_out_classes_that_had_no_query():
    classes = pd.DataFrame(
        {
            "modality": "orf",
            "label": list("abc"),
            "n_queries": [2, 2, 0],
            "retrieved": [True, False, False],
            "mode": "correct",
        }
    )
    assert fraction_retrieved(classes)["fraction_retrieved"].tolist() == [0.5]


def test_an_unknown_mode_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="correct, published, copairs"):
        Rules("published-ish")
