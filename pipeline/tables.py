"""Tables as parquet bytes: equal tables are equal bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.seals import BLANK, seal

#: text columns; where a value is missing it is NaN, whatever the version of pandas
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
#: key of what a file says was done to it
ABOUT = b"cellpainting"
#: under this name a file holds a note to its reader
_NOTE = b"note"


def encode_table(table: pd.DataFrame | pa.Table, note: str = "", about: Mapping[str, Any] | None = None) -> bytes:
    """Parquet, without pandas' own notes on the columns, which hold its version. `note`: see `note_of`; `about`: see
    `about_table`."""
    arrow = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
    # pandas has two kinds of text; a file has one.
    fields = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in arrow.schema]
    buffer = io.BytesIO()
    notes = {b"seal": BLANK.encode()} | ({_NOTE: note.encode()} if note else {})
    notes |= {ABOUT: json.dumps(about, sort_keys=True, default=str).encode()} if about else {}
    pq.write_table(arrow.cast(pa.schema(fields, notes)), buffer, compression="zstd")
    return seal(buffer.getvalue())


def note_of(data: bytes) -> str:
    """What the writer of a table had to say of it; "" where there was nothing."""
    return (pq.read_schema(pa.BufferReader(data)).metadata or {}).get(_NOTE, b"").decode()


def decode_arrow(data: bytes) -> pa.Table:
    # One thread: pyarrow's pool, once started, can abort the interpreter at its end (apache/arrow issue 34314).
    return pq.read_table(pa.BufferReader(data), use_threads=False)


def about_table(data: bytes) -> dict[str, Any] | None:
    """What was done to the table, plain values as its writer gave them; None where the file does not say."""
    notes = (pq.read_schema(pa.BufferReader(data)).metadata or {}).get(ABOUT)
    return None if notes is None else json.loads(notes)


def decode_table(data: bytes) -> pd.DataFrame:
    return decode_arrow(data).to_pandas()
