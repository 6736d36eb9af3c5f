"""What happened in a run, one JSON line an event: events/<began>-<id>/<part>.jsonl, a part a minute.

Times, hosts and attempts stand here and in the log of attempts, and nowhere else: no result hangs on them.
"""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import StorageError
from pipeline.storage import IMPATIENT, Storage, patience

#: seconds after which what happened is written
EVERY = 60.0


class Events:
    """Collects events and writes them now and then. A store that does not take them is no reason to end a run."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._clock = storage, clock
        self._folder = f"events/{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
        self._lines: list[str] = []
        self._parts, self._written = 0, clock()

    def add(self, event: str, **about: Any) -> None:
        """Take note. `about`: plain values."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.append(json.dumps({"time": now, "event": event, **about}) + "\n")
        if self._clock() - self._written >= EVERY:
            self.write()

    def began(self, version: str, steps: int) -> None:
        host = f"{platform.node()}:{os.getpid()}"
        self.add("run began", version=version, host=host, tasks=steps)

    def write(self) -> None:
        """Put what was not written yet."""
        self._written = self._clock()
        if not self._lines:
            return
        with suppress(StorageError), patience(IMPATIENT):
            self._storage.put(f"{self._folder}/{self._parts:04d}.jsonl", "".join(self._lines).encode())
            self._parts, self._lines = self._parts + 1, []
