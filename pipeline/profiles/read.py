"""The bytes of a profile file as a table: one row a well of one plate, or a refusal that names the file.

A program that writes tables leaves out a zero, adds a column, drops compression. What has one meaning is read as it was
meant; what has not is refused: no row is dropped, and none counts twice.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contents import instead_of_data
from pipeline.errors import ConfigError
from pipeline.profiles.columns import NAMES, feature_names, is_metadata
from pipeline.screen import Plate, well_name, well_position
from pipeline.screen.columns import BATCH, PLATE, WELL
from pipeline.screen.spelling import NO_VALUE, as_text, number_of
from pipeline.tables import decode_table

_GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
#: other names of the column of wells, where there is no Metadata_Well
_WELL_COLUMNS = ("metadata_well_position", "well", "well_position")
#: numbers written with five digits are the same numbers
_SAME = 1e-4


def decode(data: bytes, where: str) -> pd.DataFrame:
    """The table in a file of parquet or text as it stands; `where` names the file. Metadata of text files are text.

    Raises `ConfigError` where the bytes are no such table.
    """
    is_parquet = data.startswith(PARQUET) or where.endswith(".parquet")
    return _as_usual(_parquet(data, where) if is_parquet else _numbers(data, where), where)


def text_table(data: bytes, where: str) -> pd.DataFrame:
    """A table of text (comma, tab or semicolon between the fields; gzipped or not; UTF-8, or UTF-16 with its mark),
    all columns text, "" where empty.

    Raises `ConfigError` where a row has other fields than the header, for then its values stand under other names.
    """
    names, rows, separator = _fields(data, where)
    table = _frame(rows, names, where, sep=separator, dtype=str, keep_default_na=False, na_filter=False)
    return _as_usual(table.set_axis(names, axis=1), where)


def of_plate(table: pd.DataFrame, plate: Plate, where: str) -> pd.DataFrame:
    """A table whose rows are the wells of this plate, one each: with Metadata_Batch and Metadata_Plate, wells as A01.

    Rows that stand there twice, equal in every column, are one. Raises `ConfigError` where the file holds rows of
    another plate, a well without a name, or several different rows of one well.
    """
    for at, (column, own) in enumerate(zip((BATCH, PLATE), plate, strict=True)):
        if column in table:
            said = as_text(table[column])
            if others := sorted({name for name in said if name and number_of(name) != number_of(own)}):
                raise ConfigError(
                    f"{where} lies in the folder of {plate}, but has rows whose {column} is {', '.join(others[:3])}. "
                    "A file holds one plate and is named after it: move it, or correct the column or leave it out."
                )
            table = table.drop(columns=column)
        table.insert(min(at, table.shape[1]), column, pd.Series([own] * len(table), index=table.index, dtype=object))
    if WELL not in table:
        return table
    wells = [_well(name, where) for name in as_text(table[WELL])]
    table = table.assign(Metadata_Well=pd.Series(wells, index=table.index, dtype=object))
    if table[WELL].duplicated().any():
        texts = {
            str(name): as_text(column) for name, column in table.items() if column.dtype == object
        }  # lists among them
        table = table[~table.assign(**texts).duplicated()].reset_index(drop=True)
    twice = table[WELL][table[WELL].duplicated()]
    if len(twice):
        n = int((table[WELL] == twice.iloc[0]).sum())
        raise ConfigError(
            f"{where}: well {twice.iloc[0]} of plate {plate} stands in {n} different rows, as do "
            f"{twice.nunique() - 1} others, and would be its own replicate. Profiles have one row a well: aggregate "
            "sites, e.g. with pycytominer.aggregate; of other rows drop those that are too many."
        )
    return table


def same_profiles(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables of `of_plate` say the same, to the digits that a text file keeps, whatever their order."""
    if set(one) != set(other) or len(one) != len(other) or WELL not in one:
        return False
    one, other = (table.sort_values(WELL, ignore_index=True) for table in (one, other[list(one)]))
    features = feature_names(one)
    try:
        a, b = (table[features].to_numpy(dtype=float) for table in (one, other))
    except (ValueError, TypeError):
        return one.equals(other)
    texts = [[as_text(table[name]).tolist() for name in table if name not in features] for table in (one, other)]
    return texts[0] == texts[1] and bool(np.allclose(a, b, rtol=_SAME, atol=_SAME, equal_nan=True))


def _parquet(data: bytes, where: str) -> pd.DataFrame:
    if what := instead_of_data(data):
        raise ConfigError(f"{where} is {what}. Fetch or make it again.")
    if not data.startswith(PARQUET):
        raise ConfigError(
            f"{where} is no parquet file, whatever its name says. Fetch it again, or give it its own name."
        )
    try:
        table = decode_table(data)
    except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's errors are among these
        why = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{where} cannot be read as parquet: {why}. Fetch it again.") from None
    if named := [name for name in table.index.names if name is not None]:
        table = table.reset_index(level=named)
    return table.reset_index(drop=True)


def _numbers(data: bytes, where: str) -> pd.DataFrame:
    """A table of text with features as numbers, where they are; a column of something else stays text."""
    names, rows, separator = _fields(data, where)
    texts = is_metadata(names)
    table = _frame(
        rows,
        names,
        where,
        sep=separator,
        # Metadata stay text: names of plates that are numbers keep their zeros, and a sample called NA stays one.
        dtype={at: str for at, is_text in enumerate(texts) if is_text},
        keep_default_na=False,
        na_values={at: ["", *NO_VALUE] for at, is_text in enumerate(texts) if not is_text},
    )
    for at in [] if separator == "," else np.flatnonzero(~texts):
        if table.dtypes[at].kind not in "biuf":  # 1,5 for 1.5, as in a spreadsheet of another language
            numbers = pd.to_numeric(table[at].str.replace(",", ".", regex=False), errors="coerce")
            table[at] = numbers if (numbers.notna() == table[at].notna()).all() else table[at]
    return table.set_axis(names, axis=1)


def _frame(rows: str, names: list[str], where: str, **how: Any) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=range(len(names)))
    try:
        return pd.read_csv(io.StringIO(rows), header=None, names=range(len(names)), index_col=False, **how)
    except ValueError as error:  # pandas' own errors are among these
        raise ConfigError(f"{where} cannot be read as a table: {error}.") from None


def _fields(data: bytes, where: str) -> tuple[list[str], str, str]:
    """The names in the header, the rows below it as text, each with as many fields, and what stands between these."""
    text = _text(data, where)
    first = text.partition("\n")[0]
    separator = max(",\t;", key=first.count)
    try:
        header, *rows = csv.reader(text.split("\n"), delimiter=separator, strict=True)
    except csv.Error as error:
        raise ConfigError(f"{where} cannot be read as a table: {error}.") from None
    names = [name.strip() or f"Unnamed: {at}" for at, name in enumerate(header)]
    for number, row in enumerate(rows, 2):
        if row and (len(row) < len(names) or any(field.strip() for field in row[len(names) :])):
            raise ConfigError(
                f"{where}: line {number} has {len(row)} fields, the header {len(names)}. If the file was cut, fetch it "
                "again; if the header lacks a name, e.g. that of the row names, add it."
            )
    if any(len(row) > len(names) for row in rows):  # separators at the end of a row
        whole = io.StringIO()
        csv.writer(whole, delimiter=separator).writerows(row[: len(names)] for row in rows if row)
        return names, whole.getvalue(), separator
    return names, text.partition("\n")[2].strip("\n"), separator


def _text(data: bytes, where: str) -> str:
    """What stands in a text file, gzipped or not."""
    if what := instead_of_data(data):
        raise ConfigError(f"{where} is {what}. Fetch or make it again.")
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"{where} is damaged or cut ({error}). Fetch it again.") from None
        if what := instead_of_data(data):
            raise ConfigError(f"{where}, when decompressed, is {what}. Fetch or make it again.")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is no text in UTF-8 or UTF-16 ({error.reason} at byte {error.start}).") from None
    if "\0" in text:
        raise ConfigError(f"{where} is no text in UTF-8: it holds zero bytes.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _as_usual(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Names spelt as usual, also those of CellProfiler (Image_Metadata_Well); each column once, no categories."""
    called = [str(name).strip() for name in table]
    usual = {name.lower(): name for name in NAMES if name != BATCH and name not in called}
    usual |= {f"image_{name}": ours for name, ours in usual.items() if name not in map(str.lower, called)}
    if not {"metadata_well", "image_metadata_well"} & set(map(str.lower, called)):
        well = next((name for name in _WELL_COLUMNS if name in map(str.lower, called)), "")
        usual |= {well: WELL} if well else {}
    table = table.set_axis([usual.get(name.lower(), name) for name in called], axis=1)
    try:
        table = named_once(table)
    except ConfigError as error:
        raise ConfigError(f"{where} {error.message}") from None
    plain = {str(name): table[name].astype(object).infer_objects() for name in table.select_dtypes("category")}
    return table.assign(**plain) if plain else table


def named_once(table: pd.DataFrame) -> pd.DataFrame:
    """The table with each column once. Raises `ConfigError` where two of one name say different things."""
    names = pd.Series(table.columns)
    for name in names[names.duplicated()].unique():
        same = table.loc[:, (names == name).to_numpy()].T
        if len(same.drop_duplicates()) > 1:
            raise ConfigError(f"has column {name} twice, with other values. Rename one, or leave it out.")
    return table.loc[:, ~names.duplicated().to_numpy()]


def usual_well(name: str) -> str:
    """A well's name as A01; what is no well's name stays."""
    try:
        return well_name(*well_position(name))
    except ValueError:
        return name


def _well(name: str, where: str) -> str:
    try:
        return well_name(*well_position(name))
    except ValueError:
        raise ConfigError(f"{where}: {name!r} in Metadata_Well is no well name; wells read like A01 or AF48.") from None
