"""Engines: arrays and a `.cppipe` in, CellProfiler's measurements out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.engines.base import Engine, ObjectMeasurements, SiteMeasurements

#: kind -> module with an `open(cppipe_text, **limits) -> Engine`; imported only when asked for
ENGINES = {"cellprofiler": "pipeline.engines.cellprofiler", "native": "pipeline.engines.native"}

__all__ = ["ENGINES", "Engine", "ObjectMeasurements", "SiteMeasurements", "open_engine"]


def open_engine(kind: str, cppipe: str | Path, **limits: Any) -> Engine:
    """Open an engine of this kind ("cellprofiler" or "native") on a pipeline, given as path or text.

    Raises `CppipeError` where the pipeline cannot be run, naming the module and the way out.
    """
    is_text = isinstance(cppipe, str) and "\n" in cppipe
    text = cppipe if is_text else Path(cppipe).read_text(encoding="utf-8", errors="replace")
    return import_module(ENGINES[kind]).open(text, **limits)
