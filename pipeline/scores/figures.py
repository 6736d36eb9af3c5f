"""The paper's figures drawn from score tables: Figs. 2, 4a to c, 5a and b, Extended Data Figs. 1 and 2.

Each function takes the table it shows and returns a matplotlib Figure; nothing is computed here that a table does not
hold, so the numbers behind every figure are beside it (`tables_of`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from pipeline.scores.directionality import POOLED

#: Modality -> colour (Okabe and Ito's, safe for most colour vision).
COLOURS = {"compound": "#0072B2", "crispr": "#D55E00", "orf": "#009E73"}
OTHER, NULL, CHANCE = "#CC79A7", "#BBBBBB", "#C0261C"

#: Time point of a compound -> its marker.
TIMES = {"short": "o", "long": "^"}

#: The order of boxes within a modality.
ORDER = {"short": 0, "long": 1, "same": 2, "different": 3}

#: Fewer pairs than this are shown one by one, too.
FEW = 100

#: How modalities are written.
WORDS = {"crispr": "CRISPR", "orf": "ORF"}

#: The pairs highlighted in Fig. 2.
HIGHLIGHTED = ("CDC25A", "LPAR1", "PLK1", "AURKB")


def figures(tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure these tables allow, by name. Conditions of secondary plates are in the tables alone."""
    drawn: dict[str, Figure] = {}
    tables = {name: table if name == "umap" else _main_conditions(table) for name, table in tables.items()}
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


def tables_of(figure: str) -> list[str]:
    """The score tables that hold the numbers of a figure, by the figure's name."""
    if figure == "directionality":
        return ["directionality", "directionality_pairs", "directionality_null"]
    if figure.startswith("gene_") and figure != "gene_compound":
        return ["directionality_pairs"]
    return ["umap"] if figure.startswith("umap_") else [figure]


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time; clouds of points in it are pixels."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "pipeline"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", dpi=200, metadata={"Date": None})
    return buffer.getvalue()


def detection_figure(detection: pd.DataFrame) -> Figure:
    """As Fig. 4a: mAP of each perturbation by modality and time point, a panel a cell type."""
    return _boxes(detection, {"modality": "", "timepoint": ""}, "Perturbation detection", "mAP of replicates")


def sisters_figure(sisters: pd.DataFrame) -> Figure:
    """As Fig. 4b: mAP of each gene among perturbations of one modality."""
    return _boxes(sisters, {"modality": "", "timepoint": ""}, "Sister matching", "mAP within a gene")


def gene_compound_figure(gene_compound: pd.DataFrame) -> Figure:
    """As Fig. 4c: mAP of each gene between compounds and reagents, for all combinations of time points."""
    by = {"modality": "", "compound_timepoint": "compound ", "gene_timepoint": "reagent "}
    return _boxes(gene_compound, by, "Gene-compound matching", "mAP of compounds and reagents")


def positions_figure(positions: pd.DataFrame) -> Figure:
    """As Extended Data Fig. 1: mAP of replicates in the query's own well position and in other positions."""
    by = {"modality": "", "timepoint": "", "position": ""}
    return _boxes(positions, by, "Replicates in the same and in different well positions", "mAP of replicates")


def directionality_figure(summary: pd.DataFrame, pairs: pd.DataFrame, null: pd.DataFrame) -> Figure:
    """As Fig. 5a, b: cosines of pairs of one gene beside the null, with its 5th and 95th percentiles."""
    rows = sorted(set(summary["cell_type"]))
    # Genes against genes first, as in the paper.
    columns = sorted(set(summary["comparison"]), key=lambda name: (name.startswith("compound"), name))
    figure = Figure(figsize=(3.2 * len(columns) + 0.6, 3.4 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
    for row, cell_type in enumerate(rows):
        for column, comparison in enumerate(columns):
            here = {"cell_type": cell_type, "comparison": comparison}
            total = _where(summary, gene_timepoint=POOLED, **here)
            if not len(total) or "threshold_low" not in total:
                continue
            _violin(axes[row, column], total.iloc[0], _where(pairs, **here)["cosine"], _where(null, **here))
            fisher = f"OR {total['odds_ratio'].iloc[0]:.2f}, p = {total['p'].iloc[0]:.1e}"
            axes[row, column].set_title(f"{_word(comparison)}, {cell_type}\n{fisher}", fontsize=9)
    reach = max(pairs["cosine"].abs().max(), null.loc[null["count"] > 0, "to"].abs().max()) + 0.05
    for panel in axes[:, 0]:
        panel.set_ylabel("Cosine similarity")
        panel.set_ylim(-reach, reach)
    title = "Directionality of pairs of one gene; lines: 5th and 95th percentile of the pairs of different genes"
    _name(figure, title, summary)
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
            at = np.array([compounds.index(names[i]) for i in points.index], dtype=float)
            at += 0.3 * (shift - (len(comparisons) - 1) / 2)
            modality = comparison.removeprefix("compound-")
            for time, marker in TIMES.items():
                mine_then = (points["compound_timepoint"] == time).to_numpy()
                panel.scatter(
                    at[mine_then],
                    points.loc[mine_then, "cosine"],
                    s=26,
                    marker=marker,
                    color=COLOURS.get(modality, OTHER),
                    alpha=0.8,
                    label=f"{_word(modality)}, compound {time}" if mine_then.any() else None,
                )
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_xticks(range(len(compounds)), compounds, rotation=30, ha="right")
        panel.set_xlim(-0.5, len(compounds) - 0.5)
        panel.set_title(cell_type, fontsize=10)
    axes[0].set_ylabel(f"Cosine to {gene} reagents")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    _name(figure, f"Compounds that list {gene} and its reagents, a point a combination of time points", pairs)
    return figure


def umap_figure(umap: pd.DataFrame, genes: Sequence[str] = HIGHLIGHTED) -> Figure:
    """As Fig. 2: every well, coloured by modality; wells of the genes and of the compounds that list them marked.

    A panel a cell type and time point, all of one embedding; the wells of the other panels are grey.
    """
    rows, columns = sorted(set(umap["cell_type"])), sorted(set(umap["timepoint"]), key=lambda time: _order(("", time)))
    size = 6.0 if len(rows) * len(columns) == 1 else 4.2
    figure = Figure(figsize=(size * len(columns) + 1.6, size * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, cell_type in enumerate(rows):
        for column, timepoint in enumerate(columns):
            panel, here = axes[row, column], {"cell_type": cell_type, "timepoint": timepoint}
            _points(panel, umap[["umap_1", "umap_2"]], s=2, color="0.88")
            _map(panel, _where(umap, **here), genes)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_title(" ".join(part for part in (cell_type, timepoint) if part), fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("UMAP 1")
    for panel in axes[:, 0]:
        panel.set_ylabel("UMAP 2")
    entries: dict[str, Any] = {}
    for panel in axes.flat:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    names = sorted(entries, key=lambda name: [name.split(" ")[0] in genes, name])
    legend = axes[0, -1].legend(
        [entries[name] for name in names], names, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8
    )
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_alpha(1)
            handle.set_sizes([28])
    _name(figure, "Well profiles", umap)
    return figure


def _map(panel: Axes, umap: pd.DataFrame, genes: Sequence[str]) -> None:
    size = np.clip(6000 / max(len(umap), 1), 4, 30)
    for modality, points in umap.groupby("modality"):
        colour = COLOURS.get(str(modality), OTHER)
        _points(panel, points, s=size, color=colour, alpha=0.3, label=_word(str(modality)) or "wells")
    palette = ["#000000", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#8B4513"]
    targets = umap["target_list"].str.split("|")
    of_compounds = umap["modality"] == "compound"
    for gene, colour in zip(genes, palette, strict=False):
        listed = of_compounds & targets.map(lambda mine, gene=gene: gene in mine).astype(bool)
        for mine, marker, kind in (
            (listed, "^", "listed by compound"),
            (~of_compounds & (umap["gene"] == gene), "o", "reagent"),
        ):
            if mine.any():
                look: dict[str, Any] = {"s": 26, "marker": marker, "edgecolors": "white", "linewidths": 0.5}
                at = umap.loc[mine, "umap_1"], umap.loc[mine, "umap_2"]
                panel.scatter(*at, color=colour, label=f"{gene} {kind}", **look)


def _points(panel: Axes, points: pd.DataFrame, **look: Any) -> None:
    """A cloud of thousands: pixels, or a page with them would take minutes to open."""
    panel.scatter(points["umap_1"], points["umap_2"], linewidths=0, rasterized=True, **look)


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
    panel.set_ylabel("Share of a feature's variance\n(less what chance explains)")
    _name(figure, "Variance of features that goes with row, column, plate, batch and treatment", variance)
    return figure


def _boxes(table: pd.DataFrame, by: Mapping[str, str], title: str, label: str) -> Figure:
    """Box plots of mAP, a panel a cell type, with the fraction retrieved above each box, and below it the number of
    classes. by: column -> what is written before its value.
    """
    valid = table[table["n_queries"] > 0]
    cells = sorted(set(valid["cell_type"]))
    keys = sorted({tuple(row) for row in valid[[*by]].itertuples(index=False)}, key=_order)
    # On a page of usual width: panels side by side while they fit, else below each other.
    n_panels, width = max(len(cells), 1), max(3.2, (0.95 if "compound_timepoint" in by else 0.72) * len(keys))
    shape = (1, n_panels) if width * n_panels < 10 else (n_panels, 1)
    figure = Figure(figsize=(width * shape[1] + 1, 3.6 * shape[0] + 0.8), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False, sharey=True)
    for panel, cell_type in zip(axes.flat, cells, strict=False):
        groups = dict(list(valid[valid["cell_type"] == cell_type].groupby([*by])))
        shown = [groups.get(key, valid.iloc[:0]) for key in keys]
        _box(panel, [group["mean_average_precision"] for group in shown], [COLOURS.get(key[0], OTHER) for key in keys])
        names = []
        for at, (key, group) in enumerate(zip(keys, shown, strict=True)):
            parts = [before + _word(part) for before, part in zip(by.values(), key, strict=True) if part]
            names.append("\n".join([*parts, f"n = {len(group)}"]))
            if len(group):
                panel.text(at, 1.04, f"{group['retrieved'].mean():.2f}", ha="center", va="bottom", fontsize=8)
                chance = group["expected_average_precision"].median()
                panel.plot([at - 0.38, at + 0.38], [chance, chance], color=CHANCE, linewidth=1.4, zorder=5)
        panel.set_xticks(range(len(keys)), names, fontsize=7)
        panel.set_title(cell_type, fontsize=10, pad=16)
        panel.set_ylim(-0.02, 1.03)
    for panel in axes[:, 0]:
        panel.set_ylabel(label)
    _name(figure, f"{title}; above: fraction retrieved (q < 0.05); red: expected by chance", table)
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


def _word(text: str) -> str:
    """orf-crispr -> ORF-CRISPR."""
    return "-".join(WORDS.get(part, part) for part in text.split("-"))


def _main_conditions(table: pd.DataFrame) -> pd.DataFrame:
    """Without variants of its conditions; where all are variants (doses, say), these are told apart as cells are."""
    if "variant" not in table:
        return table
    variant = table["variant"].fillna("")
    if (variant == "").any():
        return table[variant == ""]
    return table.assign(cell_type=(table["cell_type"] + " " + variant).str.strip())


def _where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def _order(key: tuple[str, ...]) -> tuple:
    """Modalities by name, short before long."""
    return tuple((ORDER.get(part, 4), part) if at else (0, part) for at, part in enumerate(key))


def _name(figure: Figure, title: str, table: pd.DataFrame) -> None:
    steps = table["steps"].iloc[0] if "steps" in table and len(table) else "none"
    before = "" if steps == "none" else f"; before the scores: {steps}"
    figure.suptitle(f"{title}\nmode: {table['mode'].iloc[0] if len(table) else ''}{before}", fontsize=10)
