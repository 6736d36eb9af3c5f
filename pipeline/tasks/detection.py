"""Perturbation detection (Fig. 4a): do a perturbation's replicates look more like each other than like controls?

Query: every well with a perturbation that is not a negative control. Positives: the other wells of the same
perturbation in the condition, on any plate and in any position. Negatives: the negative controls of the query's own
plate. Cosine similarity. Class: the perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.scores.coverage import missing_of
from pipeline.scores.drawing import boxes
from pipeline.scores.retrieval import named, retrieve
from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, Drawing, Score, Tables, Unit
from pipeline.scores.significance import judge
from pipeline.scores.wells import Wells, wells_of
from pipeline.screen.columns import DOSE, PLATE_KEY, SAMPLE, UNDOSED


def detection(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`detection`, one row a perturbation, and `detection_wells`, one row a query, of one condition.

    `n_plates`: plates that have profiles; `n_plates_missing`, `n_wells_missing`: see `coverage`. Where a sample stands
    in several doses, `sample` and `dose` are the parts of `label`.
    """
    (condition,) = unit
    wells = wells_of(profiles, condition, rules)
    queries = retrieve(wells, np.flatnonzero(wells.is_query), wells.meta[SAMPLE].to_numpy(), None, rules, condition)
    queries, classes = judge(queries, rules, by=["label"])
    # How many features took part: those not finite somewhere in the condition did not.
    classes["n_features"] = len(wells.names)
    classes["n_features_not_finite"] = wells.n_not_finite
    classes["n_features_too_large"] = len(wells.too_large)
    classes["n_plates"] = len(wells.meta[PLATE_KEY].drop_duplicates())
    for name, count in missing_of(profiles, condition).items():
        classes[name] = pd.array([count] * len(classes), dtype="Int64")
    classes = _with_doses(classes, wells)
    return {"detection": named(classes, condition.columns()), "detection_wells": named(queries, condition.columns())}


def _with_doses(classes: pd.DataFrame, wells: Wells) -> pd.DataFrame:
    if (wells.meta[DOSE] == "").all():
        return classes
    parts = wells.meta.drop_duplicates(SAMPLE).set_index(SAMPLE)
    return classes.assign(sample=classes["label"].map(parts[UNDOSED]), dose=classes["label"].map(parts[DOSE]))


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """As Fig. 4a: mAP of each perturbation by modality and time point, a panel a cell type."""
    by = {"modality": "", "timepoint": ""}
    figure = boxes(tables["detection"], by, "Perturbation detection", "mAP of replicates")
    return {"detection": Drawing(figure, ("detection",))}


SCORE = Score(
    question="Do replicates look more like each other than like the controls of their plate? (Fig. 4a)",
    rows={"detection": "perturbation", "detection_wells": "well"},
    compute=detection,
    wants=(CONTROLS,),
    figures=figures,
)
