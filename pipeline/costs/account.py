"""What a root of results has cost: one record a call of `run`, written while it goes on.

costs/forecast.json       what was foreseen (`plan --forecast`)
costs/calls/<began>.json  what one call took: by stage and plate, in worker-hours and dollars
"""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.config import Config
from pipeline.costs.meter import SPENT, outside_tasks
from pipeline.costs.prices import load_prices
from pipeline.costs.spent import Spent
from pipeline.errors import StorageError
from pipeline.executors import Outcome, Task, kind_of
from pipeline.results.records import encode, read_record
from pipeline.screen import Plate
from pipeline.storage import Storage

FORECAST, CALLS = "costs/forecast.json", "costs/calls/"
#: seconds between two writings of a call's record
KEPT_EVERY = 60.0
#: stages whose tasks are of one plate each
OF_A_PLATE = ("illuminate", "smooth", "measure", "publish", "profile")
#: the stage of what the driver itself does: plan, ledger, report
DRIVER = "driver"


class Account:
    """What is spent at a root, this call's part as it comes. `budget`: dollars for all its calls; None: no bound.
    `tasks`: that there are to run."""

    def __init__(
        self,
        storage: Storage,
        config: Config,
        tasks: int = 0,
        budget: float | None = None,
        since: Spent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self._left = budget, tasks
        self._storage, self._clock = storage, clock
        self._prices, self._kind = load_prices(config.execution.prices), kind_of(config.execution.cluster)
        self._forecast = (read_record(storage, FORECAST) or {}).get("dollars")
        self._earlier = sum(call["dollars"] for call in read_calls(storage))
        self._began = datetime.now(UTC)
        self._key = f"{CALLS}{self._began:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}.json"
        self._driver = since or outside_tasks()
        self._stages: dict[str, Spent] = defaultdict(Spent)
        self._plates: dict[str, Spent] = defaultdict(Spent)
        self._start = self._last = self._kept = clock()
        self._worker_seconds = 0.0

    def add(self, outcome: Outcome, workers: int) -> None:
        """Take note of a task that ended, while so many workers were there."""
        spent = spent_on(outcome)
        self._stages[outcome.task.stage] += spent
        self._left -= outcome.task.stage != "refresh"  # which is none of the flow's own
        if plate := plate_of(outcome.task):
            self._plates[plate.key] += spent
        now = self._clock()
        self._worker_seconds += workers * (now - self._last)
        self._last = now
        if now - self._kept > KEPT_EVERY:
            self.keep()

    @property
    def dollars(self) -> float:
        """Of all calls at this root."""
        return self._earlier + self._here

    @property
    def _here(self) -> float:
        hours = (self._last - self._start) / 3600
        machines = self._prices.of_machines(self._kind, self._worker_seconds / 3600, hours)
        return machines + self._prices.of_requests(self._spent())

    def _spent(self) -> Spent:
        return sum(self._stages.values(), Spent()) + (outside_tasks() - self._driver)

    @property
    def is_exhausted(self) -> bool:
        return self.budget is not None and self.dollars >= self.budget

    def __str__(self) -> str:
        """ "$1.23 of $4.56 foreseen" """
        foreseen = "" if self._forecast is None else f" of ${self._forecast:.2f} foreseen"
        return f"${self.dollars:.2f}{foreseen}"

    @property
    def stopped(self) -> str:
        """Why tasks were left for another call; "" where none were."""
        if not (self.is_exhausted and self._left):
            return ""
        return (
            f"The budget of ${self.budget:.2f} is spent (${self.dollars:.2f}): {self._left:,} tasks were not begun. "
            "What is done is kept; `run` with a greater --budget goes on from here."
        )

    def close(self) -> None:
        with suppress(StorageError):  # whatever ended the run is what has to be said
            self.keep()

    def keep(self) -> None:
        """Write the record of this call, as it is now."""
        self._kept = self._clock()
        stages = {**self._stages, DRIVER: outside_tasks() - self._driver}
        record = {
            "began": self._began.isoformat(timespec="seconds"),
            "cluster": self._kind,
            "prices": self._prices.as_of,
            "seconds": self._last - self._start,
            "worker_hours": self._worker_seconds / 3600,
            "dollars": self._here,
            "stages": {name: spent.as_record() for name, spent in stages.items()},
            "plates": {name: spent.as_record() for name, spent in self._plates.items()},
        }
        self._storage.put(self._key, encode(record))


def spent_on(outcome: Outcome) -> Spent:
    """What the last attempt of a task took; nothing is known of one that was lost with its worker."""
    return Spent.of_record((outcome.record or {}).get(SPENT) or getattr(outcome.error, SPENT, None))


def plate_of(task: Task) -> Plate | None:
    """The plate that a task is about, None where it is about no single one."""
    return Plate(*task.place[:2]) if task.stage in OF_A_PLATE else None


def read_calls(storage: Storage) -> list[dict[str, Any]]:
    """The records of all calls of `run` at a root that had something to do, in order."""
    return [json.loads(storage.get(entry.key)) for entry in storage.entries(CALLS)]


def actual(storage: Storage) -> dict[str, Any]:
    """All calls together: `dollars`, `worker_hours`, `seconds`, and `spent` (see `Spent`)."""
    calls = read_calls(storage)
    spent = (Spent.of_record(stage) for call in calls for stage in call["stages"].values())
    sums = {name: sum(call[name] for call in calls) for name in ("dollars", "worker_hours", "seconds")}
    return {**sums, "calls": len(calls), "spent": sum(spent, Spent())}
