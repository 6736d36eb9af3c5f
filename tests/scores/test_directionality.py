from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from pipeline.scores import Condition, Rules, conditions, run_task
from pipeline.scores.wells import Consensus
from pipeline.tasks.directionality import by_cell_type, cosines, directionality, summary
from pipeline.tasks.pairs import pairs

PUBLISHED = Rules("published")


def consensus(genes: list[str], features: list[list[float]], targets: bool = False) -> Consensus:
    meta = pd.DataFrame(
        {
            "Metadata_broad_sample": [f"s{i}" for i in range(len(genes))],
            "Metadata_pert_iname": "",
            "Metadata_gene": "" if targets else genes,
            "Metadata_target_list": genes if targets else "",
        }
    )
    return Consensus(meta, np.array(features, dtype=float), tuple("xy"[: len(features[0])]))


def test_correct_null_has_no_true_pair_and_published_counts_a_compound_once_a_target():
    compounds = consensus(["G|H", "I", "elsewhere"], [[1, 0], [0, 1], [1, 1]], targets=True)
    genes = consensus(["G", "H", "I"], [[1, 0], [0, 1], [-1, 0]])
    correct = cosines(compounds, genes, Rules())
    assert correct.true.tolist() == [1, 0, 0]
    assert sorted(correct.null) == [-1, 0, 1], (
        "G|H with I; I with G and with H; the compound without a gene has no pair"
    )
    published = cosines(compounds, genes, PUBLISHED)
    assert published.true.tolist() == [1, 0, 0]
    assert sorted(published.null) == [-1, -1, 0, 0, 1, 1], "G|H stands twice, each time with its other target"
    assert correct.pairs["label"].tolist() == ["G", "H", "I"]


def test_thresholds_counts_and_fisher_by_hand():
    rng = np.random.default_rng(0)
    null = np.arange(101.0)
    # a value on a threshold counts as beyond it
    true = np.r_[5, 4, 0, np.full(8, 97), 95, np.full(28, 50)]
    result = summary(cosines_of(rng.permutation(true), rng.permutation(null)))
    assert (result["threshold_low"], result["threshold_high"]) == (5, 95)
    assert (result["n"], result["n_below"], result["n_above"]) == (40, 3, 9)
    assert result["odds_ratio"] == pytest.approx((37 * 9) / (3 * 31))
    assert result["p"] == pytest.approx(fisher_exact([[37, 3], [31, 9]]).pvalue)


def cosines_of(true: np.ndarray, null: np.ndarray):
    from pipeline.tasks.directionality import Cosines

    return Cosines(true, null, pd.DataFrame())


@pytest.mark.parametrize("row", range(6))
def test_the_published_fisher_test_is_ours(cpjump1, row):
    printed = pd.read_csv(cpjump1.published / "fig5_directionality.csv").iloc[row]
    n, below, above = printed[["n", "n_le_5th_percentile", "n_ge_95th_percentile"]].astype(int)
    null = np.linspace(-1, 1, 1001)
    true = np.r_[np.full(below, -1.0), np.full(above, 1.0), np.zeros(n - below - above)]
    result = summary(cosines_of(true, null))
    assert result["odds_ratio"] == pytest.approx(printed["fisher_odds_ratio"], rel=1e-12)
    assert result["p"] == pytest.approx(printed["fisher_p_two_sided"], rel=1e-6)


@pytest.fixture(scope="module")
def tables(profiles) -> dict[str, dict[str, pd.DataFrame]]:
    return {mode: run_task("directionality", profiles, mode=mode) for mode in ("correct", "published")}


def pooled(tables: dict[str, pd.DataFrame], comparison: str) -> pd.Series:
    table = tables["directionality"].query("gene_timepoint == 'all' and cell_type == 'A549'")
    return table.set_index("comparison").loc[comparison]


def test_the_screens_layout_gives_the_printed_numbers_of_pairs(tables):
    for comparison in ("compound-crispr", "compound-orf"):
        assert pooled(tables["published"], comparison)["n"] == 1864
        assert pooled(tables["published"], comparison)["n_null"] == 296_376
        assert pooled(tables["correct"], comparison)["n"] == 1864
    assert len(tables["published"]["directionality_pairs"].query("comparison == 'orf-crispr'")) == 1280


def test_published_prints_compound_gene_numbers_for_orf_against_crispr_and_correct_its_own(tables):
    assert pooled(tables["published"], "orf-crispr")["n"] == 3728
    assert pooled(tables["correct"], "orf-crispr")["n"] == 640
    assert pooled(tables["correct"], "orf-crispr")["n_null"] == 4 * 160 * 159


def test_planted_directions_are_found(tables):
    # compounds and guides were planted along their gene's direction, ORFs against it
    correct = tables["correct"]
    assert (
        pooled(correct, "compound-crispr")["percent_above"]
        > 20
        > 8
        > pooled(correct, "compound-crispr")["percent_below"]
    )
    for comparison in ("compound-orf", "orf-crispr"):
        assert pooled(correct, comparison)["percent_below"] > 8 > 7 > pooled(correct, comparison)["percent_above"]
        assert pooled(correct, comparison)["p_below"] < 1e-6 < pooled(correct, comparison)["p_above"]


def test_an_inert_screen_has_five_percent_at_either_end(profiles):
    rng = np.random.default_rng(0)
    inert = profiles.copy()
    features = [name for name in inert if not name.startswith("Metadata")]
    inert[features] = rng.normal(size=(len(inert), len(features)))
    unit = by_cell_type(conditions(inert))[0]
    table = directionality(inert, unit, Rules(), {})["directionality"].query("gene_timepoint == 'all'")
    assert (table["p_above"] > 0.001).all()
    assert (table["p_below"] > 0.001).all()
    assert table["percent_above"].between(2.5, 7.5).all()


def test_the_histogram_holds_the_whole_null(tables):
    counts = tables["correct"]["directionality_null"].groupby(["cell_type", "comparison"])["count"].sum()
    assert counts[("A549", "compound-crispr")] == pooled(tables["correct"], "compound-crispr")["n_null"]


def test_the_strongest_pairs_are_the_ten_at_either_end_per_cell_type(tables):
    table = pairs(pd.DataFrame(), (), Rules(), tables["correct"])["pairs"]
    assert table.groupby(["cell_type", "list"]).size().to_dict() == {
        (cell, end): 10 for cell in ("A549", "U2OS") for end in ("top10", "bottom10")
    }
    everything = tables["correct"]["directionality_pairs"].query("comparison != 'orf-crispr' and cell_type == 'U2OS'")
    top = table.query("cell_type == 'U2OS' and list == 'top10'")["cosine"]
    assert top.tolist() == sorted(everything["cosine"], reverse=True)[:10]
    assert (table["comparison"] != "orf-crispr").all()


def test_conditions_of_another_variant_are_not_pooled():
    found = [Condition(("compound", "A549", "long")), Condition(("compound", "A549", "long"), "density 80")]
    assert len(by_cell_type(found)) == 2


def test_every_table_names_the_pair_of_modalities_as_its_modality(tables):
    for name in ("directionality", "directionality_pairs", "directionality_null"):
        assert set(tables["correct"][name]["modality"]) == {"orf-crispr", "compound-crispr", "compound-orf"}
        assert (tables["correct"][name]["modality"] == tables["correct"][name]["comparison"]).all()
    strongest = pairs(pd.DataFrame(), (), Rules(), tables["correct"])["pairs"]
    assert set(strongest["modality"]) <= {"compound-crispr", "compound-orf"}
