"""How many targets compounds have, and genes compounds (the supplement's)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.scores.genes import genes_of
from pipeline.scores.rules import Rules
from pipeline.scores.score import GENES, Score, Tables, Unit, together
from pipeline.screen.columns import CONTROL_TYPE, GENE, MODALITY, SAMPLE, TARGETS
from pipeline.screen.spelling import is_negcon, text_of


def gene_family(gene: str) -> str:
    """The gene symbol up to its first digit, as in the paper: ADRA1A and ADRA2B are ADRA."""
    return next((gene[:at] for at, letter in enumerate(gene) if letter.isdigit()), gene)


def polypharmacology(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`polypharmacology`: how many compounds hit how many genes and gene families, and genes how many compounds.

    Targets are cut to the genes that the screen's own reagents perturb, if it has any.
    """
    names = (MODALITY, SAMPLE, CONTROL_TYPE, GENE, TARGETS)
    meta = pd.DataFrame({name: text_of(profiles, name) for name in names}, dtype=object).drop_duplicates()
    meta = meta[~is_negcon(meta) & (meta[SAMPLE] != "")]
    of_compounds = meta[MODALITY].str.lower() == "compound"
    reagent_genes = set().union(*genes_of(meta[~of_compounds]))
    compounds = meta[of_compounds].drop_duplicates(SAMPLE)
    targets = [mine & reagent_genes if reagent_genes else mine for mine in genes_of(compounds)]
    per_gene = pd.Series([gene for mine in targets for gene in mine], dtype=object).value_counts()
    quantities = {
        "genes per compound": [len(mine) for mine in targets],
        "gene families per compound": [len({gene_family(gene) for gene in mine}) for mine in targets],
        "compounds per gene": per_gene.to_list(),
    }
    table = pd.concat([_counted(quantity, values) for quantity, values in quantities.items()], ignore_index=True)
    return {"polypharmacology": table.assign(mode=rules.mode)}


def _counted(quantity: str, values: list[int]) -> pd.DataFrame:
    counts = pd.Series(values, dtype=int).value_counts().sort_index().rename_axis("value").reset_index(name="count")
    percent = 100 * counts["count"] / counts["count"].sum()
    return counts.assign(quantity=quantity, percent=percent)[["quantity", "value", "count", "percent"]]


SCORE = Score(
    question="How many targets has a compound, and how many compounds has a gene? (the supplement's)",
    rows={"polypharmacology": "number"},
    compute=polypharmacology,
    units=together,
    wants=(GENES,),
)
