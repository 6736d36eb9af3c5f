"""Profiles -> answers. One file a task of the paper; each a short function of profiles, conditions and rules."""

from pipeline.scores.rules import MODES, Rules
from pipeline.scores.significance import fraction_retrieved
from pipeline.scores.tasks import TASKS, Task, concatenate, run_task, run_unit, unit_key
from pipeline.scores.wells import Condition, conditions

__all__ = [
    "MODES",
    "TASKS",
    "Condition",
    "Rules",
    "Task",
    "concatenate",
    "conditions",
    "fraction_retrieved",
    "run_task",
    "run_unit",
    "unit_key",
]
