"""Less than the whole screen: some plates, wells, sites. A name that fits nothing is refused with the nearest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen import Plate, well_name, well_position
from pipeline.screen.groups import in_group
from pipeline.screen.model import Screen
from pipeline.screen.plates import plate_list
from pipeline.screen.tables import nearest


def choose_plates(
    wanted: Sequence[str], screen: Screen, table: pd.DataFrame, imaged: Iterable[Plate]
) -> set[Plate] | None:
    """The plates these names stand for: a plate (of every batch), batch/plate, a batch, or a group. None: all.

    Raises `ConfigError` for a name that neither the plates table nor the listing knows.
    """
    return _plates_of("subset.plates", wanted, screen, table, imaged) if wanted else None


def _plates_of(
    key: str, wanted: Iterable[str], screen: Screen, table: pd.DataFrame, imaged: Iterable[Plate]
) -> set[Plate]:
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
            raise ConfigError(f"{key}: {name!r} is no plate, batch/plate, batch or group.{nearest(name, names)}")
        chosen |= members
    return chosen


def choose_wells(wanted: Sequence[str], wells: pd.Series) -> set[str]:
    """The wells by their full names (a1 -> A01). `wells`: all there are on the chosen plates."""
    known = set(wells)
    return {_well_of("subset.wells", name, known, "no chosen plate has") for name in wanted}


def excluded_wells(
    wanted: Mapping[str, Mapping[str, str]], screen: Screen, table: pd.DataFrame, imaged: Iterable[Plate]
) -> dict[Plate, dict[str, str]]:
    """Plate -> well, as the config writes it -> why it is not to be measured.

    Raises `ConfigError` for a plate that is not there: a typing error must not let a bad well in.
    """
    imaged, found = list(imaged), defaultdict[Plate, dict[str, str]](dict)
    for name, wells in wanted.items():
        for plate in _plates_of("subset.exclude", [name], screen, table, imaged):
            found[plate] |= wells
    return found


def name_wells(plate: Plate, excluded: Mapping[str, str], wells: pd.Series) -> dict[str, str]:
    """The excluded wells of a plate that is planned, by their full names. `wells`: those that the plate has."""
    known = set(wells)
    return (
        {_well_of("subset.exclude", name, known, f"{plate} does not have"): reason for name, reason in excluded.items()}
        if known
        else {}
    )


def _well_of(key: str, name: str, known: set[str], lacks: str) -> str:
    try:
        well = well_name(*well_position(name))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}.") from None
    if well not in known:
        raise ConfigError(f"{key}: {lacks} a well {well}.{nearest(well, sorted(known))}")
    return well


def choose_sites(wanted: Sequence[int], sites: pd.Series) -> set[int]:
    known = sorted(map(int, sites.unique()))
    for site in wanted:
        if site not in known:
            near = min(known, key=lambda one: abs(one - site), default=None)
            raise ConfigError(f"subset.sites: no chosen plate has a site {site}. Nearest: {near}.")
    return set(wanted)
