"""What the columns of tables of plates, wells and sites are called: the one place for these names.

A column that says what a row is begins with PREFIX; all others are measured. Screens have more columns than these, of
their own names: `column_of("dose")` is what a column `dose` of their tables becomes.
"""

from __future__ import annotations

PREFIX = "Metadata_"

#: where a row is from
BATCH, PLATE, WELL, SITE = "Metadata_Batch", "Metadata_Plate", "Metadata_Well", "Metadata_Site"
ROW, COLUMN = "Metadata_Row", "Metadata_Column"
PLATE_KEY = [BATCH, PLATE]
WELL_KEY = [BATCH, PLATE, WELL]

#: what is in a well
SAMPLE, CONTROL_TYPE, SAMPLE_TYPE = "Metadata_broad_sample", "Metadata_control_type", "Metadata_pert_type"
SAMPLE_NAME, GENE, TARGETS = "Metadata_pert_iname", "Metadata_gene", "Metadata_target_list"
DOSE = "Metadata_dose"
#: a sample without its dose, where `SAMPLE` names both
UNDOSED = "Metadata_sample"

#: what a plate is
MODALITY, CELL_TYPE, TIMEPOINT = "Metadata_modality", "Metadata_cell_type", "Metadata_timepoint"
PLATE_MAP, PHYSICAL_PLATE = "Metadata_plate_map_name", "Metadata_physical_plate"
IMAGE_FOLDER = "Metadata_image_folder"
#: what sets a plate apart from others of its condition of which it is no replicate
VARIANT = "Metadata_variant"
#: which imaging of a physical plate it is
IMAGING = "Metadata_imaging"

#: what was counted in a well
CELLS, UNMATCHED, SITES = "Metadata_Count_Cells", "Metadata_Count_Unmatched", "Metadata_Sites"

#: of tables in several files, the one a row comes from
FILE = "Metadata_File"
#: what was done to profiles before the scores
STEPS = "Metadata_steps"

#: the word in CONTROL_TYPE that means a negative control
NEGCON = "negcon"

#: columns that make a condition, where a screen does not name its own
CONDITION = ("modality", "cell_type", "timepoint")

_OF_PLATES = {"batch": BATCH, "plate": PLATE}


def column_of(name: str) -> str:
    """What a column of a screen's own tables is called in ours: "dose" is Metadata_dose, "batch" Metadata_Batch."""
    return _OF_PLATES.get(name, f"{PREFIX}{name}")


def short(column: object) -> str:
    """Metadata_dose -> dose."""
    return str(column).removeprefix(PREFIX)
