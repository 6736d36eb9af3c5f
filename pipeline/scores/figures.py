"""The paper's figures drawn from score tables: Figs. 2, 4a to c, 5a and b, Extended Data Figs. 1 and 2.

Each function takes the table it shows and returns a matplotlib Figure; nothing is computed here that a table does not
hold, so the numbers behind every figure are beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.scores.directionality import POOLED

#: Modality -> colour (Okabe and Ito's, safe for most colour vision).
COLOURS = {"compound": "#0072B2", "crispr": "#D55E00", "orf": "#009E73"}
OTHER, NULL = "#CC79A7", "#BBBBBB"

#: The order of boxes within a modality.
ORDER = {"short": 0, "long": 1, "same": 2, "different": 3}

#: The pairs highlighted in Fig. 2.
HIGHLIGHTED = ("CDC25A", "LPAR1", "PLK1", "AURKB")


def figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure these tables allow, by name."""
    drawn: dict[str, Figure] = {}
    for name, draw in (
        ("detection", detection_figure),
        ("positions", positions_figure),
        ("sisters", sisters_figure),
        ("gene_compound", gene_compound_figure),
        ("variance", variance_figure),
    ):
        if len(tables.get(name, ())):
            drawn[name] = draw(tables[name])
    if len(tables.get("directionality_null", ())):
        drawn["directionality"] = directionality_figure(
            tables["directionality"], tables["directionality_pairs"], tables["directionality_null"]
        )
        pairs = tables["directionality_pairs"]
        if (pairs["label"] == "BRD4").any():
            drawn["gene_BRD4"] = gene_figure(pairs, "BRD4")
    if len(tables.get("umap", ())):
        drawn |= {f"umap_{name}": umap_figure(table) for name, table in tables["umap"].groupby("figure")}
    return drawn


def detection_figure(detection: pd.DataFrame) -> Figure:
    """As Fig. 4a: mAP of each perturbation by modality and time point, a panel a cell type."""
    return _boxes(detection, ["modality", "timepoint"], "Perturbation detection", "mAP of replicates against controls")


def sisters_figure(sisters: pd.DataFrame) -> Figure:
    """As Fig. 4b: mAP of each gene among perturbations of one modality."""
    return _boxes(sisters, ["modality", "timepoint"], "Sister matching", "mAP of perturbations of one gene")


def gene_compound_figure(gene_compound: pd.DataFrame) -> Figure:
    """As Fig. 4c: mAP of each gene between compounds and reagents, for all combinations of time points."""
    by = ["modality", "compound_timepoint", "gene_timepoint"]
    return _boxes(gene_compound, by, "Gene-compound matching", "mAP of compounds and reagents of one gene")


def positions_figure(positions: pd.DataFrame) -> Figure:
    """As Extended Data Fig. 1: mAP of replicates in the query's own well position and in other positions."""
    by = ["modality", "timepoint", "position"]
    return _boxes(positions, by, "Position effects", "mAP of replicates in the same or another position")


def directionality_figure(summary: pd.DataFrame, pairs: pd.DataFrame, null: pd.DataFrame) -> Figure:
    """As Fig. 5a, b: cosines of pairs of one gene beside the null, with its 5th and 95th percentiles."""
    rows, columns = sorted(set(summary["cell_type"])), list(dict.fromkeys(summary["comparison"]))
    figure = Figure(figsize=(3.2 * len(columns) + 0.6, 3.4 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
    for row, cell_type in enumerate(rows):
        for column, comparison in enumerate(columns):
            here = {"cell_type": cell_type, "comparison": comparison}
            total = _where(summary, gene_timepoint=POOLED, **here)
            if not len(total) or "threshold_low" not in total:
                continue
            _violin(axes[row, column], total.iloc[0], _where(pairs, **here)["cosine"], _where(null, **here))
            axes[row, column].set_title(f"{comparison}, {cell_type}", fontsize=10)
    reach = max(pairs["cosine"].abs().max(), null.loc[null["count"] > 0, "to"].abs().max()) + 0.05
    for panel in axes[:, 0]:
        panel.set_ylabel("Cosine similarity")
        panel.set_ylim(-reach, reach)
    _name(figure, "Directionality of pairs of one gene", summary)
    return figure


def gene_figure(pairs: pd.DataFrame, gene: str) -> Figure:
    """As Extended Data Fig. 2, of one gene in numbers: cosine of each compound that lists it to its reagents,
    for every combination of time points.
    """
    mine = pairs[(pairs["label"] == gene) & (pairs["compound_timepoint"] != "")]
    names = mine["pert_iname"].where(mine["pert_iname"] != "", mine["broad_sample"])
    compounds = sorted(set(names))
    cells = sorted(set(mine["cell_type"]))
    figure = Figure(figsize=(1.2 * max(len(compounds), 3) * len(cells) + 1, 3.6), layout="constrained")
    axes = figure.subplots(1, len(cells), squeeze=False, sharey=True)[0]
    comparisons = sorted(set(mine["comparison"]))
    for panel, cell_type in zip(axes, cells, strict=True):
        for shift, comparison in enumerate(comparisons):
            points = mine[(mine["cell_type"] == cell_type) & (mine["comparison"] == comparison)]
            at = np.array([compounds.index(names[i]) for i in points.index]) + 0.24 * (
                shift - (len(comparisons) - 1) / 2
            )
            modality = comparison.removeprefix("compound-")
            panel.scatter(at, points["cosine"], s=22, color=COLOURS.get(modality, OTHER), label=modality.upper())
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_xticks(range(len(compounds)), compounds, rotation=30, ha="right")
        panel.set_xlim(-0.5, len(compounds) - 0.5)
        panel.set_title(cell_type, fontsize=10)
    axes[0].set_ylabel(f"Cosine to {gene} reagents")
    axes[-1].legend(frameon=False, fontsize=8)
    _name(figure, f"Compounds that target {gene}", pairs)
    return figure


def umap_figure(umap: pd.DataFrame, genes: Sequence[str] = HIGHLIGHTED) -> Figure:
    """As Fig. 2: every well, coloured by modality; wells of the genes and of the compounds that target them marked."""
    figure = Figure(figsize=(7.6, 6), layout="constrained")
    panel = figure.subplots()
    for modality, points in umap.groupby("modality"):
        colour = COLOURS.get(str(modality), OTHER)
        panel.scatter(
            points["umap_1"], points["umap_2"], s=4, color=colour, alpha=0.25, linewidths=0, label=modality or "wells"
        )
    palette = ["#000000", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#8B4513"]
    targets = umap["target_list"].str.split("|")
    for gene, colour in zip(genes, palette, strict=False):
        for is_compound, marker in ((True, "^"), (False, "o")):
            mine = (umap["modality"] == "compound") == is_compound
            mine &= targets.map(lambda listed, gene=gene: gene in listed) if is_compound else umap["gene"] == gene
            kind = "compound" if is_compound else "reagent"
            panel.scatter(
                umap.loc[mine, "umap_1"],
                umap.loc[mine, "umap_2"],
                s=26,
                marker=marker,
                color=colour,
                edgecolors="white",
                linewidths=0.5,
                label=f"{gene} {kind}" if mine.any() else None,
            )
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_xlabel("UMAP 1")
    panel.set_ylabel("UMAP 2")
    legend = panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    what = " ".join(sorted(set(umap["cell_type"]))) + ", " + " and ".join(sorted(set(umap["timepoint"])))
    _name(figure, f"Well profiles, {what}", umap)
    return figure


def variance_figure(variance: pd.DataFrame) -> Figure:
    """Share of each feature's variance that goes with a factor, over all features and conditions."""
    groups = list(variance.groupby(["wells", "factor"], sort=False)["adjusted"])
    figure = Figure(figsize=(0.8 * len(groups) + 1.5, 3.6), layout="constrained")
    panel = figure.subplots()
    _box(
        panel, [values.dropna() for _, values in groups], ["#0072B2" if key[0] == "all" else NULL for key, _ in groups]
    )
    panel.set_xticks(range(len(groups)), [f"{factor}\n({wells})" for (wells, factor), _ in groups], fontsize=8)
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set_ylabel("Variance explained")
    _name(figure, "What the variance of features goes with", variance)
    return figure


def _boxes(table: pd.DataFrame, by: list[str], title: str, label: str) -> Figure:
    """Box plots of mAP, a panel a cell type, with the fraction retrieved above each box."""
    valid = table[table["n_queries"] > 0]
    cells = sorted(set(valid["cell_type"]))
    keys = sorted({tuple(row) for row in valid[by].itertuples(index=False)}, key=_order)
    figure = Figure(figsize=(max(3.2, 0.62 * len(keys)) * max(len(cells), 1) + 1, 4.2), layout="constrained")
    axes = figure.subplots(1, max(len(cells), 1), squeeze=False, sharey=True)[0]
    for panel, cell_type in zip(axes, cells, strict=False):
        groups = dict(list(valid[valid["cell_type"] == cell_type].groupby(by)))
        shown = [groups.get(key, valid.iloc[:0]) for key in keys]
        _box(panel, [group["mean_average_precision"] for group in shown], [COLOURS.get(key[0], OTHER) for key in keys])
        for at, group in enumerate(shown):
            if len(group):
                panel.text(at, 1.04, f"{group['retrieved'].mean():.2f}", ha="center", va="bottom", fontsize=8)
        names = ["\n".join(part for part in key if part) for key in keys]
        panel.set_xticks(range(len(keys)), names, fontsize=7.5)
        panel.set_title(cell_type, fontsize=10, pad=16)
        panel.set_ylim(-0.02, 1.03)
    axes[0].set_ylabel(label)
    _name(figure, f"{title}; above: fraction retrieved (q < 0.05)", table)
    return figure


def _box(panel: Axes, values: Sequence[pd.Series], colours: Sequence[str]) -> None:
    drawn = panel.boxplot(
        [np.asarray(group, dtype=float) for group in values],
        positions=range(len(values)),
        widths=0.6,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": "0.4", "alpha": 0.5},
        medianprops={"color": "black"},
    )
    for box, colour in zip(drawn["boxes"], colours, strict=True):
        box.set(facecolor=colour, alpha=0.75)
    panel.spines[["top", "right"]].set_visible(False)


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
    for name, va, below in (("low", "top", True), ("high", "bottom", False)):
        threshold = summary[f"threshold_{name}"]
        panel.axhline(threshold, color="black", linestyle="--", linewidth=0.8)
        share = summary["percent_below" if below else "percent_above"]
        panel.text(1.48, threshold + (-0.02 if below else 0.02), f"{share:.1f} %", ha="right", va=va, fontsize=8)
    panel.set_xticks([0, 1], ["different\ngenes", f"same gene\n(n = {int(summary['n'])})"], fontsize=8)
    panel.set_xlim(-0.55, 1.55)
    panel.spines[["top", "right"]].set_visible(False)


def _where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def _order(key: tuple[str, ...]) -> tuple:
    """Modalities by name, short before long."""
    return tuple((ORDER.get(part, 4), part) if at else (0, part) for at, part in enumerate(key))


def _name(figure: Figure, title: str, table: pd.DataFrame) -> None:
    mode = table["mode"].iloc[0] if len(table) else ""
    figure.suptitle(f"{title}\nmode: {mode}", fontsize=11)
