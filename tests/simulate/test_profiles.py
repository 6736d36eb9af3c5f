from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Screen, load_screen
from pipeline.scores import Condition, run_task
from pipeline.screen import Plate
from pipeline.simulate.profiles import simulate_profiles


@pytest.fixture(scope="module")
def cpjump1() -> Screen:
    return load_screen("cpjump1")


@pytest.fixture(scope="module")
def planted(cpjump1):
    return simulate_profiles(cpjump1, n_features=120, active={"compound": 0.8, "crispr": 0.6, "orf": 0.3}, strength=1.5)


def test_the_layout_is_the_true_one(planted, cpjump1):
    profiles = planted.profiles
    assert len(profiles) == 40 * 384
    empty = (profiles["Metadata_broad_sample"] == "").sum()
    assert len(profiles) - empty == 15_264
    everything = simulate_profiles(cpjump1, plates=all_plates(cpjump1), n_features=2).profiles
    assert len(everything) == 41_088


def all_plates(screen: Screen) -> list[Plate]:
    from pipeline.screen.plates import plate_list, screen_plates

    return plate_list(screen_plates(screen))


def test_detection_finds_what_was_planted_and_little_else(planted):
    classes = run_task("detection", planted.profiles)["detection"]
    truth = planted.truth.rename(columns=lambda name: name.removeprefix("Metadata_")).rename(
        columns={"broad_sample": "label"}
    )
    both = classes.merge(truth, on=["modality", "cell_type", "timepoint", "label"]).query("variant == ''")
    assert len(both) == len(classes) == 12 // 3 * (306 + 305 + 160)
    acts = both["strength"] > 0
    assert both.loc[acts, "retrieved"].mean() > 0.995
    assert both.loc[~acts, "retrieved"].mean() < 0.02


def test_equal_arguments_give_equal_profiles_whichever_plates_are_asked_for(planted, cpjump1):
    first = Plate(*planted.profiles[["Metadata_Batch", "Metadata_Plate"]].iloc[0])
    alone = simulate_profiles(
        cpjump1, plates=[first], n_features=120, active={"compound": 0.8, "crispr": 0.6, "orf": 0.3}, strength=1.5
    ).profiles
    mine = planted.profiles[planted.profiles["Metadata_Plate"] == first.plate].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, mine)
    assert not np.allclose(
        alone.iloc[:, -1], simulate_profiles(cpjump1, plates=[first], n_features=120, seed=1).profiles.iloc[:, -1]
    )


def test_as_many_act_as_asked_for(planted):
    truth = planted.truth.query("Metadata_variant == ''")
    acting = (
        truth[truth["strength"] > 0].groupby(["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint"]).size()
    )
    assert set(acting["compound"]) == {245}
    assert set(acting["orf"]) == {48}
    by_condition = simulate_profiles(
        load_screen("cpjump1"), plates=[], n_features=2, active={Condition(("orf", "A549", "short")): 9 / 160}
    ).truth
    assert (by_condition["strength"] > 0).sum() == 9
