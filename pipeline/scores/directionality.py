"""Directionality (Fig. 5a, 5b; Supplementary Tables 3 to 6): do two perturbations of a gene point the same way?

Per cell type, consensus profiles without any filter on activity: compounds by sample, genes by gene (all guides and
replicates in one median); all combinations of time points. Signed cosine of the pairs that share a gene, against the
null of pairs that do not: how many lie at or beyond the null's 5th and 95th percentiles.

Comparisons: "orf-crispr" (5a), "compound-crispr" and "compound-orf" (5b), in the screen's words for modalities; also in
`modality`, the column that every score table has.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact

from pipeline.scores.precision import cosine
from pipeline.scores.rules import Rules
from pipeline.scores.sisters import incidence
from pipeline.scores.wells import Condition, Consensus, common_features, genes_of, is_compound, wells_of

#: Edges of the histogram in which a null is kept, for figures.
BINS = np.linspace(-1, 1, 201)

#: A time point of rows in which all combinations are pooled, as in the paper.
POOLED = "all"

#: Pairs at each end of Supplementary Tables 5 and 6.
EXTREMES = 10


class Cosines(NamedTuple):
    """Cosines of the pairs that share a gene (`true`, described by `pairs`, a row each) and of those that do not."""

    true: np.ndarray
    null: np.ndarray
    pairs: pd.DataFrame


def by_cell_type(found: list[Condition]) -> list[tuple[Condition, ...]]:
    groups: dict[tuple[str, str], list[Condition]] = {}
    for condition in found:
        groups.setdefault((condition.cell_type, condition.variant), []).append(condition)
    return [tuple(group) for group in groups.values()]


def directionality(profiles: pd.DataFrame, conditions: tuple[Condition, ...], rules: Rules) -> dict[str, pd.DataFrame]:
    """Of one cell type: `directionality`, one row a comparison and combination of time points, "all" for the pooled;
    `directionality_pairs`, one row a pair that shares a gene; `directionality_null`, histograms of the pooled nulls.
    """
    consensus = {condition: _consensus(profiles, condition, rules) for condition in conditions}
    compound = sorted({c.modality for c in conditions if is_compound(c)})
    genetic = sorted({c.modality for c in conditions if not is_compound(c)}, reverse=True)
    cell = {"cell_type": conditions[0].cell_type}
    if conditions[0].variant:
        cell["variant"] = conditions[0].variant

    summaries, pairs, nulls, of_compounds = [], [], [], []
    for first, second in combinations(compound + genetic, 2):
        parts = {
            (a, b): cosines(consensus[a], consensus[b], rules)
            for a in conditions
            for b in conditions
            if (a.modality, b.modality) == (first, second)
        }
        # `modality`, as every score table has it, is here the pair of them.
        name = {"modality": f"{first}-{second}", **cell, "comparison": f"{first}-{second}"}
        pooled = pool(parts.values())
        if first in compound:
            of_compounds.append(pooled)
        summaries.append({**name, **_times(first in compound, POOLED, POOLED), **summary(pooled)})
        for (a, b), part in parts.items():
            times = _times(first in compound, a.timepoint, b.timepoint)
            summaries.append({**name, **times, **summary(part)})
            percentile = np.searchsorted(np.sort(pooled.null), part.true) / max(len(pooled.null), 1) * 100
            pairs.append(
                pd.DataFrame({**name, **times, "percentile": percentile}, index=part.pairs.index).join(part.pairs)
            )
        counts, _ = np.histogram(pooled.null, BINS)
        nulls.append(pd.DataFrame({**name, "from": BINS[:-1], "to": BINS[1:], "count": counts}))
    if rules.published and of_compounds:
        # The authors looped over the cell types of the ORF-CRISPR table and took the numbers from the other one.
        misprint = summary(pool(of_compounds))
        for row in summaries:
            if row["gene_timepoint"] == POOLED and not row["compound_timepoint"]:
                row.update(misprint)
    return {
        "directionality": pd.DataFrame(summaries).assign(mode=rules.mode),
        "directionality_pairs": pd.concat(pairs or [pd.DataFrame()], ignore_index=True).assign(mode=rules.mode),
        "directionality_null": pd.concat(nulls or [pd.DataFrame()], ignore_index=True).assign(mode=rules.mode),
    }


def cosines(first: Consensus, second: Consensus, rules: Rules) -> Cosines:
    """All cosines of `first` (compounds, or genes) against `second` (genes, one row each).

    The null is every pair that shares no gene, of rows with a gene among the others. Published, it is one row for
    each (compound, target): a compound of k targets counts k times, each time with its k - 1 other targets in the null.
    """
    names = common_features(first, second)
    similarity = cosine(first.on(names), second.on(names))
    genes = second.meta["Metadata_gene"].tolist()
    shares = incidence(genes_of(first.meta), genes)
    row, column = np.nonzero(shares)
    if rules.published:
        null = similarity[row][np.arange(len(genes)) != column[:, None]]
    else:
        null = similarity[shares.any(axis=1)][~shares[shares.any(axis=1)]]
    meta = first.meta.iloc[row].reset_index(drop=True)
    pairs = pd.DataFrame(
        {
            "label": [genes[i] for i in column],
            "broad_sample": meta["Metadata_broad_sample"],
            "pert_iname": meta["Metadata_pert_iname"],
            "cosine": similarity[row, column],
        }
    )
    return Cosines(similarity[row, column], null, pairs)


def pool(parts: Iterable[Cosines]) -> Cosines:
    parts = list(parts)
    true, null = (np.concatenate([getattr(part, name) for part in parts]) for name in ("true", "null"))
    return Cosines(true, null, pd.DataFrame())


def summary(part: Cosines) -> dict[str, float]:
    """Thresholds, counts and tests of one set of pairs.

    `odds_ratio` and `p`: the paper's Fisher test, of the share above against the share below. Its two rows are the
    same pairs, and pooled combinations of time points repeat the pairs; so also `p_sign`, a binomial test of above
    against below, and `p_above`, `p_below`: Fisher's test of the pairs against the null, beyond each threshold.
    """
    n, n_null = len(part.true), len(part.null)
    if not n or not n_null:
        return {"n": n, "n_null": n_null}
    low, high = np.quantile(part.null, [0.05, 0.95])
    below, above = int((part.true <= low).sum()), int((part.true >= high).sum())
    null_below, null_above = int((part.null <= low).sum()), int((part.null >= high).sum())
    test = fisher_exact([[n - below, below], [n - above, above]])
    return {
        "n": n,
        "n_null": n_null,
        "threshold_low": low,
        "threshold_high": high,
        "n_below": below,
        "n_above": above,
        "percent_below": 100 * below / n,
        "percent_above": 100 * above / n,
        "odds_ratio": test.statistic,
        "p": test.pvalue,
        "p_sign": binomtest(above, above + below).pvalue if above + below else 1.0,
        "p_below": fisher_exact([[below, n - below], [null_below, n_null - null_below]]).pvalue,
        "p_above": fisher_exact([[above, n - above], [null_above, n_null - null_above]]).pvalue,
    }


def strongest_pairs(pairs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`pairs`: the 10 largest and 10 smallest cosines of compound-gene pairs per cell type (Supplementary Tables 5, 6).

    pairs: the table `directionality_pairs`. Modalities and time points compete, so a pair can stand there repeatedly.
    """
    if "compound_timepoint" not in pairs:
        return {"pairs": pairs.assign(list="")}  # a single modality
    of_compounds = pairs[pairs["compound_timepoint"] != ""]
    tables = []
    by = [name for name in ("cell_type", "variant") if name in pairs]
    for _, group in of_compounds.groupby(by, sort=False, dropna=False):
        ordered = group.sort_values("cosine", kind="stable")
        tables.append(ordered.iloc[::-1].head(EXTREMES).assign(list=f"top{EXTREMES}"))
        tables.append(ordered.head(EXTREMES).iloc[::-1].assign(list=f"bottom{EXTREMES}"))
    table = pd.concat(tables, ignore_index=True) if tables else of_compounds.assign(list="")
    return {"pairs": table[["list", *pairs.columns]]}


def _times(with_compounds: bool, first: str, second: str) -> dict[str, str]:
    if with_compounds:
        return {"compound_timepoint": first, "gene_timepoint": second, "other_gene_timepoint": ""}
    return {"compound_timepoint": "", "gene_timepoint": first, "other_gene_timepoint": second}


def _consensus(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> Consensus:
    by = "Metadata_broad_sample" if is_compound(condition) else "Metadata_gene"
    return wells_of(profiles, condition, rules).consensus(by)
