from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.scores import fraction_retrieved, run_task
from pipeline.scores.drawing import CHANCE, as_svg, draw
from pipeline.tasks import detection, gene_compound
from pipeline.tasks.directionality import directionality_figure, gene_figure
from pipeline.tasks.umap import umap_figure

HIGHLIGHTED = {"directionality": ("BRD4",)}


def figures(tables) -> dict[str, Figure]:
    return {name: drawing.figure for name, drawing in draw(tables, HIGHLIGHTED).items()}


def detection_figure(table: pd.DataFrame) -> Figure:
    return detection.figures({"detection": table}, ())["detection"].figure


def with_variant(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The table as a score makes it of such plates: the variant comes after the columns of the condition."""
    table = table.copy()
    table.insert(3, "variant", variant)
    return table


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
    drawn = {
        panel.get_title().split("\n")[0]: sorted(line.get_ydata()[0] for line in panel.lines) for panel in figure.axes
    }
    assert len(drawn) == 6
    for row in pooled.itertuples():
        name = row.comparison.replace("orf", "ORF").replace("crispr", "CRISPR")
        np.testing.assert_allclose(drawn[f"{name}, {row.cell_type}"], [row.threshold_low, row.threshold_high])


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
            "label": "",
            "gene": ["", "PLK1", "OTHER"],
            "target_list": ["PLK1|BRD4", "", ""],
            "umap_1": [0.0, 1, 2],
            "umap_2": [0.0, 1, 2],
            "mode": "correct",
        }
    )
    names = [text.get_text() for text in umap_figure(wells, ["PLK1", "AURKB"]).axes[0].get_legend().get_texts()]
    assert {"PLK1 listed by compound", "PLK1 reagent"} <= set(names)
    assert not [name for name in names if name.startswith("AURKB")]


def test_the_red_lines_are_what_chance_gives_and_every_box_says_its_n(tables):
    table = tables["gene_compound"]
    panel = gene_compound.figures({"gene_compound": table}, ())["gene_compound"].figure.axes[0]
    by = ["modality", "compound_timepoint", "gene_timepoint"]
    groups = table[table["cell_type"] == "A549"].groupby(by)
    expected = sorted(groups["expected_average_precision"].median())
    drawn = sorted(line.get_ydata()[0] for line in panel.lines if line.get_color() == CHANCE)
    np.testing.assert_allclose(drawn, expected)
    labels = [label.get_text().split("n = ")[1] for label in panel.get_xticklabels()]
    assert sorted(map(int, labels)) == sorted(groups.size())


def test_secondary_plates_are_not_mixed_into_the_boxes(tables):
    table = tables["detection"]
    mixed = pd.concat([with_variant(table, ""), with_variant(table.assign(retrieved=False), "density_pct 80")])
    assert texts(figures({"detection": mixed})["detection"]) == texts(detection_figure(table))
    doses = pd.concat([with_variant(table, "dose 1"), with_variant(table, "dose 2")])
    titles = [panel.get_title() for panel in figures({"detection": doses})["detection"].axes]
    assert titles == ["A549 dose 1", "A549 dose 2", "U2OS dose 1", "U2OS dose 2"]


def test_the_tables_of_every_figure_are_there_and_the_same_figure_is_the_same_bytes(tables):
    drawn, again = draw(tables, HIGHLIGHTED), draw(tables, HIGHLIGHTED)
    for name, drawing in drawn.items():
        assert set(drawing.tables) <= set(tables)
        assert as_svg(drawing.figure) == as_svg(again[name].figure)


def test_steps_before_the_scores_stand_above_the_figure(tables):
    done = tables["detection"].assign(steps="sphere")
    assert "before the scores: sphere" in detection_figure(done).get_suptitle()
    assert "before" not in detection_figure(tables["detection"]).get_suptitle()


def test_no_tables_no_figures():
    assert figures({}) == {}
