"""Sister matching (Fig. 4b): do perturbations of the same gene look alike?

Only perturbations that detection retrieved in the condition; each is its consensus profile, the median of its wells.
Compounds: a class is a gene of their target lists; positives share it, negatives share no gene at all with the
query; |cosine|, for a compound may act against the gene. Genetic reagents: a class is a gene; cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.scores.drawing import boxes
from pipeline.scores.genes import (
    genes_of,
    incidence,
    is_compound,
    left_out_table,
    members_of,
    query_table,
    retrieved,
)
from pipeline.scores.precision import average_precisions
from pipeline.scores.retrieval import coin, named
from pipeline.scores.rules import Rules
from pipeline.scores.score import CONTROLS, GENES, Drawing, Score, Tables, Unit
from pipeline.scores.significance import judge
from pipeline.screen.columns import UNDOSED


def sisters(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """Of one condition: `sisters`, one row a gene with at least two retrieved perturbations; `sisters_left_out`, one
    row a gene with a single one, whose `n_queries` have no positive.

    `merged_label` joins the genes hit by exactly the same perturbations: their rows repeat each other, and
    `fraction_retrieved(sisters.drop_duplicates(...))` on it counts them once.
    """
    (condition,) = unit
    perturbations = retrieved(profiles, condition, rules, tables["detection"])
    genes = genes_of(perturbations.meta)
    everyone = members_of(genes)
    # Doses of one sample are no sisters of each other.
    samples = perturbations.meta[UNDOSED].to_numpy()
    members = {gene: rows for gene, rows in everyone.items() if len(set(samples[rows])) > 1}
    alone = {gene: len(rows) for gene, rows in everyone.items() if gene not in members}
    if not is_compound(condition):
        # The paper leaves out genes with a single guide, as positives and as negatives.
        paired = np.array([any(gene in members for gene in mine) for mine in genes], dtype=bool)
        perturbations, genes = (
            perturbations.take(paired),
            [mine for mine, keep in zip(genes, paired, strict=True) if keep],
        )
        members = members_of(genes)
        samples = perturbations.meta[UNDOSED].to_numpy()
    shares = incidence(genes)
    unrelated = ~(shares @ shares.T)

    labels, queries, positives, negatives = [], [], [], []
    for gene, rows in members.items():
        for i in rows:
            labels.append(gene)
            queries.append(i)
            positives.append(rows[samples[rows] != samples[i]])
            negatives.append(np.flatnonzero(unrelated[i]))
    precision = average_precisions(
        perturbations.features,
        queries,
        positives,
        negatives,
        absolute=is_compound(condition),
        ties=rules.ties,
        rng=coin(rules, condition),
    )
    _, classes = judge(query_table(labels, positives, negatives, precision), rules, by=["label"])
    same_members: dict[tuple[int, ...], list[str]] = {}
    for gene, rows in sorted(members.items()):
        same_members.setdefault(tuple(rows), []).append(gene)
    merged = {gene: "|".join(group) for group in same_members.values() for gene in group}
    classes["merged_label"] = classes["label"].map(merged)
    left_out = left_out_table(alone, "no other retrieved perturbation of the gene", rules)
    front = condition.columns()
    return {"sisters": named(classes, front), "sisters_left_out": named(left_out, front)}


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """As Fig. 4b: mAP of each gene among perturbations of one modality."""
    by = {"modality": "", "timepoint": ""}
    return {"sisters": Drawing(boxes(tables["sisters"], by, "Sister matching", "mAP within a gene"), ("sisters",))}


SCORE = Score(
    question="Do perturbations of one gene look alike? (Fig. 4b)",
    rows={"sisters": "gene", "sisters_left_out": "gene that is no class, for want of a second perturbation"},
    compute=sisters,
    needs=("detection",),
    wants=(CONTROLS, GENES),
    figures=figures,
)
