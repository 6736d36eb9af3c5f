"""Gene-compound matching (Fig. 4c): do a compound and a genetic perturbation of its target look alike?

Retrieved compounds with a target among the retrieved reagents of one genetic condition, and those reagents, as
consensus profiles. A class is a gene. Queries of both kinds: a compound, whose positives are the gene's reagents, and
a reagent, whose positives are the compounds that list the gene. Negatives: the other kind, sharing no gene with the
query. |cosine|, for inhibitor and overexpression may be opposites.

Published, the negatives are all of the other kind: compounds carry lists of genes and reagents plain text, which the
authors' code compared letter by letter and found nothing shared, so that every positive is a negative too.
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
from pipeline.scores.score import BOTH_KINDS, CONTROLS, GENES, Drawing, Score, Tables, Unit
from pipeline.scores.significance import judge
from pipeline.scores.wells import common_features
from pipeline.screen.columns import GENE
from pipeline.screen.conditions import Condition
from pipeline.screen.spelling import text_of

#: In what a compound condition and a genetic one may differ: what it was treated with, and for how long.
FREE = ("modality", "timepoint")


def pairings(found: list[Condition]) -> list[tuple[Condition, ...]]:
    """Every compound condition with every genetic one that agrees with it in all but FREE (cell type, variant, ...)."""
    return [
        (compound, genetic)
        for compound in found
        for genetic in found
        if is_compound(compound) and not is_compound(genetic) and compound.but(*FREE) == genetic.but(*FREE)
    ]


def gene_compound(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """Of one pairing (a compound condition, a genetic condition): `gene_compound`, one row a gene with retrieved
    perturbations of both kinds; `gene_compound_left_out`, one row a gene of the reagents with those of one kind alone,
    whose `n_queries` have no positive.
    """
    compound_condition, genetic_condition = unit
    compounds = retrieved(profiles, compound_condition, rules, tables["detection"])
    reagents = retrieved(profiles, genetic_condition, rules, tables["detection"])
    genes = sorted(set().union(*genes_of(reagents.meta)))
    of_screen = set(text_of(profiles, GENE)[genetic_condition.rows(profiles)])
    listed = {gene: len(rows) for gene, rows in members_of(genes_of(compounds.meta)).items() if gene in of_screen}
    carried = {gene: len(rows) for gene, rows in members_of(genes_of(reagents.meta)).items()}
    left_out = pd.concat(
        [
            left_out_table(_without(listed, carried), "no retrieved reagent of the gene", rules),
            left_out_table(_without(carried, listed), "no retrieved compound that lists the gene", rules),
        ],
        ignore_index=True,
    )
    targeting = incidence(genes_of(compounds.meta), genes).any(axis=1)
    compounds = compounds.take(np.asarray(targeting))
    shares = incidence(genes_of(compounds.meta), genes)
    carries = incidence(genes_of(reagents.meta), genes)
    related = shares @ carries.T
    barred = np.zeros_like(related) if rules.published else related

    labels, queries, positives, negatives = _lists(genes, shares, carries, barred)
    names = common_features(compounds, reagents)
    precision = average_precisions(
        np.vstack([compounds.on(names), reagents.on(names)]),
        queries,
        positives,
        negatives,
        absolute=True,
        ties=rules.ties,
        rng=coin(rules, *unit),
    )
    _, classes = judge(query_table(labels, positives, negatives, precision), rules, by=["label"])
    front = {
        "modality": genetic_condition.get("modality"),
        **compound_condition.but(*FREE, "variant"),
        "compound_timepoint": compound_condition.get("timepoint"),
        "gene_timepoint": genetic_condition.get("timepoint"),
    }
    if compound_condition.variant:
        front["variant"] = compound_condition.variant
    return {"gene_compound": named(classes, front), "gene_compound_left_out": named(left_out, front)}


def _lists(
    genes: list[str], shares: np.ndarray, carries: np.ndarray, barred: np.ndarray
) -> tuple[list[str], list[int], list[np.ndarray], list[np.ndarray]]:
    """Gene, row, positives and negatives of each query, where the reagents' rows come after the compounds'.

    shares: boolean (compounds, genes); carries: (reagents, genes); barred: (compounds, reagents), those that are no
    negatives of each other.
    """
    first_reagent = len(shares)
    labels: list[str] = []
    queries: list[int] = []
    positives: list[np.ndarray] = []
    negatives: list[np.ndarray] = []
    for column, gene in enumerate(genes):
        hit_by, carried_by = np.flatnonzero(shares[:, column]), np.flatnonzero(carries[:, column])
        if not len(hit_by):
            continue
        for i in hit_by:
            labels.append(gene)
            queries.append(int(i))
            positives.append(first_reagent + carried_by)
            negatives.append(first_reagent + np.flatnonzero(~barred[i]))
        for j in carried_by:
            labels.append(gene)
            queries.append(int(first_reagent + j))
            positives.append(hit_by)
            negatives.append(np.flatnonzero(~barred[:, j]))
    return labels, queries, positives, negatives


def _without(genes: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return {gene: count for gene, count in genes.items() if gene not in others}


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """As Fig. 4c: mAP of each gene between compounds and reagents, for all combinations of time points."""
    by = {"modality": "", "compound_timepoint": "compound ", "gene_timepoint": "reagent "}
    figure = boxes(tables["gene_compound"], by, "Gene-compound matching", "mAP of compounds and reagents")
    return {"gene_compound": Drawing(figure, ("gene_compound",))}


SCORE = Score(
    question="Do a compound and a reagent of its target look alike? (Fig. 4c)",
    rows={
        "gene_compound": "gene",
        "gene_compound_left_out": "gene that is no class, for want of a perturbation of the other kind",
    },
    compute=gene_compound,
    units=pairings,
    needs=("detection",),
    wants=(CONTROLS, GENES, BOTH_KINDS),
    figures=figures,
)
