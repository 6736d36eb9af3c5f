"""From a Cell Painting screen's images to single cells, profiles, scores and a report.

import pipeline
cells = pipeline.open_cells("dry-run/results")          # lazy xarray: (well, cell, feature)
profiles = pipeline.open_profiles("dry-run/results")    # pandas: one row a well
detection = pipeline.open_scores("dry-run/results", "detection")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.cells import cells_frame, open_cells, open_image_measurements, open_objects
    from pipeline.config import load_config
    from pipeline.flow import run
    from pipeline.profiles import as_anndata, open_profiles
    from pipeline.scores import open_scores

#: the project's version, written here and nowhere else: packaging, `--version` and records read it
__version__ = "0.1.0"

#: public name -> where it lives; imported when first used, because a notebook needs no Dask and a worker no report
_HOMES = {
    "as_anndata": "pipeline.profiles",
    "cells_frame": "pipeline.cells",
    "load_config": "pipeline.config",
    "open_cells": "pipeline.cells",
    "open_image_measurements": "pipeline.cells",
    "open_objects": "pipeline.cells",
    "open_profiles": "pipeline.profiles",
    "open_scores": "pipeline.scores",
    "run": "pipeline.flow",
}

__all__ = [
    "as_anndata",
    "cells_frame",
    "load_config",
    "open_cells",
    "open_image_measurements",
    "open_objects",
    "open_profiles",
    "open_scores",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
