from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pycytominer.operations import Spherize

from pipeline.config import ScoresConfig
from pipeline.errors import ConfigError
from pipeline.scores import run_task
from pipeline.scores.steps import STEPS, centre_positions, clip_features, corrected, sphere, steps_of
from pipeline.scores.wells import feature_names
from tests.scores.small import screen


def test_sphering_makes_the_negative_controls_uncorrelated_as_pycytominer_does():
    profiles = screen({"a": 1.0}, n_plates=40, n_controls=80, n_features=5)
    names = feature_names(profiles)
    mixing = np.random.default_rng(1).normal(size=(5, 5))
    profiles[names] = profiles[names].to_numpy() @ mixing + 3
    is_control = profiles["Metadata_control_type"] == "negcon"
    ours = sphere(profiles)[names]
    np.testing.assert_allclose(np.cov(ours[is_control].to_numpy().T), np.eye(5), atol=0.03)
    np.testing.assert_allclose(ours[is_control].mean(), 0, atol=1e-9)
    theirs = Spherize(method="ZCA").fit(profiles.loc[is_control, names]).transform(profiles[names])
    np.testing.assert_allclose(ours, theirs, atol=0.1)  # so many controls leave little to shrink


def test_sphering_shows_what_strong_common_variation_hides_and_nothing_where_there_is_nothing():
    rng = np.random.default_rng(3)
    samples = {f"active{i}": 1.0 for i in range(15)} | {f"inert{i}": 0.0 for i in range(60)}
    profiles = screen(samples, n_controls=40, n_features=150)  # fewer controls than features
    names = feature_names(profiles)
    profiles[names] += (4 * rng.normal(size=(len(profiles), 6))) @ rng.normal(size=(6, 150))

    def retrieved(table: pd.DataFrame) -> pd.Series:
        found = run_task("detection", table, null_size=5000)["detection"]
        return found.groupby(found["label"].str.rstrip("0123456789"))["retrieved"].mean()

    assert retrieved(profiles)["active"] < 0.2
    after = retrieved(sphere(profiles))
    assert after["active"] > 0.9
    assert after["inert"] < 0.05


def test_sphering_leaves_out_a_feature_that_is_not_finite():
    profiles = screen({"a": 1.0}, n_controls=20, n_features=5)
    profiles.loc[0, "Cells_Feature_2"] = np.inf
    assert sphere(profiles)["Cells_Feature_2"].isna().all()
    assert sphere(profiles)["Cells_Feature_1"].notna().all()


def test_a_well_without_cells_costs_no_other_well_its_features():
    profiles = screen({"a": 1.0, "b": 1.0}, n_controls=20, n_features=5)
    names = feature_names(profiles)
    for empty in (0, 5):  # a perturbation, and a control
        profiles.loc[empty, names] = np.nan
    after = sphere(profiles)[names]
    assert after.isna().all(axis=1).sum() == after.isna().any(axis=1).sum() == 2
    with pytest.raises(ConfigError, match="none to sphere"):
        sphere(profiles.assign(**dict.fromkeys(names, 1.0)))


def test_sphering_without_controls_is_refused():
    with pytest.raises(ConfigError, match="0 negative control"):
        sphere(screen({"a": 1.0}, n_controls=0))


def test_centring_removes_what_a_position_adds_where_layouts_differ():
    one, other = (
        screen({"a": 0.0, "b": 0.0}, n_controls=0),
        screen({"c": 0.0, "d": 0.0}, n_controls=0, timepoint="long"),
    )
    profiles = pd.concat([one, other], ignore_index=True)
    names = feature_names(profiles)
    profiles.loc[profiles["Metadata_Well"] == "A01", names] += 10
    centred = centre_positions(profiles)
    assert centred.groupby("Metadata_Well")[names].mean().abs().to_numpy().max() < 1e-9


def test_positions_of_controls_alone_may_be_centred():
    one, other = (screen({name: 0.0}, n_controls=3, timepoint=name) for name in ("a", "b"))
    centred = centre_positions(pd.concat([one, other], ignore_index=True))
    assert centred.groupby("Metadata_Well")[feature_names(centred)].mean().abs().to_numpy().max() < 1e-9


def test_centring_one_layout_is_refused_because_it_would_remove_the_treatments():
    with pytest.raises(ConfigError, match="would remove the treatments"):
        centre_positions(screen({"a": 1.0, "b": 1.0}))


def test_clipping_bounds_infinite_values_too():
    profiles = screen({"a": 1.0})
    profiles.loc[0, "Cells_Feature_0"] = np.inf
    clipped = clip_features(profiles, limit=2)[feature_names(profiles)]
    assert clipped.to_numpy().max() == 2
    assert clipped.to_numpy().min() >= -2


def test_profiles_and_the_tables_scored_from_them_say_which_steps_ran():
    profiles = screen({"a": 1.0, "b": 1.0}, n_controls=30, n_features=4)
    assert steps_of(profiles) == "none"
    assert set(run_task("detection", profiles, null_size=50)["detection"]["steps"]) == {"none"}
    done = corrected(profiles, ["clip", "sphere"])
    assert steps_of(done) == "clip, sphere"
    for table in run_task("counts", done, null_size=50).values():
        assert set(table["steps"]) <= {"clip, sphere"}


def test_the_config_offers_every_step():
    offered = get_args(get_args(ScoresConfig.model_fields["steps"].annotation)[0])
    assert set(offered) == set(STEPS)


def test_steps_run_in_the_order_given_and_unknown_ones_are_refused():
    profiles = screen({"a": 1.0}, n_controls=30, n_features=4)
    np.testing.assert_allclose(
        corrected(profiles, ["clip", "sphere"])[feature_names(profiles)],
        sphere(clip_features(profiles))[feature_names(profiles)],
    )
    with pytest.raises(ConfigError, match="clip, centre_positions, sphere"):
        corrected(profiles, ["whiten"])
