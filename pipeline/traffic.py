"""Requests and bytes between this process and its stores, counted where they are made (`storage`, `s3`).

A folder counts as a bucket would, so that a rehearsal in a folder tells what the same work asks of S3. What is deleted
costs nothing and is not counted, nor is what zarr fetches for a notebook.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Since the process began. `reads`: GET and HEAD; `writes`: PUT; `lists`: pages of listings; bytes of bodies."""

    reads: int = 0
    writes: int = 0
    lists: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, *, reads: int = 0, writes: int = 0, lists: int = 0, bytes_in: int = 0, bytes_out: int = 0) -> None:
        with self._lock:
            self.reads += reads
            self.writes += writes
            self.lists += lists
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out


TRAFFIC = Traffic()
