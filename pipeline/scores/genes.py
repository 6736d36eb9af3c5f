"""Perturbations by their genes: who shares one with whom, and the lists that follow from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.scores.rules import Rules
from pipeline.scores.wells import Consensus, wells_of
from pipeline.screen.columns import GENE, MODALITY, SAMPLE, TARGETS, short
from pipeline.screen.conditions import Condition


def genes_of(meta: pd.DataFrame) -> list[frozenset[str]]:
    """The genes each row stands for: its target list, or where it has none, its gene."""
    listed = meta[TARGETS].where(meta[TARGETS] != "", meta[GENE])
    return [frozenset(gene.strip() for gene in genes.split("|") if gene.strip()) for genes in listed]


def is_compound(condition: Condition) -> bool:
    return condition.get(short(MODALITY)).lower() == "compound"


def retrieved(profiles: pd.DataFrame, condition: Condition, rules: Rules, detection: pd.DataFrame) -> Consensus:
    """Consensus profiles, one row a perturbation that detection retrieved in this condition."""
    kept = detection.loc[condition.rows(detection, called=str) & detection["retrieved"], "label"]
    wells = wells_of(profiles, condition, rules)
    return wells.consensus(SAMPLE, keep=wells.meta[SAMPLE].isin(kept).to_numpy())


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
