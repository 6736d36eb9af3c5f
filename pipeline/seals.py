"""A checksum inside a file, so that a bit that flips on a disk is noticed wherever the file lies and was copied to.

A sealed file holds, once, `seal-sha256:` and the SHA-256 of its own bytes with zeros in that place. JSON has it under
the key "seal", parquet in its metadata, YAML in a comment. What has no seal is taken as it is: files of others, and
results that were made before there were seals. Shards and images have checksums of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pipeline.errors import Damaged

#: the place of the seal in a file that is still to be sealed
BLANK = "seal-sha256:" + "0" * 64
_SEAL = re.compile(rb"seal-sha256:([0-9a-f]{64})")


_WAY_OUT = (
    "A disk that fails, or an edit by hand. Put a copy back, or take the file away and `run` again: what it held is "
    "made anew."
)


def seal(data: bytes) -> bytes:
    """Put the checksum in its place. The same bytes give the same bytes."""
    return data.replace(BLANK.encode(), f"seal-sha256:{sha256(data).hexdigest()}".encode(), 1)


def checked(data: bytes, name: str) -> bytes:
    """The bytes as they came. Raises `Damaged`, with the name, where they have a seal that is not theirs."""
    found = _SEAL.search(data)
    if found is None:
        return data
    blank = data[: found.start()] + BLANK.encode() + data[found.end() :]
    if sha256(blank).hexdigest() != found[1].decode():
        raise Damaged(f"{name} is damaged: its bytes are not those of the checksum that it carries. {_WAY_OUT}")
    return data


def sealed_json(value: Mapping[str, Any], *, indent: int | None = None, sort_keys: bool = True) -> bytes:
    """A mapping as JSON, sealed."""
    return seal(json.dumps({**value, "seal": BLANK}, indent=indent, sort_keys=sort_keys).encode())


def read_json(data: bytes, name: str) -> dict[str, Any]:
    """The mapping, with its seal where it has one. Raises `Damaged` where the bytes are no JSON."""
    try:
        value: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise Damaged(f"{name} is damaged: it is no JSON ({error}). {_WAY_OUT}") from None
    return value


def without_seal(value: dict[str, Any]) -> dict[str, Any]:
    """What was sealed."""
    return {name: inner for name, inner in value.items() if name != "seal"}
