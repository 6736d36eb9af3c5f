"""What the figures of scores are drawn with. Nothing is computed here that a table does not hold.

matplotlib is imported when something is drawn: workers that score draw nothing.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.scores.registry import find, names
from pipeline.scores.score import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Modality -> colour (Okabe and Ito's, safe for most colour vision).
COLOURS = {"compound": "#0072B2", "crispr": "#D55E00", "orf": "#009E73"}
OTHER, NULL, CHANCE = "#CC79A7", "#BBBBBB", "#C0261C"

#: Columns whose values stand side by side in a panel; each value of the other columns of a condition has its own.
INSIDE = ("modality", "timepoint", "compound_timepoint", "gene_timepoint", "position")

#: The order of boxes within a modality.
ORDER = {"short": 0, "long": 1, "same": 2, "different": 3}

#: How modalities are written.
WORDS = {"crispr": "CRISPR", "orf": "ORF"}


def draw(tables: Mapping[str, pd.DataFrame], highlighted: Mapping[str, Sequence[str]]) -> dict[str, Drawing]:
    """Every figure these tables allow, by name. Conditions of secondary plates are in the tables alone.

    highlighted: score -> genes that its figures show by name.
    """
    drawn: dict[str, Drawing] = {}
    for name in names():
        figures = find(name).figures
        if figures and len(tables.get(name, ())):
            drawn |= figures(tables, highlighted.get(name, ()))
    return drawn


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time; clouds of points in it are pixels."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "pipeline"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", dpi=200, metadata={"Date": None})
    return buffer.getvalue()


def canvas(width: float, height: float) -> Figure:
    """An empty figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def main_conditions(table: pd.DataFrame) -> pd.DataFrame:
    """Without variants of its conditions; with them where there is nothing else (doses, say)."""
    if "variant" not in table:
        return table
    is_main = table["variant"].fillna("") == ""
    return table[is_main] if is_main.any() else table


def with_panels(table: pd.DataFrame, before: str = "label", inside: Collection[str] = INSIDE) -> pd.DataFrame:
    """The table with `panel`, in words: the columns of its condition, which are those `before`, but for INSIDE."""
    front = list(table.columns[: list(table.columns).index(before)])
    texts = table[[name for name in front if name not in inside]].fillna("").astype(str)
    return table.assign(panel=[" ".join(filter(None, row)) for row in texts.itertuples(index=False, name=None)])


def boxes(table: pd.DataFrame, by: Mapping[str, str], title: str, label: str) -> Figure:
    """Box plots of mAP, a panel for each cell type (or what else makes a condition), with the fraction retrieved above
    each box, and below it the number of classes.

    table: classes, one row each (`judge`), with the columns of the condition before `label`. by: column -> what is
    written before its value.
    """
    valid = main_conditions(table)
    valid = with_panels(valid[valid["n_queries"] > 0])
    by = {name: before for name, before in by.items() if name in table}
    keys = [tuple(row) for row in valid[[*by]].itertuples(index=False)]
    valid = valid.assign(box=pd.Series(keys, index=valid.index, dtype=object))
    panels, keys = sorted(set(valid["panel"])), sorted(set(keys), key=in_order)
    # On a page of usual width: panels side by side while they fit, else below each other.
    n_panels, width = max(len(panels), 1), max(3.2, (0.95 if "compound_timepoint" in by else 0.72) * len(keys))
    shape = (1, n_panels) if width * n_panels < 10 else (n_panels, 1)
    figure = canvas(width * shape[1] + 1, 3.6 * shape[0] + 0.8)
    axes = figure.subplots(*shape, squeeze=False, sharey=True)
    for axis, panel in zip(axes.flat, panels, strict=False):
        groups = dict(list(valid[valid["panel"] == panel].groupby("box")))
        _boxes_of_panel(axis, [(key, groups.get(key, valid.iloc[:0])) for key in keys], list(by.values()))
        axis.set_title(panel, fontsize=10, pad=16)
    for axis in axes[:, 0]:
        axis.set_ylabel(label)
    entitle(figure, f"{title}; above: fraction retrieved (q < 0.05); red: expected by chance", table)
    return figure


def _boxes_of_panel(panel: Axes, shown: Sequence[tuple[tuple[str, ...], pd.DataFrame]], before: Sequence[str]) -> None:
    colours = [COLOURS.get(key[0], OTHER) if key else OTHER for key, _ in shown]
    box(panel, [group["mean_average_precision"] for _, group in shown], colours)
    names = []
    for at, (key, group) in enumerate(shown):
        parts = [f"{opening}{word(part)}" for opening, part in zip(before, key, strict=True) if part]
        names.append("\n".join([*parts, f"n = {len(group)}"]))
        if len(group):
            panel.text(at, 1.04, f"{group['retrieved'].mean():.2f}", ha="center", va="bottom", fontsize=8)
            chance = group["expected_average_precision"].median()
            panel.plot([at - 0.38, at + 0.38], [chance, chance], color=CHANCE, linewidth=1.4, zorder=5)
    panel.set_xticks(range(len(shown)), names, fontsize=7)
    panel.set_ylim(-0.02, 1.03)


def box(panel: Axes, values: Sequence[pd.Series], colours: Sequence[str]) -> None:
    """One box for each series of values, at 0, 1, 2, ..."""
    drawn = panel.boxplot(
        [np.asarray(group, dtype=float) for group in values],
        positions=range(len(values)),
        widths=0.6,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": "0.4", "alpha": 0.5},
        medianprops={"color": "black"},
    )
    for patch, colour in zip(drawn["boxes"], colours, strict=True):
        patch.set(facecolor=colour, alpha=0.75)
    panel.spines[["top", "right"]].set_visible(False)


def word(text: str) -> str:
    """orf-crispr -> ORF-CRISPR."""
    return "-".join(WORDS.get(part, part) for part in text.split("-"))


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows with these values."""
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def in_order(key: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Modalities by name, short before long."""
    return tuple((ORDER.get(part, 4), part) if at else (0, part) for at, part in enumerate(key))


def entitle(figure: Figure, title: str, table: pd.DataFrame) -> None:
    """The title, and below it by which rules and after which steps the table was made."""
    steps = table["steps"].iloc[0] if "steps" in table and len(table) else "none"
    before = "" if steps == "none" else f"; before the scores: {steps}"
    figure.suptitle(f"{title}\nmode: {table['mode'].iloc[0] if len(table) else ''}{before}", fontsize=10)
