from __future__ import annotations

import codecs
import contextlib
import gzip

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.text_table import read_text_table

#: two rows, read by eye
MAP = [["A01", "drug", "5 µM"], ["A02", "", ""]]
HEADER = ["well", "sample", "dose"]


def read(text: str | bytes, name: str = "map.txt") -> list[list[str]]:
    table = read_text_table(text.encode() if isinstance(text, str) else text, name)
    return [list(table.columns), *table.to_numpy().tolist()]


TSV = "well\tsample\tdose\nA01\tdrug\t5 µM\nA02\t\t\n"

#: name -> the same table as somebody's program writes it
WRITTEN = {
    "as it should be": TSV,
    "with Windows line ends": TSV.replace("\n", "\r\n"),
    "with line ends of an old Mac": TSV.replace("\n", "\r"),
    "without an end of the last line": TSV.rstrip("\n"),
    "with blank lines at the end": TSV + "\n\n\t\t\n",
    "with a tab at the end of each row": "well\tsample\tdose\nA01\tdrug\t5 µM\t\nA02\t\t\t\n",
    "with a tab at the end of each row and of the header": "well\tsample\tdose\t\nA01\tdrug\t5 µM\t\nA02\t\t\t\n",
    "without the tabs at the end of a row": "well\tsample\tdose\nA01\tdrug\t5 µM\nA02\n",
    "with spaces around": " well\tsample \tdose\nA01 \t drug\t5 µM\nA02\t \t\n",
    "with quotes": '"well"\t"sample"\t"dose"\n"A01"\t"drug"\t"5 µM"\nA02\t""\t\n',
    "with commas": TSV.replace("\t", ","),
    "with semicolons": TSV.replace("\t", ";"),
    "with the separator declared": "sep=;\n" + TSV.replace("\t", ";"),
    "with comments": "# plate map of May\n\n" + TSV + "# end\t\t\n",
    "with a byte order mark": codecs.BOM_UTF8 + TSV.encode(),
    "in UTF-16": TSV.encode("utf-16"),
    "in UTF-16, big end first": codecs.BOM_UTF16_BE + TSV.encode("utf-16-be"),
    "in UTF-16 without a mark": TSV.encode("utf-16-le"),
    "compressed": gzip.compress(TSV.encode(), mtime=0),
    "with a column twice": "well\tsample\tdose\twell\nA01\tdrug\t5 µM\tA01\nA02\t\t\tA02\n",
    "with the index of pandas": "\twell\tsample\tdose\n0\tA01\tdrug\t5 µM\n1\tA02\t\t\n",
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("name", ["map.txt", "map.csv", "map.csv.gz"])
def test_a_table_is_read_as_it_is_meant_however_it_is_written(how, name):
    assert read(WRITTEN[how], name) == [HEADER, *MAP]


def test_a_separator_inside_quotes_and_a_comma_in_a_tab_separated_value_stay():
    assert read('gene,name\nTP53,"p53, tumour ""guardian"""\n', "genes.csv") == [
        ["gene", "name"], ["TP53", 'p53, tumour "guardian"']
    ]  # fmt: skip
    assert read("gene\tother, names\nTP53\tp53, LFS1\n", "genes.tsv")[1] == ["TP53", "p53, LFS1"]
    assert read("well;dose\nA01;0,5\n", "map.csv")[1] == ["A01", "0,5"]


def test_texts_that_look_like_numbers_or_like_nothing_stay_texts():
    rows = read("plate,batch,gene\n00123,2020_11_04,NA\n1e5,on,NaN\n", "plates.csv")[1:]
    assert rows == [["00123", "2020_11_04", "NA"], ["1e5", "on", "NaN"]]


def test_the_index_is_the_line_of_each_row():
    table = read_text_table(b'# comment\nwell,note\nA01,"two\nlines"\n\nA02,\n', "map.csv")
    assert table["well"].to_dict() == {3: "A01", 6: "A02"}


def test_parquet_is_read_with_its_categories_and_whole_numbers_as_text():
    frame = pd.DataFrame(
        {"well": pd.Categorical(["A01", "A02"]), "site": [1, 2], "sample": ["drug", None], "number": [1001.0, None]}
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer)
    data = buffer.getvalue().to_pybytes()
    assert read(data) == [list(frame.columns), ["A01", "1", "drug", "1001"], ["A02", "2", "", ""]]
    with pytest.raises(ConfigError, match=r"map\.parquet cannot be read as a table: it is damaged parquet"):
        read(data[:-40], "map.parquet")


@given(st.sampled_from(list(WRITTEN.values())), st.integers(0, 200), st.binary(max_size=6), st.booleans())
def test_no_bytes_end_in_anything_but_a_table_or_a_refusal(written, place, bytes_there, is_cut):
    data = written if isinstance(written, bytes) else written.encode()
    data = data[:place] + bytes_there + (b"" if is_cut else data[place:])
    with contextlib.suppress(ConfigError):
        assert len(read_text_table(data, "map.txt"))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("well\tsample\nA01\tdrug\nA02\tdrug\t5\n", r"line 3 has 3 fields where the header has 2 \(well, sample\)"),
        ("sample\tdose\n1\tdrug\t5\n2\tother\t5\n", r"line 2 has 3 fields .*Name each column in the header"),
        ("well\tx\twell\nA01\t\tA01\nA02\t\tB02\n", r"column well stands twice, with 'A02' and 'B02' in line 3"),
        ("well\tsample\t\nA01\tdrug\t\nA02\tdrug\tB02\n", r"column 3 has no name, and holds 'B02' in line 3"),
        ('well\tsample\nA01\t"drug\nA02\tother\n', r"line 2: .*Is a quotation mark not closed"),
        ("well\tsample\n", r"there is no row below its header \(well, sample\)"),
        ("\n\n", "it is an empty file"),
        (b"", "it is an empty file"),
        ("# nothing but a comment\n", "it holds no header"),
        (TSV.encode("cp1252"), r"line 2 is not UTF-8 \(byte 0xb5, which is 'µ' in Windows-1252\). Save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "it is a git-lfs pointer.*lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is a page of HTML"),
        (gzip.compress(b"<html>404</html>", mtime=0), "it is a page of HTML"),
        (gzip.compress(TSV.encode() * 99, mtime=0)[:-20], "it is cut short"),
        (gzip.compress(TSV.encode(), mtime=0)[:10] + b"\xff" * 30, "its compressed data is damaged"),
        (b"PK\x03\x04" + bytes(40), r"it is an Excel workbook \(\.xlsx\).*save the table as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(40), r"it is an Excel workbook \(\.xls\)"),
        (b"well\0\0\1\2\3", "it holds binary data, no text"),
        (TSV.encode("utf-16")[:-1], "it is cut or damaged UTF-16"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_could_be_meant_in_two_ways_is_refused_with_file_line_and_cause(data, cause):
    with pytest.raises(ConfigError, match=rf"^maps/map\.txt cannot be read as a table: {cause}"):
        read(data, "maps/map.txt")
