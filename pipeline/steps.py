"""Tasks that wait for tasks: a step is ready when all it waits for has ended well."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.errors import PipelineError
from pipeline.executors import Executor, Outcome, Task
from pipeline.results.records import MISSING, Standing


@dataclass(eq=False)
class Step:
    """A task and the steps that must have ended well before it. (Identity is equality: steps are many.)

    `or_else` is asked, with the error, where the task fails: if it answers true, the step counts as well ended all the
    same, and what comes after it goes on without it. `standing`: of what it makes, as it is
    before.
    """

    task: Task
    after: list[Step]
    or_else: Callable[[PipelineError], bool] | None = None
    standing: Standing = MISSING
    waiting_for: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting_for = len(self.after)


def run_steps(steps: list[Step], executor: Executor) -> Iterator[tuple[Outcome, bool]]:
    """Run all steps, each in its turn; yields every outcome, and whether the step ended well.

    What waits for a step that did not end well is not run.
    """
    following: dict[Step, list[Step]] = {}
    for step in steps:
        for earlier in step.after:
            following.setdefault(earlier, []).append(step)
    by_key = {step.task.key: step for step in steps}
    ready = deque(step.task for step in steps if not step.waiting_for)
    for outcome in executor.run(ready):
        ended, error = by_key[outcome.task.key], outcome.error
        ended_well = error is None or (ended.or_else is not None and ended.or_else(error))
        yield outcome, ended_well
        for step in following.get(ended, []) if ended_well else []:
            step.waiting_for -= 1
            if not step.waiting_for:
                ready.append(step.task)
