"""Position effects (Extended Data Fig. 1): do replicates match because they share a perturbation or a well position?

As detection, but positives are split: `same`, replicates in the query's own well position; `different`, replicates in
other positions. Only perturbations that stand in more than one position are asked (the paper: ORFs).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scores.detection import named, retrieve
from pipeline.scores.rules import Rules
from pipeline.scores.significance import judge
from pipeline.scores.wells import Condition, wells_of


def positions(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> dict[str, pd.DataFrame]:
    """`positions`, one row a class and `position` ("same", "different"), of one condition.

    A class is a perturbation. Published, a class of `same` is a perturbation in one well (`label` "sample, well"), so
    that its fractions are of twice as many classes as those of `different`.
    """
    wells = wells_of(profiles, condition, rules)
    sample, well = wells.meta["Metadata_broad_sample"], wells.meta["Metadata_Well"]
    in_place = sample + ", " + well
    moves = (well.groupby(sample).transform("nunique") > 1).to_numpy()
    queries = np.flatnonzero(wells.is_query & moves)
    tables = []
    groups = {"same": (in_place.to_numpy(), None), "different": (sample.to_numpy(), well.to_numpy())}
    for position, (same, different) in groups.items():
        table = retrieve(wells, queries, same, different, rules, condition)
        if rules.published and position == "same":
            table["label"] = in_place[queries].to_numpy()
        _, classes = judge(table, rules, by=["label"])
        tables.append(named(classes, {**condition.columns(), "position": position}))
    return {"positions": pd.concat(tables, ignore_index=True)}
