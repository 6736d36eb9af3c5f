"""Sister matching (Fig. 4b): do perturbations of the same gene look alike?

Only perturbations that detection retrieved in the condition; each is its consensus profile, the median of its wells.
Compounds: a class is a gene of their target lists; positives share it, negatives share no gene at all with the
query; |cosine|, for a compound may act against the gene. Genetic reagents: a class is a gene; cosine.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.scores.detection import coin, named
from pipeline.scores.precision import average_precisions
from pipeline.scores.rules import Rules
from pipeline.scores.significance import judge
from pipeline.scores.wells import Condition, Consensus, genes_of, is_compound, text_of, wells_of


def sisters(
    profiles: pd.DataFrame, condition: Condition, rules: Rules, detection: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Of one condition: `sisters`, one row a gene with at least two retrieved perturbations; `sisters_left_out`, one
    row a gene with a single one, whose `n_queries` have no positive.

    `merged_label` joins the genes hit by exactly the same perturbations: their rows repeat each other, and
    `fraction_retrieved(sisters.drop_duplicates(...))` on it counts them once.
    """
    perturbations = retrieved(profiles, condition, rules, detection)
    genes = genes_of(perturbations.meta)
    everyone = members_of(genes)
    # Doses of one sample are no sisters of each other.
    samples = perturbations.meta["Metadata_sample"].to_numpy()
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
        samples = perturbations.meta["Metadata_sample"].to_numpy()
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


def retrieved(profiles: pd.DataFrame, condition: Condition, rules: Rules, detection: pd.DataFrame) -> Consensus:
    """Consensus profiles, one row a perturbation that detection retrieved in this condition."""
    parts = condition._asdict().items()
    mine = np.logical_and.reduce([text_of(detection, name) == value for name, value in parts])
    kept = detection.loc[mine & detection["retrieved"], "label"]
    wells = wells_of(profiles, condition, rules)
    return wells.consensus("Metadata_broad_sample", keep=wells.meta["Metadata_broad_sample"].isin(kept).to_numpy())


def members_of(genes: list[frozenset[str]]) -> dict[str, np.ndarray]:
    """gene -> the rows that have it, genes sorted."""
    rows: dict[str, list[int]] = {}
    for row, mine in enumerate(genes):
        for gene in mine:
            rows.setdefault(gene, []).append(row)
    return {gene: np.array(rows[gene]) for gene in sorted(rows)}


def incidence(genes: list[frozenset[str]], columns: list[str] | None = None) -> np.ndarray:
    """Boolean (rows, genes): which row has which gene; `columns` defaults to all genes, sorted."""
    columns = sorted(set().union(*genes)) if columns is None else columns
    at = {gene: i for i, gene in enumerate(columns)}
    matrix = np.zeros((len(genes), len(columns)), dtype=bool)
    for row, mine in enumerate(genes):
        matrix[row, [at[gene] for gene in mine if gene in at]] = True
    return matrix


def query_table(
    labels: list[str], positives: list[np.ndarray], negatives: list[np.ndarray], precision: np.ndarray
) -> pd.DataFrame:
    """The table `judge` reads, from lists with one item a query."""
    n_positives = np.array([len(rows) for rows in positives], dtype=int)
    n_negatives = np.array([len(rows) for rows in negatives], dtype=int)
    return pd.DataFrame(
        {
            "label": np.array(labels, dtype=object),
            "n_positives": n_positives,
            "n_candidates": n_positives + n_negatives,
            "average_precision": precision,
        }
    )


def left_out_table(genes: Mapping[str, int], why: str, rules: Rules) -> pd.DataFrame:
    """One row a gene that is no class for want of positives: the queries it would have had, and why it is none."""
    table = pd.DataFrame({"label": sorted(genes), "n_queries": [genes[gene] for gene in sorted(genes)]})
    return table.astype({"label": object, "n_queries": int}).assign(why=why, mode=rules.mode)
