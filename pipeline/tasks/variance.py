"""How much of each feature's variance goes with row, column, plate, batch and treatment: a look at any screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.scores.drawing import NULL, box, canvas, entitle, main_conditions
from pipeline.scores.retrieval import named
from pipeline.scores.rules import Rules
from pipeline.scores.score import Drawing, Score, Tables, Unit
from pipeline.scores.wells import Wells, wells_of
from pipeline.screen import well_position
from pipeline.screen.columns import BATCH, NEGCON, PLATE, SAMPLE, WELL


def variance(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`variance`: one row a feature, factor and set of wells ("all", or "negcon": negative controls) of one condition.

    `explained` is the one-way share (between-level sum of squares over total), `adjusted` the same less what as many
    random levels would explain (epsilon squared). Where every sample has a place of its own, treatment and position
    cannot be told apart in all wells; row and column among the negative controls have no treatment in them.
    A factor with one level in the condition, or with as many as wells, is not estimable and left out: so `batch` where
    plates of another batch are conditions of their own, as on CPJUMP1.
    """
    (condition,) = unit
    wells = wells_of(profiles, condition, rules)
    factors = _factors(wells)
    found = []
    for name, chosen in (("all", wells.finite), (NEGCON, wells.finite & wells.is_negative_control)):
        for factor, levels in factors.items():
            codes = pd.factorize(levels[chosen])[0]
            n, k = len(codes), len(set(codes))
            if not 1 < k < n:
                continue
            explained = explained_variance(wells.features[chosen], codes)
            about = {"wells": name, "factor": factor, "feature": wells.names, "n_wells": n, "n_levels": k}
            adjusted = 1 - (1 - explained) * (n - 1) / (n - k)
            found.append(pd.DataFrame({**about, "explained": explained, "adjusted": adjusted}))
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["wells", "factor", "feature"])
    return {"variance": named(table, condition.columns()).assign(mode=rules.mode)}


def _factors(wells: Wells) -> dict[str, np.ndarray]:
    places = np.array([well_position(well) for well in wells.meta[WELL]]).reshape(-1, 2)
    return {
        "row": places[:, 0],
        "column": places[:, 1],
        "plate": (wells.meta[BATCH] + "/" + wells.meta[PLATE]).to_numpy(),
        "batch": wells.meta[BATCH].to_numpy(),
        # All negative controls are one treatment, whatever they are made of.
        "treatment": wells.meta[SAMPLE].where(~wells.is_negative_control, NEGCON).to_numpy(),
    }


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


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """Share of each feature's variance that goes with a factor, over all features and conditions."""
    variance = main_conditions(tables["variance"])
    groups = list(variance.groupby(["wells", "factor"], sort=False)["adjusted"])
    figure = canvas(0.8 * len(groups) + 1.5, 3.6)
    panel = figure.subplots()
    colours = ["#0072B2" if key[0] == "all" else NULL for key, _ in groups]
    box(panel, [values.dropna() for _, values in groups], colours)
    panel.set_xticks(range(len(groups)), [f"{factor}\n({wells})" for (wells, factor), _ in groups], fontsize=8)
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set_ylabel("Share of a feature's variance\n(less what chance explains)")
    entitle(figure, "Variance of features that goes with row, column, plate, batch and treatment", variance)
    return {"variance": Drawing(figure, ("variance",))}


SCORE = Score(
    question="What goes with row, column, plate, batch, treatment?",
    rows={"variance": "feature and factor"},
    compute=variance,
    figures=figures,
)
