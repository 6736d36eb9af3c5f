"""Which results are current, stale (because of what) or missing; and so what `run` would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline import report
from pipeline.cells.layout import publication_key
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.flow import flow
from pipeline.profiles.stage import record_key, selection_key
from pipeline.progress import Progress
from pipeline.results.overlay import overlay
from pipeline.results.records import Standing, read_record
from pipeline.results.run import Run
from pipeline.scores import in_order
from pipeline.scores.stage import table_key
from pipeline.screen.tables import nearest
from pipeline.start import start
from pipeline.steps import Step

#: stage -> what one of its results is, in the order of the flow
STAGES = {
    "illuminate": "parts of illumination",
    "smooth": "illumination functions of plates",
    "measure": "wells",
    "publish": "published plates",
    "profile": "profiles of plates",
    "select": "feature selections of batches",
    "score": "scores of conditions",
    "compare": "comparison of the modes",
}
#: reasons that are written out; the rest are counted
SHOWN = 10


def todo(config: Config, progress: Progress) -> tuple[list[Step], Standing]:
    """What `run` would do with this config now: the steps, each with the standing of what it makes, and the standing of
    the report, which comes after them. Writes nothing."""
    run = start(config, progress, through=overlay)
    return flow(run), report.standing(run)


def show_todo(steps: list[Step], page: Standing, console: Console) -> None:
    if not steps:
        _say(console, f"Everything is current{_but(page)}; `run` would {_do_about(page)}.")
        return
    found = Counter(step.task.stage for step in steps)
    console.print(
        "`run` would make "
        + ", ".join(f"{found[stage]:,} {what}" for stage, what in STAGES.items() if found[stage])
        + ", and write the report."
    )
    _show_reasons(steps, console)


def _but(page: Standing) -> str:
    return "" if page.is_current else f" but the report ({page.why})"


def _do_about(page: Standing) -> str:
    return "do nothing" if page.is_current else "write it"


def show_standings(run: Run, console: Console) -> None:
    """Of every stage, how many results are stale or missing, and why. What is not named is current."""
    steps = flow(run)
    if not steps:
        _say(console, f"Every result is current{_but(report.standing(run))}.")
        return
    table = Table()
    for name in ("result", "stale", "missing"):
        table.add_column(name, justify="left" if name == "result" else "right")
    for stage, what in STAGES.items():
        states = Counter(step.standing.state for step in steps if step.task.stage == stage)
        if states:
            table.add_row(what, *(f"{states[state]:,}" if states[state] else "" for state in ("stale", "missing")))
    console.print(table)
    _show_reasons(steps, console)


def made_from(run: Run, result: str) -> dict[str, Any]:
    """The records of a plate ("batch/plate"), of a batch, or of a score, by their keys.

    Raises `ConfigError` where there is no such result.
    """
    keys = [table_key(result), selection_key(result)]
    for plate in run.plates:
        if result in (plate.key, plate.plate):
            keys += [publication_key(plate), record_key(plate)]
    found = {key: record for key in keys if (record := read_record(run.storage, key)) is not None}
    if not found:
        names = [
            *in_order(run.config.scores.tasks),
            *(name for plate in run.plates for name in (plate.batch, plate.key)),
        ]
        raise ConfigError(
            f"There is no result {result!r} at {run.storage.location}, or it is not made yet.{nearest(result, names)}"
        )
    return {key: record["inputs"] for key, record in found.items()}


def _show_reasons(steps: Iterable[Step], console: Console) -> None:
    stale = [step for step in steps if step.standing.state == "stale" and "comes before it" not in step.standing.why]
    for step in stale[:SHOWN]:
        _say(console, f"{step.task.key} is stale: {step.standing.why}")
    if len(stale) > SHOWN:
        console.print(f"... and {len(stale) - SHOWN} more")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
