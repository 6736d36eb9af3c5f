from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from copairs import map as copairs

from pipeline.errors import ConfigError
from pipeline.scores import overview
from pipeline.scores.notes import without_features
from pipeline.scores.rules import Rules
from pipeline.scores.steps import corrected
from pipeline.scores.wells import feature_names
from pipeline.screen.conditions import Condition, conditions
from pipeline.tasks.detection import detection
from tests.scores.small import screen

A549 = Condition(("compound", "A549", "short"))


@pytest.fixture(scope="module")
def profiles() -> pd.DataFrame:
    return screen({"strong": 3.0, "weak": 0.7, "none": 0.0, "also none": 0.0})


def test_a_strong_perturbation_is_retrieved_and_an_inert_one_is_not(profiles):
    classes = detection(profiles, (A549,), Rules(), {})["detection"].set_index("label")
    assert classes.loc["strong", "retrieved"]
    assert classes.loc["strong", "mean_average_precision"] == 1
    assert not classes.loc["none", "retrieved"]
    assert classes.loc["strong", ["n_queries", "n_positives", "n_candidates"]].tolist() == [4, 3, 15]


def test_average_precision_and_its_mean_agree_with_copairs(profiles, tmp_path):
    ours = detection(profiles, (A549,), Rules("copairs", null_size=2000), {})
    meta = profiles.filter(like="Metadata").assign(is_control=profiles["Metadata_control_type"] == "negcon")
    theirs = copairs.average_precision(
        meta,
        profiles[feature_names(profiles)].to_numpy(),
        pos_sameby=["Metadata_broad_sample"],
        pos_diffby=[],
        neg_sameby=["Metadata_Plate"],
        neg_diffby=["is_control"],
        batch_size=1000,
        progress_bar=False,
    ).query("not is_control")
    key = ["plate", "well"]
    theirs = theirs.rename(columns={"Metadata_Plate": "plate", "Metadata_Well": "well"})
    both = ours["detection_wells"].merge(theirs, on=key, suffixes=("", "_copairs"))
    assert len(both) == 16
    np.testing.assert_allclose(both["average_precision"], both["average_precision_copairs"], rtol=1e-6)
    np.testing.assert_array_equal(both["n_positives"], both["n_pos_pairs"])
    np.testing.assert_array_equal(both["n_candidates"], both["n_total_pairs"])

    theirs = copairs.mean_average_precision(
        theirs,
        ["Metadata_broad_sample"],
        null_size=2000,
        threshold=0.05,
        seed=0,
        progress_bar=False,
        cache_dir=tmp_path,
    )
    both = ours["detection"].merge(theirs, left_on="label", right_on="Metadata_broad_sample", suffixes=("", "_copairs"))
    np.testing.assert_allclose(both["mean_average_precision"], both["mean_average_precision_copairs"], rtol=1e-6)
    # both nulls are samples of 2000: four standard errors of their difference
    p = both["p"]
    assert (np.abs(p - both["p_value"]) <= 4 * np.sqrt(2 * p * (1 - p) / 2000) + 2 / 2001).all()


def test_negatives_are_the_controls_of_the_same_plate_only(profiles):
    elsewhere = profiles.copy()
    first = elsewhere["Metadata_Plate"] == elsewhere["Metadata_Plate"].iloc[0]
    elsewhere = elsewhere[~(first & (elsewhere["Metadata_control_type"] == "negcon"))]
    wells = detection(elsewhere, (A549,), Rules(), {})["detection_wells"]
    lost = wells["note"] == "no negative controls on its plate"
    assert lost.sum() == 4
    assert wells.loc[lost, ["average_precision", "p"]].isna().all(axis=None), "a list without negatives says nothing"
    assert (wells.loc[~lost, "n_candidates"] == 15).all()


@pytest.mark.parametrize("mode", ["correct", "published", "copairs"])
def test_queries_without_negatives_are_left_out_and_counted_in_every_mode(profiles, mode):
    plates = profiles["Metadata_Plate"].unique()
    uncontrolled = profiles["Metadata_Plate"].eq(plates[0]) & (profiles["Metadata_control_type"] == "negcon")
    tables = detection(profiles[~uncontrolled], (A549,), Rules(mode, null_size=200), {})
    classes, wells = tables["detection"].set_index("label"), tables["detection_wells"]
    assert (classes["n_queries"] == 3).all()
    assert (classes["n_without_negatives"] == 1).all()
    assert (classes["n_without_positives"] == 0).all()
    others = wells[(wells["plate"] != plates[0]) & (wells["label"] == "none")]
    assert classes.loc["none", "mean_average_precision"] == pytest.approx(others["average_precision"].mean())
    summary = overview(tables).iloc[0]
    assert (summary["n_without_negatives"], summary["n_classes"]) == (4, 4)

    nothing = detection(
        profiles[profiles["Metadata_control_type"] != "negcon"], (A549,), Rules(mode, null_size=200), {}
    )
    classes = nothing["detection"]
    assert (classes["n_queries"] == 0).all()
    assert (classes["n_without_negatives"] == 4).all()
    assert not classes["retrieved"].any()
    assert overview(nothing)["n_left_out"].tolist() == [4]


def test_row_order_and_other_conditions_change_nothing(profiles):
    other = screen({"strong": 1.0, "weak": 1.0}, timepoint="long", seed=9)
    mixed = pd.concat([other, profiles]).sample(frac=1, random_state=1)
    assert conditions(mixed) == [Condition(("compound", "A549", "long")), A549]
    pd.testing.assert_frame_equal(
        detection(mixed, (A549,), Rules(), {})["detection_wells"],
        detection(profiles, (A549,), Rules(), {})["detection_wells"],
    )


def test_a_feature_with_a_missing_value_is_left_out_and_an_empty_well_is_reported(profiles):
    broken = profiles.copy()
    features = feature_names(broken)
    broken.loc[3, features[0]] = np.nan
    broken.loc[0, features[1:]] = np.inf
    clean = profiles.drop(columns=features[0]).drop(index=0)
    reported = detection(broken, (A549,), Rules(), {})["detection_wells"].query("note == 'values not finite'")
    assert reported["label"].tolist() == ["strong"]
    assert reported["p"].isna().all()
    ours = detection(broken, (A549,), Rules(), {})["detection_wells"].query("note == ''")
    pd.testing.assert_frame_equal(
        ours.reset_index(drop=True), detection(clean, (A549,), Rules(), {})["detection_wells"], check_dtype=False
    )


def test_how_many_features_were_left_out_is_said_and_all_of_them_by_name(profiles):
    some, none = profiles.copy(), profiles.copy()
    names = feature_names(profiles)
    some.loc[3, names[:3]] = np.nan
    for at, name in enumerate(names):
        none.loc[at, name] = np.nan
    classes = detection(some, (A549,), Rules(), {})["detection"]
    assert set(classes["n_features"]) == {37}
    assert set(classes["n_features_not_finite"]) == {3}
    assert without_features(classes) == [
        "compound A549 short: 3 of 40 features left out, for they are not finite in every well."
    ]
    tables = detection(none, (A549,), Rules(), {})
    assert set(tables["detection_wells"]["note"]) == {"no feature is finite in all wells of the condition"}
    assert "compound A549 short: nothing is ranked, for none of its 40" in without_features(tables["detection"])[0]
    assert without_features(detection(profiles, (A549,), Rules(), {})["detection"]) == []


def test_wells_without_sample_are_no_queries(profiles):
    emptied = profiles.copy()
    emptied.loc[emptied["Metadata_broad_sample"] == "none", "Metadata_broad_sample"] = None
    assert "none" not in detection(emptied, (A549,), Rules(), {})["detection"]["label"].tolist()
    assert len(detection(emptied, (A549,), Rules(), {})["detection_wells"]) == 12


def test_profiles_without_annotation_are_refused_with_the_columns_that_lack(profiles):
    with pytest.raises(ConfigError, match="Metadata_control_type"):
        conditions(profiles.drop(columns="Metadata_control_type"))


def test_a_text_column_that_is_not_called_metadata_is_refused_by_name(profiles):
    named = profiles.assign(Image_FileName_OrigDNA="r01c01.tiff", Cells_Count=3, Cells_Nothing=None)
    with pytest.raises(ConfigError, match=r"no numbers: Image_FileName_OrigDNA\. .* Metadata_"):
        detection(named, (A549,), Rules(), {})
    with pytest.raises(ConfigError, match="Image_FileName_OrigDNA"):
        corrected(named, ["clip"])
    counted = detection(named.drop(columns="Image_FileName_OrigDNA"), (A549,), Rules(), {})["detection"]
    assert set(counted["n_features"]) == {40}, "a count is no feature, a column without values is left out"


def test_profiles_without_features_have_conditions_and_no_scores(profiles):
    meta = profiles.filter(like="Metadata")
    assert conditions(meta) == [A549]
    with pytest.raises(ConfigError, match="no features"):
        detection(meta, (A549,), Rules(), {})
