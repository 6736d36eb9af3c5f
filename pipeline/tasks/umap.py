"""UMAP of well profiles (Fig. 2, Extended Data Figs. 5 to 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.scores.drawing import COLOURS, OTHER, canvas, entitle, in_order, where, with_panels, word
from pipeline.scores.genes import is_compound
from pipeline.scores.rules import Rules
from pipeline.scores.score import Drawing, Score, Tables, Unit
from pipeline.scores.wells import MOSTLY_EMPTY, wells_of
from pipeline.screen.columns import CONTROL_TYPE, GENE, PLATE, SAMPLE, SAMPLE_NAME, TARGETS, WELL
from pipeline.screen.conditions import Condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The seeds of the paper's notebooks: of Fig. 2, and of the figure of all plates.
MAIN_SEED, ALL_SEED = 157, 9000

#: Principal components that are embedded. The authors embedded all features: ten times slower, for the same picture.
COMPONENTS = 50

#: Wells below which there is nothing to embed.
FEWEST = 4

#: The colours of highlighted genes.
PALETTE = ("#000000", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#8B4513")


def embedded(found: list[Condition]) -> list[Unit]:
    """What is embedded together: all conditions; and, as Fig. 2, compounds and CRISPR of the first cell type, long."""
    main = [
        condition
        for condition in found
        if condition.get("timepoint") == "long"
        and not condition.variant
        and condition.get("modality").lower() in ("compound", "crispr")
    ]
    main = [condition for condition in main if condition.but("modality") == main[0].but("modality")]
    alone = len({condition.get("modality") for condition in main}) < 2
    return [tuple(found)] if alone or len(main) == len(found) else [tuple(main), tuple(found)]


def umap(profiles: pd.DataFrame, unit: Unit, rules: Rules, tables: Mapping[str, pd.DataFrame]) -> Tables:
    """`umap`: one row a well, `figure` "main" (one cell type and time point) or "all", with its two coordinates.

    "main" holds all non-empty wells; published, without DMSO, whose missing name the authors' table lost. "all" is
    without negative controls. Rows are embedded in order of condition, plate and well, so that a seed gives one result
    on one machine; the authors shuffled them without a seed.

    Only finite values can be embedded: features that are not finite in all these wells are left out; where that leaves
    none, wells that are not finite in all features. No rows where fewer than FEWEST wells are left.
    """
    is_main = len({tuple(condition.but("modality", "variant").items()) for condition in unit}) == 1
    metas, features = [], []
    for condition in unit:
        wells = wells_of(profiles, condition, rules)
        shown = wells.finite.copy()
        if not is_main or (rules.published and is_compound(condition)):
            shown &= ~wells.is_negative_control
        metas.append(wells.meta[shown].assign(**condition.columns()))
        features.append(pd.DataFrame(wells.features[shown], columns=list(wells.names)))
    meta = pd.concat(metas, ignore_index=True)
    together = pd.concat(features, ignore_index=True, join="inner").to_numpy()
    rows, columns = embeddable(together)
    meta = meta[rows].reset_index(drop=True)
    seed = MAIN_SEED if is_main else ALL_SEED
    places = _places(together[np.ix_(rows, columns)], seed)
    names = dict.fromkeys(name for condition in unit for name in condition.columns())
    about = {"label": SAMPLE, "pert_iname": SAMPLE_NAME, "gene": GENE, "target_list": TARGETS}
    about |= {"control_type": CONTROL_TYPE, "plate": PLATE, "well": WELL}
    table = pd.DataFrame(
        {
            "figure": "main" if is_main else "all",
            **{name: meta[name].fillna("") for name in names},
            **{name: meta[column] for name, column in about.items()},
            "umap_1": places[:, 0],
            "umap_2": places[:, 1],
            "seed": seed,
            "mode": rules.mode,
        }
    )
    return {"umap": table}


def _places(features: np.ndarray, seed: int) -> np.ndarray:
    """float32 (wells, 2); features: float64 (wells, features), finite."""
    from sklearn.decomposition import PCA  # both take seconds to import
    from umap import UMAP

    if not len(features):
        return np.empty((0, 2), dtype=np.float32)
    components = PCA(min(COMPONENTS, *features.shape), svd_solver="covariance_eigh").fit_transform(features)
    # Seeded UMAP runs in one thread in any case. It needs more points than neighbours.
    how = {"init": "pca" if components.shape[1] > 1 else "random", "n_neighbors": max(2, min(15, len(features) - 1))}
    return UMAP(random_state=seed, n_jobs=1, **how).fit_transform(components.astype(np.float32))


def embeddable(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the wells and of the features that are finite together, no well where fewer than FEWEST are.

    features: float64 (wells, features). Wells that are mostly not finite go first, so that they do not cost features.
    """
    is_finite = np.isfinite(features)
    rows = is_finite.mean(axis=1) >= 1 - MOSTLY_EMPTY if features.size else np.zeros(len(features), dtype=bool)
    columns = is_finite[rows].all(axis=0)
    if not columns.any():
        rows, columns = is_finite.all(axis=1) & rows, np.ones_like(columns)
    return (rows if rows.sum() >= FEWEST else np.zeros_like(rows)), columns


def figures(tables: Mapping[str, pd.DataFrame], genes: Sequence[str]) -> dict[str, Drawing]:
    """One figure of each embedding: `umap_main`, `umap_all`."""
    drawn = tables["umap"].groupby("figure")
    return {f"umap_{name}": Drawing(umap_figure(table, genes), ("umap",)) for name, table in drawn}


def umap_figure(umap: pd.DataFrame, genes: Sequence[str] = ()) -> Figure:
    """As Fig. 2: every well, coloured by modality; wells of the genes and of the compounds that list them marked.

    A panel for each condition but for the modality, all of one embedding; the wells of the other panels are grey. Time
    points stand side by side.
    """
    times = "timepoint" if "timepoint" in umap else "figure"  # which is one
    umap = with_panels(umap.fillna({"variant": ""}), inside=("figure", "modality", "timepoint"))
    rows, columns = sorted(set(umap["panel"])), sorted(set(umap[times]), key=lambda time: in_order(("", time)))
    size = 6.0 if len(rows) * len(columns) == 1 else 4.2
    figure = canvas(size * len(columns) + 1.6, size * len(rows))
    axes = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, panel in enumerate(rows):
        for column, time in enumerate(columns):
            axis = axes[row, column]
            _points(axis, umap[["umap_1", "umap_2"]], s=2, color="0.88")
            _map(axis, where(umap, panel=panel, **{times: time}), genes)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(" ".join(part for part in (panel, time * (times == "timepoint")) if part), fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("UMAP 1")
    for axis in axes[:, 0]:
        axis.set_ylabel("UMAP 2")
    _legend(axes, genes)
    entitle(figure, "Well profiles", umap)
    return figure


def _legend(axes: np.ndarray, genes: Sequence[str]) -> None:
    """One legend for all panels, at the right of the first row; highlighted genes come last."""
    from matplotlib.collections import PathCollection

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


def _map(panel: Axes, umap: pd.DataFrame, genes: Sequence[str]) -> None:
    size = np.clip(6000 / max(len(umap), 1), 4, 30)
    modality = umap["modality"] if "modality" in umap else pd.Series("", index=umap.index)
    for name, points in umap.groupby(modality):
        colour = COLOURS.get(str(name), OTHER)
        _points(panel, points, s=size, color=colour, alpha=0.3, label=word(str(name)) or "wells")
    targets = umap["target_list"].str.split("|")
    of_compounds = modality == "compound"
    for gene, colour in zip(genes, PALETTE, strict=False):
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


SCORE = Score(
    question="Which wells look alike? Coordinates (Fig. 2, ED 5 to 10)",
    rows={"umap": "well"},
    compute=umap,
    units=embedded,
    figures=figures,
)
