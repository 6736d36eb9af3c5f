"""The whole flow on one page: which tasks there are, and what each waits for.

    plan ─► illuminate ─► measure ─► publish ─► profile ─► select ─► score ─► report
            plate         well       plate      plate      batch     task     run

Every arrow is a stored result: a task reads what it needs by keys and returns a small record. So a run can be
killed at any moment and run again, a stage can run alone, and a notebook can start anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from pipeline import cells, illumination, ledger, measure, profiles, report, scores
from pipeline.config import Config
from pipeline.engines import open_engine
from pipeline.errors import PipelineError
from pipeline.executors import Executor, Outcome, Task
from pipeline.plan import Plan, make_plan, read_well_sites, read_wells, write_plan
from pipeline.progress import Progress
from pipeline.run_record import RECORD, Run, make_record, open_run, refuse_other, update_config, write_record
from pipeline.screen import Plate
from pipeline.storage import open_storage


def run(config: Config, executor: Callable[[], Executor], progress: Progress) -> report.Summary:
    """Run everything that is not done yet, and report. A finished run that is run again does nothing."""
    here = start(config, progress)
    if report.is_finished(here.storage):
        progress.say("This run is finished; nothing is left to do.")
        return report.read_summary(here.storage)
    steps = flow(here)
    with progress.counting(steps), closing(executor()) as machine:
        failures = {outcome.task.key: str(outcome.error) for outcome in ended(steps, machine, here, progress)}
    progress.say("Writing the report")
    return report.write_report(here, failures)


def flow(run: Run) -> list[Step]:
    """Every step of a run that is not known to be done, with what it waits for."""
    steps: list[Step] = []

    def step(stage: str, function: Callable[..., dict[str, Any]], *where: Any, after: list[Step]) -> Step:
        key = "/".join([stage, *(part for part in where if isinstance(part, str))])
        steps.append(Step(Task(key, function, (run.storage.location, *where)), after))
        return steps[-1]

    wells = imaged_wells(run)
    profiled: dict[str, list[Step]] = {}
    for plate in run.plates:
        published = []
        if not cells.is_published(run.storage, plate):
            parts = [
                step("illuminate", illumination.sum_wells, *plate, group[0], group, after=[])
                for group in illumination.groups(run, plate, wells[plate])
            ]
            smooth = [step("smooth", illumination.finish_plate, *plate, after=parts)] if parts else []
            done = ledger.finished_wells(run.storage, run.settings12, plate)
            measured = [
                step("measure", measure.measure_well, *plate, well, after=smooth)
                for well in wells[plate]
                if well not in done
            ]
            published = [step("publish", cells.publish, *plate, after=measured)]
        profiled.setdefault(plate.batch, []).append(step("profile", profiles.profile_plate, *plate, after=published))
    selected = [step("select", profiles.select_batch, batch, after=plates) for batch, plates in profiled.items()]
    scored: dict[str, Step] = {}
    for score in scores.in_order(run.config.scores.tasks):
        needed = [scored[name] for name in scores.TASKS[score].needs]
        ready = selected + needed
        parts = [step("score", scores.score_unit, score, unit, after=ready) for unit in scores.units(run, score)]
        scored[score] = step("score", scores.finish_score, score, after=parts)
    return steps


@dataclass(eq=False)
class Step:
    """A task and the steps that must have ended well before it. (Identity is equality: steps are many.)"""

    task: Task
    after: list[Step]
    waiting_for: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting_for = len(self.after)


def ended(steps: list[Step], executor: Executor, run: Run, progress: Progress) -> Iterator[Outcome]:
    """Run the steps, each when what it waits for has ended well; yields the outcomes that failed.

    A well that fails does not hold up its plate: it is set aside, by name, and the plate goes on without it.
    """
    following: dict[Step, list[Step]] = {}
    for step in steps:
        for earlier in step.after:
            following.setdefault(earlier, []).append(step)
    by_key = {step.task.key: step for step in steps}
    ready = deque(step.task for step in steps if not step.waiting_for)
    for outcome in executor.run(ready):
        progress.count(outcome)
        error = outcome.error
        if error is not None:
            yield outcome
            if not outcome.task.key.startswith("measure/"):
                continue
            set_aside(run, outcome.task, error)
        for step in following.get(by_key[outcome.task.key], []):
            step.waiting_for -= 1
            if not step.waiting_for:
                ready.append(step.task)


def start(config: Config, progress: Progress) -> Run:
    """Plan a new run and claim its root, or attach to the one that is there."""
    storage = open_storage(config.results)
    refuse_other(storage, config.settings())
    if storage.stat(RECORD) is None:
        progress.say(f"Planning: listing {config.images}")
        prepare(config, make_plan(config), progress)
    else:
        update_config(storage, config)
    return open_run(config.results)


def prepare(config: Config, plan: Plan, progress: Progress) -> None:
    """Write what is known before any worker starts: the plan, the store's metadata, and last the run's record."""
    storage = open_storage(config.results)
    text = config.engine.cppipe.read_text(encoding="utf-8", errors="replace")
    with open_engine(config.engine.kind, text) as engine:
        for module, reason in engine.left_out.items():
            progress.say(f"Module {module} is left out: {reason}")
        schema = cells.Schema.from_features(engine.features, config.cells.compartments, config.cells.capacity)
        record = make_record(
            config, engine=engine.version, inputs=engine.inputs, schema=schema.digest, plates=plan.plate_list
        )
    write_plan(plan, storage)
    cells.write_schema(storage, schema)
    for plate in plan.plate_list:
        cells.create_plate(storage, plate, plan.plate_wells(plate), schema)
    write_record(storage, config, text, record)


def imaged_wells(run: Run) -> dict[Plate, list[str]]:
    """The wells of each plate that have images, in the plate's order."""
    table = read_wells(run.storage)
    table = table[table["sites"] > 0]
    found = table.groupby(["Metadata_Batch", "Metadata_Plate"], sort=False)["Metadata_Well"].agg(list)
    return {plate: list(found.get(tuple(plate), [])) for plate in run.plates}


def set_aside(run: Run, task: Task, error: PipelineError) -> None:
    """Enter a well that could not be measured in the ledger as failed, so that its plate can be published."""
    _, batch, name, well = task.key.split("/")
    plate = Plate(batch, name)
    entry = ledger.empty_entry(plate, well, measure.input_digest(run, read_well_sites(run.storage, plate, well)))
    entry["reason"] = f"{error.kind}: {error}"
    ledger.write_entry(run.storage, run.settings12, entry)
