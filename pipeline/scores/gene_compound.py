"""Gene-compound matching (Fig. 4c): do a compound and a genetic perturbation of its target look alike?

Retrieved compounds with a target among the retrieved reagents of one genetic condition, and those reagents, as
consensus profiles. A class is a gene. Queries of both kinds: a compound, whose positives are the gene's reagents, and
a reagent, whose positives are the compounds that list the gene. Negatives: the other kind, sharing no gene with the
query. |cosine|, for inhibitor and overexpression may be opposites.

Published, the negatives are all of the other kind: compounds carry lists of genes and reagents plain text, which the
authors' code compared letter by letter and found nothing shared, so that every positive is a negative too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.scores.detection import coin, named
from pipeline.scores.precision import average_precisions
from pipeline.scores.rules import Rules
from pipeline.scores.significance import judge
from pipeline.scores.sisters import incidence, left_out_table, members_of, query_table, retrieved
from pipeline.scores.wells import Condition, common_features, genes_of, is_compound, text_of


def pairings(found: list[Condition]) -> list[tuple[Condition, ...]]:
    """Every compound condition with every genetic condition of the same cell type and variant."""
    return [
        (compound, genetic)
        for compound in found
        for genetic in found
        if is_compound(compound) and not is_compound(genetic) and compound[1::2] == genetic[1::2]
    ]


def gene_compound(
    profiles: pd.DataFrame, pairing: tuple[Condition, ...], rules: Rules, detection: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Of one pairing (a compound condition, a genetic condition): `gene_compound`, one row a gene with retrieved
    perturbations of both kinds; `gene_compound_left_out`, one row a gene of the reagents with those of one kind alone,
    whose `n_queries` have no positive.
    """
    compound_condition, genetic_condition = pairing
    compounds = retrieved(profiles, compound_condition, rules, detection)
    reagents = retrieved(profiles, genetic_condition, rules, detection)
    genes = sorted(set().union(*genes_of(reagents.meta)))
    of_screen = set(text_of(profiles, "Metadata_gene")[genetic_condition.rows(profiles)])
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

    first_reagent = len(compounds.meta)
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
    names = common_features(compounds, reagents)
    precision = average_precisions(
        np.vstack([compounds.on(names), reagents.on(names)]),
        queries,
        positives,
        negatives,
        absolute=True,
        ties=rules.ties,
        rng=coin(rules, *pairing),
    )
    _, classes = judge(query_table(labels, positives, negatives, precision), rules, by=["label"])
    front = {
        "modality": genetic_condition.modality,
        "cell_type": compound_condition.cell_type,
        "compound_timepoint": compound_condition.timepoint,
        "gene_timepoint": genetic_condition.timepoint,
    }
    if compound_condition.variant:
        front["variant"] = compound_condition.variant
    return {"gene_compound": named(classes, front), "gene_compound_left_out": named(left_out, front)}


def _without(genes: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return {gene: count for gene, count in genes.items() if gene not in others}
