"""A store that keeps in memory what is written to it, and reads the rest from another: to try what would happen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pipeline.errors import Changed, NotFound
from pipeline.storage import Entry, Location, Stat, Storage, md5, open_storage


def overlay(location: Location) -> Storage:
    """The store at a location, to which nothing is written."""
    return Overlay(open_storage(location))


class Overlay:
    """See `Storage`. What lies below is never written to."""

    def __init__(self, below: Storage) -> None:
        self.location, self._below = below.location, below
        #: key -> bytes; None: removed
        self._written: dict[str, bytes | None] = {}

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        if key not in self._written:
            return self._below.get(key, etag=etag)
        data = self._written[key]
        if data is None:
            raise NotFound(f"{self.location}/{key} does not exist")
        return data

    def stat(self, key: str) -> Stat | None:
        if key not in self._written:
            return self._below.stat(key)
        data = self._written[key]
        return None if data is None else Stat(len(data), md5(data), {})

    def entries(self, prefix: str = "", *, checksums: bool = False) -> Iterator[Entry]:
        found = {entry.key: entry for entry in self._below.entries(prefix, checksums=checksums)}
        for key, data in self._written.items():
            found.pop(key, None)
            if data is not None and key.startswith(prefix):
                found[key] = Entry(key, len(data), md5(data), datetime.now(UTC))
        yield from (found[key] for key in sorted(found))

    def folders(self, prefix: str = "") -> list[str]:
        below = {key[len(prefix) :].partition("/")[0] for key in self._written if key.startswith(prefix)}
        return sorted({*self._below.folders(prefix), *below})

    def put(self, key: str, data: bytes) -> None:
        self._written[key] = data

    def put_if_absent(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> bool:
        if self.stat(key) is not None:
            return False
        self._written[key] = data
        return True

    def put_if_unchanged(self, key: str, data: bytes, etag: str, metadata: dict[str, str] | None = None) -> None:
        found = self.stat(key)
        if found is None or found.etag != etag:
            raise Changed(f"{self.location}/{key} was changed by someone else")
        self._written[key] = data

    def prepare(self) -> None:
        """Nothing is to be written."""

    def remove(self, key: str) -> None:
        self._written[key] = None

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        data = self.get(key)
        return [data[start:end] for start, end in ranges]

    def get_end(self, key: str, size: int) -> bytes:
        return self.get(key)[-size:]
