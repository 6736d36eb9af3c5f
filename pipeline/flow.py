"""The whole flow on one page: which tasks there are, and what each waits for.

    plan ─► illuminate ─► measure ─► publish ─► profile ─► select ─► score ─► report
            plate         well       plate      plate      batch     task     run

Every arrow is a stored result: a task reads what it needs by keys and returns a small record. So a run can be
killed at any moment and run again, a stage can run alone, and a notebook can start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline import cells, illumination, ledger, measure, profiles, report, scores
from pipeline.config import Config
from pipeline.executors import Executor, Task, open_executor
from pipeline.plan import read_wells
from pipeline.progress import Progress
from pipeline.run_record import Run
from pipeline.screen import Plate
from pipeline.start import start
from pipeline.steps import Step, run_steps


def run(
    config: Config, executor: Callable[[], Executor] | None = None, progress: Progress | None = None
) -> report.Summary:
    """Run everything that is not done yet, and report. A finished run that is run again does nothing.

    `executor` opens what the tasks run on, by default what the config names; `progress` says how far the run is, by
    default on standard error. With worker processes on this machine a script calls this under
    `if __name__ == "__main__":`, since each of them imports it.
    """
    executor, progress = executor or partial(open_executor, config), progress or Progress()
    here = start(config, progress)
    if report.is_finished(here.storage):
        ended = report.read_summary(here.storage)
        if not any(open_wells(here).values()):
            progress.say("This run is finished; nothing is left to do.")
            return ended
        # Killed from here on, it is not finished, and its plates are published anew.
        report.write_summary(here.storage, replace(ended, failures={"run": "wells are being measured again"}))
    steps, failures = flow(here), {}
    with progress.counting(steps), closing(executor()) as machine:
        for outcome, ended_well in run_steps(steps, machine):
            progress.count(outcome)
            if not ended_well:
                failures[outcome.task.key] = str(outcome.error)
    progress.say("Writing the report")
    summary = report.write_report(here, failures)
    report.write_summary(here.storage, summary)
    return summary


def flow(run: Run) -> list[Step]:
    """Every step of a run that is not known to be done, with what it waits for."""
    steps: list[Step] = []

    def step(stage: str, function: Callable[..., dict[str, Any]], *where: Any, after: list[Step], **more: Any) -> Step:
        key = "/".join([stage, *(part for part in where if isinstance(part, str))])
        steps.append(Step(Task(key, function, (run.storage.location, *where)), after, **more))
        return steps[-1]

    wells, waiting, has_ended = imaged_wells(run), open_wells(run), report.has_ended(run.storage)
    profiled: dict[str, list[Step]] = {}
    for plate in run.plates:
        published = []
        is_published = cells.is_published(run.storage, plate)
        if waiting[plate] or not is_published or has_ended:
            parts = [
                step("illuminate", illumination.sum_wells, *plate, group[0], group, after=[])
                for group in illumination.groups(run, plate, wells[plate])
            ]
            smooth = [step("smooth", illumination.finish_plate, *plate, after=parts)] if parts else []
            # A well that cannot be measured is set aside, by name, and its plate goes on without it.
            measured = [
                step(
                    "measure",
                    measure.measure_well,
                    *plate,
                    well,
                    after=smooth,
                    or_else=partial(measure.set_aside, run, plate, well),
                )
                for well in waiting[plate]
            ]
            published = [step("publish", cells.publish, *plate, is_published, after=measured)]
        profiled.setdefault(plate.batch, []).append(step("profile", profiles.profile_plate, *plate, after=published))
    selected = [step("select", profiles.select_batch, batch, after=plates) for batch, plates in profiled.items()]
    scored: dict[str, Step] = {}
    for score in scores.in_order(run.config.scores.tasks):
        ready = selected + [scored[name] for name in scores.TASKS[score].needs]
        parts = [step("score", scores.score_unit, score, unit, after=ready) for unit in scores.units(run, score)]
        scored[score] = step("score", scores.finish_score, score, after=parts)
    step("compare", scores.compare_modes, after=list(scored.values()))
    return steps


def imaged_wells(run: Run) -> dict[Plate, list[str]]:
    """The wells of each plate that have images, in the plate's order."""
    table = read_wells(run.storage)
    table = table[table["sites"] > 0]
    found = table.groupby(["Metadata_Batch", "Metadata_Plate"], sort=False)["Metadata_Well"].agg(list)
    return {plate: list(found.get(tuple(plate), [])) for plate in run.plates}


def open_wells(run: Run) -> dict[Plate, list[str]]:
    """The imaged wells of each plate that are not done. Of a published plate: those whose entry was taken out of the
    ledger, to have them measured again."""
    done = {plate: ledger.finished_wells(run.storage, run.settings12, plate) for plate in run.plates}
    return {plate: [well for well in wells if well not in done[plate]] for plate, wells in imaged_wells(run).items()}
