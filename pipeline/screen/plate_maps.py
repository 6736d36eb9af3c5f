"""The plate maps of a screen: which sample is in which well."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.annotations import ANNOTATION
from pipeline.screen.model import Screen
from pipeline.screen.names import name_fault, plate_size, well_name, well_position
from pipeline.screen.plates import OF_WELLS
from pipeline.screen.tables import in_our_case, nearest, read_table, rename
from pipeline.text_table import some_columns

#: endings of plate maps, in their folder
MAP_SUFFIXES = (".txt", ".tsv", ".csv")

#: the column of a plate map that names the well, in any case; the first that is there
_WELL_COLUMNS = ("well_position", "metadata_well", "well")


def read_plate_map(path: Path, key: str) -> pd.DataFrame:
    """Well, Row, Column, broad_sample (the column `key`) and what else the map says of each well.

    Columns of the map that are called Well, Row and Column give way to these.
    """
    table = in_our_case(read_table(path), (key, *ANNOTATION, "solvent"), f"{path}")
    named = [column for name in _WELL_COLUMNS for column in table.columns if column.lower() == name]
    if not named or key not in table:
        raise ConfigError(
            f"{path} needs the columns well_position and {key}; it has {some_columns(table.columns)}. The column that "
            "names the sample is the `key` of its annotation table."
        )
    positions = {line: _position(name, f"{path}, line {line}") for line, name in table[named[0]].items()}
    for other in named[1:]:
        for (line, position), one, two in zip(positions.items(), table[named[0]], table[other], strict=True):
            if _is_another_well(two, position):
                raise ConfigError(f"{path}, line {line}: {named[0]} is {one}, and {other} is {two}.")
    try:
        wells = [well_name(*position) for position in positions.values()]
        plate_size(wells)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    table = rename(table, {"broad_sample": key}, f"{path}").drop(columns=[named[0], *OF_WELLS[:3]], errors="ignore")
    table.insert(0, "Well", wells)
    table.insert(1, "Row", [row for row, _ in positions.values()])
    table.insert(2, "Column", [column for _, column in positions.values()])
    if (twice := table["Well"].duplicated()).any():
        raise ConfigError(f"{path} has well {table.loc[twice, 'Well'].iloc[0]} twice, again in line {twice.idxmax()}.")
    return table.reset_index(drop=True)


def is_empty_well(wells: pd.DataFrame, missing: Collection[str]) -> np.ndarray:
    """Of wells without a sample: those that hold nothing, where on the same map others hold a negative control.

    A plate map says so in `control_type` or `pert_type` ("empty"), or in `solvent`: the well has none ("" or one of
    `missing`), and others without a sample have one. wells: as `read_plate_map`.
    """
    none = {"", *missing}
    unnamed = wells["broad_sample"].isin(none)
    says_so = np.zeros(len(wells), dtype=bool)
    for column in ("control_type", "pert_type"):
        if column in wells:
            says_so |= (wells[column].str.lower() == "empty").to_numpy()
    if "solvent" in wells:
        dry = wells["solvent"].isin(none | {"none", "empty"})
        if (unnamed & ~dry).any():
            says_so |= dry.to_numpy()
    return says_so


def _position(well: str, where: str) -> tuple[int, int]:
    try:
        return well_position(well)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from None


def _is_another_well(name: str, position: tuple[int, int]) -> bool:
    try:
        return well_position(name) != position
    except ValueError:
        return False  # a number, or something else that is called a well


def map_path(screen: Screen, name: str) -> Path:
    """The plate map of this name, which may have its ending."""
    assert screen.platemaps is not None
    if fault := name_fault(name):
        raise ConfigError(f"{screen.plates}: {name!r} cannot be a plate map's name: it {fault}.")
    names = [name] if name.endswith(MAP_SUFFIXES) else [f"{name}{suffix}" for suffix in MAP_SUFFIXES]
    found = [screen.platemaps / name for name in names if (screen.platemaps / name).is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"Plate map {name} is in {screen.platemaps} as {', '.join(path.name for path in found)}. Keep one of them."
        )
    if not found:
        have = [path.name for path in sorted(screen.platemaps.glob("[!.]*"))]
        raise ConfigError(
            f"Plate map {name} is not in {screen.platemaps}: there is no {names[0]}"
            f"{' (or .tsv, .csv)' if len(names) > 1 else ''}.{nearest(names[0], have)}"
        )
    return found[0]
