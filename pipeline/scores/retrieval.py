"""Queries ranked against the negative controls of their plate: what detection and positions have in common."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.scores.precision import average_precisions
from pipeline.scores.rules import COIN_STREAM, Rules
from pipeline.scores.wells import Wells
from pipeline.screen.columns import BATCH, PLATE, SAMPLE, WELL
from pipeline.screen.conditions import Condition

#: Why nothing of a condition is ranked, where `n_features` is 0.
NO_FEATURE = "no feature is finite in all wells of the condition"


def retrieve(
    wells: Wells,
    queries: np.ndarray,
    same: np.ndarray,
    different: np.ndarray | None,
    rules: Rules,
    condition: Condition,
) -> pd.DataFrame:
    """Rank each query well's positives against the negative controls of its plate; one row a query.

    queries: row numbers of wells. Positives of a well: the other query wells equal to it in `same` and, if given, not
    equal to it in `different` (both one value a well).
    """
    plate = (wells.meta[BATCH] + "/" + wells.meta[PLATE]).to_numpy()
    controls = _rows_of(plate, wells.is_negative_control & wells.finite)
    replicates = _rows_of(same, wells.is_query & wells.finite)
    nothing = np.empty(0, dtype=int)
    positives, negatives = [], []
    for i in queries:
        mine = replicates.get(same[i], nothing) if wells.finite[i] else nothing
        mine = mine[mine != i]
        positives.append(mine if different is None else mine[different[mine] != different[i]])
        negatives.append(controls.get(plate[i], nothing))
    rng = coin(rules, condition)
    precision = average_precisions(wells.features, queries, positives, negatives, ties=rules.ties, rng=rng)
    meta = wells.meta.loc[queries]
    n_positives, n_negatives = (np.array([len(rows) for rows in lists], dtype=int) for lists in (positives, negatives))
    return pd.DataFrame(
        {
            "label": meta[SAMPLE].to_numpy(),
            "plate": meta[PLATE].to_numpy(),
            "well": meta[WELL].to_numpy(),
            "n_positives": n_positives,
            "n_candidates": n_positives + n_negatives,
            "average_precision": precision,
            "note": np.select(
                [np.full(len(queries), not wells.names), ~wells.finite[queries], n_positives == 0, n_negatives == 0],
                [NO_FEATURE, "values not finite", "no positives", "no negative controls on its plate"],
                default="",
            ),
        }
    )


def _rows_of(values: np.ndarray, chosen: np.ndarray) -> dict[Hashable, np.ndarray]:
    """value -> the chosen rows that have it."""
    rows = np.flatnonzero(chosen)
    return {value: rows[at] for value, at in pd.Series(values[rows]).groupby(values[rows]).indices.items()}


def coin(rules: Rules, *conditions: Condition) -> np.random.Generator:
    """The coin for tied candidates (mode published); another condition's draws do not move it."""
    key = "/".join(condition.key for condition in conditions)
    return np.random.default_rng([COIN_STREAM, rules.seed, zlib.crc32(key.encode())])


def named(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with these columns, each of one value, in front.

    Raises `ConfigError` where the table has a column of such a name, as of a condition called `p`.
    """
    if taken := set(columns) & set(table):
        raise ConfigError(f"No condition can be called {taken.pop()}: tables of scores have such a column. Rename it.")
    table = table.copy()
    for at, (name, value) in enumerate(columns.items()):
        table.insert(at, name, value)
    return table
