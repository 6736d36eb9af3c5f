"""How many classes there are and how many are retrieved (Supplementary Table 2)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, Score, Tables, Unit, together
from pipeline.scores.significance import condition_columns, fraction_retrieved
from pipeline.scores.summaries import overview, plain
from pipeline.tasks._supplement import NAMES, place


def counts(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`counts`: `overview` of the tasks of Supplementary Table 2 with the paper's names of tasks and conditions.

    `..._merged`: the same with genes counted once that are hit by exactly the same perturbations.
    """
    tables = {name: table for name, table in tables.items() if name.removesuffix("_left_out") in NAMES}
    whole = overview(tables, NAMES)
    parts = []
    for task, table in whole.groupby("task", sort=False):
        by = condition_columns(tables[str(task)])
        if "merged_label" in tables[str(task)]:
            once = plain(tables[str(task)]).drop_duplicates([*by, "merged_label"])
            merged = fraction_retrieved(once, by).set_index(by)
            table = table.join(merged[["n_classes", "n_retrieved"]].add_suffix("_merged"), on=by)
        parts.append(table.assign(condition=[place(row)["condition"] for row in table[by].to_dict("records")]))
    if not parts:
        return {}
    table = pd.concat(parts, ignore_index=True)
    table["task"] = table["task"].map({name: names[1] for name, names in NAMES.items()})
    table.insert(1, "condition", table.pop("condition"))
    return {"counts": table.assign(mode=rules.mode)}


SCORE = Score(
    question="How many classes are there, and how many are retrieved? (Supplementary Table 2)",
    rows={"counts": "task and condition"},
    compute=counts,
    units=together,
    needs=tuple(NAMES),
    wants=(CONTROLS,),
)
