from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from pipeline.errors import ConfigError
from pipeline.paper.paper_check import as_text, lacking, paper_check, verdict
from pipeline.paper.published_numbers import NUMBERS
from pipeline.scores import Condition
from pipeline.simulate.profiles import simulate_profiles


@pytest.fixture(scope="module")
def check(cpjump1) -> pd.DataFrame:
    """A screen in which just as many perturbations act in each condition as the paper retrieved there."""
    printed = pd.read_csv(cpjump1.published / "fig4a_fraction_retrieved.csv")
    active = {
        Condition((row.modality, row.cell_type, row.timepoint)): row.n_retrieved / row.n_perturbations
        for row in printed.itertuples()
    }
    planted = simulate_profiles(cpjump1, n_features=80, active=active, strength=2.0, likeness=0.3)
    return paper_check(planted.profiles, cpjump1, null_size=2000).set_index(["table", "item"])


def test_every_published_table_is_asked(cpjump1, check):
    assert set(NUMBERS) == {path.stem for path in cpjump1.published.glob("*.csv")}
    assert set(check.index.get_level_values("table")) == set(NUMBERS)
    rows = {"fig4a_fraction_retrieved": 24, "fig4c_fraction_retrieved": 32, "t_tests": 104, "supp_table2_counts": 36}
    assert {name: len(check.loc[name]) for name in rows} == rows
    assert len(check.loc["top_gene_compound_pairs"]) == 40


def test_every_number_has_ours_in_both_modes_a_tolerance_and_a_reason(check):
    assert check["ours"].notna().all()
    assert check["ours_correct"].notna().all()
    assert (check["why_tolerance"] != "").all()


def test_where_the_published_fractions_are_planted_the_check_agrees(check):
    figure = check.loc["fig4a_fraction_retrieved"]
    assert figure["agrees"].astype(bool).all(), figure[["theirs", "ours"]]
    np.testing.assert_allclose(figure["ours_correct"], figure["theirs"], atol=2.5 / 160)


def test_what_layout_and_annotation_decide_agrees_on_any_profiles(check):
    for table in ("polypharmacology_recomputed", "dataset_splits", "gene_compound_split_genes"):
        assert check.loc[table]["agrees"].all()
    counted = check.loc["supp_table2_counts"]
    assert counted[counted.index.str.startswith("replicate")]["agrees"].all()
    pairs = check.loc["fig5_directionality"]
    assert pairs[pairs.index.str.endswith(", n")]["agrees"].all()


def test_what_was_not_planted_disagrees(check):
    tests = check.loc["t_tests"]
    for table in (check.loc["top_gene_compound_pairs"], tests[~tests.index.str.contains(", p ")]):
        assert table["agrees"].mean() < 0.3


def test_numbers_that_follow_from_others_are_asked_and_follow(check, cpjump1):
    directions = check.loc["fig5_directionality"]
    for row in pd.read_csv(cpjump1.published / "fig5_directionality.csv").itertuples():
        mine = directions[
            directions.index.str.startswith(f"{row.figure}, ") & directions.index.str.contains(row.cell_type)
        ]
        if row.figure == "5b":
            mine = mine[mine.index.str.contains(row.genetic_perturbation.lower())]
        ours = {name.split(", ")[-1]: value for name, value in mine["ours"].items()}
        n, below, above = (int(ours[name]) for name in ("n", "n_below", "n_above"))
        assert ours["percent_below"] == pytest.approx(100 * below / n)
        assert ours["percent_above"] == pytest.approx(100 * above / n)
        p = fisher_exact([[n - below, below], [n - above, above]]).pvalue
        assert ours["log10 of Fisher's two-sided p"] == pytest.approx(np.log10(p))
        theirs = {name.split(", ")[-1]: value for name, value in mine["theirs"].items()}
        assert theirs["log10 of Fisher's two-sided p"] == pytest.approx(np.log10(row.fisher_p_two_sided))


def test_a_printed_bound_on_p_is_held_or_not(check):
    tests = check.loc["t_tests"]
    bounds = tests[tests.index.str.contains("p <0.05")]
    assert len(bounds) == 51
    assert bounds["ours"].isin([0, 1]).all()
    assert (bounds["agrees"].astype(bool) == (bounds["ours"] == 1)).all()
    against_chance = bounds[bounds.index.str.contains("vs chance")]
    assert (against_chance["ours"] == 1).all(), "mAP against 0 cannot fail"


def test_a_published_gene_that_the_screen_does_not_perturb_disagrees(cpjump1):
    published = pd.read_csv(cpjump1.published / "gene_compound_split_genes.csv")
    of_table = NUMBERS["gene_compound_split_genes"]
    assert all(abs(number.of({}) - number.theirs) <= number.tolerance for number in of_table(published, cpjump1))
    published.loc[0, "gene"] = "NOGENE"
    wrong = [
        number.item for number in of_table(published, cpjump1) if abs(number.of({}) - number.theirs) > number.tolerance
    ]
    assert len(wrong) == 4


def test_each_number_agrees_with_itself_and_not_with_a_number_beyond_its_tolerance(check):
    difference = check["difference"].abs()
    assert (check["agrees"].astype(bool) == (difference <= check["tolerance"])).all()


def test_the_text_names_the_defects_once(check):
    text = as_text(check.reset_index())
    assert "fig4a_fraction_retrieved: 24 of 24 computable numbers agree; 0 are not computable." in text
    assert text.count("published ranks every true pair against itself") == 1


def test_numbers_of_conditions_that_are_not_there_are_not_computable_and_do_not_disagree(cpjump1, profiles):
    only = profiles[(profiles["Metadata_cell_type"] == "A549") & (profiles["Metadata_modality"] != "orf")]
    check = paper_check(only.reset_index(drop=True), cpjump1, null_size=500).set_index(["table", "item"])
    figure = check.loc["fig4a_fraction_retrieved"]
    here = [name.split()[:2] in (["compound", "A549"], ["crispr", "A549"]) for name in figure.index]
    assert (figure["why_not"] == "").tolist() == here
    assert figure["ours"].notna().tolist() == here
    assert figure["agrees"].isna().tolist() == [not there for there in here]
    assert figure.loc["orf U2OS short", "why_not"] == "2 of 2 plates of orf U2OS short are not there"
    # what both modalities are needed for, and what the tables of the screen alone decide
    matching = check.loc["fig4c_fraction_retrieved"]
    assert ((matching["why_not"] == "") == matching.index.str.contains("crispr A549")).all()
    assert (check.loc["dataset_splits", "why_not"] == "").all()
    text, agrees = verdict(check)
    assert not agrees
    not_computable = (check["why_not"] != "").sum()
    assert f"{not_computable} are not computable" in text
    assert "not computable: 2 of 2 plates of orf U2OS short are not there" in as_text(check.reset_index())


def test_all_that_can_be_computed_agreeing_is_agreement(check):
    some = check.loc[["fig4a_fraction_retrieved"]].copy()
    some.iloc[0, some.columns.get_loc("agrees")] = None
    some.iloc[0, some.columns.get_loc("why_not")] = "its plates are not there"
    assert verdict(some) == ("23 of 23 computable numbers agree; 1 are not computable.", True)
    some.iloc[1, some.columns.get_loc("agrees")] = False
    assert not verdict(some)[1]


def test_a_plate_less_and_a_part_of_a_plate_take_their_condition_away(cpjump1, profiles):
    chosen = (profiles["Metadata_modality"] == "orf") & (profiles["Metadata_cell_type"] == "A549")
    orfs = profiles[chosen & (profiles["Metadata_timepoint"] == "short")]
    plates = sorted(set(orfs["Metadata_Plate"]))

    def lacks(rows: pd.DataFrame) -> str:
        return lacking(rows, cpjump1)[Condition(("orf", "A549", "short"))]

    assert lacks(orfs) == ""
    assert lacks(orfs.drop(orfs.index[5:10])) == "", "five wells may be without cells"
    assert lacks(orfs[orfs["Metadata_Plate"] == plates[0]]) == "1 of 2 plates of orf A549 short are not there"
    part = orfs[(orfs["Metadata_Plate"] == plates[0]) | orfs["Metadata_Well"].str.startswith(("A", "B"))]
    assert lacks(part).startswith(f"orf A549 short: plate {plates[1]} has ")


def test_secondary_plates_are_no_part_of_the_published_numbers(cpjump1, profiles):
    chosen = profiles[(profiles["Metadata_modality"] == "orf") & (profiles["Metadata_cell_type"] == "A549")]
    again = chosen.assign(Metadata_Batch="2020_11_19_TimepointDay4", Metadata_variant="batch Day4")
    both = pd.concat([chosen, again], ignore_index=True)
    alone, more = (paper_check(table.reset_index(drop=True), cpjump1, null_size=100) for table in (chosen, both))
    pd.testing.assert_frame_equal(alone, more)
    with pytest.raises(ConfigError, match="No published number can be computed"):
        paper_check(again.reset_index(drop=True), cpjump1, null_size=100)


def test_a_screen_without_published_numbers_is_refused(cpjump1, profiles):
    with pytest.raises(ConfigError, match="published"):
        paper_check(profiles, cpjump1.model_copy(update={"published": None}))
