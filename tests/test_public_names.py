"""What `import pipeline` offers, and that a user can call it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pipeline
from pipeline.flow import run

NAMES = [
    *("as_anndata", "cells_frame", "load_config", "open_cells", "open_image_measurements", "open_objects"),
    *("open_profiles", "open_scores", "run"),
]


def test_the_public_names_are_these_and_all_are_there():
    assert sorted(pipeline.__all__) == NAMES
    assert all(callable(getattr(pipeline, name)) for name in NAMES)


def test_importing_it_brings_in_neither_dask_nor_a_notebooks_libraries():
    script = "import sys, pipeline; print({'dask', 'xarray', 'pandas', 'matplotlib'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "set()"


def test_a_run_needs_nothing_but_a_config():
    required = [name for name, one in inspect.signature(run).parameters.items() if one.default is one.empty]

    assert required == ["config"]
