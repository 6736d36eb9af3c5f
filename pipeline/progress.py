"""What a person sees while a run goes on: plates, wells, sites a minute, time left, failures so far."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from pipeline.executors import Outcome

#: a log file gets a line each time so large a part of the wells is done, instead of a bar that is redrawn
LOGGED = 0.05

#: stages whose end is worth a line
_SAID = {
    "publish": "measured",
    "select": "features selected",
    "score": "scored",
    "refresh": "scores and report as far as they go",
}


class Progress:
    """One bar over the wells, on standard error, and a line for each plate, batch and score that is done."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        #: gets what is said, also where nothing is shown
        self.listener: Callable[[str], None] | None = None
        self._bar: tqdm[Any] | None = None

    def say(self, line: str) -> None:
        if self.listener is not None:
            self.listener(line)
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    @contextmanager
    def counting(self, steps: Sequence[Any], spent: object = "") -> Iterator[None]:
        """`spent`: says, as a text, what the work has cost so far."""
        self._spent = spent
        stages = [step.task.stage for step in steps]
        self._sites = self._failures = self._plates = 0
        self._all_plates = stages.count("publish")
        self._on_screen = sys.stderr.isatty()
        self._logged = 0.0
        with open(os.devnull, "w") as nowhere:
            shown = sys.stderr if self._on_screen and not self.quiet else nowhere
            self._all_wells = stages.count("measure")
            with tqdm(total=self._all_wells, desc="Measuring", unit=" wells", file=shown, smoothing=0.1) as self._bar:
                yield
        self._bar = None

    def count(self, outcome: Outcome) -> None:
        """Take note of one ended task."""
        stage, where = outcome.task.stage, "/".join(outcome.task.place)
        if outcome.error is not None:
            self.say(f"{outcome.task.key} failed: {outcome.error}")
        elif stage == "profile":
            record = outcome.record or {}
            for level, why in {**record.get("missing", {}), **record.get("notes", {})}.items():
                self.say(f"{where}: {level}: {why}")
        elif stage in _SAID:
            self.say(f"{where}: {(outcome.record or {}).get('why') or _SAID[stage]}")
        if stage == "publish":
            self._plates += 1
        if stage == "measure":
            self._count_well(outcome)

    def _count_well(self, outcome: Outcome) -> None:
        assert self._bar is not None
        record = outcome.record or {}
        self._sites += record.get("sites", 0)
        if record.get("why"):
            self.say(f"{outcome.task.key}: {record['why']}")
        self._failures += outcome.error is not None or bool(record.get("why"))
        elapsed = self._bar.format_dict["elapsed"]
        rate = 60 * self._sites / elapsed if elapsed else 0.0
        counted = f"{rate:.0f} sites/min, {self._plates}/{self._all_plates} plates, {self._failures} with failures"
        counted += f", {self._spent}" if str(self._spent) else ""
        self._bar.set_postfix_str(counted, refresh=False)
        self._bar.update(1)
        done = self._bar.n / self._all_wells
        if not self._on_screen and (done >= self._logged + LOGGED or done == 1):
            self._logged = done
            self.say(str(self._bar))
