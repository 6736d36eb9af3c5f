"""What a stored result was made from: a record, written after the result, that names each of its inputs.

A result is current while the inputs that it would be made from now are those of its record. Inputs are plain values:
settings as they stand, tables and files by their SHA-256. So a difference can be said in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline import __version__
from pipeline.errors import NotFound
from pipeline.seals import read_json, sealed_json, without_seal
from pipeline.storage import Storage

_DIGEST = re.compile(r"[0-9a-f]{64}")
#: differences that are named; the rest are counted
NAMED = 3


@dataclass(frozen=True)
class Standing:
    """Whether a result is what would be made now: `why` says what has changed since, in a line."""

    state: Literal["current", "stale", "missing"]
    why: str = ""

    @property
    def is_current(self) -> bool:
        return self.state == "current"


CURRENT, MISSING = Standing("current"), Standing("missing", "not made yet")


def read_record(storage: Storage, key: str) -> dict[str, Any] | None:
    """The record at `key`, or None where there is none."""
    try:
        return without_seal(read_json(storage.get(key), key))
    except NotFound:
        return None


def encode(record: Mapping[str, Any]) -> bytes:
    """The same record as the same bytes, sealed."""
    return sealed_json(record, indent=1)


def standing(storage: Storage, key: str, inputs: Mapping[str, Any]) -> Standing:
    """Whether the result whose record is at `key` was made from these inputs."""
    return compare(read_record(storage, key), inputs)


def compare(record: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> Standing:
    if record is None:
        return MISSING
    made_from = record.get("inputs")
    if made_from is None:
        return Standing("stale", "was being made when its run was stopped")
    found = list(changes(json.loads(json.dumps(inputs)), made_from))
    if not found:
        return CURRENT
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return Standing("stale", ", ".join(found[:NAMED]) + more)


def changes(now: Any, before: Any, path: str = "") -> Iterator[str]:
    """What differs between two sets of inputs: "profiles.B1/P3 is new", "settings.how: 'mean' now, 'median' before"."""
    if isinstance(now, dict) and isinstance(before, dict):
        for name in [*now, *(name for name in before if name not in now)]:
            yield from changes(now.get(name), before.get(name), f"{path}.{name}" if path else str(name))
    elif now != before:
        if before is None:
            yield f"{path} is new"
        elif now is None:
            yield f"{path} is gone"
        elif _is_digest(now) and _is_digest(before):
            yield f"{path} changed"
        else:
            yield f"{path}: {now!r} now, {before!r} before"


def begin(storage: Storage, key: str) -> None:
    """Say that the result is being made anew, where there is one: whoever is killed on the way leaves no result that
    claims to be what it was."""
    record = read_record(storage, key)
    if record is not None and record.get("inputs") is not None:
        storage.put(key, encode({**record, "inputs": None}))


def finish(storage: Storage, key: str, inputs: Mapping[str, Any], **about: Any) -> dict[str, Any]:
    """Write the record of a result that is whole; `version` says which version of the project made it."""
    record = {"version": __version__, "inputs": dict(inputs), **about}
    storage.put(key, encode(record))
    return record


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
