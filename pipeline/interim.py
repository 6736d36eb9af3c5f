"""Scores and a report of the plates that are ready, while the others are measured.

What still waits in the flow is made early, over what there is: feature selections, scores and the page, in their usual
places. Until it is made for good it is marked as partial, and its record differs from what the whole would be made
from, so that the flow makes it anew: at its end nothing is left of what was partial.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pipeline import profiles, report, scores
from pipeline.errors import Incomplete
from pipeline.executors import Outcome, Task
from pipeline.results.run import Run, open_run
from pipeline.steps import Step
from pipeline.storage import Location, current_patience, patiently

#: stages whose results are made early, and whose steps are held back meanwhile
STAGES: tuple[str, ...] = ("select", "score", "compare")


class Interim:
    """The task that is to run beside the steps of a flow, every so often; see `run_steps`."""

    stages = STAGES

    def __init__(self, run: Run, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        minutes = run.config.report.refresh_minutes
        self._run, self._clock, self._seconds = run, clock, None if minutes is None else 60 * minutes
        self._last, self._is_new = clock(), False
        self._to_profile = sum(step.task.stage == "profile" for step in steps)
        self._failures: dict[str, str] = {}

    def ended(self, outcome: Outcome, ended_well: bool) -> None:
        """Take note of a task of the flow that has ended."""
        if not ended_well:
            self._failures[outcome.task.key] = str(outcome.error)
        elif outcome.task.stage == "profile":
            self._to_profile -= 1
            self._is_new = True

    def task(self, waiting: Iterable[Step]) -> Task | None:
        """The task that is due, or None. `waiting`: steps that wait for others."""
        is_due = self._seconds is not None and self._clock() - self._last >= self._seconds
        if not (is_due and self._is_new and self._to_profile):
            return None
        early = [step.task for step in waiting if step.task.stage in ("select", "score")]
        if not early:
            return None
        self._last, self._is_new = self._clock(), False
        plates = len(self._run.plates)
        coverage = f"{plates - self._to_profile} of {plates} plates"
        places = [(task.stage, *task.place) for task in early]
        arguments = (self._run.storage.location, places, coverage, dict(self._failures))
        return Task("refresh", (coverage,), partial(patiently, current_patience(), refresh), arguments)


def refresh(
    results: Location, places: Sequence[tuple[str, ...]], coverage: str, failures: dict[str, str]
) -> dict[str, Any]:
    """Make selections and scores, by their places in the flow and in its order, and the page, of what there is."""
    without: dict[str, str] = {}
    for stage, *place in places:
        try:
            if stage == "select":
                with suppress(Incomplete):  # no plate of the batch is ready
                    profiles.select_batch(results, *place)
            elif len(place) == 2:
                scores.score_unit(results, *place)
            else:
                scores.finish_score(results, place[0], partial=coverage)
        except Exception as error:  # too little for this score yet; the whole will say what is wrong with it
            without["/".join((stage, *place))] = f"{type(error).__name__}: {error}"
    report.write_report(open_run(results), failures, partial=coverage)
    return {"without": without}
