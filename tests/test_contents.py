from __future__ import annotations

import pytest

from pipeline.contents import instead_of_data

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (POINTER, "git-lfs"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
    ],
)
def test_what_downloads_and_clones_leave_behind_is_named(data: bytes, what: str) -> None:
    assert what in instead_of_data(data)


@pytest.mark.parametrize(
    "data", [b"Metadata_Plate,Metadata_Well\n", b"PAR1", b"II*\0", b"\x1f\x8b", b"\x93NUMPY", b"<PlateResult/>"]
)
def test_data_are_left_alone(data: bytes) -> None:
    assert instead_of_data(data) == ""
