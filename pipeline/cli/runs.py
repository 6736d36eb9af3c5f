"""Commands about a run: plan it, run it, look at it, open parts of it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.shared import (
    ConfigFile,
    Endpoint,
    Plates,
    ProfileName,
    Results,
    Sites,
    Wells,
    app,
    console,
    location_of,
    note,
    open_run,
    read_config,
    whole_url,
)

EngineKind = Annotated[str | None, typer.Option("--engine", help="Engine: cellprofiler or native.")]


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
    forecast: Annotated[
        bool,
        typer.Option(
            "--forecast",
            help="Rehearse on a few sites, here, and print what `run` would take and cost; kept for `run` and the "
            "report, unless --show.",
        ),
    ] = False,
    pilot: Annotated[int, typer.Option(min=1, help="Sites of the rehearsal, some.")] = 18,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers that the forecast is for.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Kind of cluster that the forecast is for.")] = None,
) -> None:
    """List the images, join plate maps and annotations, and say what is missing. Writes the plan to the results."""
    from pipeline.plan import show as show_plan
    from pipeline.progress import Progress
    from pipeline.start import plan_run
    from pipeline.storage import open_storage

    settings = read_config(config, plates=plates, wells=wells, sites=sites, **{"execution.cluster": cluster})
    if forecast:
        from pipeline.costs.account import FORECAST
        from pipeline.costs.shown import forecast_text
        from pipeline.forecast import forecast as foresee
        from pipeline.results.records import encode

        run, found = foresee(settings, Progress(), sites=pilot, workers=workers)
        console.print(forecast_text(found.as_record()), highlight=False, soft_wrap=True)
        if not show:
            open_storage(run.storage.location).put(FORECAST, encode(found.as_record()))
        return
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
    chaos: Annotated[
        str | None,
        typer.Option(
            help="A rehearsal on a local cluster: kill or stop workers at so many of their tasks, and slow, refuse or "
            "falsify so many requests, e.g. kill=0.05,stop=0.01,slow=0.1,refuse=0.02,flip=0.01."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of --chaos: the same seed, the same faults.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no task once so many dollars are spent at these results, by all calls."),
    ] = None,
) -> None:
    """Bring everything up to date: images to report. Kill it at any moment and run it again.

    Exit codes: 0 complete; 1 an error, which is said: see to it and run again; 2 refused (the config, the results, the
    command line); 3 complete, with failures that the report names; 4 the budget is spent: what ran was finished, and
    `run` with a greater one goes on.
    """
    execution: dict[str, Any] = {"execution.cluster": cluster, "execution.workers": workers, "engine.kind": engine}
    if results is not None:
        execution["results.url"] = whole_url(results)
    settings = read_config(config, plates=plates, wells=wells, sites=sites, **execution)
    raise typer.Exit(_run(settings, chaos=chaos, seed=seed, new_measuring=new_measuring, budget=budget))


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

    run = open_run(results, profile, endpoint)
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

    run = open_run(results, profile, endpoint)
    opened = open_again(run, replaced=replaced, kinds=kind or (), plates=plate or (), wells=well or ())
    for where, names in opened.items():
        note(f"{where}: {', '.join(names)}")
    note(f"{sum(map(len, opened.values()))} wells are open again; `run` measures them.")


@app.command()
def why(
    results: Results,
    plate: Annotated[str, typer.Argument(help="The plate, or batch/plate.")],
    well: Annotated[str, typer.Argument(help="The well, e.g. B07.")],
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Why a well is as it is: what was found of it, measured and tried, and what to do next."""
    from pipeline.why import why as lines_about

    for line in lines_about(open_run(results, profile, endpoint), plate, well):
        note(line)


@app.command()
def diff(
    results: Results,
    other: Annotated[str, typer.Argument(help="Another root of results.")],
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Compare two roots of results: settings, versions, and every stored object, with the values of tables.

    Exit codes: 0 all objects are equal; 3 some differ.
    """
    from pipeline.compare import compare, described

    here, there = (open_run(place, profile, endpoint) for place in (results, other))
    found = compare(here, there)
    for line in described(here, there, found):
        note(line)
    raise typer.Exit(0 if found.is_equal else 3)


@app.command()
def doctor(config: ConfigFile) -> None:
    """What a run needs, looked at before it: interpreters, versions, places and keys, disk, clocks, cluster, processor.

    Exit codes: 0 nothing is in the way; 1 something is.
    """
    from pipeline.doctor import examine

    is_well = True
    for found in examine(read_config(config)):
        note(f"{'ok' if found.is_well else 'NO':<3} {found.what}: {found.said}")
        is_well = is_well and found.is_well
    raise typer.Exit(0 if is_well else 1)


@app.command()
def describe(
    place: Annotated[str, typer.Argument(help="A table, a zarr store or a root of results: a path or s3://...")],
    result: Annotated[
        str | None, typer.Argument(help="Of a root: batch, batch/plate, or a score, e.g. detection.")
    ] = None,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """What a file is and what was done to it, step by step, as far as it is recorded; where nothing is, what can be
    inferred. With the name of a result: what it was made from, as its record has it."""
    import yaml

    from pipeline.describe import describe as describe_file
    from pipeline.standings import made_from

    if result is None:
        found = describe_file(location_of(place, profile, endpoint))
    else:
        found = made_from(open_run(place, profile, endpoint), result)
    for name, record in found.items():
        note(f"{name}\n{yaml.safe_dump(record, sort_keys=False, indent=2, allow_unicode=True)}")


@app.command()
def report(config: ConfigFile) -> None:
    """Write the report of a run again, from what is stored, with the wells and colours that the config names now."""
    from dataclasses import replace

    from pipeline.report import write_report
    from pipeline.results.run import find_measured, open_run

    settings = read_config(config)
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

    settings = read_config(config, plates=plates, wells=wells)
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

    run = open_run(results, profile, endpoint)
    damaged = 0
    for plate in run.plates:
        found = check_plate(run.storage, plate, read_entries(run.storage, plate, run.measuring12))
        damaged += len(found)
        console.print(f"{plate.key}: " + (f"{len(found)} shards are not as they should be" if found else "whole"))
        for damage in found:
            console.print(f"  {damage.well} {damage.what}: {damage.detail}", highlight=False, soft_wrap=True)
    raise typer.Exit(3 if damaged else 0)


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

    render(location_of(place, profile, endpoint), design, workers=workers, progress=True)
    console.print(f"Images in {place}/images, tables and truth.csv in {place}/tables")


def _run(config: Any, *, chaos: str | None = None, seed: int | None = None, **asked: Any) -> int:
    from pipeline.executors import open_executor
    from pipeline.flow import run as run_flow
    from pipeline.progress import Progress

    progress = Progress()

    def executor() -> Any:
        return open_executor(config, progress.say)

    if chaos is None:
        summary = run_flow(config, executor, progress, **asked)
    else:
        from pipeline.simulate.faults import run_with_faults

        if asked.pop("budget", None) is not None:
            raise typer.BadParameter("a rehearsal with --chaos keeps no budget")
        summary = run_with_faults(config, chaos, seed, executor, progress, **asked)
    console.print(summary.text, highlight=False, soft_wrap=True)
    return 0 if summary.is_complete else 4 if summary.stopped else 3
