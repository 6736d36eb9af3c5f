from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from pipeline.scores import Rules, mode_differences, overview, run_task
from pipeline.tasks import counts as of_counts
from pipeline.tasks import t_tests as of_t_tests
from pipeline.tasks.polypharmacology import gene_family, polypharmacology


def t_tests(tables, rules) -> dict[str, pd.DataFrame]:
    return of_t_tests.t_tests(pd.DataFrame(), (), rules, tables)


def counts(tables, rules) -> dict[str, pd.DataFrame]:
    return of_counts.counts(pd.DataFrame(), (), rules, tables)


def classes(rows: list[tuple[str, float, float]], **front: str) -> pd.DataFrame:
    """A score table of one condition: (label, mAP, expected AP) a row; NaN without a valid query."""
    table = pd.DataFrame(rows, columns=["label", "mean_average_precision", "expected_average_precision"])
    valid = table["mean_average_precision"].notna()
    return table.assign(
        n_queries=np.where(valid, 4, 0),
        n_without_positives=np.where(valid, 0, 2),
        n_without_negatives=0,
        p_min=0.01,
        retrieved=table["mean_average_precision"] > 0.5,
        mode="correct",
    ).pipe(lambda rest: pd.concat([pd.DataFrame(front, index=rest.index), rest], axis=1))


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    one = {"modality": "compound", "cell_type": "A549", "timepoint": "long"}
    pair = {"cell_type": "A549", "compound_timepoint": "long"}
    crispr, orf = (
        [("a", 0.2, 0.1), ("b", 0.4, 0.1), ("c", 0.3, 0.1)],
        [("a", 0.5, 0.4), ("b", 0.6, 0.5), ("c", 0.7, 0.4)],
    )
    return {
        "detection": classes([("a", 0.9, 0.1), ("b", 0.2, 0.15), ("c", 0.4, 0.1), ("d", np.nan, np.nan)], **one),
        "sisters": classes([("a", 0.6, 0.2), ("b", 0.1, 0.2)], **one),
        "gene_compound": pd.concat(
            [
                classes(crispr, modality="crispr", gene_timepoint="short", **pair),
                classes(orf, modality="orf", gene_timepoint="long", **pair),
            ]
        ),
    }


def test_correct_tests_the_excess_over_chance_and_published_the_plain_value(tables):
    published = t_tests(tables, Rules("published"))["t_tests"].set_index(["test", "condition"])
    correct = t_tests(tables, Rules())["t_tests"].set_index(["test", "condition"])
    row = ("perturbation detection vs chance", "compound_long")
    assert published.loc[row, "statistic"] == pytest.approx(ttest_1samp([0.9, 0.2, 0.4], 0).statistic)
    assert correct.loc[row, "statistic"] == pytest.approx(ttest_1samp([0.8, 0.05, 0.3], 0).statistic)
    assert correct.loc[row, "n"] == 3


def test_crispr_against_orf_compares_what_is_left_after_chance(tables):
    row = ("crispr vs orf gene-compound matching", "compound_long-crispr_short vs compound_long-orf_long")
    published = t_tests(tables, Rules("published"))["t_tests"].set_index(["test", "condition"]).loc[row]
    correct = t_tests(tables, Rules())["t_tests"].set_index(["test", "condition"]).loc[row]
    assert published["statistic"] == pytest.approx(ttest_ind([0.2, 0.4, 0.3], [0.5, 0.6, 0.7]).statistic)
    normalised = [(m - e) / (1 - e) for m, e in ((0.5, 0.4), (0.6, 0.5), (0.7, 0.4))]
    assert correct["statistic"] == pytest.approx(ttest_ind([1 / 9, 3 / 9, 2 / 9], normalised).statistic)


def test_the_primary_plates_give_the_52_tests_of_the_supplement(profiles, tables, cpjump1):
    scores = run_task("t_tests", profiles, null_size=200)
    printed = pd.read_csv(cpjump1.published / "t_tests.csv")
    ours = scores["t_tests"]
    assert set(zip(ours["condition"], ours["cell_type"], strict=True)) == set(
        zip(printed["condition"], printed["cell_type"], strict=True)
    )
    assert len(ours) == 52


def test_without_a_class_to_test_there_is_a_table_without_rows(tables):
    nothing = {name: table.assign(n_queries=0) for name, table in tables.items()}
    table = t_tests(nothing, Rules())["t_tests"]
    assert len(table) == 0
    assert set(t_tests(tables, Rules())["t_tests"]) == set(table)


def test_counts_leave_out_classes_without_a_valid_query_and_say_how_many(tables):
    table = counts(tables, Rules())["counts"].set_index(["task", "condition"])
    detected = table.loc[("replicate retrieval", "compound_long")]
    assert (detected["n_classes"], detected["n_retrieved"], detected["n_left_out"]) == (3, 1, 1)
    assert detected["n_without_positives"] == 2
    assert ("gene compound retrieval", "compound_long-orf_long") in table.index


def test_what_was_left_out_of_a_task_is_counted_even_where_nothing_is_left(tables):
    one = {"modality": "crispr", "cell_type": "U2OS", "timepoint": "short"}
    alone = pd.DataFrame({**one, "label": ["x", "y"], "n_queries": [1, 1], "why": "alone", "mode": "correct"})
    table = overview({**tables, "sisters_left_out": alone}).set_index(["task", "modality", "cell_type"])
    row = table.loc[("sisters", "crispr", "U2OS")]
    assert (row["n_classes"], row["n_left_out"], row["n_without_positives"]) == (0, 2, 2)
    assert np.isnan(row["fraction_retrieved"])
    assert table.loc[("sisters", "compound", "A549"), "n_left_out"] == 0


def test_values_without_spread_have_no_t(tables):
    tables["detection"]["mean_average_precision"] = tables["detection"]["expected_average_precision"] + 0.5
    row = t_tests(tables, Rules())["t_tests"].set_index("test").loc["perturbation detection vs chance"]
    assert np.isnan(row["statistic"])
    assert np.isnan(row["p"])


def test_genes_of_the_same_compounds_are_also_counted_once(tables):
    tables["sisters"] = tables["sisters"].assign(merged_label="a|b")
    sisters = counts(tables, Rules())["counts"].set_index("task").loc["sister perturbation retrieval"]
    assert (sisters["n_classes"], sisters["n_classes_merged"], sisters["n_retrieved_merged"]) == (2, 1, 1)


def test_a_gene_family_is_the_symbol_up_to_its_first_digit():
    assert [gene_family(gene) for gene in ("ADRA1A", "HTR2C", "KRAS", "S100B")] == ["ADRA", "HTR", "KRAS", "S"]


def test_about_21_percent_of_compounds_hit_several_families(profiles):
    table = polypharmacology(profiles, (), Rules(), {})["polypharmacology"]
    families = table.query("quantity == 'gene families per compound'")
    assert families["count"].sum() == 306
    assert families.query("value > 1")["count"].sum() == 65
    assert families.query("value > 1")["percent"].sum() == pytest.approx(21.2, abs=0.05)


def test_mode_differences_count_what_only_one_mode_retrieves(tables):
    other = {name: table.assign(mode="published") for name, table in tables.items()}
    other["detection"] = other["detection"].assign(retrieved=[False, True, True, False])
    row = mode_differences(tables, other).set_index("task").loc["detection"]
    assert (row["n_retrieved"], row["n_retrieved_other"], row["gained"], row["lost"]) == (1, 2, 2, 1)
    assert (row["mode"], row["other_mode"]) == ("correct", "published")


def test_mode_differences_in_the_same_position_are_of_samples_though_published_has_classes_of_wells():
    place = {"modality": "orf", "cell_type": "A549", "timepoint": "long", "position": "same"}
    ours = classes([("a", 0.9, 0.1), ("b", 0.9, 0.1), ("c", 0.1, 0.1)], **place)
    wells = [("a, A01", 0.9, 0.1), ("a, B01", 0.1, 0.1), ("b, A02", 0.2, 0.1), ("b, B02", 0.2, 0.1)]
    theirs = classes([*wells, ("c, A03", 0.9, 0.1), ("c, B03", 0.9, 0.1)], **place).assign(mode="published")
    row = mode_differences({"positions": ours}, {"positions": theirs}).iloc[0]
    assert (row["n_classes"], row["n_classes_other"]) == (3, 6)
    assert (row["n_retrieved"], row["n_retrieved_other"]) == (2, 3)
    assert (row["gained"], row["lost"]) == (1, 1), "c and b; a is retrieved by both"
    back = mode_differences({"positions": theirs}, {"positions": ours}).iloc[0]
    assert (back["gained"], back["lost"]) == (1, 1)


def test_an_empty_table_differs_in_nothing(tables):
    other = {name: table.assign(mode="published") for name, table in tables.items()}
    tables["sisters"], other["sisters"] = tables["sisters"].iloc[:0], other["sisters"].iloc[:0]
    assert set(mode_differences(tables, other)["task"]) == {"detection", "gene_compound"}
    assert len(mode_differences({}, {})) == 0
