"""Which workers and tasks stand still. Pure book-keeping: the time and what was seen come as arguments."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long a driver waits before it speaks or acts. All in seconds but `beyond` and `peers`."""

    #: between two looks at the cluster
    look: float = 5.0
    #: a worker without a sign of life for so long stands still; it gives one every few seconds (dask.yaml has the same)
    silent: float = 60.0
    #: a task is far beyond its peers after so many times what nine in ten of them took: wells of one plate differ by
    #: two or three, by their cells
    beyond: float = 4.0
    #: and not before so long, which is what starting it once more may cost
    at_least: float = 60.0
    #: and only where so many have ended
    peers: int = 5
    #: nothing has ended for so long: say what is waited for (and again after twice, four times as long)
    quiet: float = 120.0
    #: a scheduler that has gone, or that has no worker, may take so long to come back
    away: float = 900.0


@dataclass(frozen=True)
class Held:
    """A task on a worker."""

    key: str
    worker: str
    seconds: float


class Watch:
    """What is known of workers and tasks, by looks at the cluster. `now` is any clock that only goes forward.

    All durations are by the driver's own clock: a sign of life is new when it differs from the last one, whatever the
    scheduler's clock says; a task began when it was first seen on its worker.
    """

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._signs: dict[str, tuple[float, float]] = {}
        self._began: dict[tuple[str, str], float] = {}
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=1000))

    def look(self, now: float, last_seen: Mapping[str, float], held: Mapping[str, Iterable[str]]) -> None:
        """Take note of each worker's last sign of life, and of the keys each worker holds."""
        self._signs = {
            worker: (sign, self._signs[worker][1] if self._signs.get(worker, (None,))[0] == sign else now)
            for worker, sign in last_seen.items()
        }
        self._began = {
            (key, worker): self._began.get((key, worker), now) for worker, keys in held.items() for key in keys
        }

    def ended(self, now: float, key: str, stage: str) -> None:
        """Take note of a task that ended by itself. Tasks of one stage are each other's peers."""
        began = [since for (name, _), since in self._began.items() if name == key]
        self._took[stage].append(now - began[0] if began else 0.0)

    def held(self, now: float, keys: Iterable[str]) -> list[Held]:
        """Those of the keys that a worker has, the oldest first."""
        wanted = set(keys)
        found = [Held(key, worker, now - since) for (key, worker), since in self._began.items() if key in wanted]
        return sorted(found, key=lambda task: -task.seconds)

    def silent(self, now: float) -> dict[str, float]:
        """Workers that stand still -> seconds since their last sign of life."""
        quiet = {worker: now - since for worker, (_, since) in self._signs.items()}
        return {worker: seconds for worker, seconds in quiet.items() if seconds >= self.patience.silent}

    def limit(self, stage: str) -> float | None:
        """Seconds from which on a task is far beyond its peers; None where there are too few to tell."""
        took = sorted(self._took.get(stage, ()))
        if len(took) < self.patience.peers:
            return None
        return max(self.patience.at_least, self.patience.beyond * took[int(0.9 * (len(took) - 1))])
