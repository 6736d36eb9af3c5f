"""The whole flow on one page: which tasks there are, and what each waits for.

    plan ─► illuminate ─► measure ─► publish ─► profile ─► select ─► score ─► report
            plate         well       plate      plate      batch     task     run

Every arrow is a stored result that names its own inputs: a task reads what it needs by keys, leaves what is current as
it is, and returns a small record. So a run can be killed at any moment and run again, a stage can run alone, a screen
can grow at the cost of what is new, and a notebook can start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

from pipeline import __version__, cells, illumination, measure, profiles, report, scores
from pipeline.config import Config
from pipeline.costs.account import Account
from pipeline.costs.meter import metered, outside_tasks
from pipeline.diagnosis import next_move
from pipeline.errors import AccessDenied, Away, EngineError, NoSpace, PipelineError, SettingsDiffer, Stopped
from pipeline.executors import Executor, Outcome, Task, open_executor
from pipeline.interim import Interim
from pipeline.progress import Progress
from pipeline.results import ledger
from pipeline.results.events import Events
from pipeline.results.records import CURRENT, MISSING, Standing
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.screen.columns import BATCH, PLATE, WELL
from pipeline.start import start
from pipeline.steps import Step, run_steps
from pipeline.storage import patience, patiently

#: what a machine or a store lacks, whatever well it is at work on
NOBODYS_FAULT = (AccessDenied, Away, EngineError, NoSpace)
#: after so many such failures a run is stopped (a store that is away was waited for already)
ENOUGH = 3


def run(
    config: Config,
    executor: Callable[[], Executor] | None = None,
    progress: Progress | None = None,
    *,
    new_measuring: bool = False,
    budget: float | None = None,
) -> report.Summary:
    """Bring everything up to date, and report. A finished run that is run again does nothing.

    `executor` opens what the tasks run on, by default what the config names; `progress` says how far the run is, by
    default on standard error. `new_measuring`: where the root's cells were measured otherwise (another engine,
    pipeline, ...), measure beside it. `budget`: dollars for all calls at this root; once they are spent no task is
    begun, and the summary says that the run was `stopped`. With worker processes on this machine a script calls this
    under `if __name__ == "__main__":`, since each of them imports it.
    """
    since = outside_tasks()
    progress = progress or Progress()
    executor = executor or partial(open_executor, config, progress.say)
    with patience(60 * config.limits.patience_minutes):
        here = start(config, progress, new_measuring=new_measuring)
        steps = flow(here)
        if not steps and report.standing(here).is_current:
            progress.say("This run is finished; nothing is left to do.")
            return report.read_summary(here.storage)
        account = Account(here.storage, config, len(steps), budget, since)
        with _events(here, steps, progress) as events, closing(account):
            is_begun = steps and not account.is_exhausted
            failures = _run(here, steps, executor, progress, events, account) if is_begun else {}
            account.keep()  # for the report
            progress.say("Writing the report")
            return report.write_report(here, failures, stopped=account.stopped)


@contextmanager
def _events(run: Run, steps: list[Step], progress: Progress) -> Iterator[Events]:
    """What happens and what is said, from here to the end, in the run's log."""
    events = Events(run.storage)
    events.began(__version__, len(steps))
    progress.listener = lambda line: events.add("said", line=line)
    try:
        yield events
    except BaseException as error:
        events.add("run ended", error=f"{type(error).__name__}: {error}")
        raise
    else:
        events.add("run ended")
    finally:
        progress.listener = None
        events.write()


def _run(
    run: Run,
    steps: list[Step],
    executor: Callable[[], Executor],
    progress: Progress,
    events: Events,
    account: Account,
) -> dict[str, str]:
    """Run all steps; returns the tasks that failed, each with the reason. Raises `Stopped` where going on is no use."""
    failures: dict[str, str] = {}
    nobodys: list[Outcome] = []
    with progress.counting(steps, account), closing(executor()) as machine:
        beside, enough = Interim(run, steps), lambda: account.is_exhausted
        for outcome, ended_well in run_steps(steps, machine, beside, enough):
            account.add(outcome, getattr(machine, "workers", 1))  # one from outside may not say
            progress.count(outcome)
            error = None if outcome.error is None else {"kind": outcome.error.kind, "error": str(outcome.error)}
            task = {"stage": outcome.task.stage, "place": list(outcome.task.place), "attempts": outcome.attempts}
            events.add("task ended", **task, ended_well=ended_well, **(error or {}))
            if ended_well or outcome.task.stage == "refresh":
                continue
            failures[outcome.task.key] = str(outcome.error)
            if isinstance(outcome.error, SettingsDiffer):  # nothing that the other tasks could do better
                raise outcome.error
            if isinstance(outcome.error, NOBODYS_FAULT):
                nobodys.append(outcome)
            if isinstance(outcome.error, Away) or len(nobodys) >= ENOUGH:
                raise _stopped(nobodys)
    return failures


def _stopped(outcomes: list[Outcome]) -> Stopped:
    last = outcomes[-1]
    tasks = "A task" if len(outcomes) == 1 else f"{len(outcomes)} tasks"
    return Stopped(
        f"{tasks} failed, {last.task.key} the last, by what is no fault of a plate or well: {last.error} The others "
        "would fail as well, so the run was stopped. Nothing that is done is lost, and all that is not is left open. "
        f"Next: {next_move(str(last.error))}"
    )


def flow(run: Run) -> list[Step]:
    """Every step whose result is not current, or will not be when the steps before it have ended, and what it waits
    for."""
    steps: list[Step] = []

    def step(
        found: Standing,
        stage: str,
        function: Callable[..., Any],
        *place: str,
        after: list[Step],
        given: tuple[Any, ...] = (),
        or_else: Callable[[PipelineError], bool] | None = None,
    ) -> list[Step]:
        if found.is_current and not after:
            return []
        if found.is_current:
            found = Standing("stale", f"{after[0].task.key} comes before it")
        # Workers wait for a store as their driver does.
        waits = 60 * run.config.limits.patience_minutes
        task = Task(stage, place, metered(partial(patiently, waits, function)), (run.storage.location, *place, *given))
        steps.append(Step(task, after, or_else, found))
        return steps[-1:]

    profiled: dict[str, list[Step]] = {plate.batch: [] for plate in run.plates}
    for plate, listed in ledger.listed_plates(run.storage, run.measuring12, run.plates).items():
        waiting = open_wells(run, plate, listed)
        measured: list[Step] = []
        if waiting.now:
            sums: list[Step] = []
            for group in illumination.groups(run, plate):
                sums += step(MISSING, "illuminate", illumination.sum_wells, *plate, group[0], after=[], given=(group,))
            smooth = step(CURRENT, "smooth", illumination.finish_plate, *plate, after=sums)
            # A well that cannot be measured is set aside, by name, and its plate goes on without it.
            for well in waiting.now:
                aside = partial(measure.set_aside, run, plate, well)
                measured += step(MISSING, "measure", measure.measure_well, *plate, well, after=smooth, or_else=aside)
        published: list[Step] = []
        if not waiting.later:
            found = cells.publication_standing(run.storage, plate, listed, run.wells)
            published = step(found, "publish", cells.publish, *plate, after=measured)
        found = profiles.plate_standing(run, plate)
        if waiting.later and not cells.is_readable(run.storage, plate):
            continue  # this call does not finish the plate; what was published of it before stays
        profiled[plate.batch] += step(found, "profile", profiles.profile_plate, *plate, after=published)

    selected: dict[str, list[Step]] = {}
    for batch, plates in profiled.items():
        found = profiles.batch_standing(run, batch) or (MISSING if plates else CURRENT)
        selected[batch] = step(found, "select", profiles.select_batch, batch, after=plates)
    scored: dict[str, list[Step]] = {}
    for part in scores.standings(run):
        made = scored.setdefault(part.score, [])
        if part.unit:
            ready = [one for batch in part.batches for one in selected.get(batch, [])]
            ready += [earlier for need in scores.find(part.score).needs for earlier in scored[need][-1:]]
            made += step(part.standing, "score", scores.score_unit, part.score, part.unit, after=ready)
        elif part.score == scores.COMPARISON:
            ready = [own[-1] for own in scored.values() if own]
            step(part.standing, "compare", scores.compare_modes, after=ready)
        else:
            made += step(part.standing, "score", scores.finish_score, part.score, after=list(made))
    return steps


class Waiting(NamedTuple):
    """Wells of a plate that are not measured: those that this call works on, and those that it leaves for another."""

    now: list[str]
    later: list[str]


def open_wells(run: Run, plate: Plate, listed: Mapping[str, ledger.Listed]) -> Waiting:
    """The wells of a plate that have images and no ledger entry, in the plate's order."""
    wells = run.wells
    own = wells[(wells[BATCH] == plate.batch) & (wells[PLATE] == plate.plate)]
    waiting = [well for well in own.loc[own["sites"] > 0, WELL] if well not in listed]
    now = [well for well in waiting if run.chosen is None or (*plate, well) in run.chosen]
    return Waiting(now, [well for well in waiting if well not in set(now)])
