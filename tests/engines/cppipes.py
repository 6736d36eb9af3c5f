"""Small pipelines to test with, written from CellProfiler's own defaults, and CellProfiler's answers about them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engines import cppipe
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.engines.cellprofiler.process import ENVIRONMENT, interpreter

HEAD = "CellProfiler Pipeline: http://www.cellprofiler.org\nVersion:5\nDateRevision:428\nGitHash:\n"
SCRIPT = Path(__file__).with_name("in_cellprofiler.py")

#: settings that a module has more of than when it is new: under this label, a "label:value" each, before the last one
MORE = "more"

#: module name and the settings that are not as CellProfiler has them: label -> value, or one value for each time
#: that the label comes
Saved = tuple[str, dict[str, str | list[str]]]


def ask_cellprofiler(task: str, source: Path | str, output: Path) -> None:
    """Run one task of `in_cellprofiler.py` in CellProfiler's interpreter."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(interpreter()), "-P", "-W", "ignore", str(SCRIPT), task, str(source), str(output)]
    done = subprocess.run(command, env=environment | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@functools.cache
def defaults() -> dict[str, tuple[int, list[tuple[str, str]]]]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "defaults.json"
        ask_cellprofiler("defaults", "-", output)
        return json.loads(output.read_text())


def write(*modules: Saved) -> str:
    """The text of a pipeline of these modules."""
    blocks = [module_text(number, *module) for number, module in enumerate(modules, 1)]
    return f"{HEAD}ModuleCount:{len(modules)}\nHasImagePlaneDetails:False\n\n" + "\n".join(blocks)


def module_text(number: int, name: str, changes: dict[str, str | list[str]]) -> str:
    revision, settings = defaults()[name]
    left = {label: [value] if isinstance(value, str) else list(value) for label, value in changes.items()}
    more = [f"    {line}\n" for line in left.pop(MORE, [])]
    lines = []
    for label, value in settings:
        lines.append(f"    {label}:{left[label].pop(0) if left.get(label) else value}\n")
    lines[-1:-1] = more
    assert not any(left.values()), f"{name} has no settings {left}"
    return header(number, name, revision) + "".join(lines)


def header(number: int, name: str, revision: int, **attributes: str) -> str:
    written = {
        "module_num": str(number),
        "svn_version": "'Unknown'",
        "variable_revision_number": str(revision),
        "show_window": "False",
        "notes": "[]",
        "batch_state": "array([], dtype=uint8)",
        "enabled": "True",
        "wants_pause": "False",
    }
    return f"{name}:[{'|'.join(f'{name}:{value}' for name, value in (written | attributes).items())}]\n"


def plain_cellprofiler(text: str, images: dict[str, np.ndarray], skip: str = "") -> dict[str, np.ndarray]:
    """What CellProfiler measures without our engine: `<set>/<feature>` and `labels/<set>`."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.npz", Path(folder) / "out.npz"
        arrays: dict[str, Any] = {"text": np.array(text), "skip": np.array(skip), **images}
        np.savez(source, **arrays)
        ask_cellprofiler("run", source, output)
        with np.load(output) as results:
            return dict(results)


def measured_by_cellprofiler(cases: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> list[SiteMeasurements | str]:
    """What CellProfiler measures in each case (a pipeline's text, images), or its error. One process serves them all:
    to start one takes longer than most cases.
    """
    given: dict[str, Any] = {}
    for k, (text, images) in enumerate(cases):
        given[f"modules/{k}"] = np.array(json.dumps([asdict(module) for module in cppipe.read(text).modules]))
        given |= {f"image/{k}/{name}": image for name, image in images.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **given)
        ask_cellprofiler("measure", source, output)
        with np.load(output) as results:
            found = dict(results)
    answers = json.loads(str(found.pop("answers")))
    return [_site(answers[str(k)], str(k), found) for k in range(len(cases))]


def _site(answer: dict[str, Any], case: str, found: dict[str, np.ndarray]) -> SiteMeasurements | str:
    if "error" in answer:
        return answer["error"]
    prefix = f"{case}/labels/"
    return SiteMeasurements(
        objects={
            name: ObjectMeasurements(tuple(features), found[f"{case}/values/{name}"])
            for name, features in answer["features"].items()
        },
        labels={key.removeprefix(prefix): labels for key, labels in found.items() if key.startswith(prefix)},
        image=answer["image"],
    )


NUCLEI: Saved = (
    "IdentifyPrimaryObjects",
    {
        "Select the input image": "DNA",
        "Name the primary objects to be identified": "Nuclei",
        "Typical diameter of objects, in pixel units (Min,Max)": "8,30",
        "Use advanced settings?": "Yes",
        "Method to distinguish clumped objects": "Shape",
        "Method to draw dividing lines between clumped objects": "Shape",
    },
)

CELLS: Saved = (
    "IdentifySecondaryObjects",
    {
        "Select the input objects": "Nuclei",
        "Name the objects to be identified": "Cells",
        "Select the input image": "RNA",
        "Select the method to identify the secondary objects": "Propagation",
    },
)


def images(seed: int, size: int = 200) -> dict[str, np.ndarray]:
    """DNA and RNA of some twenty round cells, uint16 (size, size)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    dna = np.full((size, size), 0.02)
    rna = np.full((size, size), 0.03)
    for row in range(20, size - 10, 40):
        for column in range(20, size - 10, 40):
            cy, cx = row + rng.uniform(-6, 6), column + rng.uniform(-6, 6)
            distance = np.hypot(y - cy, x - cx)
            radius = rng.uniform(6, 9)
            dna += rng.uniform(0.2, 0.4) / (1 + np.exp((distance - radius) * 1.5))
            rna += rng.uniform(0.15, 0.3) / (1 + np.exp((distance - 1.8 * radius) * 1.0))
    noise = rng.normal(0, 0.004, (2, size, size))
    return {
        name: np.clip((image + noise[i]) * 65535, 0, 65535).astype(np.uint16)
        for i, (name, image) in enumerate([("DNA", dna), ("RNA", rna)])
    }
