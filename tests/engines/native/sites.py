"""Sites to measure: small awkward ones for property tests, and real ones with CellProfiler's answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st

from pipeline.engines.native.registry import Settings, compile_module
from pipeline.engines.native.workspace import Objects, Workspace

SETS = ("Nuclei", "Cytoplasm", "Cells")
_CPJUMP1 = {"Mito": 1, "AGP": 2, "RNA": 3, "ER": 4, "DNA": 5, "HighZBF": 6, "LowZBF": 7, "Brightfield": 8}
_PEDIATRIC = {"Brightfield": 1, "HighZBF": 1, "LowZBF": 1, "ER": 2, "AGP": 3, "Mito": 4, "DNA": 5, "RNA": 6}
CROPS = ("BR00117035_A01_s1_crop540", "BR00117035_A01_s1_crop540_illum")
REFERENCE_RUNS = (*CROPS, "BR00117035_A01_s1", "BR00117035_A01_s1_flipped", "BR00143976_C03_s3")


def reference_runs() -> list:
    """Parameters for a test: the runs on whole sites are slow."""
    return [run if run in CROPS else pytest.param(run, marks=pytest.mark.slow) for run in REFERENCE_RUNS]


@st.composite
def images(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Float32 (y, x) in [0, 1]."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(("noise", "few levels", "gradient", "bytes", "constant", "black", "saturated")))
    if kind == "noise":
        return (random.integers(0, 65536, shape) / 65535).astype(np.float32)
    if kind == "few levels":
        return random.choice(np.float32([0, 0.1, 0.100001, 0.5, 1]), shape)
    if kind == "gradient":
        return (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) / sum(shape)).astype(np.float32)
    if kind == "bytes":
        return random.integers(0, 256, shape).astype(np.float32) / np.float32(255)
    level = {"constant": random.random(), "black": 0, "saturated": 1}[kind]
    return np.full(shape, level, np.float32)


@st.composite
def label_images(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Int32 (y, x): blocks that touch each other and the borders, dust, nothing, one pixel; numbers may be missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(("blocks", "dust", "none", "one pixel", "all")))
    labels = np.zeros(shape, np.int32)
    if kind == "blocks":
        for label in random.permutation(draw(st.integers(1, 5))) + 1:
            y, x = random.integers(0, shape[0]), random.integers(0, shape[1])
            labels[y : y + random.integers(1, 9), x : x + random.integers(1, 9)] = label
    elif kind == "dust":
        labels = random.integers(0, 6, shape, dtype=np.int32)
        labels[labels == draw(st.integers(1, 5))] = 0
    elif kind == "one pixel":
        labels[random.integers(0, shape[0]), random.integers(0, shape[1])] = draw(st.integers(1, 3))
    elif kind == "all":
        labels[:] = 1
    return labels


def shapes(smallest: int = 1, largest: int = 16) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(smallest, largest), st.integers(smallest, largest))


@dataclass(frozen=True)
class ReferenceSite:
    """A real site and what CellProfiler 4.2.8 says of it: `measured[set][feature]`, "Image" among the sets."""

    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    measured: dict[str, dict[str, np.ndarray]]

    def workspace(self) -> Workspace:
        return Workspace(dict(self.images), {name: Objects.of(labels) for name, labels in self.labels.items()})


def reference_site(shared_data: Path, run: str) -> ReferenceSite:
    """One of `REFERENCE_RUNS`, with its images as the modules of the CPJUMP1 pipeline see them."""
    stored = np.load(shared_data / "reference" / f"{run}.npz")
    measured = {
        name: dict(zip(stored[f"{name}__features"].tolist(), stored[f"{name}__values"], strict=True))
        for name in (*SETS, "Image")
    }
    labels = {name: stored[f"{name}__labels"].astype(np.int32) for name in SETS}
    return ReferenceSite(_reference_images(shared_data, run), labels, measured)


def _reference_images(shared_data: Path, run: str) -> dict[str, np.ndarray]:
    plate = run.split("_")[0]
    numbers = _PEDIATRIC if plate == "BR00143976" else _CPJUMP1
    found = {}
    for name, number in sorted(numbers.items()):
        [path] = (shared_data / "gallery").rglob(f"{plate}__*/Images/*-ch{number}sk1fk1fl1.tiff")
        image = tifffile.imread(path)
        if "flipped" in run:
            image = image[:, ::-1]
        if "crop540" in run:
            image = image[270:810, 270:810]
        found[name] = image.astype(np.float32) / np.float32(65535)
    if "illum" in run:  # as the file's `info` says
        y, x = np.mgrid[:540, :540]
        order = ("DNA", "ER", "RNA", "AGP", "Mito", "Brightfield", "LowZBF", "HighZBF")
        for c, name in enumerate(order):
            function = 1 + 0.1 * (c + 1) * ((y - 270) ** 2 + (x - 270) ** 2) / (2 * 270**2)
            found[name] = np.clip(found[name] / function.astype(np.float32), 0, 1)
    return found


def step(module: str, revision: int, settings: str):
    """Compile a module from the lines of its block in a `.cppipe`."""
    pairs = [tuple(line.strip().split(":", 1)) for line in settings.strip().splitlines()]
    return compile_module(Settings(module, 1, revision, pairs))


def assert_same_as_cellprofiler(
    site: Workspace, expected: dict[str, dict[str, np.ndarray]], prefix: str, *, relative: float = 1e-6, absolute=1e-9
) -> None:
    """Every feature that begins with `prefix`, in every object set and the image, and no others."""
    measured = {**site.measurements, "Image": {k: np.array([v]) for k, v in site.image_measurements.items()}}
    for name, features in expected.items():
        wanted = {feature for feature in features if feature.startswith(prefix)}
        assert set(measured.get(name, {})) == wanted
        for feature in wanted:
            np.testing.assert_allclose(
                measured[name][feature],
                np.atleast_1d(features[feature]),
                rtol=relative,
                atol=absolute,
                err_msg=f"{name} {feature}",
            )
