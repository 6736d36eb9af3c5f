"""One command per verb, each a few lines. Exit codes: 0 complete; 1 an error of ours; 2 usage, or refused;
3 complete with failures; 4 the budget is spent."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pipeline import __version__
from pipeline.cli import runs, scores  # noqa: F401  (they fill the app, in the order of its help)
from pipeline.cli.shared import app
from pipeline.errors import PipelineError, Refused


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        app()
    except Refused as error:
        _complain(error)
        sys.exit(2)
    except PipelineError as error:
        _complain(error)
        sys.exit(1)


def _complain(error: PipelineError) -> None:
    text = Text.assemble((error.kind, "bold red"), f": {error}")
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
