"""A score is one file: that of docs/extending.md is added here, as somebody else would."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from typer.testing import CliRunner

from pipeline import tasks
from pipeline.cli import app
from pipeline.errors import ConfigError
from pipeline.scores import find, in_order, names, run_task, stage
from pipeline.scores.docs import table_of_scores
from tests.scores.small import screen

ROOT = Path(__file__).parents[2]


@pytest.fixture
def likeness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    folder = tmp_path / "added"
    folder.mkdir()
    (folder / "likeness.py").write_text(re.search(r"```python\n(# pipeline/tasks/likeness.*?)```", page, re.S)[1])
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(folder)])


def test_a_score_is_added_by_the_one_file_that_the_docs_show(likeness: None) -> None:
    profiles = screen({"acts": 3.0, "rests": 0.0})
    table = run_task("likeness", profiles)["likeness"].set_index("label")
    for label, row in table.iterrows():
        features = profiles[profiles["Metadata_broad_sample"] == label].filter(like="Cells_")
        np.testing.assert_allclose(row["cosine"], 1 - pdist(features, "cosine").mean())
        assert row["n_wells"] == 4
    assert list(run_task("likeness", profiles)["likeness"])[:4] == ["modality", "cell_type", "timepoint", "label"]
    assert "likeness" in table_of_scores()


def test_the_command_has_it_on_any_table_and_draws_it(likeness: None, tmp_path: Path) -> None:
    profiles = screen({"acts": 3.0, "rests": 0.0}).drop(columns=["Metadata_broad_sample", "Metadata_control_type"])
    profiles["Metadata_drug"] = screen({"acts": 3.0, "rests": 0.0})["Metadata_broad_sample"].replace("", "water")
    profiles["Metadata_day"] = profiles["Metadata_Plate"].str[-1].astype(int) % 2
    profiles.to_parquet(tmp_path / "table.parquet")
    asked = ["--replicates", "drug", "--negcon", 'drug == "water"', "--condition", "day", "--task", "likeness"]
    answer = CliRunner().invoke(
        app, ["scores", str(tmp_path / "table.parquet"), "--out", str(tmp_path / "out"), *asked]
    )
    assert answer.exit_code == 0, answer.output
    table = pd.read_parquet(tmp_path / "out" / "likeness.parquet")
    assert table[["day", "label", "n_wells"]].values.tolist() == [
        ["0", "acts", 2], ["0", "rests", 2], ["1", "acts", 2], ["1", "rests", 2],
    ]  # fmt: skip
    assert (tmp_path / "out" / "figures" / "likeness.svg").read_bytes().startswith(b"<?xml")


def test_every_file_of_a_score_has_what_is_asked_of_it() -> None:
    assert len(names()) == 11
    for name in names():
        score = find(name)
        assert next(iter(score.rows)) == name
        assert score.question
        assert set(score.needs) <= set(names())
        assert in_order([name])[-1] == name


def test_the_docs_have_the_table_of_scores_as_it_is() -> None:
    page = (ROOT / "docs" / "scores.md").read_text()
    assert table_of_scores() in page, "run python -m pipeline.scores.docs"


def test_a_name_that_is_no_score_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"There is no score 'detect'. Choose from: counts, detection"):
        find("detect")
    with pytest.raises(ConfigError, match=r"There is no score '_supplement'"):
        find("_supplement")
    with pytest.raises(ConfigError, match=r"scores.tasks: there is no score 'detect'"):
        stage.in_order(["detect"])
