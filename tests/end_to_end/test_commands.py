"""The command line as a user meets it: exit codes, and what is said."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.cli.scores import SCORES, STEPS
from pipeline.config import SCREENS, Config
from pipeline.scores import names, steps
from tests.conftest import ROOT


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def config_file(config: Callable[..., Config], tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    values = yaml.safe_load(config(str(tmp_path / "results"), **{"engine.kind": "native"}).to_yaml())
    path.write_text(yaml.safe_dump(values | {"results": "results"}))  # as a user writes it
    return path


def test_help_names_every_command() -> None:
    text = call("--help").stdout
    for command in (
        "plan",
        "run",
        "status",
        "report",
        "verify",
        "scores",
        "paper-check",
        "splits",
        "check",
        "simulate",
    ):
        assert re.search(rf"\b{command}\b", text), command


def test_a_misspelt_key_is_refused_with_the_nearest_name(config_file: Path) -> None:
    values = yaml.safe_load(config_file.read_text())
    values["ilumination"] = values.pop("illumination")
    config_file.write_text(yaml.safe_dump(values))
    answer = call("run", str(config_file))
    assert answer.returncode == 2
    assert "Did you mean 'illumination'?" in answer.stderr


def test_names_in_brackets_are_said_as_they_are(config_file: Path) -> None:
    """Not taken for the marks of a terminal's colours, which would vanish, or end the program."""
    values = yaml.safe_load(config_file.read_text())
    config_file.write_text(yaml.safe_dump(values | {"screen": "[bold]/[/x].yaml"}))
    answer = call("run", str(config_file))
    assert answer.returncode == 2
    assert "'[bold]/[/x].yaml' is neither a screen" in answer.stderr


def test_results_in_s3_with_one_slash_are_not_written_to_a_folder_here(config_file: Path) -> None:
    for answer in (call("run", str(config_file), "--results", "s3:/bucket/x"), call("status", "s3:/bucket/x")):
        assert answer.returncode == 2
        assert "'s3:/bucket/x' names no bucket; write s3://bucket/prefix" in answer.stderr


def test_a_plan_is_shown_and_nothing_is_written(config_file: Path, tmp_path: Path) -> None:
    answer = call("plan", "--show", str(config_file))
    assert answer.returncode == 0, answer.stderr
    assert "SIM00101" in answer.stdout
    assert "OrigRNA" in answer.stdout  # the image that is missing is named before anything runs
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind", ["native", "cellprofiler"])
def test_a_plan_says_which_numbers_of_the_pipeline_are_not_taken_as_they_stand(
    config_file: Path, tmp_path: Path, kind: str
) -> None:
    text = (SCREENS / "embedded" / "analysis.cppipe").read_text()
    changed = re.sub("(    Lower and upper bounds on threshold:).*", r"\g<1>0.01,2", text, count=1)
    (tmp_path / "changed.cppipe").write_text(changed)
    values = yaml.safe_load(config_file.read_text())
    config_file.write_text(yaml.safe_dump(values | {"engine": {"kind": kind, "cppipe": "changed.cppipe"}}))

    answer = call("plan", "--show", str(config_file))

    assert answer.returncode == 0, answer.stderr
    said = "bounds on threshold: 0.01,2\" lies above CellProfiler's maximum of 1; CellProfiler takes 0.01,1"
    assert said in answer.stderr


def test_a_first_look_with_a_failure_says_so_and_ends_with_3(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("run", str(config_file), "--wells", "A01,A02", "--results", "first-look")
    assert answer.returncode == 3, answer.stderr
    assert "3 measured, 1 failed" in answer.stdout
    assert "could not be done" not in answer.stdout
    status = call("status", "first-look")
    assert "SIM00102" in status.stdout
    assert "OrigRNA is missing" in status.stdout
    assert call("check", "first-look").returncode == 0
    assert not (tmp_path / "results").exists()


def test_a_damaged_shard_is_found_by_name_and_mended(config_file: Path, tmp_path: Path) -> None:
    call("run", str(config_file), "--wells", "A01", "--plates", "SIM00101")
    shard = next((tmp_path / "results" / "cells").rglob("c/*/0/0"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    answer = call("check", str(tmp_path / "results"))
    assert answer.returncode == 3
    assert "A01 damaged" in answer.stdout

    # Mended as `check` says: taken away, and measured again.
    shard.unlink()
    next((tmp_path / "results" / "ledger").rglob("A01.*.json")).unlink()
    assert "A01 open" in call("check", str(tmp_path / "results")).stdout
    again = call("run", str(config_file), "--wells", "A01", "--plates", "SIM00101")
    assert again.returncode == 0, again.stderr
    assert "measured" in again.stdout
    data[len(data) // 2] ^= 1
    assert shard.read_bytes() == data
    assert call("check", str(tmp_path / "results")).returncode == 0


def test_no_results_there_is_said_in_one_line(tmp_path: Path) -> None:
    answer = call("status", str(tmp_path))
    assert answer.returncode == 2
    assert "holds no run" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_papers_splits_are_written_and_checked(tmp_path: Path) -> None:
    answer = call("splits", str(tmp_path / "splits"))
    assert answer.returncode == 0, answer.stderr
    assert "3,276 rows" in answer.stdout
    kept = call("check-split", str(tmp_path / "splits" / "representation_split.csv"), "--task", "representation")
    assert (kept.returncode, kept.stdout.count(": kept")) == (0, 4), kept.stderr
    leaking = call("check-split", str(tmp_path / "splits" / "gene_compound_split.csv"))
    assert leaking.returncode == 3
    assert "targets: 53 found" in leaking.stdout


def test_the_help_of_scores_names_every_score_and_step() -> None:
    for text, table in ((SCORES, names()), (STEPS, steps.STEPS)):
        assert sorted(re.findall(r"\w+", text.removeprefix("Of: "))) == sorted(table)


def test_make_says_with_which_code_a_run_ended() -> None:
    """Whatever the code, make's own is 2."""
    made = [part for name in ("setup", ".venv/.ready", ".venv-cellprofiler/.ready") for part in ("-o", name)]
    run = ["make", *made, "run-cloud", "CONFIG=my.yaml", "CLUSTER=tls://scheduler:8786", 'RUN=sh -c "exit 3" --']
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "The run ended with exit code 3" in ended.stdout
    assert "run my.yaml --cluster tls://scheduler:8786" in ended.stdout


def test_the_help_of_run_has_its_exit_codes() -> None:
    text = " ".join(call("run", "--help").stdout.split())
    meanings = ("complete;", "an error", "refused", "complete, with failures")
    assert all(f"{code} {meaning}" in text for code, meaning in enumerate(meanings))
