"""Less than the whole screen: some plates, wells, sites. A name that fits nothing is refused with the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.config import Screen
from pipeline.errors import ConfigError
from pipeline.plan.metadata import nearest, plate_list
from pipeline.screen import Plate, well_name, well_position


def in_group(screen: Screen, plates: pd.DataFrame, group: str) -> np.ndarray:
    """Mask over the rows of `screen_plates`: those that fit one of the group's rules."""
    chosen = np.zeros(len(plates), dtype=bool)
    names = {"batch": "Metadata_Batch", "plate": "Metadata_Plate"}
    for rule in screen.groups[group]:
        fits = np.ones(len(plates), dtype=bool)
        for column, values in rule.items():
            if (full := names.get(column, f"Metadata_{column}")) not in plates:
                have = [name.removeprefix("Metadata_") for name in plates.columns]
                raise ConfigError(f"groups.{group}: the plates table has no column {column!r}.{nearest(column, have)}")
            fits &= plates[full].isin(values).to_numpy()
        chosen |= fits
    return chosen


def choose_plates(
    wanted: Sequence[str], screen: Screen, table: pd.DataFrame, imaged: Iterable[Plate]
) -> set[Plate] | None:
    """The plates these names stand for: a plate (of every batch), batch/plate, a batch, or a group. None: all.

    Raises `ConfigError` for a name that neither the plates table nor the listing knows.
    """
    if not wanted:
        return None
    known = {*plate_list(table), *imaged}
    chosen: set[Plate] = set()
    for name in wanted:
        if name in screen.groups:
            members = {
                plate for plate, fits in zip(plate_list(table), in_group(screen, table, name), strict=True) if fits
            }
        else:
            members = {plate for plate in known if name in (plate.plate, plate.key, plate.batch)}
        if not members:
            names = [*screen.groups, *(plate.plate for plate in known), *(plate.key for plate in known)]
            raise ConfigError(
                f"subset.plates: {name!r} is no plate, batch/plate, batch or group.{nearest(name, names)}"
            )
        chosen |= members
    return chosen


def choose_wells(wanted: Sequence[str], wells: pd.Series) -> set[str]:
    """The wells by their full names (a1 -> A01). `wells`: all there are on the chosen plates."""
    known = set(wells)
    chosen = set()
    for name in wanted:
        try:
            well = well_name(*well_position(name))
        except ValueError as error:
            raise ConfigError(f"subset.wells: {error}.") from None
        if well not in known:
            raise ConfigError(f"subset.wells: no chosen plate has a well {well}.{nearest(well, sorted(known))}")
        chosen.add(well)
    return chosen


def choose_sites(wanted: Sequence[int], sites: pd.Series) -> set[int]:
    known = sorted(map(int, sites.unique()))
    for site in wanted:
        if site not in known:
            near = min(known, key=lambda one: abs(one - site), default=None)
            raise ConfigError(f"subset.sites: no chosen plate has a site {site}. Nearest: {near}.")
    return set(wanted)
