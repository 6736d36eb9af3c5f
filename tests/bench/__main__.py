"""`python -m tests.bench [SECTION...] [--full]`: run the sections, print them, and write them to bench-results/."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

# One thread each: said before numpy is imported, here and in every process started from here.
os.environ |= dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"], "1")

SECTIONS = ("engines", "scaling", "threads", "starts", "well", "questions", "scores")


def main(
    sections: Annotated[
        list[str] | None, typer.Argument(help=f"Which, of: {', '.join(SECTIONS)}. Default: all.")
    ] = None,
    full: Annotated[bool, typer.Option(help="CellProfiler and cp_measure on whole sites too.")] = False,
) -> None:
    """Time the engines, the scores and the overheads, side by side. Some 10 minutes on 2 free cores; --full: 20."""
    import importlib

    from tests.bench.report import Report

    unknown = set(sections or ()) - set(SECTIONS)
    if unknown:
        raise typer.BadParameter(f"There is no {' or '.join(sorted(unknown))}. Choose from: {', '.join(SECTIONS)}.")
    start, report = time.perf_counter(), Report()
    for name in sections or SECTIONS:
        for section in importlib.import_module(f"tests.bench.{name}").run(full):
            report.add(section)
    report.finish(time.perf_counter() - start)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
