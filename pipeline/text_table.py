"""Tables as people write them: CSV, TSV and their kin, read as text by one set of rules.

What a table means is read from its bytes, not from its name: UTF-8 or UTF-16, compressed or not, separated by tabs,
semicolons or commas, with any line ends, quoted fields, comments above the header and blank lines anywhere. What can be
meant in two ways is refused with file and line: pandas would take the first column of a table whose rows end in a tab
for row names, and move every value by one column.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator

import pandas as pd
import pyarrow as pa

from pipeline.contents import instead_of_data
from pipeline.errors import ConfigError
from pipeline.tables import decode_arrow

_SEPARATORS = ("\t", ";", ",")
_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}

#: first bytes -> encoding. The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: first bytes -> what else it is
_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook (.xlsx) or another zip archive: save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls): save the table as CSV",
}
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"


def read_text_table(data: bytes, name: str) -> pd.DataFrame:
    """All values as text without spaces around them, "" where there is none; the index is each row's line, from 1.

    `name` is for errors, and its ending decides between separators where the header holds several. Also reads parquet.
    Rows may be shorter than the header (the rest is ""), and longer by empty fields. Rows without any value, comments
    (# before the header, or a row with nothing but one), and columns without name and values are left out, and a column
    that stands twice with equal values is one. A first column without a name is an index that pandas wrote: left out.

    Raises `ConfigError`, naming file, line and cause, for anything else, and for a table without rows.
    """
    if data.startswith(_PARQUET):
        return _of_parquet(data, name)
    lines = list(io.StringIO(_text(_unpacked(data, name), name), newline=""))
    first = next((i for i, line in enumerate(lines) if line.strip() and not _is_above_header(line)), None)
    if first is None:
        raise _unreadable(name, "it holds no header")
    separator = _separator(lines[: first + 1], name)
    (_, header), *rows = _records(lines[first:], first, separator, name)
    kept = []
    for line, fields in rows:
        if any(fields[len(header) :]):
            raise _unreadable(
                name,
                f"line {line} has {len(fields)} fields where the header has {len(header)} ({some_columns(header)}), "
                f"separated by {_NAMES[separator]}. Name each column in the header, and put a "
                "value that holds the separator in quotes",
            )
        if any(fields) and not (fields[0].startswith("#") and not any(fields[1:])):
            kept.append((line, [*fields, *[""] * len(header)][: len(header)]))
    if not kept:
        raise _unreadable(name, f"there is no row below its header ({some_columns(header)})")
    index = pd.Index([line for line, _ in kept])
    table = pd.DataFrame([fields for _, fields in kept], index=index, dtype="str")
    return _named_once(table, header, name)


def some_columns(names: Iterable[str], most: int = 10) -> str:
    """The names of columns in a message: the first ones, and how many there are beside them."""
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _unpacked(data: bytes, name: str) -> bytes:
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except EOFError:
            raise _unreadable(name, "it is cut short, its compressed data has no end. Copy it again") from None
        except (OSError, zlib.error) as error:
            raise _unreadable(name, f"its compressed data is damaged ({error}). Copy it again") from None
    if kind := instead_of_data(data) or next((kind for mark, kind in _NO_TEXT.items() if data.startswith(mark)), ""):
        raise _unreadable(name, f"it is {kind}")
    return data


def _text(data: bytes, name: str) -> str:
    encoding = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:  # UTF-16 without its mark, or no text
        head = data[:64]
        encoding = "utf-16-le" if not any(head[1::2]) else "utf-16-be" if not any(head[0::2]) else ""
    try:
        if encoding:
            return data.decode(encoding)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise _unreadable(name, f"it is cut or damaged {encoding.upper()}") from None
        line, byte = data[: error.start].count(b"\n") + 1, data[error.start : error.start + 1]
        meant = byte.decode("cp1252", errors="replace")
        raise _unreadable(
            name,
            f"line {line} is not UTF-8 (byte 0x{byte.hex()}, which is {meant!r} in Windows-1252). Save it as UTF-8 "
            '("CSV UTF-8" in Excel)',
        ) from None
    raise _unreadable(name, "it holds binary data, no text")


def _is_above_header(line: str) -> bool:
    """Comments, and the line by which Excel is told the separator ("sep=;")."""
    return line.lstrip(' \t"').startswith(("#", "sep="))


def _separator(lines: list[str], name: str) -> str:
    """The one that was declared, or else one that stands in the header. `lines`: up to the header.

    That of the file's name comes first. A table of one column has none, and any will do.
    """
    *above, header = lines
    if declared := next((line.strip().strip('"') for line in above if line.lstrip(' "').startswith("sep=")), ""):
        return declared[4:] if declared[4:] in _NAMES else "\t"
    usual = "," if ".csv" in name.lower() else "\t"
    return next((mark for mark in (usual, *_SEPARATORS) if mark in header), usual)


def _records(lines: list[str], above: int, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each row. `above`: how many lines stand before these."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = above + 1
    try:
        for fields in reader:
            yield line, [field.strip() for field in fields]
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise _unreadable(name, f"line {line}: {error}. Is a quotation mark not closed?") from None


def _named_once(table: pd.DataFrame, header: list[str], name: str) -> pd.DataFrame:
    """The table with its header: each name once, no column without a name."""
    kept: dict[str, pd.Series] = {}
    for place, column in enumerate(header):
        values = table[place]
        other = kept.get(column, values)
        if not column and place > 0 and (values != "").any():
            value = values[values != ""]
            raise _unreadable(
                name, f"column {place + 1} has no name, and holds {value.iloc[0]!r} in line {value.index[0]}"
            )
        if (unlike := values != other).any():
            one, two = other[unlike], values[unlike]
            raise _unreadable(
                name,
                f"column {column} stands twice, with {one.iloc[0]!r} and {two.iloc[0]!r} in line {one.index[0]}. "
                "Delete one",
            )
        if column:
            kept[column] = other
    return pd.DataFrame(kept, index=table.index, dtype="str")


def _of_parquet(data: bytes, name: str) -> pd.DataFrame:
    try:
        table = decode_arrow(data)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, f"it is damaged parquet ({error}). Copy it again") from None
    if not table.num_rows:
        raise _unreadable(name, f"it holds no rows, only the columns {some_columns(table.column_names)}")
    columns = {column: [_as_text(value) for value in table[column].to_pylist()] for column in table.column_names}
    return pd.DataFrame(columns, index=pd.RangeIndex(1, table.num_rows + 1), dtype="str")


def _as_text(value: object) -> str:
    """Whole numbers that were stored as floats, because one was missing, read as whole numbers."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _unreadable(name: str, cause: str) -> ConfigError:
    return ConfigError(f"{name} cannot be read as a table: {cause}.")
