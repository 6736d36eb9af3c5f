"""Profiles -> answers. One file a task of the paper; each a short function of profiles, conditions and rules."""

from pipeline.scores.any_table import Grouping, score_any_table
from pipeline.scores.load import load_profiles, scores_command, write_tables
from pipeline.scores.notes import check_annotations
from pipeline.scores.rules import MODES, Rules
from pipeline.scores.significance import fraction_retrieved
from pipeline.scores.stage import (
    COMPARISON,
    compare_modes,
    finish_score,
    in_order,
    open_all,
    open_scores,
    plates_of,
    run_tables,
    score_unit,
    standings,
    units,
)
from pipeline.scores.summaries import mode_differences, overview
from pipeline.scores.tasks import TASKS, Task, concatenate, run_task, run_unit, unit_key
from pipeline.scores.wells import Condition, conditions

__all__ = [
    "COMPARISON",
    "MODES",
    "TASKS",
    "Condition",
    "Grouping",
    "Rules",
    "Task",
    "check_annotations",
    "compare_modes",
    "concatenate",
    "conditions",
    "finish_score",
    "fraction_retrieved",
    "in_order",
    "load_profiles",
    "mode_differences",
    "open_all",
    "open_scores",
    "overview",
    "plates_of",
    "run_tables",
    "run_task",
    "run_unit",
    "score_any_table",
    "score_unit",
    "scores_command",
    "standings",
    "unit_key",
    "write_tables",
    "units",
]
