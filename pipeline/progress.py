"""What a person sees while a run goes on: plates, wells, sites a minute, time left, failures so far."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from pipeline.executors import Outcome


class Progress:
    """One bar over the wells, on standard error; lines in between. `quiet` shows nothing at all."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: tqdm[Any] | None = None

    def say(self, line: str) -> None:
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    @contextmanager
    def counting(self, steps: Sequence[Any]) -> Iterator[None]:
        stages = [step.task.key.partition("/")[0] for step in steps]
        self._sites = self._failures = self._plates = 0
        self._all_plates = stages.count("publish")
        on_screen = sys.stderr.isatty()
        with tqdm(
            total=stages.count("measure"),
            desc="Measuring",
            unit=" wells",
            file=sys.stderr,
            disable=self.quiet,
            # A log file gets a line now and then instead of a bar that is redrawn.
            mininterval=0.5 if on_screen else 15,
            ncols=None if on_screen else 110,
            smoothing=0.1,
        ) as self._bar:
            yield
        self._bar = None

    def count(self, outcome: Outcome) -> None:
        """Take note of one ended task."""
        assert self._bar is not None
        stage = outcome.task.key.partition("/")[0]
        record = outcome.record or {}
        if stage == "measure":
            self._sites += record.get("sites", 0)
            if outcome.error is not None or record.get("why"):
                self._failures += 1
                self.say(f"{outcome.task.key}: {outcome.error or record['why']}")
            elapsed = self._bar.format_dict["elapsed"]
            rate = 60 * self._sites / elapsed if elapsed else 0.0
            shown = f"{rate:.0f} sites/min, {self._plates}/{self._all_plates} plates, {self._failures} with failures"
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(1)
            return
        if stage == "publish":
            self._plates += 1
        self.say(f"{outcome.task.key}: " + (f"failed: {outcome.error}" if outcome.error else "done"))
