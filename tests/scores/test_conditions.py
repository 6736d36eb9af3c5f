"""Conditions are a screen's own columns, any number of them; what a score lacks is said in words."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.errors import ConfigError
from pipeline.scores import conditions, find, overview, run_task
from pipeline.scores.load import score_table
from pipeline.scores.registry import named_units
from pipeline.screen.conditions import Condition
from tests.scores.small import screen


@pytest.fixture(scope="module")
def grown() -> pd.DataFrame:
    """Two lines at two oxygen levels, of which the sample acts at one only; nothing is called as CPJUMP1 calls it."""
    parts = []
    for seed, (line, oxygen) in enumerate((line, oxygen) for line in ("HepG2", "HeLa") for oxygen in ("5 %", "21 %")):
        part = screen({"acts": 4.0 * (oxygen == "5 %"), "rests": 0.0}, n_plates=3, seed=seed)
        part = part.drop(columns=["Metadata_modality", "Metadata_cell_type", "Metadata_timepoint"])
        part = part.drop(columns=["Metadata_gene", "Metadata_target_list"])
        part["Metadata_Plate"] = f"{line}{oxygen}" + part["Metadata_Plate"]
        parts.append(part.assign(Metadata_line=line, Metadata_oxygen=oxygen, Metadata_day="1/2"))
    return pd.concat(parts, ignore_index=True)


COLUMNS = ("line", "oxygen", "day")


def test_every_table_starts_with_the_columns_of_the_condition(grown):
    table = run_task("detection", grown, columns=COLUMNS)["detection"]
    assert list(table)[:4] == [*COLUMNS, "label"]
    found = table.set_index(["label", "line", "oxygen"])["retrieved"]
    assert found["acts"].unstack()["5 %"].all()
    assert not found["rests"].any()
    alone = grown[(grown["Metadata_line"] == "HeLa") & (grown["Metadata_oxygen"] == "5 %")]
    whole = run_task("detection", alone)["detection"].drop(columns=["modality", "cell_type", "timepoint"])
    mine = table[(table["line"] == "HeLa") & (table["oxygen"] == "5 %")].drop(columns=list(COLUMNS))
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), whole)
    assert list(overview({"detection": table}))[:4] == ["task", *COLUMNS]


def test_keys_are_parts_of_paths_and_different(grown):
    keys = list(named_units("detection", conditions(grown, COLUMNS)))
    assert "line-HeLa_oxygen-21-%_day-1-2" in keys
    assert len(keys) == 4
    alike = [Condition((value,), "", ("line",)) for value in ("a b", "a-b", "a/b", "..")]
    units = named_units("detection", alike)
    assert len(units) == 4
    assert not [key for key in units if "/" in key or key.startswith(".")]
    assert [unit for (unit,) in units.values()] == alike


def test_what_a_score_lacks_is_said_and_the_others_are_computed(grown, tmp_path):
    said: list[str] = []
    tables = score_table(grown, "correct", str(tmp_path), ("sisters", "detection"), COLUMNS, tell=said.append)
    assert set(tables) == {"detection", "detection_wells"}
    assert said == ["sisters is left out: no well has a gene (gene, target_list)."]
    assert (tmp_path / "figures" / "detection.svg").exists()
    with pytest.raises(ConfigError, match=r"sisters is left out: no well has a gene"):
        score_table(grown, "correct", str(tmp_path), ("sisters",), COLUMNS)


def test_what_is_asked_of_the_wells_is_asked_of_the_condition_too(grown):
    both = pd.concat([grown.assign(Metadata_modality=kind, Metadata_gene="G") for kind in ("compound", "orf")])
    assert find("gene_compound").lacks(both, ("modality", "line")) == ""
    assert "compounds from genetic reagents (modality)" in find("gene_compound").lacks(both, ("line",))
    assert "negative control" in find("detection").lacks(both.assign(Metadata_control_type="poscon"), ("line",))
    assert find("variance").lacks(both.assign(Metadata_control_type="poscon"), ("line",)) == ""


def test_a_condition_cannot_be_called_as_a_column_of_the_tables(grown):
    with pytest.raises(ConfigError, match="No condition can be called p: tables of scores have such a column"):
        run_task("detection", grown.assign(Metadata_p=grown["Metadata_line"]), columns=("p",))
