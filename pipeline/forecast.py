"""What `run` would take and cost, from a rehearsal on a few sites of the screen itself.

The flow says which steps there are (`pilot` says how it is rehearsed). Each task of the rehearsal tells what it took,
and for each kind of task a straight line is drawn: so much a task, and so much a site (wells, sums), or a plate and a
well (what comes after). The sizes of the images are known from the plan and are taken from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config import Config
from pipeline.costs.account import DRIVER, plate_of
from pipeline.costs.meter import outside_tasks
from pipeline.costs.prices import Prices, load_prices
from pipeline.costs.spent import Spent
from pipeline.executors import kind_of
from pipeline.flow import flow
from pipeline.pilot import Samples, Sizes, rehearse_on
from pipeline.progress import Progress
from pipeline.results.overlay import overlay
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.start import start
from pipeline.steps import Step


@dataclass(frozen=True)
class Forecast:
    """What `run` would take now. `plates`: "batch/plate" -> its part; what is of no plate is in `spent` alone.

    `stored`: bytes that are kept; `lacking`: kinds of task of which the rehearsal saw none, which are left out.
    """

    sites: int
    wells: int
    workers: int
    spent: Spent
    stored: float
    seconds: float
    worker_hours: float
    dollars: float
    dollars_a_month: float
    prices: str
    cluster: str
    stages: dict[str, Spent]
    plates: dict[str, Spent]
    plate_sites: dict[str, int]
    plate_dollars: dict[str, float]
    lacking: list[str] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


def forecast(
    config: Config, progress: Progress, *, sites: int = 18, workers: int | None = None
) -> tuple[Run, Forecast]:
    """The run as it stands, to which nothing is written, and what bringing it up to date would take.

    `sites`: of the rehearsal, some; `workers`: default those of the config. The rehearsal runs in this process, so its
    seconds are this machine's.
    """
    since = outside_tasks()
    run = start(config, progress, through=overlay)
    steps = flow(run)
    planning = outside_tasks() - since
    samples = Samples()
    if any(step.task.stage == "measure" for step in steps):
        rehearse_on(run, config, sites, samples, progress)
    return run, _Foreseen(run, samples, workers or config.execution.workers).of(steps, planning)


class _Foreseen:
    """Adds up what the steps of a run will take."""

    def __init__(self, run: Run, samples: Samples, workers: int) -> None:
        self._run, self._samples, self._workers = run, samples, workers
        self._sizes, self._fits = Sizes(run), samples.fits()
        self._stages: dict[str, Spent] = defaultdict(Spent)
        self._tasks: dict[str, int] = defaultdict(int)
        self._plates: dict[Plate, Spent] = defaultdict(Spent)
        self._begun: dict[Plate, int] = defaultdict(int)
        self._lacking: set[str] = set()

    def of(self, steps: Sequence[Step], planning: Spent) -> Forecast:
        for step in steps:
            self._add(step)
        self._add_firsts()
        whole, driver = self._sizes.whole, planning
        if DRIVER in self._fits:
            driver += self._fits[DRIVER].at(*whole)
        spent = sum(self._stages.values(), driver)
        # Stages pass from wells to plates to batches; each is shared by as many workers as it has tasks.
        seconds = sum(part.seconds / min(self._workers, self._tasks[stage]) for stage, part in self._stages.items())
        prices = load_prices(self._run.config.execution.prices)
        kind = kind_of(self._run.config.execution.cluster)
        hours = seconds / 3600
        return Forecast(
            sites=sum(self._sizes.sites_of(plate) for plate in self._run.plates),
            wells=int(whole[1]),
            workers=self._workers,
            spent=spent,
            stored=spent.bytes_out,
            seconds=seconds,
            worker_hours=self._workers * hours,
            dollars=prices.of_machines(kind, self._workers * hours, hours) + prices.of_requests(spent),
            dollars_a_month=prices.of_a_month(spent.bytes_out),
            prices=prices.as_of,
            cluster=kind,
            stages={**self._stages, DRIVER: driver},
            plates={plate.key: part for plate, part in self._plates.items()},
            plate_sites={plate.key: self._sizes.sites_of(plate) for plate in self._plates},
            plate_dollars={plate.key: self._dollars(prices, kind, part) for plate, part in self._plates.items()},
            lacking=sorted(self._lacking),
        )

    def _add(self, step: Step) -> None:
        kind = self._sizes.kind(step.task)
        if kind not in self._fits:
            self._lacking.add(kind)
            return
        spent = self._fits[kind].at(*self._sizes.of(step))
        plate = plate_of(step.task)
        if kind == "measure" and plate is not None:
            self._begun[plate] += 1
        self._tasks[step.task.stage] += 1
        self._count(step.task.stage, plate, spent + Spent(bytes_in=self._sizes.image_bytes(step.task)))

    def _add_firsts(self) -> None:
        """Each worker reads the functions of each plate that it works on, once."""
        for plate, wells in self._begun.items():
            self._count("measure", plate, self._samples.first.times(min(self._workers, wells)))

    def _count(self, stage: str, plate: Plate | None, spent: Spent) -> None:
        self._stages[stage] += spent
        if plate is not None:
            self._plates[plate] += spent

    def _dollars(self, prices: Prices, kind: str, part: Spent) -> float:
        hours = part.seconds / 3600
        return prices.of_machines(kind, hours, hours / self._workers) + prices.of_requests(part)
