"""Directionality (Fig. 5a, 5b; Supplementary Tables 3 to 6): do two perturbations of a gene point the same way?

Per cell type, consensus profiles without any filter on activity: compounds by sample, genes by gene (all guides and
replicates in one median); all combinations of time points. Signed cosine of the pairs that share a gene, against the
null of pairs that do not: how many lie at or beyond the null's 5th and 95th percentiles.

Comparisons: "orf-crispr" (5a), "compound-crispr" and "compound-orf" (5b), in the screen's words for modalities; also in
`modality`, the column that every score table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact

from pipeline.scores.drawing import (
    COLOURS,
    NULL,
    OTHER,
    canvas,
    entitle,
    main_conditions,
    where,
    with_panels,
    word,
)
from pipeline.scores.genes import genes_of, incidence, is_compound
from pipeline.scores.precision import cosine
from pipeline.scores.rules import Rules
from pipeline.scores.score import GENES, TWO_MODALITIES, Drawing, Score, Tables, Unit
from pipeline.scores.wells import Consensus, common_features, wells_of
from pipeline.screen.columns import GENE, SAMPLE, SAMPLE_NAME
from pipeline.screen.conditions import Condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Edges of the histogram in which a null is kept, for figures.
BINS = np.linspace(-1, 1, 201)

#: A time point of rows in which all combinations are pooled, as in the paper.
POOLED = "all"

#: Time point of a compound -> its marker.
TIMES = {"short": "o", "long": "^"}

#: Fewer pairs than this are shown one by one, too.
FEW = 100


class Cosines(NamedTuple):
    """Cosines of the pairs that share a gene (`true`, described by `pairs`, a row each) and of those that do not."""

    true: np.ndarray
    null: np.ndarray
    pairs: pd.DataFrame


def by_cell_type(found: list[Condition]) -> list[Unit]:
    """Conditions that agree in all but modality and time point."""
    groups: dict[tuple[tuple[str, str], ...], list[Condition]] = {}
    for condition in found:
        groups.setdefault(tuple(condition.but("modality", "timepoint").items()), []).append(condition)
    return [tuple(group) for group in groups.values()]


def directionality(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """Of one cell type: `directionality`, one row a comparison and combination of time points, "all" for the pooled;
    `directionality_pairs`, one row a pair that shares a gene; `directionality_null`, histograms of the pooled nulls.
    """
    consensus = {condition: _consensus(profiles, condition, rules) for condition in unit}
    compound = sorted({condition.get("modality") for condition in unit if is_compound(condition)})
    genetic = sorted({condition.get("modality") for condition in unit if not is_compound(condition)}, reverse=True)
    compared = [_compared(consensus, one, other, rules) for one, other in combinations(compound + genetic, 2)]
    summaries = [row for comparison in compared for row in comparison.summaries]
    of_compounds = [comparison.pooled for comparison in compared if comparison.modalities[0] in compound]
    if rules.published and of_compounds:
        # The authors looped over the cell types of the ORF-CRISPR table and took the numbers from the other one.
        misprint = summary(pool(of_compounds))
        for row in summaries:
            if row["gene_timepoint"] == POOLED and not row["compound_timepoint"]:
                row.update(misprint)
    pairs = [table for comparison in compared for table in comparison.pairs] or [pd.DataFrame()]
    nulls = [comparison.null for comparison in compared] or [pd.DataFrame()]
    return {
        "directionality": pd.DataFrame(summaries).assign(mode=rules.mode),
        "directionality_pairs": pd.concat(pairs, ignore_index=True).assign(mode=rules.mode),
        "directionality_null": pd.concat(nulls, ignore_index=True).assign(mode=rules.mode),
    }


class Comparison(NamedTuple):
    """Two modalities compared: rows of `directionality`, tables of `directionality_pairs` (one a combination of time
    points), the rows of `directionality_null`, and all cosines.
    """

    modalities: tuple[str, str]
    summaries: list[dict[str, Any]]
    pairs: list[pd.DataFrame]
    null: pd.DataFrame
    pooled: Cosines


def _compared(consensus: Mapping[Condition, Consensus], first: str, second: str, rules: Rules) -> Comparison:
    parts = {
        (a, b): cosines(consensus[a], consensus[b], rules)
        for a in consensus
        for b in consensus
        if (a.get("modality"), b.get("modality")) == (first, second)
    }
    # `modality`, as every score table has it, is here the pair of them.
    cell = next(iter(consensus)).but("modality", "timepoint")
    name = {"modality": f"{first}-{second}", **cell, "comparison": f"{first}-{second}"}
    with_compounds = any(is_compound(a) for a, _ in parts)
    pooled = pool(parts.values())
    summaries = [{**name, **_times(with_compounds, POOLED, POOLED), **summary(pooled)}]
    pairs = []
    for (a, b), part in parts.items():
        times = _times(with_compounds, a.get("timepoint"), b.get("timepoint"))
        summaries.append({**name, **times, **summary(part)})
        percentile = np.searchsorted(np.sort(pooled.null), part.true) / max(len(pooled.null), 1) * 100
        pairs.append(pd.DataFrame({**name, **times, "percentile": percentile}, index=part.pairs.index).join(part.pairs))
    counts, _ = np.histogram(pooled.null, BINS)
    null = pd.DataFrame({**name, "from": BINS[:-1], "to": BINS[1:], "count": counts})
    return Comparison((first, second), summaries, pairs, null, pooled)


def cosines(first: Consensus, second: Consensus, rules: Rules) -> Cosines:
    """All cosines of `first` (compounds, or genes) against `second` (genes, one row each).

    The null is every pair that shares no gene, of rows with a gene among the others. Published, it is one row for
    each (compound, target): a compound of k targets counts k times, each time with its k - 1 other targets in the null.
    """
    names = common_features(first, second)
    similarity = cosine(first.on(names), second.on(names))
    genes = second.meta[GENE].tolist()
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
            "broad_sample": meta[SAMPLE],
            "pert_iname": meta[SAMPLE_NAME],
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


def _times(with_compounds: bool, first: str, second: str) -> dict[str, str]:
    if with_compounds:
        return {"compound_timepoint": first, "gene_timepoint": second, "other_gene_timepoint": ""}
    return {"compound_timepoint": "", "gene_timepoint": first, "other_gene_timepoint": second}


def _consensus(profiles: pd.DataFrame, condition: Condition, rules: Rules) -> Consensus:
    by = SAMPLE if is_compound(condition) else GENE
    return wells_of(profiles, condition, rules).consensus(by)


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """Fig. 5, and one figure of each highlighted gene that a compound lists."""
    if not len(tables["directionality_null"]):
        return {}
    names = ("directionality", "directionality_pairs", "directionality_null")
    drawn = {"directionality": Drawing(directionality_figure(*(tables[name] for name in names)), names)}
    pairs = main_conditions(tables["directionality_pairs"])
    listed = [gene for gene in genes if ((pairs["label"] == gene) & (pairs["compound_timepoint"] != "")).any()]
    return drawn | {f"gene_{gene}": Drawing(gene_figure(pairs, gene), names[1:2]) for gene in listed}


def directionality_figure(summary: pd.DataFrame, pairs: pd.DataFrame, null: pd.DataFrame) -> Figure:
    """As Fig. 5a, b: cosines of pairs of one gene beside the null, with its 5th and 95th percentiles."""
    summary, pairs, null = (
        with_panels(main_conditions(table), "comparison", ("modality",)) for table in (summary, pairs, null)
    )
    rows = sorted(set(summary["panel"]))
    # Genes against genes first, as in the paper.
    columns = sorted(set(summary["comparison"]), key=lambda name: (name.startswith("compound"), name))
    figure = canvas(3.2 * len(columns) + 0.6, 3.4 * len(rows) + 0.6)
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
    for row, panel in enumerate(rows):
        for column, comparison in enumerate(columns):
            here = {"panel": panel, "comparison": comparison}
            total = where(summary, gene_timepoint=POOLED, **here)
            if not len(total) or "threshold_low" not in total:
                continue
            _violin(axes[row, column], total.iloc[0], where(pairs, **here)["cosine"], where(null, **here))
            fisher = f"OR {total['odds_ratio'].iloc[0]:.2f}, p = {total['p'].iloc[0]:.1e}"
            axes[row, column].set_title(f"{word(comparison)}, {panel}\n{fisher}", fontsize=9)
    reach = max(pairs["cosine"].abs().max(), null.loc[null["count"] > 0, "to"].abs().max()) + 0.05
    for axis in axes[:, 0]:
        axis.set_ylabel("Cosine similarity")
        axis.set_ylim(-reach, reach)
    title = "Directionality of pairs of one gene; lines: 5th and 95th percentile of the pairs of different genes"
    entitle(figure, title, summary)
    return figure


def gene_figure(pairs: pd.DataFrame, gene: str) -> Figure:
    """As Extended Data Fig. 2, of one gene in numbers: cosine of each compound that lists it to its reagents,
    for every combination of time points.
    """
    mine = with_panels(main_conditions(pairs), "comparison", ("modality",))
    mine = mine[(mine["label"] == gene) & (mine["compound_timepoint"] != "")]
    names = mine["pert_iname"].where(mine["pert_iname"] != "", mine["broad_sample"])
    compounds, cells, comparisons = sorted(set(names)), sorted(set(mine["panel"])), sorted(set(mine["comparison"]))
    figure = canvas(1.2 * max(len(compounds), 3) * len(cells) + 1, 3.6)
    axes = figure.subplots(1, len(cells), squeeze=False, sharey=True)[0]
    for panel, cell in zip(axes, cells, strict=True):
        for at, comparison in enumerate(comparisons):
            points = where(mine, panel=cell, comparison=comparison)
            places = np.array([compounds.index(names[i]) for i in points.index], dtype=float)
            _gene_points(panel, places + 0.3 * (at - (len(comparisons) - 1) / 2), points, comparison)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_xticks(range(len(compounds)), compounds, rotation=30, ha="right")
        panel.set_xlim(-0.5, len(compounds) - 0.5)
        panel.set_title(cell, fontsize=10)
    axes[0].set_ylabel(f"Cosine to {gene} reagents")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    entitle(figure, f"Compounds that list {gene} and its reagents, a point a combination of time points", pairs)
    return figure


def _gene_points(panel: Axes, at: np.ndarray, points: pd.DataFrame, comparison: str) -> None:
    modality = comparison.removeprefix("compound-")
    for time, marker in TIMES.items():
        then = (points["compound_timepoint"] == time).to_numpy()
        label = f"{word(modality)}, compound {time}" if then.any() else None
        look: dict[str, Any] = {
            "s": 26,
            "marker": marker,
            "color": COLOURS.get(modality, OTHER),
            "alpha": 0.8,
            "label": label,
        }
        panel.scatter(at[then], points.loc[then, "cosine"], **look)


def _violin(panel: Axes, summary: pd.Series, true: pd.Series, null: pd.DataFrame) -> None:
    edges = np.r_[null["from"].to_numpy(), null["to"].iloc[-1]]
    centres = (edges[1:] + edges[:-1]) / 2
    for at, counts, colour in (
        (0, null["count"].to_numpy(dtype=float), NULL),
        (1, np.histogram(true, edges)[0].astype(float), COLOURS["compound"]),
    ):
        # A histogram of few pairs is ragged: three bins together, as a violin's kernel would.
        width = np.convolve(counts, np.ones(3) / 3, mode="same")
        width = 0.42 * width / max(width.max(), 1e-9)
        panel.fill_betweenx(centres, at - width, at + width, color=colour, alpha=0.8, linewidth=0)
    if len(true) < FEW:
        panel.scatter(np.ones(len(true)), true, s=14, color="black", zorder=5)
    for name, va, below in (("low", "top", True), ("high", "bottom", False)):
        threshold = summary[f"threshold_{name}"]
        panel.axhline(threshold, color="black", linestyle="--", linewidth=0.8)
        share = summary["percent_below" if below else "percent_above"]
        panel.text(2.1, threshold + (-0.01 if below else 0.01), f"{share:.1f} %", ha="right", va=va, fontsize=8)
    names = [f"{what}\nn = {int(summary[n]):,}" for what, n in (("different\ngenes", "n_null"), ("same\ngene", "n"))]
    panel.set_xticks([0, 1], names, fontsize=8)
    panel.set_xlim(-0.55, 2.15)
    panel.spines[["top", "right"]].set_visible(False)


SCORE = Score(
    question="Do two perturbations of a gene point the same way? (Fig. 5)",
    rows={"directionality": "comparison", "directionality_pairs": "pair", "directionality_null": "bin"},
    compute=directionality,
    units=by_cell_type,
    wants=(GENES, TWO_MODALITIES),
    figures=figures,
)
