from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.scores import Rules, concatenate, conditions, find, names, overview, run_task, run_unit, unit_key
from pipeline.screen.conditions import Condition
from pipeline.screen.variants import well_annotations
from tests.scores.small import screen


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    compounds = {"c1": "G|H", "c2": "G", "c3": "H", "c4": "I"}
    guides = {"g1": "G", "g2": "G", "g3": "H", "g4": "H"}
    return pd.concat(
        [
            screen(dict.fromkeys(compounds, 2.0), targets=compounds),
            screen(dict.fromkeys(guides, 2.0), targets=guides, modality="crispr", timepoint="long"),
        ],
        ignore_index=True,
    )


def test_units_scored_apart_give_the_same_tables_as_the_whole(small):
    whole = {name: run_task(name, small, null_size=200) for name in ("detection", "gene_compound", "directionality")}
    rules = Rules(null_size=200)
    for name, tables in whole.items():
        parts = []
        for unit in find(name).units(conditions(small)):
            # A worker holds the wells of its unit only.
            mine = pd.concat([small[condition.rows(small)] for condition in unit])
            parts.append(run_unit(name, mine, unit, rules, whole["detection"]))
        together = concatenate(parts)
        for stem, table in tables.items():
            pd.testing.assert_frame_equal(together[stem], table)


def test_units_have_keys_of_their_own(small):
    keys = [unit_key(unit) for unit in find("detection").units(conditions(small))]
    assert keys == ["compound_A549_short", "crispr_A549_long"]
    assert unit_key(find("gene_compound").units(conditions(small))[0]) == "compound_A549_short+crispr_A549_long"


def test_keys_of_units_are_short_and_different_with_all_plates_of_the_screen(cpjump1):
    found = conditions(well_annotations(cpjump1))
    assert len(found) > 30, "the conditions of all 107 plates"
    for name in names():
        units = find(name).units(found)
        keys = {unit_key(unit, found) for unit in units}
        assert len(keys) == len(units), name
        assert max(len(key.encode()) for key in keys) <= 120, name
    assert [unit_key(unit, found) for unit in find("counts").units(found)] == ["all"]


def test_a_long_unit_is_named_by_its_first_condition_and_a_digest_of_all():
    conditions = [Condition(("compound", "A549", "long"), f"batch of day {day}") for day in range(9)]
    keys = [unit_key(tuple(some)) for some in (conditions, conditions[:-1], conditions[::-1])]
    assert len(set(keys)) == 3
    assert keys[0].startswith("compound_A549_long_batch-of-day-0+8-more-")
    assert keys[0] == unit_key(tuple(conditions))


@pytest.mark.parametrize("mode", ["correct", "published", "copairs"])
def test_every_task_runs_on_a_small_screen_and_says_its_mode(small, mode):
    tables: dict[str, pd.DataFrame] = {}
    for name in names():
        if name != "umap":
            made = run_task(name, small, mode=mode, null_size=200, tables=tables)
            tables |= made
            assert name in made
    assert {mode} == set().union(*(set(table["mode"]) for table in tables.values() if len(table)))


def test_a_screen_without_condition_columns_is_one_condition(small):
    plain = small[small["Metadata_modality"] == "compound"]
    plain = plain.drop(columns=["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint", "Metadata_Batch"])
    for name in ("detection", "positions", "variance", "sisters", "directionality", "counts", "t_tests"):
        run_task(name, plain, null_size=100)
    assert run_task("detection", plain)["detection"]["retrieved"].all()
    assert [unit_key(unit) for unit in find("detection").units(conditions(plain))] == ["all"]


def test_secondary_plates_stay_apart_in_every_table(small):
    # The same plates again, under other conditions, where nothing acts any more.
    again = small.assign(Metadata_variant="density_pct 80", Metadata_Plate="again" + small["Metadata_Plate"])
    features = [name for name in small if name.startswith("Cells")]
    again[features] = np.random.default_rng(0).normal(size=(len(again), len(features)))
    both = pd.concat([small.assign(Metadata_variant=""), again], ignore_index=True)
    for name in ("detection", "positions", "sisters", "gene_compound", "directionality", "variance", "counts"):
        alone, apart = run_task(name, small, null_size=200)[name], run_task(name, both, null_size=200)[name]
        if "variant" in apart:
            primary = apart[apart["variant"] == ""].drop(columns="variant").reset_index(drop=True)
            pd.testing.assert_frame_equal(primary, alone, check_dtype=False)
        else:
            assert name == "positions", "no sample stands in two positions"
    table = overview(run_task("detection", both, null_size=200))
    assert table.groupby("variant")["fraction_retrieved"].max().to_dict() == {"": 1.0, "density_pct 80": 0.0}


def test_umap_places_every_well_and_twice_in_the_same_place(small):
    tables = [run_task("umap", small)["umap"] for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 8 * 4, "negative controls are not in the figure of all plates"
    assert tables[0][["umap_1", "umap_2"]].notna().all().all()
