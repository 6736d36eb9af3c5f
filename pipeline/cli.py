"""One command per verb, each a few lines. Exit codes: 0 complete; 1 an error of ours; 2 usage, or refused;
3 complete with failures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipeline import __version__
from pipeline.errors import PipelineError, Refused

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
#: for the help of `scores`, which is not to import them; a test holds them against the tables of tasks and steps
SCORES = (
    "Of: detection, positions, variance, sisters, gene_compound, directionality, pairs, t_tests, counts, "
    "polypharmacology, umap."
)
STEPS = "Of: clip, centre_positions, sphere."
EngineKind = Annotated[str | None, typer.Option("--engine", help="Engine: cellprofiler or native.")]


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


@app.command()
def plan(
    config: ConfigFile,
    plates: Plates = None,
    wells: Wells = None,
    sites: Sites = None,
    show: Annotated[bool, typer.Option("--show", help="Print the plan and write nothing.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what `run` would do now, and why, and write nothing.")
    ] = False,
) -> None:
    """List the images, join plate maps and annotations, and say what is missing. Writes the plan to the results."""
    from pipeline.plan import show as show_plan
    from pipeline.progress import Progress
    from pipeline.start import plan_run

    settings = _config(config, plates=plates, wells=wells, sites=sites)
    if diff:
        from pipeline.standings import show_todo, todo

        show_todo(*todo(settings, Progress()), console)
        return
    planned = plan_run(settings, Progress(), write=not show)
    console.print(show_plan(planned, settings.screen.condition), highlight=False, soft_wrap=True)
    if not show:
        console.print(f"Written to {settings.results}/plan")


@app.command()
def run(
    config: ConfigFile,
    plates: Plates = None,
    wells: Wells = None,
    sites: Sites = None,
    results: Annotated[str | None, typer.Option(help="Another place for the results, e.g. of a first look.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="serial, local (worker processes here), or a scheduler, e.g. tls://host:8786.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes of a local cluster.")] = None,
    engine: EngineKind = None,
    new_measuring: Annotated[
        bool,
        typer.Option(
            "--new-measuring",
            help="Where the results were measured by another engine, version or pipeline: measure beside them.",
        ),
    ] = False,
) -> None:
    """Bring everything up to date: images to report. Kill it at any moment and run it again.

    Exit codes: 0 complete; 1 an error, which is said: see to it and run again; 2 refused (the config, the results, the
    command line); 3 complete, with failures that the report names.
    """
    execution: dict[str, Any] = {"execution.cluster": cluster, "execution.workers": workers, "engine.kind": engine}
    if results is not None:
        execution["results.url"] = _url(results)
    settings = _config(config, plates=plates, wells=wells, sites=sites, **execution)
    raise typer.Exit(_run(settings, new_measuring=new_measuring))


@app.command("dry-run")
def dry_run(
    folder: Annotated[Path, typer.Option(help="Where the screen, the stores and the report go.")] = Path("dry-run"),
    engine: Annotated[str, typer.Option(help="Engine: native or cellprofiler.")] = "native",
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 2,
    design: Annotated[
        str | None,
        typer.Option(help="How large a screen: tiny, small, dry-run, native. Default: what the engine can do in time."),
    ] = None,
) -> None:
    """Simulate a small screen with known answers, run everything on it through a local S3 server, check the answers."""
    from pipeline.simulate.dry_run import DESIGN_OF
    from pipeline.simulate.dry_run import dry_run as simulate_and_run

    if engine not in DESIGN_OF:
        raise typer.BadParameter(f"{engine!r} is none of {', '.join(DESIGN_OF)}", param_hint="--engine")
    raise typer.Exit(simulate_and_run(folder, engine=engine, workers=workers, design=design or DESIGN_OF[engine]))


@app.command()
def status(
    results: Results,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
    wells: Annotated[bool, typer.Option("--wells", help="List every well that is not simply measured.")] = False,
) -> None:
    """How far a run is: wells by state and plate, failures with their reasons, and which results are current, stale
    (because of what) or missing. Also while the run goes on.
    """
    from pipeline.standings import show_standings
    from pipeline.status import show_status

    run = _open(results, profile, endpoint)
    show_status(run, console, every_well=wells)
    show_standings(run, console)


@app.command()
def retry(
    results: Results,
    plate: Annotated[list[str] | None, typer.Option(help="Only this plate, or batch/plate; repeatable.")] = None,
    well: Annotated[list[str] | None, typer.Option(help="Only this well; repeatable.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--class", help="Only what failed so: worker_died, image, engine, ..., or failed; repeatable."),
    ] = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Only wells whose images are others than they were measured from.")
    ] = False,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Open wells again, so that the next `run` measures them, and makes what follows from them."""
    from pipeline.retry import retry as open_again

    run = _open(results, profile, endpoint)
    opened = open_again(run, replaced=replaced, kinds=kind or (), plates=plate or (), wells=well or ())
    for where, names in opened.items():
        _note(f"{where}: {', '.join(names)}")
    _note(f"{sum(map(len, opened.values()))} wells are open again; `run` measures them.")


@app.command()
def describe(
    results: Results,
    result: Annotated[str, typer.Argument(help="batch, batch/plate, or a score, e.g. detection.")],
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """What a result was made from: its inputs by name, as its record has them."""
    import yaml

    from pipeline.standings import made_from

    for name, record in made_from(_open(results, profile, endpoint), result).items():
        _note(f"{name}\n{yaml.safe_dump(record, sort_keys=False, indent=2, allow_unicode=True)}")


@app.command()
def report(config: ConfigFile) -> None:
    """Write the report of a run again, from what is stored, with the wells and colours that the config names now."""
    from dataclasses import replace

    from pipeline.report import write_report
    from pipeline.results.run import find_measured, open_run

    settings = _config(config)
    run = open_run(find_measured(settings))
    summary = write_report(replace(run, config=run.config.model_copy(update={"report": settings.report})))
    console.print(f"Report: {summary.report}")


@app.command()
def verify(
    config: ConfigFile,
    sites: Annotated[int, typer.Option(help="How many sites, spread over the screen.")] = 4,
    plates: Plates = None,
    wells: Wells = None,
) -> None:
    """Run both engines on your own images and write the parity certificate to the results."""
    from pipeline.executors import open_executor
    from pipeline.progress import Progress
    from pipeline.report.certificate import PAGE
    from pipeline.verify import verify as compare_engines

    settings = _config(config, plates=plates, wells=wells)
    record = compare_engines(settings, sites, lambda: open_executor(settings), Progress())
    verdict = "Equal" if record["is_equal"] else f"Not equal: {record['unequal_values']:,} values differ"
    console.print(f"{verdict} on {record['sites']} sites, {record['values']:,} values. {settings.results}/{PAGE}")
    raise typer.Exit(0 if record["is_equal"] else 3)


@app.command()
def check(
    results: Results,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Read every shard of the single-cell store and compare it with the ledger."""
    from pipeline.cells import check_plate
    from pipeline.results.ledger import read_entries

    run = _open(results, profile, endpoint)
    damaged = 0
    for plate in run.plates:
        found = check_plate(run.storage, plate, read_entries(run.storage, plate, run.measuring12))
        damaged += len(found)
        console.print(f"{plate.key}: " + (f"{len(found)} shards are not as they should be" if found else "whole"))
        for damage in found:
            console.print(f"  {damage.well} {damage.what}: {damage.detail}", highlight=False, soft_wrap=True)
    raise typer.Exit(3 if damaged else 0)


@app.command()
def scores(
    profiles: Annotated[
        list[str],
        typer.Argument(
            help="Folder or URL with profiles in the gallery's layout; with --replicates: files, folders or patterns "
            "of any tables of well profiles.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder or URL for the tables, one parquet a task.")],
    screen: Annotated[str | None, typer.Option(help="Screen whose tables annotate them, e.g. cpjump1.")] = None,
    mode: Annotated[str, typer.Option(help="correct, published, or copairs.")] = "correct",
    task: Annotated[list[str] | None, typer.Option(help=f"Only this score; give it again for more. {SCORES}")] = None,
    secondary: Annotated[
        bool, typer.Option("--secondary", help="Also the screen's plates outside its primary group.")
    ] = False,
    step: Annotated[list[str] | None, typer.Option(help=f"Do this to the profiles first; repeatable. {STEPS}")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the null distributions.")] = 0,
    replicates: Annotated[
        str | None,
        typer.Option(help="Of any table: replicates agree in these columns, e.g. cell_line,dose."),
    ] = None,
    negcon: Annotated[
        str | None, typer.Option(help="Of any table: what is true of negative controls, e.g. 'genotype == \"WT\"'.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="Of any table: compare wells only where they agree in these columns.")
    ] = None,
    plate: Annotated[str | None, typer.Option(help="Of any table: the column that names the plate.")] = None,
    well: Annotated[str | None, typer.Option(help="Of any table: the column that names the well.")] = None,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Compute scores from well profiles alone: ours, published ones, or any table (--replicates and --negcon)."""
    from pipeline.config import load_screen
    from pipeline.scores import Grouping, overview, score_any_table, scores_command

    more: dict[str, Any] = {"seed": seed, "steps": step or (), "tell": _note}
    target = _location(out, profile, endpoint)
    if replicates is None:
        if len(profiles) > 1 or negcon or condition or plate or well:
            raise typer.BadParameter("several tables, --negcon, --condition, --plate and --well go with --replicates")
        source = _location(profiles[0], profile, endpoint)
        annotated = None if screen is None else load_screen(screen)
        tables = scores_command(source, annotated, mode, target, task or (), secondary=secondary, **more)
    else:
        if negcon is None or screen is not None or secondary:
            raise typer.BadParameter("--replicates needs --negcon, and no --screen or --secondary")
        chosen = (tuple(_listed(text) or ()) for text in (replicates, condition))
        asked, held = chosen
        grouping = Grouping(asked, negcon, held, plate or "", well or "")
        more |= {"profile": profile, "endpoint": endpoint}
        tables = score_any_table(profiles, grouping, mode, target, task or (), **more)
    if len(summary := overview(tables)):
        _note(summary.to_string(index=False, float_format="%.3g"))
    _note(f"{', '.join(sorted(tables))}: written to {out}, drawn in {out}/figures")


@app.command("paper-check")
def paper_check(
    profiles: Annotated[str, typer.Argument(help="Folder or URL with profiles in the gallery's layout.")],
    screen: Annotated[str, typer.Option(help="Screen with published numbers.")] = "cpjump1",
    seed: Annotated[int, typer.Option(help="Seed of the null distributions.")] = 0,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Every published number beside ours, with the tolerance and the defect that moves it. Ends with 3 if one that can
    be computed disagrees.
    """
    from pipeline.config import load_screen
    from pipeline.scores.paper_check import as_text, verdict
    from pipeline.scores.paper_check import paper_check as compare_with_paper

    table = compare_with_paper(_location(profiles, profile, endpoint), load_screen(screen), seed=seed)
    _note(as_text(table))
    raise typer.Exit(0 if verdict(table)[1] else 3)


@app.command()
def splits(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    screen: Annotated[str, typer.Option(help="Screen whose plates and perturbations are split.")] = "cpjump1",
) -> None:
    """Write the paper's recommended train, validation and test splits, one CSV each."""
    from pipeline.config import load_screen
    from pipeline.scores.splits import write_splits

    for path in write_splits(load_screen(screen), out):
        _note(f"{path}: {sum(1 for _ in path.open()) - 1:,} rows")


@app.command("check-split")
def check_split(
    split: Annotated[Path, typer.Argument(help="CSV, TSV or parquet: part, and wells or samples (docs/scores.md).")],
    screen: Annotated[str, typer.Option(help="Screen whose tables say what is in the wells.")] = "cpjump1",
    profiles: Annotated[str | None, typer.Option(help="Annotated profiles that say it instead: folder or URL.")] = None,
    task: Annotated[str, typer.Option(help="gene-compound, or representation: no look at targets.")] = "gene-compound",
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """What a split of your own tears apart or leaks: wells, replicates, guides, identifiers, targets. Ends with 3 if
    anything.
    """
    from pipeline.config import load_screen
    from pipeline.scores.annotations import well_annotations
    from pipeline.scores.load import load_profiles
    from pipeline.scores.splits import as_text, check_split_file

    if profiles is None:
        wells = well_annotations(load_screen(screen))
    else:
        wells = load_profiles(_location(profiles, profile, endpoint))
    found = check_split_file(split, wells, task)
    _note(as_text(found, task))
    raise typer.Exit(3 if len(found) else 0)


@app.command()
def simulate(
    place: Annotated[str, typer.Argument(help="Folder or URL for the screen.")],
    design: Annotated[str, typer.Option(help="How large: tiny, small, dry-run, native.")] = "dry-run",
    workers: Annotated[int, typer.Option(help="Processes that render.")] = 1,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Render a small screen with known answers, in the gallery's layout, with its tables and the planted truth."""
    from pipeline.simulate.screen import simulate as render

    render(_location(place, profile, endpoint), design, workers=workers, progress=True)
    console.print(f"Images in {place}/images, tables and truth.csv in {place}/tables")


def main() -> None:
    try:
        app()
    except Refused as error:
        _complain(error)
        sys.exit(2)
    except PipelineError as error:
        _complain(error)
        sys.exit(1)


def _note(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _config(
    path: Path, *, plates: str | None = None, wells: str | None = None, sites: str | None = None, **more: Any
) -> Any:
    from pipeline.config import load_config

    subset = {"subset.plates": _listed(plates), "subset.wells": _listed(wells), "subset.sites": _listed(sites)}
    return load_config(path, **subset, **more)


def _url(place: str) -> str:
    """A folder by its whole path; "s3:/bucket" is no folder, and is refused where it is opened."""
    return place if "://" in place or place.startswith("s3:") else str(Path(place).absolute())


def _location(url: str, profile: str | None, endpoint: str | None) -> Any:
    from pipeline.storage import Location

    return Location(url=_url(url), profile=profile, endpoint=endpoint)


def _open(results: str, profile: str | None, endpoint: str | None) -> Any:
    from pipeline.results.run import open_run

    return open_run(_location(results, profile, endpoint))


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _run(config: Any, *, new_measuring: bool = False) -> int:
    from pipeline.executors import open_executor
    from pipeline.flow import run as run_flow
    from pipeline.progress import Progress

    progress = Progress()
    summary = run_flow(config, lambda: open_executor(config, progress.say), progress, new_measuring=new_measuring)
    console.print(summary.text, highlight=False, soft_wrap=True)
    return 0 if summary.is_complete else 3


def _complain(error: PipelineError) -> None:
    text = Text.assemble((error.kind, "bold red"), f": {error}")
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
