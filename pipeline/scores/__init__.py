"""The library of scores: profiles to answers. The scores themselves are in `pipeline.tasks`, one file each."""

from pipeline.scores.any_table import Grouping, score_any_table
from pipeline.scores.load import load_profiles, scores_command, write_tables
from pipeline.scores.notes import check_annotations
from pipeline.scores.registry import concatenate, find, in_order, names, run_task, run_unit, unit_key
from pipeline.scores.rules import MODES, Rules
from pipeline.scores.significance import fraction_retrieved
from pipeline.scores.stage import (
    COMPARISON,
    compare_modes,
    finish_score,
    lacking,
    open_all,
    open_scores,
    plates_of,
    run_tables,
    score_unit,
    standings,
    units,
)
from pipeline.scores.summaries import mode_differences, overview
from pipeline.screen.conditions import Condition, conditions

__all__ = [
    "COMPARISON",
    "MODES",
    "Condition",
    "Grouping",
    "Rules",
    "check_annotations",
    "compare_modes",
    "concatenate",
    "conditions",
    "find",
    "finish_score",
    "fraction_retrieved",
    "in_order",
    "lacking",
    "load_profiles",
    "mode_differences",
    "names",
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
    "units",
    "write_tables",
]
