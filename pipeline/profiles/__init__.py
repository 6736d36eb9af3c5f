"""Cells -> well profiles: aggregate, annotate, normalise, select."""

from pipeline.profiles.aggregate import aggregate
from pipeline.profiles.annotated import as_anndata
from pipeline.profiles.columns import feature_names
from pipeline.profiles.files import SELECTED_LEVELS, list_profiles, open_profiles
from pipeline.profiles.normalize import normalize
from pipeline.profiles.select import Selection, select_features
from pipeline.profiles.stage import (
    batch_standing,
    plate_standing,
    profile_notes,
    profile_plate,
    select_batch,
)
from pipeline.profiles.wells import annotate, well_profiles

__all__ = [
    "SELECTED_LEVELS",
    "Selection",
    "aggregate",
    "annotate",
    "as_anndata",
    "batch_standing",
    "feature_names",
    "list_profiles",
    "normalize",
    "open_profiles",
    "plate_standing",
    "profile_notes",
    "profile_plate",
    "select_batch",
    "select_features",
    "well_profiles",
]
