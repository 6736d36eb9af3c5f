"""The words everyone shares: plates, wells, sites, and their keys."""

from __future__ import annotations

import re
from typing import NamedTuple

#: wells -> (rows, columns)
PLATE_FORMATS = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)")


class Plate(NamedTuple):
    """One imaging of one plate. The same plate imaged again is another batch, and another Plate."""

    batch: str
    plate: str

    @property
    def key(self) -> str:
        """The plate's place below every folder of a run's results."""
        return f"{self.batch}/{self.plate}"

    def __str__(self) -> str:
        return self.key


class Site(NamedTuple):
    batch: str
    plate: str
    well: str
    site: int

    def __str__(self) -> str:
        return f"{self.batch}/{self.plate} {self.well} site {self.site}"


def name_fault(name: str) -> str:
    """Why this cannot be the name of a batch, plate or plate map, or one part of a path, as a phrase; "" where it can.

    Such names become parts of keys and paths: none may lead out of the folder it is put in.
    """
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "leads out of its folder"
    if "/" in name or "\\" in name:
        return "holds a slash"
    if any(ord(letter) < 32 for letter in name):
        return "holds a control character"
    return "is longer than 255 bytes" if len(name.encode(errors="replace")) > 255 else ""


def well_name(row: int, column: int) -> str:
    """`well_name(1, 1) == "A01"`; rows after Z go on with AA, as on 1536-well plates. Counted from 1."""
    if not (1 <= row <= 702 and 1 <= column <= 99):
        raise ValueError(f"row {row}, column {column} is no well")
    high, low = divmod(row - 1, 26)
    letters = (chr(ord("A") + high - 1) if high else "") + chr(ord("A") + low)
    return f"{letters}{column:02d}"


def well_position(well: str) -> tuple[int, int]:
    """(row, column) counted from 1. Accepts `A1`, `a01`, `A01` and `AF48`."""
    match = _WELL.fullmatch(well.strip())
    if match is None:
        raise ValueError(f"{well!r} is no well name; wells read like A01 or AF48")
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    return row, int(match[2])


def plate_wells(size: int) -> list[str]:
    """All wells of a plate of 96, 384 or 1536, row by row."""
    rows, columns = PLATE_FORMATS[size]
    return [well_name(row, column) for row in range(1, rows + 1) for column in range(1, columns + 1)]


def plate_size(wells: list[str]) -> int:
    """The smallest plate format that holds these wells."""
    row, column = (max(axis) for axis in zip(*map(well_position, wells), strict=True)) if wells else (1, 1)
    for size, (rows, columns) in PLATE_FORMATS.items():
        if row <= rows and column <= columns:
            return size
    raise ValueError(f"row {row}, column {column} lies outside a 1536-well plate")
