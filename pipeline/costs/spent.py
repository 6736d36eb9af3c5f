"""What work took: requests, bytes, and time. Adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Spent:
    """`reads`: GET and HEAD; `writes`: PUT; `lists`: pages of listings; `cpu_seconds` with child processes'; `seconds`
    that a worker was busy, reading and waiting included."""

    reads: float = 0
    writes: float = 0
    lists: float = 0
    bytes_in: float = 0
    bytes_out: float = 0
    cpu_seconds: float = 0
    seconds: float = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, factor: float) -> Spent:
        return Spent(*(factor * value for value in astuple(self)))

    @property
    def requests(self) -> float:
        return self.reads + self.writes + self.lists

    def as_record(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any] | None) -> Self:
        return cls(**(record or {}))
