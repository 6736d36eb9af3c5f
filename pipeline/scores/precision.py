"""Average precision: how well a query's positives rank among its candidates.

A query's candidates, positives and negatives, are sorted by similarity to it, largest first. Average precision is
the mean over positives of (positives so far) / (rank), as in copairs and in the paper's Methods.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import digamma

from pipeline import matrices

#: Similarities equal to this many decimals are tied: what is alike but for its length differs by rounding.
DECIMALS = 12

#: numpy's default sort, which the authors' code used, is stable to this many entries.
STABLE_SORT = 16


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows (wells, features) scaled to length 1, so that products are cosines. A row of zeros becomes NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return features / np.linalg.norm(features, axis=1, keepdims=True)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarities (rows of a, rows of b)."""
    return matrices.product(unit_rows(a), unit_rows(b).T, squares=1)


def average_precision(
    positives: np.ndarray, negatives: np.ndarray, ties: str = "negatives first", rng: np.random.Generator | None = None
) -> float:
    """Average precision of one query from the similarities of its positives and of its negatives.

    `ties` says where a positive stands among equally similar negatives: "negatives first", "positives first"
    (copairs), or "coin" (the paper's code: after them in lists of up to 16 candidates, above that
    before or after each with even odds, drawn from `rng`). NaN without positives. A NaN similarity ranks first.
    """
    if len(positives) == 0:
        return np.nan
    positives = np.sort(positives)[::-1]
    negatives = np.sort(negatives)
    not_below = len(negatives) - np.searchsorted(negatives, positives, side="left")
    above = len(negatives) - np.searchsorted(negatives, positives, side="right")
    if ties == "positives first":
        negatives_before = above
    elif ties == "coin" and len(positives) + len(negatives) > STABLE_SORT and rng is not None:
        negatives_before = above + rng.binomial(not_below - above, 0.5)
    else:
        negatives_before = not_below
    so_far = np.arange(1, len(positives) + 1)
    return float(np.mean(so_far / (so_far + negatives_before)))


def average_precisions(
    features: np.ndarray,
    queries: Sequence[int] | np.ndarray,
    positives: Sequence[np.ndarray],
    negatives: Sequence[np.ndarray],
    *,
    absolute: bool = False,
    ties: str = "negatives first",
    rng: np.random.Generator | None = None,
    block: int = 512,
) -> np.ndarray:
    """Average precision of each query by cosine similarity, |cosine| if `absolute`.

    features: (rows, features) float64. queries: row numbers. positives[i], negatives[i]: row numbers of the
    candidates of query i. Similarities are computed for `block` queries at a time against their own candidates, so
    memory does not grow with the number of rows squared; neighbours should share candidates.
    """
    unit = unit_rows(features)
    queries = np.asarray(queries, dtype=int)
    result = np.empty(len(queries))
    for start in range(0, len(queries), block):
        part = range(start, min(start + block, len(queries)))
        lists = [rows for i in part for rows in (positives[i], negatives[i])]
        candidates = np.unique(np.concatenate(lists).astype(int))
        similarities = np.round(matrices.product(unit[queries[part]], unit[candidates].T, squares=1), DECIMALS)
        if absolute:
            similarities = np.abs(similarities)
        for row, i in zip(similarities, part, strict=True):
            positive, negative = (row[np.searchsorted(candidates, rows)] for rows in (positives[i], negatives[i]))
            result[i] = average_precision(positive, negative, ties, rng)
    return result


def expected_average_precision(n_positives: np.ndarray, n_candidates: np.ndarray) -> np.ndarray:
    """Mean average precision of a random order: ((M - 1) (L - H) / (L - 1) + H) / L, H the L-th harmonic number.

    Bestgen, "Exact expected average precision of the random baseline", PBML 103 (2015); also in copairs.
    """
    m, n = np.asarray(n_positives, dtype=float), np.asarray(n_candidates, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        harmonic = digamma(n + 1) + np.euler_gamma
        expected = ((m - 1) * (n - harmonic) / (n - 1) + harmonic) / n
    return np.where(m == 0, np.nan, np.where(m == n, 1.0, expected))
