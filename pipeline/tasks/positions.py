"""Position effects (Extended Data Fig. 1): do replicates match because they share a perturbation or a well position?

As detection, but positives are split: `same`, replicates in the query's own well position; `different`, replicates in
other positions. Only perturbations that stand in more than one position are asked (the paper: ORFs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.scores.drawing import boxes
from pipeline.scores.retrieval import named, retrieve
from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, Drawing, Score, Tables, Unit
from pipeline.scores.significance import judge
from pipeline.scores.wells import wells_of
from pipeline.screen.columns import SAMPLE, WELL


def positions(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`positions`, one row a class and `position` ("same", "different"), of one condition.

    A class is a perturbation. Published, a class of `same` is a perturbation in one well (`label` "sample, well"), so
    that its fractions are of twice as many classes as those of `different`.
    """
    (condition,) = unit
    wells = wells_of(profiles, condition, rules)
    sample, well = wells.meta[SAMPLE], wells.meta[WELL]
    in_place = sample + ", " + well
    moves = (well.groupby(sample).transform("nunique") > 1).to_numpy()
    queries = np.flatnonzero(wells.is_query & moves)
    found = []
    groups = {"same": (in_place.to_numpy(), None), "different": (sample.to_numpy(), well.to_numpy())}
    for position, (same, different) in groups.items():
        table = retrieve(wells, queries, same, different, rules, condition)
        if rules.published and position == "same":
            table["label"] = in_place[queries].to_numpy()
        _, classes = judge(table, rules, by=["label"])
        found.append(named(classes, {**condition.columns(), "position": position}))
    return {"positions": pd.concat(found, ignore_index=True)}


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """As Extended Data Fig. 1: mAP of replicates in the query's own well position and in other positions."""
    by = {"modality": "", "timepoint": "", "position": ""}
    title = "Replicates in the same and in different well positions"
    return {"positions": Drawing(boxes(tables["positions"], by, title, "mAP of replicates"), ("positions",))}


SCORE = Score(
    question="Do replicates match in the same well position more than in others? (ED Fig. 1)",
    rows={"positions": "perturbation and position"},
    compute=positions,
    wants=(CONTROLS,),
    figures=figures,
)
