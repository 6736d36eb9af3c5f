from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.scores import run_task, stage
from pipeline.scores.coverage import with_missing
from pipeline.scores.load import load_profiles
from pipeline.scores.steps import corrected
from pipeline.screen import Plate
from pipeline.simulate.profiles import write_gallery
from pipeline.storage import Location, open_storage
from tests.scores.small import screen

WANTED = ("gene_compound", "pairs", "counts")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose profiles are there: two compound plates, two plates of guides."""
    compounds, guides = {"c1": "G|H", "c2": "G", "c3": "H", "c4": "I"}, {"g1": "G", "g2": "G", "g3": "H", "g4": "H"}
    profiles = pd.concat(
        [
            screen(dict.fromkeys(compounds, 2.0), targets=compounds, n_plates=2),
            screen(dict.fromkeys(guides, 2.0), targets=guides, n_plates=2, modality="crispr", timepoint="long"),
        ],
        ignore_index=True,
    )
    write_gallery(profiles, tmp_path / "profiles")
    location = Location(url=str(tmp_path))
    plates = profiles[["Metadata_Batch", "Metadata_Plate"]].drop_duplicates()
    run = SimpleNamespace(
        storage=open_storage(location),
        plates=[Plate(*row) for row in plates.itertuples(index=False)],
        config=SimpleNamespace(
            scores=SimpleNamespace(mode="correct", seed=0, steps=()), screen=Screen(name="small", channels={1: "DNA"})
        ),
        profiles=with_missing(profiles, profiles.filter(like="Metadata"))[0],  # as a run counts what is there
        wells=profiles.filter(like="Metadata"),
    )
    monkeypatch.setattr(stage, "open_run", lambda _: run)
    return run


def test_scores_come_after_what_they_need_and_once():
    ordered = stage.in_order(["counts", "pairs"])
    assert len(set(ordered)) == len(ordered)
    for earlier, later in (("detection", "sisters"), ("sisters", "counts"), ("directionality", "pairs")):
        assert ordered.index(earlier) < ordered.index(later)
    with pytest.raises(ConfigError, match="no score 'pair'"):
        stage.in_order(["pair"])


def test_units_scored_by_tasks_give_the_tables_of_one_call(run):
    location = run.storage.location
    for score in stage.in_order(WANTED):
        for unit in stage.units(run, score):
            stage.score_unit(location, score, unit)
        stage.finish_score(location, score)
    for name in ("detection", "detection_wells", *WANTED):
        expected = run_task(name.removesuffix("_wells"), run.profiles)[name]
        pd.testing.assert_frame_equal(stage.open_scores(location, name), expected, check_dtype=False)


def test_a_planned_plate_and_a_planned_well_without_profiles_are_counted_and_an_excluded_well_is_not(run):
    plate, other = run.plates[:2]
    wells = run.profiles.filter(like="Metadata").assign(excluded="")
    treated = wells["Metadata_Plate"] == other.plate
    more = wells[treated].iloc[:2].assign(Metadata_Well=["P23", "P24"], excluded=["", "clogged"])
    run.wells = pd.concat([wells, more], ignore_index=True)
    for entry in list(run.storage.entries(f"profiles/{plate.key}/")):
        (run.storage.root / entry.key).unlink()
    stage.score_unit(run.storage.location, "detection", "compound_A549_short")
    stage.finish_score(run.storage.location, "detection")
    found = stage.open_scores(run.storage.location, "detection")
    assert found[["n_plates", "n_plates_missing", "n_wells_missing"]].drop_duplicates().values.tolist() == [[1, 1, 1]]


def test_a_task_reads_the_plates_of_its_own_conditions_only(run, monkeypatch):
    asked = []
    monkeypatch.setattr(
        stage, "load_profiles", lambda *args, **named: asked.append(named["plates"]) or load_profiles(*args, **named)
    )
    stage.score_unit(run.storage.location, "detection", "crispr_A549_long")
    assert asked == [{plate for plate in run.plates if plate.plate.startswith("crispr")}]


def test_steps_before_the_scores_see_what_they_learn_from_and_stand_in_the_tables(run):
    run.config.scores.steps = ("centre_positions", "clip")
    expected = run_task("detection", corrected(run.profiles, run.config.scores.steps))["detection"]
    for unit in stage.units(run, "detection"):
        stage.score_unit(run.storage.location, "detection", unit)
    stage.finish_score(run.storage.location, "detection")
    stored = stage.open_scores(run.storage.location, "detection")
    pd.testing.assert_frame_equal(stored, expected, check_dtype=False)
    assert set(stored["steps"]) == {"centre_positions, clip"}


def test_without_negative_controls_there_is_nothing_to_score(run):
    run.wells = run.wells.assign(Metadata_control_type="")
    assert stage.units(run, "detection") == {}


def test_secondary_plates_are_conditions_of_their_own_in_a_run_too(run):
    first = run.plates[0].plate
    run.config.screen = Screen(
        name="small", channels={1: "DNA"}, groups={"primary": [{"plate": [p.plate for p in run.plates[1:]]}]}
    )
    assert set(stage.units(run, "detection")) == {
        "compound_A549_short",
        "compound_A549_short_secondary",
        "crispr_A549_long",
    }
    stage.score_unit(run.storage.location, "detection", "compound_A549_short_secondary")
    stage.finish_score(run.storage.location, "detection")
    wells = stage.open_scores(run.storage.location, "detection_wells")
    assert set(wells["plate"]) == {first}
    assert set(wells["variant"]) == {"secondary"}


def test_other_condition_columns_of_a_screen_keep_its_doses_apart(run):
    run.wells = run.wells.assign(Metadata_dose=run.wells["Metadata_Plate"].str[-1])
    run.config.screen = Screen(
        name="small", channels={1: "DNA"}, condition=("modality", "cell_type", "timepoint", "dose")
    )
    assert "compound_A549_short_dose-1" in stage.units(run, "detection")
    assert len(stage.units(run, "detection")) == 4
