"""How much of each feature's variance goes with row, column, plate, batch and treatment: a look at any screen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scores.detection import named
from pipeline.scores.rules import Rules
from pipeline.scores.wells import Condition, wells_of
from pipeline.screen import well_position


def variance(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> dict[str, pd.DataFrame]:
    """`variance`: one row a feature, factor and set of wells ("all", or "negcon": negative controls) of one condition.

    `explained` is the one-way share (between-level sum of squares over total), `adjusted` the same less what as many
    random levels would explain (epsilon squared). Where every sample has a place of its own, treatment and position
    cannot be told apart in all wells; row and column among the negative controls have no treatment in them.
    A factor with one level in the condition, or with as many as wells, is not estimable and left out: so `batch` where
    plates of another batch are conditions of their own, as on CPJUMP1.
    """
    wells = wells_of(profiles, condition, rules)
    places = np.array([well_position(well) for well in wells.meta["Metadata_Well"]]).reshape(-1, 2)
    factors = {
        "row": places[:, 0],
        "column": places[:, 1],
        "plate": (wells.meta["Metadata_Batch"] + "/" + wells.meta["Metadata_Plate"]).to_numpy(),
        "batch": wells.meta["Metadata_Batch"].to_numpy(),
        # All negative controls are one treatment, whatever they are made of.
        "treatment": wells.meta["Metadata_broad_sample"].where(~wells.is_negative_control, "negcon").to_numpy(),
    }
    tables = []
    for name, chosen in (("all", wells.finite), ("negcon", wells.finite & wells.is_negative_control)):
        for factor, levels in factors.items():
            codes = pd.factorize(levels[chosen])[0]
            n, k = len(codes), len(set(codes))
            if not 1 < k < n:
                continue
            explained = explained_variance(wells.features[chosen], codes)
            tables.append(
                pd.DataFrame(
                    {
                        "wells": name,
                        "factor": factor,
                        "feature": wells.names,
                        "n_wells": n,
                        "n_levels": k,
                        "explained": explained,
                        "adjusted": 1 - (1 - explained) * (n - 1) / (n - k),
                    }
                )
            )
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["wells", "factor", "feature"])
    return {"variance": named(table, condition.columns()).assign(mode=rules.mode)}


def explained_variance(features: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Share of each column's variance that lies between groups; NaN for a constant column.

    features: (rows, columns); codes: the group of each row, 0..k-1.
    """
    centred = features - features.mean(axis=0)
    sums = np.zeros((codes.max() + 1, features.shape[1]))
    np.add.at(sums, codes, centred)
    between = (sums**2 / np.bincount(codes)[:, None]).sum(axis=0)
    total = (centred**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, between / total, np.nan)
