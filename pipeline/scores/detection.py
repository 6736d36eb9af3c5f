"""Perturbation detection (Fig. 4a): do a perturbation's replicates look more like each other than like controls?

Query: every well with a perturbation that is not a negative control. Positives: the other wells of the same
perturbation in the condition, on any plate and in any position. Negatives: the negative controls of the query's own
plate. Cosine similarity. Class: the perturbation.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from pipeline.scores.coverage import missing_of
from pipeline.scores.precision import average_precisions
from pipeline.scores.rules import COIN_STREAM, Rules
from pipeline.scores.significance import judge
from pipeline.scores.wells import PLATE, Condition, Wells, wells_of

#: Why nothing of a condition is ranked, where `n_features` is 0.
NO_FEATURE = "no feature is finite in all wells of the condition"


def detection(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> dict[str, pd.DataFrame]:
    """`detection`, one row a perturbation, and `detection_wells`, one row a query, of one condition.

    `n_plates`: plates that have profiles; `n_plates_missing`, `n_wells_missing`: see `coverage`. Where a sample stands
    in several doses, `sample` and `dose` are the parts of `label`.
    """
    wells = wells_of(profiles, condition, rules)
    sample = wells.meta["Metadata_broad_sample"].to_numpy()
    queries = retrieve(wells, np.flatnonzero(wells.is_query), sample, None, rules, condition)
    queries, classes = judge(queries, rules, by=["label"])
    # How many features took part: those not finite somewhere in the condition did not.
    classes["n_features"] = len(wells.names)
    classes["n_features_not_finite"] = wells.n_not_finite
    classes["n_features_too_large"] = len(wells.too_large)
    classes["n_plates"] = len(wells.meta[PLATE].drop_duplicates())
    for name, count in missing_of(profiles, condition).items():
        classes[name] = pd.array([count] * len(classes), dtype="Int64")
    if (wells.meta["Metadata_dose"] != "").any():
        parts = wells.meta.drop_duplicates("Metadata_broad_sample").set_index("Metadata_broad_sample")
        for name in ("sample", "dose"):
            classes[name] = classes["label"].map(parts[f"Metadata_{name}"])
    return {"detection": named(classes, condition.columns()), "detection_wells": named(queries, condition.columns())}


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
    plate = (wells.meta["Metadata_Batch"] + "/" + wells.meta["Metadata_Plate"]).to_numpy()
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
            "label": meta["Metadata_broad_sample"].to_numpy(),
            "plate": meta["Metadata_Plate"].to_numpy(),
            "well": meta["Metadata_Well"].to_numpy(),
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
    """The table with these columns, each of one value, in front."""
    table = table.copy()
    for at, (name, value) in enumerate(columns.items()):
        table.insert(at, name, value)
    return table
