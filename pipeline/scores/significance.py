"""From average precision to p, q and "retrieved", under the rules of each mode (see `rules`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, exp, log

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from pipeline.scores.precision import expected_average_precision
from pipeline.scores.rules import NULL_STREAM, Rules

#: Up to this many placements of the positives the null is enumerated and p is exact.
EXACT_PLACEMENTS = 200_000

#: AP values closer than this are equal: the same fraction can come out of different sums.
TOLERANCE = 1e-9

#: What `judge` adds to the columns that identify a class.
CLASS_COLUMNS = [
    "n_queries", "n_without_positives", "n_without_negatives", "n_positives", "n_candidates", "mean_average_precision",
    "expected_average_precision", "p", "q", "p_min", "retrieved", "mode",
]  # fmt: skip


@dataclass(frozen=True)
class Null:
    """AP values of a random order of one list; sorted. `exact` if they are all placements, each once."""

    values: np.ndarray
    exact: bool

    def p(self, average_precision: ArrayLike, strict: bool = False) -> np.ndarray:
        """Share of the null at or above (if `strict`: above) an AP; +1 on both sides where the null is a sample."""
        edge = np.asarray(average_precision) + (TOLERANCE if strict else -TOLERANCE)
        tail = len(self.values) - np.searchsorted(self.values, edge)
        return tail / len(self.values) if self.exact else (1 + tail) / (1 + len(self.values))


@lru_cache(maxsize=128)
def null(n_positives: int, n_candidates: int, seed: int, size: int, exact: bool = True) -> Null:
    """The null of a list: enumerated if `exact` and it has at most EXACT_PLACEMENTS placements, else `size` draws."""
    if exact and comb(n_candidates, n_positives) <= EXACT_PLACEMENTS:
        ranks = np.array(list(combinations(range(1, n_candidates + 1), n_positives)))
        return Null(np.sort(_average_precision_of_ranks(ranks)), exact=True)
    return Null(np.sort(draws(n_positives, n_candidates, seed, size)), exact=False)


def draws(n_positives: int, n_candidates: int, seed: int, size: int) -> np.ndarray:
    """AP of `size` random placements, in the order drawn. Seeded by the list's counts, so no call changes another's."""
    rng = np.random.default_rng([NULL_STREAM, seed, n_positives, n_candidates])
    ranks = np.empty((size, n_positives), dtype=np.int32)
    # Floyd's sampling without replacement, all draws at once: take t from 1..top, or top itself if t is taken.
    # (Bentley and Floyd, "A sample of brilliance", CACM 30, 1987.)
    for i, top in enumerate(range(n_candidates - n_positives + 1, n_candidates + 1)):
        drawn = rng.integers(1, top + 1, size=size, dtype=np.int32)
        taken = (ranks[:, :i] == drawn[:, None]).any(axis=1)
        ranks[:, i] = np.where(taken, top, drawn)
    return _average_precision_of_ranks(np.sort(ranks, axis=1))


def _average_precision_of_ranks(ranks: np.ndarray) -> np.ndarray:
    """AP from the ranks of the positives, ascending in each row, counted from 1."""
    return (np.arange(1, ranks.shape[1] + 1) / ranks).mean(axis=1)


def benjamini_hochberg(p: pd.Series) -> pd.Series:
    """q of each p, Benjamini and Hochberg 1995; NaN stays NaN and does not count as a test."""
    tested = p.notna()
    q = pd.Series(np.nan, index=p.index)
    if tested.any():
        q[tested] = false_discovery_control(p[tested].to_numpy(dtype=float))
    return q


def judge(queries: pd.DataFrame, rules: Rules, by: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(queries with p, q, p_min; one row per class) for the queries of one condition.

    queries: one row each, with `n_positives`, `n_candidates`, `average_precision` (NaN without positives) and the
    columns `by` that name the class. A query without negatives has AP 1 in any order, which says nothing: it is left
    out and counted in every mode, for the authors are not known to have had one.

    In the class table p and q are geometric means (or, in mode copairs, of the test on mAP), `n_positives` and
    `n_candidates` means over its queries, `p_min` what it would have had with every AP 1.
    """
    without_negatives = (queries["n_candidates"] == queries["n_positives"]).to_numpy()
    queries = queries.assign(average_precision=queries["average_precision"].mask(without_negatives))
    queries = _query_p(queries.reset_index(drop=True), rules)
    if rules.mode == "correct":
        queries["q"] = benjamini_hochberg(queries["p"])
    else:
        queries["q"] = np.nan
    queries["mode"] = rules.mode

    # Logarithms by the C library: NumPy has its own for each processor.
    logs = queries.assign(**{name: queries[name].map(log) for name in ("p", "q", "p_min")})
    logs["is_ranked"] = queries["p"].notna()
    logs["lacks_negatives"] = without_negatives & (queries["n_positives"] > 0)
    logs["lacks_positives"] = queries["average_precision"].isna() & ~logs["lacks_negatives"]
    everyone = logs.groupby(by, sort=True, observed=True)
    groups = logs[logs["is_ranked"]].groupby(by, sort=True, observed=True)
    classes = groups[["n_positives", "n_candidates", "expected_average_precision"]].mean()
    classes["mean_average_precision"] = groups["average_precision"].mean()
    # Geometric means.
    classes[["p", "q", "p_min"]] = groups[["p", "q", "p_min"]].mean().map(exp)
    classes = classes.reindex(everyone.size().index)
    classes["n_queries"] = everyone["is_ranked"].sum()
    classes["n_without_positives"] = everyone["lacks_positives"].sum()
    classes["n_without_negatives"] = everyone["lacks_negatives"].sum()
    if rules.mode == "copairs":
        tests = pd.DataFrame(groups[["n_positives", "n_candidates", "average_precision"]].apply(_test_on_mean, rules))
        classes[["p", "p_min"]] = tests.reindex(columns=["p", "p_min"], index=classes.index).astype(float)
        classes["q"] = benjamini_hochberg(classes["p"])
    elif rules.published:
        classes["q"] = benjamini_hochberg(classes["p"])
    classes["retrieved"] = classes["q"] < rules.alpha
    classes["mode"] = rules.mode
    return queries, classes[CLASS_COLUMNS].reset_index()


def _query_p(queries: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    ap = queries["average_precision"].to_numpy(dtype=float)
    p, p_min = np.full(len(queries), np.nan), np.full(len(queries), np.nan)
    for (m, n), rows in queries[np.isfinite(ap)].groupby(["n_positives", "n_candidates"]).indices.items():
        at = np.flatnonzero(np.isfinite(ap))[rows]
        distribution = null(int(m), int(n), rules.seed, rules.null_size, exact=not rules.published)
        p[at] = distribution.p(ap[at], strict=rules.published)
        p_min[at] = distribution.p(1.0, strict=rules.published)
    if rules.published:
        # NaN > anything is false, so the authors' count for a query without positives was 0.
        without = (np.isnan(ap) & (queries["n_positives"] == 0) & (queries["n_candidates"] > 0)).to_numpy()
        p[without] = p_min[without] = 1 / (1 + rules.null_size)
    expected = expected_average_precision(queries["n_positives"].to_numpy(), queries["n_candidates"].to_numpy())
    return queries.assign(expected_average_precision=expected, p=p, p_min=p_min)


def _test_on_mean(queries: pd.DataFrame, rules: Rules) -> pd.Series:
    """p and p_min of a class's mAP against the mean of its queries' nulls, draw by draw, as copairs does."""
    total = np.zeros(rules.null_size)
    for m, n in zip(queries["n_positives"], queries["n_candidates"], strict=True):
        total += _cached_draws(int(m), int(n), rules.seed, rules.null_size)
    mean_null = Null(np.sort(total / len(queries)), exact=False)
    tested = mean_null.p([queries["average_precision"].mean(), 1.0], strict=True)
    return pd.Series(tested, index=["p", "p_min"])


_cached_draws = lru_cache(maxsize=64)(draws)


def condition_columns(classes: pd.DataFrame) -> list[str]:
    """The columns before `label`, which name the condition: modality, cell type, time point, ..."""
    return list(classes.columns[: list(classes.columns).index("label")])


def fraction_retrieved(classes: pd.DataFrame, by: list[str] | None = None) -> pd.DataFrame:
    """Classes, retrieved classes and their share per condition; classes without a single valid query do not count.

    `by` defaults to `condition_columns`.
    """
    by = by or condition_columns(classes)
    counted = classes[classes["n_queries"] > 0]
    table = counted.groupby(by, sort=False, dropna=False)["retrieved"].agg(n_classes="size", n_retrieved="sum")
    table["fraction_retrieved"] = table["n_retrieved"] / table["n_classes"]
    table["mode"] = classes["mode"].iloc[0] if len(classes) else ""
    return table.reset_index()
