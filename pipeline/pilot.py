"""The rehearsal of a forecast: the flow on a few wells, whole, into folders of its own.

Three times, so that what is needed once, for each plate and for each well come apart: on wells of two plates, fewer on
the second; then, without measuring them again, on those of the first plate, and on as few of it as of the second.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline import report
from pipeline.config import Config
from pipeline.costs.account import DRIVER, plate_of, spent_on
from pipeline.costs.fit import Fit, fit
from pipeline.costs.meter import outside_tasks
from pipeline.costs.spent import Spent
from pipeline.executors import Task
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.flow import flow
from pipeline.plan import Plan, findings_table
from pipeline.progress import Progress
from pipeline.results import ledger
from pipeline.results.plan import read_sites
from pipeline.results.run import Run
from pipeline.scores import plates_of
from pipeline.screen import Plate
from pipeline.screen.columns import CONTROL_TYPE, NEGCON, PLATE_KEY, WELL, WELL_KEY
from pipeline.start import rehearse
from pipeline.steps import Step, run_steps
from pipeline.storage import Location, Storage, open_storage

#: kinds of task that grow with their sites
BY_SITES = ("measure", "illuminate")


def rehearse_on(run: Run, config: Config, sites: int, samples: Samples, progress: Progress) -> None:
    """Rehearse on about so many sites, and take down what each task took."""
    with tempfile.TemporaryDirectory() as folder:
        measured: Storage | None = None
        for number, wells in enumerate(_wells(run, sites)):
            plan = _part(run, wells)
            progress.say(f"Rehearsal {number + 1}: {len(plan.sites)} sites of {len(plan.plates)} plates")
            place = Location(url=str(Path(folder, str(number))))
            _rehearse(_of_its_own(config, place), plan, measured, samples)
            measured = measured or open_storage(place)


def _wells(run: Run, sites: int) -> list[dict[Plate, list[str]]]:
    """Of each rehearsal, the wells of each of its plates."""
    imaged = run.wells[run.wells["sites"] > 0]
    keys = [Plate(*key) for key in imaged[PLATE_KEY].drop_duplicates().itertuples(index=False)]
    first, *others = [plate for plate in keys if plate.batch == keys[0].batch][:2]
    chosen = _spread(imaged[(imaged[PLATE_KEY] == [*first]).all(axis=1)], max(2, round(sites / 9) * 4))
    fewer = chosen[: max(1, len(chosen) // 2)]
    of_two = [{first: chosen, plate: fewer} for plate in others]
    return [*of_two, {first: chosen}, {first: fewer}]


def _spread(wells: pd.DataFrame, number: int) -> list[str]:
    """So many wells of a plate, evenly spaced, every second a negative control where there are some."""
    is_control = wells.get(CONTROL_TYPE, pd.Series("", index=wells.index)) == NEGCON
    controls, others = (list(wells.loc[mask, WELL]) for mask in (is_control, ~is_control))
    if not (controls and others):
        names = controls or others
        return list(dict.fromkeys(names[place * len(names) // number] for place in range(number)))
    half = number // 2
    pairs = [(names[place * len(names) // half]) for place in range(half) for names in (others, controls)]
    return list(dict.fromkeys(pairs))


def _part(run: Run, wells: dict[Plate, list[str]]) -> Plan:
    """The plan with these wells alone, every second with two of its sites and the others with one, so that what a well
    takes and what a site takes come apart."""
    asked = pd.DataFrame(
        [(*plate, well, 2 - (place // 2) % 2) for plate, own in wells.items() for place, well in enumerate(own)],
        columns=[*WELL_KEY, "asked"],
    )
    sites = pd.concat([read_sites(run.storage, plate) for plate in wells], ignore_index=True)
    wanted = sites[WELL_KEY].merge(asked, how="left")["asked"].fillna(0)
    sites = sites[(sites.groupby(WELL_KEY).cumcount() < wanted)].reset_index(drop=True)
    counted = sites.groupby(WELL_KEY).size().rename("sites").reset_index()
    about = run.wells.drop(columns="sites").merge(counted, on=WELL_KEY).astype({"sites": run.wells["sites"].dtype})
    rows = run.plate_table.merge(asked[PLATE_KEY].drop_duplicates(), on=PLATE_KEY)
    return Plan(sites, about[run.wells.columns], rows, findings_table([]), sites)


def _of_its_own(config: Config, place: Location) -> Config:
    changed = {
        "results": place,
        "execution": config.execution.model_copy(update={"cluster": "serial"}),
        "report": config.report.model_copy(update={"wells": ()}),
        "subset": config.subset.model_copy(update={"plates": (), "wells": (), "exclude": {}}),
    }
    return config.model_copy(update=changed)


def _rehearse(config: Config, plan: Plan, measured: Storage | None, samples: Samples) -> None:
    """Run the flow on a part of the plan. `measured`: a root that holds its wells already."""
    since = outside_tasks()
    run = rehearse(config, plan, Progress(quiet=True))
    borrowing = Spent()
    if measured is not None:
        before = outside_tasks()
        _borrow(run, measured)
        borrowing = outside_tasks() - before
    steps = _uneven(flow(run))
    sizes, by_task = Sizes(run), {step.task.key: step for step in steps}
    for outcome, _ in run_steps(steps, SerialExecutor()):
        if outcome.error is None:
            images = Spent(bytes_in=sizes.image_bytes(outcome.task))
            samples.add(sizes, by_task[outcome.task.key], spent_on(outcome) - images)
    report.write_report(run)
    samples.add_driver(sizes, outside_tasks() - since - borrowing)


def _borrow(run: Run, measured: Storage) -> None:
    """Take over the wells of a rehearsal that are measured in another."""
    wells = run.wells[WELL_KEY].itertuples(index=False, name=None)
    places = {f"{batch}/{plate}/{well}" for batch, plate, well in wells}
    for folder in (f"ledger/{run.measuring12}/", "image_measurements/", "previews/", "log/"):
        for entry in measured.entries(folder):
            if entry.key.removeprefix(folder).partition(".")[0] in places:
                run.storage.put(entry.key, measured.get(entry.key))
    for plate in run.plates:
        for entry in measured.entries(f"cells/{plate.key}/features/c/"):
            run.storage.put(entry.key, measured.get(entry.key))
        for entry in measured.entries(f"illumination/{plate.key}/"):
            run.storage.put(entry.key, measured.get(entry.key))
    assert all(ledger.listed_plates(run.storage, run.measuring12, run.plates).values())


def _uneven(steps: list[Step]) -> list[Step]:
    """The same steps, the sums of a plate in two tasks of different sizes: a full plate has many, and what adds them up
    is to show what each of them adds."""
    parts: dict[Step, list[Step]] = {}
    for step in steps:
        task = step.task
        if task.stage == "illuminate" and len(_wells_of(task)) > 1:
            wells, results = _wells_of(task), task.arguments[0]
            parts[step] = []
            for some in (wells[:1], wells[1:]):
                place = (*task.place[:2], some[0])
                parts[step].append(Step(Task(task.stage, place, task.function, (results, *place, some)), ()))
        else:
            parts[step] = [replace(step, after=[part for earlier in step.after for part in parts[earlier]])]
    return [part for own in parts.values() for part in own]


class Sizes:
    """How large the tasks of a run are, and of what kind."""

    def __init__(self, run: Run) -> None:
        self._run = run
        imaged = run.wells[run.wells["sites"] > 0]
        rows = imaged[[*WELL_KEY, "sites"]].itertuples(index=False, name=None)
        self._sites = {(Plate(batch, plate), well): int(number) for batch, plate, well, number in rows}
        self._wells = Counter(Plate(*key) for key in imaged[PLATE_KEY].itertuples(index=False, name=None))
        self._bytes: dict[Plate, dict[str, float]] = {}

    def kind(self, task: Task) -> str:
        """Tasks of one kind take alike: those of a stage, or of a score."""
        if task.stage != "score":
            return task.stage
        return f"{task.place[0]}, {'each condition' if task.place[1:] else 'together'}"

    def of(self, step: Step) -> tuple[float, ...]:
        """Sites of a task that measures or adds up; parts of one that smooths; wells of a plate; of what is made from
        several plates, their number and their wells."""
        plate = plate_of(step.task)
        if plate is None:
            return self._of_plates(self._read_by(step.task))
        if step.task.stage in BY_SITES:
            return (sum(self._sites.get((plate, well), 0) for well in _wells_of(step.task)),)
        return (len(step.after) if step.task.stage == "smooth" else self._wells[plate],)

    def _read_by(self, task: Task) -> set[Plate]:
        if task.stage == "select":
            return {plate for plate in self._wells if plate.batch == task.place[0]}
        if task.stage == "score" and len(task.place) == 2:
            return plates_of(self._run, *task.place)
        return set(self._wells)

    def _of_plates(self, plates: set[Plate]) -> tuple[float, float]:
        return len(plates), sum(self._wells[plate] for plate in plates)

    @property
    def whole(self) -> tuple[float, float]:
        """Plates and wells of the run."""
        return self._of_plates(set(self._wells))

    def image_bytes(self, task: Task) -> float:
        """Of the images that it reads; 0 where the plan does not know their sizes."""
        plate = plate_of(task)
        if plate is None or task.stage not in BY_SITES:
            return 0.0
        if plate not in self._bytes:
            table = read_sites(self._run.storage, plate)
            sizes = table[[name for name in table if str(name).startswith("Size_")]].sum(axis=1)
            by_well = sizes.groupby(table[WELL]).sum()
            self._bytes[plate] = {str(well): float(number) for well, number in by_well.items()}
        return float(sum(self._bytes[plate].get(well, 0) for well in _wells_of(task)))

    def sites_of(self, plate: Plate) -> int:
        return sum(number for (own, _), number in self._sites.items() if own == plate)


def _wells_of(task: Task) -> list[str]:
    last = task.arguments[-1]
    return [last] if isinstance(last, str) else list(last)


class _Sample(NamedTuple):
    sizes: tuple[float, ...]
    spent: Spent
    #: whether it was among the first of its kind, in which a process warms up, or opens what a plate needs
    is_first: bool


class Samples:
    """What the tasks of the rehearsals took, by kind."""

    def __init__(self) -> None:
        self._found: dict[str, list[_Sample]] = defaultdict(list)
        self._plates: set[Plate | None] = set()

    def add(self, sizes: Sizes, step: Step, spent: Spent) -> None:
        kind, plate = sizes.kind(step.task), plate_of(step.task)
        is_first = not self._found[kind] or (kind == "measure" and plate not in self._plates)
        if kind == "measure":
            self._plates.add(plate)
        self._found[kind].append(_Sample(sizes.of(step), spent, is_first))

    def add_driver(self, sizes: Sizes, spent: Spent) -> None:
        self._found[DRIVER].append(_Sample(sizes.whole, spent, not self._found[DRIVER]))

    def fits(self) -> dict[str, Fit]:
        return {kind: self._fit(kind) for kind in self._found}

    @property
    def first(self) -> Spent:
        """What the first well of a plate takes more than another, in a process."""
        found, line = self._found["measure"], self._fit("measure")
        more = [sample.spent - line.at(*sample.sizes) for sample in found if sample.is_first][1:]
        mean = sum(more, Spent()).times(1 / len(more)) if more else Spent()
        return Spent(*(max(0.0, value) for value in mean.as_record().values()))

    def _fit(self, kind: str) -> Fit:
        found, grows = self._found[kind], kind in BY_SITES
        warm = [sample for sample in found if not sample.is_first] or found
        counted = warm if kind == "measure" else found
        lines = [fit([one.sizes for one in some], [one.spent for one in some], grows=grows) for some in (counted, warm)]
        pairs = zip(lines[0].each, lines[1].each, strict=True)
        return Fit(_timed(lines[0].once, lines[1].once), tuple(_timed(*pair) for pair in pairs))


def _timed(counted: Spent, timed: Spent) -> Spent:
    """The counts of one and the times of the other."""
    return Spent(**{**counted.as_record(), "cpu_seconds": timed.cpu_seconds, "seconds": timed.seconds})
