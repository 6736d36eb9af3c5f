"""What a screen is: plates and wells, their names and tables, groups and conditions, and what columns are called."""

from pipeline.screen.names import (
    PLATE_FORMATS,
    Plate,
    name_fault,
    plate_size,
    plate_wells,
    well_name,
    well_position,
)

__all__ = ["PLATE_FORMATS", "Plate", "name_fault", "plate_size", "plate_wells", "well_name", "well_position"]
