"""What the commands share: the app, options, and how their texts become configs, places and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    help="From a Cell Painting screen's images in S3 to single cells, profiles, scores and a report.\n\n"
    "Start with `make dry-run`, which runs everything on a small simulated screen; then write a config "
    "(pipeline/screens/template/config.yaml), look at it with `plan --show`, and `run` it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console(markup=False, emoji=False)  # what a user named in brackets is text, as all here is

ConfigFile = Annotated[Path, typer.Argument(help="The YAML file of the run.", show_default=False)]
Plates = Annotated[str | None, typer.Option(help="Only these plates (or groups, e.g. primary), with commas.")]
Wells = Annotated[str | None, typer.Option(help="Only these wells, e.g. A01,B07.")]
Sites = Annotated[str | None, typer.Option(help="Only these sites, e.g. 1,2.")]
Results = Annotated[str, typer.Argument(help="Root of the results: a folder or s3://bucket/prefix.")]
ProfileName = Annotated[str | None, typer.Option(help="AWS profile to use.")]
Endpoint = Annotated[str | None, typer.Option(help="S3 server other than AWS, e.g. http://127.0.0.1:8333.")]


def note(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def read_config(
    path: Path, *, plates: str | None = None, wells: str | None = None, sites: str | None = None, **more: Any
) -> Any:
    from pipeline.config import load_config

    subset = {"subset.plates": listed(plates), "subset.wells": listed(wells), "subset.sites": listed(sites)}
    return load_config(path, **subset, **more)


def whole_url(place: str) -> str:
    """A folder by its whole path; "s3:/bucket" is no folder, and is refused where it is opened."""
    return place if "://" in place or place.startswith("s3:") else str(Path(place).absolute())


def location_of(url: str, profile: str | None, endpoint: str | None) -> Any:
    from pipeline.storage import Location

    return Location(url=whole_url(url), profile=profile, endpoint=endpoint)


def open_run(results: str, profile: str | None, endpoint: str | None) -> Any:
    from pipeline.results.run import open_run as open_root

    return open_root(location_of(results, profile, endpoint))


def listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
