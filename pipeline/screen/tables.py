"""Tables that people write: read as text, with the names of columns that are meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.text_table import read_text_table


def read_table(path: Path) -> pd.DataFrame:
    """See `read_text_table`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return read_text_table(data, str(path))


def rename(table: pd.DataFrame, columns: dict[str, str], where: str) -> pd.DataFrame:
    """`columns`: our name -> the table's. A column that has our name already is replaced."""
    for theirs in columns.values():
        if theirs not in table:
            raise ConfigError(f"{where} has no column {theirs!r}.{nearest(theirs, table)}")
    kept = table.drop(columns=[ours for ours in columns if ours in table and ours not in columns.values()])
    return kept.rename(columns={theirs: ours for ours, theirs in columns.items()})


def in_our_case(table: pd.DataFrame, names: Collection[str], where: str) -> pd.DataFrame:
    """With these names for columns that differ from them in case only: Control_Type would count for nothing.

    A column that has the name itself comes first. Raises `ConfigError` where two others could be meant.
    """
    meant: dict[str, str] = {}
    for name in names:
        alike = [column for column in table.columns if column.lower() == name.lower()]
        if name in alike or not alike:
            continue
        if len(alike) > 1:
            raise ConfigError(f"{where} has the columns {' and '.join(alike)}. Call the one to take {name}.")
        meant[alike[0]] = name
    return table.rename(columns=meant)


def nearest(name: str, names: object) -> str:
    near = difflib.get_close_matches(name, list(map(str, names)), n=1, cutoff=0.0)  # type: ignore[call-overload]
    return f" Nearest: {near[0]!r}." if near else ""


def alike(name: str, table: pd.DataFrame) -> str | None:
    """The column that differs from `name` in case only."""
    return next((other for other in table.columns if other.lower() == name.lower()), None)
