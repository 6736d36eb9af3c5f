from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from copairs.map import multilabel

from pipeline.scores import Condition, Rules
from pipeline.tasks.gene_compound import gene_compound, pairings
from tests.scores.test_sisters import flat, retrieved

COMPOUND = Condition(("compound", "A549", "short"))
ORF = Condition(("orf", "A549", "long"))


def matched(
    compounds: list[tuple[str, str, list[float]]], reagents: list[tuple[str, str, list[float]]], rules: Rules
) -> pd.DataFrame:
    profiles = pd.concat(
        [flat(compounds, "compound"), flat(reagents, "orf").assign(Metadata_timepoint="long", Metadata_Plate="P2")]
    )
    kept = pd.concat(
        [retrieved(COMPOUND, *(row[0] for row in compounds)), retrieved(ORF, *(row[0] for row in reagents))]
    )
    return gene_compound(profiles, (COMPOUND, ORF), rules, {"detection": kept})["gene_compound"].set_index("label")


def last_of(n_compounds: int) -> tuple[list, list]:
    """Seven reagents, `n_compounds` compounds; the compound of gene G0 is the least like its reagent, both ways."""
    identity = np.eye(8)
    reagents = [(f"r{i}", f"G{i}", list(identity[i])) for i in range(7)]
    target = np.r_[0.01, np.full(6, 0.5), 0.0]
    compounds = [("c0", "G0", list(target))]
    compounds += [(f"c{i}", f"G{1 + i % 6}", list(np.r_[0.5, np.eye(7)[i % 6]])) for i in range(1, n_compounds)]
    return compounds, reagents


def test_published_counts_a_true_pair_as_its_own_negative_as_printed_for_GHSR():
    # A549 24 h compounds, 96 h ORFs: 7 ORFs kept. Printed mAP 0.1041667 = (1/8 + 1/12) / 2: rank 8 of 7 ORFs.
    compounds, reagents = last_of(11)
    published = matched(compounds, reagents, Rules("published"))
    assert published.loc["G0", "mean_average_precision"] == pytest.approx(0.1041667, abs=1e-6)
    assert published.loc["G0", "n_candidates"] == (8 + 12) / 2
    correct = matched(compounds, reagents, Rules("correct"))
    assert correct.loc["G0", "mean_average_precision"] == pytest.approx((1 / 7 + 1 / 11) / 2)


def test_genes_with_perturbations_of_one_kind_alone_are_left_out_and_counted():
    compounds = [("c0", "G", [1, 0.0]), ("c1", "G|ONLY_LISTED|NOT_HERE", [0, 1.0])]
    reagents = [("r0", "G", [1, 0.1]), ("r1", "ONLY_CARRIED", [0.1, 1.0]), ("r2", "ONLY_LISTED", [1.0, 1.0])]
    profiles = pd.concat(
        [flat(compounds, "compound"), flat(reagents, "orf").assign(Metadata_timepoint="long", Metadata_Plate="P2")]
    )
    kept = pd.concat([retrieved(COMPOUND, "c0", "c1"), retrieved(ORF, "r0", "r1")])
    tables = gene_compound(profiles, (COMPOUND, ORF), Rules(), {"detection": kept})
    assert tables["gene_compound"]["label"].tolist() == ["G"]
    left_out = tables["gene_compound_left_out"].set_index("label")["why"].to_dict()
    assert left_out == {
        "ONLY_LISTED": "no retrieved reagent of the gene",
        "ONLY_CARRIED": "no retrieved compound that lists the gene",
    }, "a gene of which the screen has no reagent is not asked"


def test_published_throws_a_coin_above_sixteen_candidates_as_printed_for_HRH4():
    # Printed mAP 0.0919118 = (1/8 + 1/17) / 2; heads would have given (1/8 + 1/16) / 2.
    compounds, reagents = last_of(16)
    seen = {
        round(
            matched(compounds, reagents, Rules("published", seed=seed, null_size=10)).loc[
                "G0", "mean_average_precision"
            ],
            7,
        )
        for seed in range(12)
    }
    assert seen == {0.0919118, round((1 / 8 + 1 / 16) / 2, 7)}
    correct = matched(compounds, reagents, Rules("correct"))
    assert correct.loc["G0", "mean_average_precision"] == pytest.approx((1 / 7 + 1 / 16) / 2)


def test_both_kinds_are_queries_and_a_compounds_other_targets_are_no_negatives():
    reagents = [("r1", "G", [1, 0, 0.0]), ("r2", "H", [0, 1, 0.0]), ("r3", "I", [0.9, 0.3, 0])]
    compounds = [("both", "G|H", [0.4, 1.0, 0.0]), ("other", "I", [1.0, 0.2, 0.1])]
    table = matched(compounds, reagents, Rules())
    # both, for G: r1 against r3 alone (H is its own): r3 is nearer, 1/2. r1: both against other: other is nearer, 1/2
    assert table.loc["G", "n_queries"] == 2
    assert table.loc["G", "mean_average_precision"] == pytest.approx(1 / 2)
    assert table.loc["G", "n_candidates"] == 2


def test_compounds_without_a_kept_reagent_take_no_part():
    reagents = [("r1", "G", [1, 0.0]), ("r2", "H", [0, 1.0])]
    compounds = [("a", "G", [1, 0.1]), ("b", "H", [0.1, 1]), ("c", "X", [1.0, 0.0])]
    table = matched(compounds, reagents, Rules())
    assert table["n_candidates"].tolist() == [2, 2]


def test_average_precision_agrees_with_copairs():
    rng = np.random.default_rng(4)
    genes = ["G|H", "G", "H|I", "I", "J|G", "K"]
    compounds = [(f"c{i}", mine, list(rng.normal(size=12))) for i, mine in enumerate(genes)]
    reagents = [
        (f"r{i}", mine, list(rng.normal(size=12))) for i, mine in enumerate(["G", "G", "H", "I", "J", "K", "L"])
    ]
    ours = matched(compounds, reagents, Rules("copairs", null_size=50))
    # A gene that no compound hits is left out here; copairs' negatives would keep it, so it stays in both
    meta = pd.DataFrame(
        {
            "genes": [row[1].split("|") for row in compounds + reagents],
            "kind": ["compound"] * len(compounds) + ["reagent"] * len(reagents),
        }
    )
    theirs = multilabel.average_precision(
        meta,
        np.array([row[2] for row in compounds + reagents]),
        pos_sameby=["genes"],
        pos_diffby=["kind"],
        neg_sameby=[],
        neg_diffby=["genes", "kind"],
        multilabel_col="genes",
        distance="abs_cosine",
        progress_bar=False,
    )
    theirs = theirs.groupby("genes")["average_precision"].mean()
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_allclose(ours["mean_average_precision"], theirs, rtol=1e-6)


def test_there_are_sixteen_pairings_of_cell_types_and_time_points():
    found = [
        Condition((modality, cell, time))
        for modality in ("compound", "crispr", "orf")
        for cell in ("A549", "U2OS")
        for time in ("long", "short")
    ]
    pairs = pairings(found)
    assert len(pairs) == 16
    assert all(compound.get("cell_type") == genetic.get("cell_type") for compound, genetic in pairs)
