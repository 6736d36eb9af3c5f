"""One command per verb, each a few lines. Exit codes: 0 complete; 1 an error of ours; 2 usage, or refused;
3 complete with failures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.errors import PipelineError, Refused

app = typer.Typer(
    help="From a Cell Painting screen's images in S3 to single cells, profiles, scores and a report.\n\n"
    "Start with `make dry-run`, which runs everything on a small simulated screen; then write a config "
    "(pipeline/screens/template/config.yaml), look at it with `plan --show`, and `run` it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console()

ConfigFile = Annotated[Path, typer.Argument(help="The YAML file of the run.", show_default=False)]
Plates = Annotated[str | None, typer.Option(help="Only these plates (or groups, e.g. primary), with commas.")]
Wells = Annotated[str | None, typer.Option(help="Only these wells, e.g. A01,B07.")]
Sites = Annotated[str | None, typer.Option(help="Only these sites, e.g. 1,2.")]
EngineKind = Annotated[str | None, typer.Option("--engine", help="Engine: cellprofiler or native.")]


@app.command()
def plan(
    config: ConfigFile,
    plates: Plates = None,
    wells: Wells = None,
    sites: Sites = None,
    show: Annotated[bool, typer.Option("--show", help="Print the plan and write nothing.")] = False,
) -> None:
    """List the images, join plate maps and annotations, and say what is missing. Writes the plan to the results."""
    from pipeline import flow
    from pipeline.plan import make_plan
    from pipeline.plan import show as show_plan
    from pipeline.progress import Progress

    settings = _config(config, plates=plates, wells=wells, sites=sites)
    planned = make_plan(settings)
    console.print(show_plan(planned, settings.screen.condition), highlight=False, soft_wrap=True)
    if not show:
        flow.prepare(settings, planned, Progress())
        console.print(f"Written to {settings.results}/plan")


@app.command()
def run(
    config: ConfigFile,
    plates: Plates = None,
    wells: Wells = None,
    sites: Sites = None,
    cluster: Annotated[
        str | None, typer.Option(help="serial, local (worker processes here), or a scheduler, e.g. tls://host:8786.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes of a local cluster.")] = None,
    engine: EngineKind = None,
) -> None:
    """Run everything that is not done yet: images to report. Kill it at any moment and run it again."""
    execution: dict[str, Any] = {"execution.cluster": cluster, "execution.workers": workers, "engine.kind": engine}
    settings = _config(config, plates=plates, wells=wells, sites=sites, **execution)
    raise typer.Exit(_run(settings))


@app.command("dry-run")
def dry_run(
    folder: Annotated[Path, typer.Option(help="Where the screen, the stores and the report go.")] = Path("dry-run"),
    engine: EngineKind = None,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    design: Annotated[str, typer.Option(help="How large a screen: tiny, dry-run, native.")] = "dry-run",
) -> None:
    """Simulate a small screen with known answers, run everything on it through a local S3 server, check the answers."""
    from pipeline.simulate.dry_run import dry_run as simulate_and_run

    raise typer.Exit(simulate_and_run(folder, engine=engine or "cellprofiler", workers=workers, design=design))


@app.command()
def status(
    results: Annotated[str, typer.Argument(help="Root of the results: a folder or s3://bucket/prefix.")],
    profile: Annotated[str | None, typer.Option(help="AWS profile to read it with.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="S3 server other than AWS.")] = None,
    wells: Annotated[bool, typer.Option("--wells", help="List every well that is not simply measured.")] = False,
) -> None:
    """How far a run is: wells by state and plate, failures with their reasons. Also while the run goes on."""
    from pipeline.run_record import open_run
    from pipeline.status import show_status
    from pipeline.storage import Location

    where = results if "://" in results else str(Path(results).absolute())
    show_status(open_run(Location(url=where, profile=profile, endpoint=endpoint)), console, every_well=wells)


@app.command()
def report(config: ConfigFile) -> None:
    """Write the report of a run again, from what is stored."""
    from pipeline.report import write_report
    from pipeline.run_record import open_run

    summary = write_report(open_run(_config(config).results))
    console.print(f"Report: {summary.report}")


def main() -> None:
    try:
        app()
    except Refused as error:
        _complain(error)
        sys.exit(2)
    except PipelineError as error:
        _complain(error)
        sys.exit(1)


def _config(
    path: Path, *, plates: str | None = None, wells: str | None = None, sites: str | None = None, **more: Any
) -> Any:
    from pipeline.config import load_config

    subset = {"subset.plates": _listed(plates), "subset.wells": _listed(wells), "subset.sites": _listed(sites)}
    return load_config(path, **subset, **more)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _run(config: Any) -> int:
    from pipeline.executors import open_executor
    from pipeline.flow import run as run_flow
    from pipeline.progress import Progress

    summary = run_flow(config, lambda: open_executor(config), Progress())
    console.print(summary.text)
    return 0 if summary.is_complete else 3


def _complain(error: PipelineError) -> None:
    Console(stderr=True).print(f"[bold red]{error.kind}[/]: {error}", highlight=False, soft_wrap=True)
