from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from copairs.map import multilabel

from pipeline.scores import Rules, run_task
from pipeline.screen.conditions import Condition
from pipeline.tasks import sisters as module
from tests.scores.small import screen

COMPOUND = Condition(("compound", "A549", "short"))
CRISPR = Condition(("crispr", "A549", "short"))


def sisters(profiles, condition, rules, detection) -> dict[str, pd.DataFrame]:
    return module.sisters(profiles, (condition,), rules, {"detection": detection})


def retrieved(condition: Condition, *labels: str) -> pd.DataFrame:
    """A detection table in which these perturbations are retrieved."""
    return pd.DataFrame([{**condition.columns(), "label": label, "retrieved": True} for label in labels])


def flat(rows: list[tuple[str, str, list[float]]], modality: str) -> pd.DataFrame:
    """One plate, one well a perturbation, with exactly these features."""
    return pd.DataFrame(
        [
            {
                "Metadata_Plate": "P1",
                "Metadata_Well": f"A{place:02d}",
                "Metadata_broad_sample": sample,
                "Metadata_control_type": "",
                "Metadata_modality": modality,
                "Metadata_cell_type": "A549",
                "Metadata_timepoint": "short",
                "Metadata_gene": genes if modality != "compound" else "",
                "Metadata_target_list": genes if modality == "compound" else "",
                **{f"Cells_{i}": value for i, value in enumerate(values)},
            }
            for place, (sample, genes, values) in enumerate(rows, start=1)
        ]
    )


def test_compounds_that_share_another_gene_are_neither_positive_nor_negative():
    # a and b share G; c shares H with a only; d and e share nothing with them
    rows = [
        ("a", "G|H", [1, 0.0, 0.0]),
        ("b", "G", [0.9, 0.4, 0.0]),
        ("c", "H", [1, 0.05, 0.0]),
        ("d", "I", [0.0, 1, 0.2]),
        ("e", "I", [0.0, 1, 0.0]),
    ]
    table = sisters(flat(rows, "compound"), COMPOUND, Rules(), retrieved(COMPOUND, *"abcde"))["sisters"]
    by_gene = table.set_index("label")
    assert list(by_gene.index) == ["G", "H", "I"]
    # query a for G: b against d, e (c is left out, or it would stand first): 1. Query b for G: a against c, d, e, and
    # c is nearer to b than a is: 1/2
    assert by_gene.loc["G", "mean_average_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert by_gene.loc["G", "n_candidates"] == pytest.approx((3 + 4) / 2)


def test_an_opposite_compound_is_a_match_and_an_opposite_guide_is_not():
    rows = [("a", "G", [1, 0.0]), ("b", "G", [-1, 0.01]), ("c", "H", [1, 1.0]), ("d", "H", [0.9, 1.2])]
    of_compounds = sisters(flat(rows, "compound"), COMPOUND, Rules(), retrieved(COMPOUND, *"abcd"))["sisters"]
    of_guides = sisters(flat(rows, "crispr"), CRISPR, Rules(), retrieved(CRISPR, *"abcd"))["sisters"]
    assert of_compounds.set_index("label").loc["G", "mean_average_precision"] == 1
    assert of_guides.set_index("label").loc["G", "mean_average_precision"] == pytest.approx(1 / 3)


def test_genes_with_one_guide_take_no_part():
    rows = [
        ("a", "G", [1, 0.0]),
        ("b", "G", [0.9, 0.1]),
        ("alone", "H", [1, 0.01]),
        ("c", "I", [0, 1]),
        ("d", "I", [0.1, 1]),
    ]
    table = sisters(flat(rows, "crispr"), CRISPR, Rules(), retrieved(CRISPR, "a", "b", "alone", "c", "d"))["sisters"]
    assert table["label"].tolist() == ["G", "I"]
    assert table["n_candidates"].tolist() == [3, 3], "the lone guide is no negative either"


@pytest.mark.parametrize("mode", ["correct", "published", "copairs"])
@pytest.mark.parametrize("condition", [COMPOUND, CRISPR])
def test_what_has_no_sister_is_left_out_and_counted(mode, condition):
    rows = [("a", "G", [1, 0.0]), ("b", "G", [0.9, 0.1]), ("alone", "H", [1, 0.01]), ("far", "I", [0.5, 0.5])]
    kept = retrieved(condition, "a", "b", "alone", "far")
    tables = sisters(flat(rows, condition.get("modality")), condition, Rules(mode, null_size=10), kept)
    assert tables["sisters"]["label"].tolist() == ["G"]
    left_out = tables["sisters_left_out"]
    assert left_out[["label", "n_queries"]].to_numpy().tolist() == [["H", 1], ["I", 1]]
    assert list(left_out.columns[:3]) == ["modality", "cell_type", "timepoint"]


def test_only_retrieved_perturbations_take_part():
    rows = [
        ("a", "G", [1, 0.0]),
        ("b", "G", [0.9, 0.1]),
        ("c", "G", [0, 1.0]),
        ("d", "H", [0.0, 1]),
        ("e", "H", [0.1, 1]),
    ]
    table = sisters(flat(rows, "crispr"), CRISPR, Rules(), retrieved(CRISPR, *"abde"))["sisters"].set_index("label")
    assert table.loc["G", "n_queries"] == 2
    assert table.loc["G", "mean_average_precision"] == 1


def test_classes_of_the_same_compounds_say_so():
    rows = [("a", "G1|G2", [1, 0.0]), ("b", "G1|G2", [0.9, 0.1]), ("c", "H", [0, 1.0]), ("d", "H", [0.1, 1])]
    table = sisters(flat(rows, "compound"), COMPOUND, Rules(), retrieved(COMPOUND, *"abcd"))["sisters"]
    assert table.set_index("label")["merged_label"].to_dict() == {"G1": "G1|G2", "G2": "G1|G2", "H": "H"}


def test_nothing_retrieved_gives_an_empty_table():
    table = sisters(flat([("a", "G", [1, 0.0])], "compound"), COMPOUND, Rules(), retrieved(COMPOUND, "x"))["sisters"]
    assert len(table) == 0
    assert "retrieved" in table


def test_multilabel_average_precision_agrees_with_copairs():
    genes = {"a": "G|H", "b": "G", "c": "H|I", "d": "I", "e": "J|G", "f": "J", "g": "K|L", "h": "L|K|J", "i": "M"}
    profiles = screen(dict.fromkeys(genes, 0.6), targets=genes, n_plates=1, n_features=30)
    ours = sisters(profiles, COMPOUND, Rules("copairs", null_size=50), retrieved(COMPOUND, *genes))["sisters"]
    compounds = profiles[profiles["Metadata_broad_sample"] != ""].reset_index(drop=True)
    theirs = multilabel.average_precision(
        pd.DataFrame({"genes": [mine.split("|") for mine in genes.values()]}),
        compounds.filter(like="Cells").to_numpy(),
        pos_sameby=["genes"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["genes"],
        multilabel_col="genes",
        distance="abs_cosine",
        progress_bar=False,
    )
    theirs = theirs.groupby("genes").agg(mean=("average_precision", "mean"), n=("n_total_pairs", "mean"))
    ours = ours.set_index("label")
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_allclose(ours["mean_average_precision"], theirs["mean"], rtol=1e-6)
    np.testing.assert_allclose(ours["n_candidates"], theirs["n"])


def test_planted_guides_of_one_gene_find_each_other(profiles, planted):
    tables = run_task("sisters", profiles[CRISPR.rows(profiles)])
    table = tables["sisters"]
    acting = planted.truth.query("strength > 0 and Metadata_modality == 'crispr'")
    acting = acting.query("Metadata_cell_type == 'A549' and Metadata_timepoint == 'short'")["gene"].value_counts()
    both = set(acting[acting == 2].index)
    found = set(table.loc[table["retrieved"], "label"])
    assert len(found & both) / len(both) > 0.95
    assert len(found - both) <= 3
