from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.scores import fraction_retrieved, run_task
from pipeline.scores.figures import detection_figure, directionality_figure, figures, gene_figure, umap_figure


@pytest.fixture(scope="module")
def tables(profiles) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    for name in ("detection", "positions", "sisters", "gene_compound", "directionality", "variance"):
        tables |= run_task(name, profiles, null_size=500, tables=tables)
    return tables


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for panel in figure.axes for text in panel.texts]


def test_every_score_has_its_figure_and_every_figure_its_mode(tables):
    drawn = figures(tables)
    assert set(drawn) == {
        "detection",
        "positions",
        "sisters",
        "gene_compound",
        "directionality",
        "variance",
        "gene_BRD4",
    }
    for figure in drawn.values():
        assert "mode: correct" in figure.get_suptitle()
        figure.canvas.draw()


def test_the_fractions_above_the_boxes_are_those_of_the_table(tables):
    table = fraction_retrieved(tables["detection"])
    order = {"short": 0, "long": 1}
    table = table.assign(order=table["timepoint"].map(order)).sort_values(["cell_type", "modality", "order"])
    assert texts(detection_figure(tables["detection"])) == [f"{value:.2f}" for value in table["fraction_retrieved"]]


def test_the_lines_in_the_violins_are_the_thresholds_of_the_table(tables):
    figure = directionality_figure(*(tables[f"directionality{part}"] for part in ("", "_pairs", "_null")))
    pooled = tables["directionality"].query("gene_timepoint == 'all'").sort_values("cell_type", kind="stable")
    drawn = [sorted(line.get_ydata()[0] for line in panel.lines) for panel in figure.axes]
    np.testing.assert_allclose(drawn, pooled[["threshold_low", "threshold_high"]])


def test_the_figure_of_a_gene_has_a_point_a_pair(tables):
    pairs = tables["directionality_pairs"]
    figure = gene_figure(pairs, "BRD4")
    points = sum(len(points.get_offsets()) for panel in figure.axes for points in panel.collections)
    assert points == ((pairs["label"] == "BRD4") & (pairs["comparison"] != "orf-crispr")).sum()


def test_highlighted_pairs_are_named_in_the_umap():
    wells = pd.DataFrame(
        {
            "modality": ["compound", "crispr", "crispr"],
            "cell_type": "A549",
            "timepoint": "long",
            "gene": ["", "PLK1", "OTHER"],
            "target_list": ["PLK1|BRD4", "", ""],
            "umap_1": [0.0, 1, 2],
            "umap_2": [0.0, 1, 2],
            "mode": "correct",
        }
    )
    names = [text.get_text() for text in umap_figure(wells).axes[0].get_legend().get_texts()]
    assert {"PLK1 compound", "PLK1 reagent"} <= set(names)
    assert "AURKB compound" not in names


def test_no_tables_no_figures():
    assert figures({}) == {}
