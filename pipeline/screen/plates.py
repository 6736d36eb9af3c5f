"""The plates table of a screen: one row an imaging of a plate."""

from __future__ import annotations

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.screen.columns import PLATE_KEY, column_of
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.screen.names import Plate
from pipeline.screen.tables import alike, read_table, rename
from pipeline.text_table import some_columns

#: columns of one well, which the row of a plate cannot have
OF_WELLS = ("Well", "Row", "Column", "broad_sample")


def screen_plates(screen: Screen) -> pd.DataFrame:
    """The plates table, one row an imaging of a plate: Metadata_Batch, Metadata_Plate, the rest as Metadata_<column>.

    All text. Empty where the screen has no plates table. Raises `ConfigError` where it, or any row of it, leaves open
    what is meant.
    """
    table, findings = plates_table(screen)
    if findings:
        raise ConfigError(" ".join(finding.what for finding in findings[:3]))
    return table


def plates_table(screen: Screen) -> tuple[pd.DataFrame, list[Finding]]:
    """The table of `screen_plates` without the rows that leave open what is meant, and these as findings."""
    condition = list(screen.condition)
    if screen.plates is None:
        return pd.DataFrame(columns=["batch", "plate", *condition], dtype="str").pipe(with_prefix), []
    table = _one_of_each(rename(read_table(screen.plates), screen.columns, f"{screen.plates}"), screen)
    if "batch" not in table and screen.batch is not None and alike("batch", table) is None:
        table["batch"] = screen.batch
    for column in ("batch", "plate"):
        if column not in table:
            raise ConfigError(
                f"{screen.plates}: each row needs a {column}. Columns: {some_columns(table.columns)}. A column of "
                "another name is given in the screen as "
                f"`columns: {{{column}: {alike(column, table) or '<its name>'}}}`."
            )
    if unknown := [column for column in condition if column not in table]:
        raise ConfigError(
            f"{screen.plates} has no column {', '.join(unknown)}, of which the screen makes its conditions. It has: "
            f"{some_columns(table.columns)}. Name the column (`columns: {{{unknown[0]}: "
            f"{alike(unknown[0], table) or '<its name>'}}}`) or change `condition`."
        )
    if of_wells := [column for column in OF_WELLS if column in table]:
        raise ConfigError(
            f"{screen.plates} has a column {of_wells[0]}, and its rows are plates, not wells. Rename it, or move it to "
            "the plate maps."
        )
    front = ["batch", "plate", *condition]
    table = table[front + [column for column in table.columns if column not in front]].drop_duplicates()
    bad, findings = _bad_rows(table, f"{screen.plates}")
    return table[~bad].reset_index(drop=True).pipe(with_prefix), findings


def _one_of_each(table: pd.DataFrame, screen: Screen) -> pd.DataFrame:
    """Without a second column for batch or plate that differs in case only and says the same."""
    for ours in ("batch", "plate"):
        theirs = ours.capitalize()  # the other name that becomes Metadata_Batch, Metadata_Plate
        if ours in table and theirs in table:
            unlike = table[ours] != table[theirs]
            if unlike.any() and ours not in screen.columns:
                row = table[unlike].iloc[0]
                raise ConfigError(
                    f"{screen.plates} has the columns {ours} and {theirs}, with {row[ours]!r} and {row[theirs]!r} in "
                    f"line {row.name}. Delete one, or name the one to take, as `columns: {{{ours}: {theirs}}}` in the "
                    "screen."
                )
            table = table.drop(columns=theirs)
    return table


def _bad_rows(table: pd.DataFrame, where: str) -> tuple[pd.Series, list[Finding]]:
    """Rows that name no plate, or one that other rows describe otherwise."""
    findings = []
    lacks = (table[["batch", "plate"]] == "").any(axis=1)
    for line, batch, plate in table.loc[lacks, ["batch", "plate"]].itertuples(name=None):
        what = f"{where}, line {line}: each row needs a {'plate' if batch else 'batch'}, and this one has none."
        findings.append(Finding("plate_unusable", batch, plate, what))
    twice = table.duplicated(["batch", "plate"], keep=False) & ~lacks
    for key, rows in table[twice].groupby(["batch", "plate"], sort=False):
        one, other = rows.iloc[0], rows.iloc[1]
        column = str((one != other).idxmax())
        what = (
            f"{where} has plate {'/'.join(map(str, key))} twice, with {column} {one[column]!r} in line {one.name} and "
            f"{other[column]!r} in line {other.name}. Delete one."
        )
        findings.append(Finding("plate_unusable", one["batch"], one["plate"], what))
    return lacks | twice, findings


def plate_list(plates: pd.DataFrame) -> list[Plate]:
    return [Plate(*row) for row in plates[PLATE_KEY].itertuples(index=False)]


def with_prefix(table: pd.DataFrame) -> pd.DataFrame:
    """The table with our names for all its columns."""
    return table.rename(columns=column_of)
