"""Engines: arrays and a `.cppipe` in, CellProfiler's measurements out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.engines import cppipe as pipeline_file
from pipeline.engines.base import Engine, ObjectMeasurements, SiteMeasurements

#: kind -> module with an `open(cppipe_text, **limits) -> Engine`; imported only when asked for
ENGINES = {"cellprofiler": "pipeline.engines.cellprofiler", "native": "pipeline.engines.native"}

__all__ = ["ENGINES", "Engine", "ObjectMeasurements", "SiteMeasurements", "open_engine"]


def open_engine(kind: str, cppipe: str | Path, **limits: Any) -> Engine:
    """Open an engine of this kind ("cellprofiler" or "native") on a pipeline, given as text or as the path of a file.

    A path is a `Path`, or a name that ends in .cppipe. `limits` hold for a site; `rules`, among them, are the rules
    files by which FlagImage flags, name -> text.

    Raises `CppipeError` where the pipeline cannot be run, naming the module and the way out.
    """
    # Whatever is no name of a pipeline file is text: what a file holds may be empty, or one line.
    is_path = isinstance(cppipe, Path) or ("\n" not in cppipe and cppipe.lower().endswith((".cppipe", ".cpproj")))
    text = pipeline_file.read_text(cppipe) if is_path else str(cppipe)
    engine: Engine = import_module(ENGINES[kind]).open(text, **limits)
    return engine
