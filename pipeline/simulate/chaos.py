"""A rehearsal: many runs of one small screen, each with faults by its own seed, compared with an undisturbed one.

`python -m pipeline.simulate.chaos 100` (`make chaos`) writes the table of docs/chaos.md to standard output.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from pipeline.compare import stored
from pipeline.config import SCREENS, Config, load_config
from pipeline.executors import open_executor
from pipeline.flow import flow, run
from pipeline.progress import Progress
from pipeline.results import ledger
from pipeline.results.overlay import overlay
from pipeline.results.run import open_run
from pipeline.simulate.faults import Faults, Striking, chaos
from pipeline.simulate.s3_server import LocalS3
from pipeline.simulate.screen import simulate, write_tables
from pipeline.start import start
from pipeline.storage import Location, open_storage

FAULTS = Faults(kill=0.05, stop=0.01, slow=0.1, refuse=0.02, flip=0.01)
QUIET = Progress(quiet=True)


@dataclass(frozen=True)
class Rehearsed:
    """What one run went through. `struck`: fault -> how often; `twice`: wells that were measured more than once."""

    seed: int
    tasks: int
    struck: Counter[str]
    twice: int
    seconds: float
    is_equal: bool


def rehearse(config: Config, seed: int, undisturbed: dict[str, str], faults: Faults = FAULTS) -> Rehearsed:
    """Run a config on a local cluster with faults, and compare what it left with what is `undisturbed`."""
    tasks = len(flow(start(config, QUIET, through=overlay)))
    began = time.monotonic()
    with chaos(faults, seed, [config.images, config.results]) as striking:
        executors: list[Striking] = []

        def executor() -> Striking:
            executors.append(striking(open_executor(config, lambda line: None)))
            return executors[-1]

        run(config, executor, QUIET)
    storage = open_storage(config.results)
    here = open_run(config.results)
    attempts = ledger.read_attempts(storage, here.measuring12, here.plates)
    ended = Counter((one["batch"], one["plate"], one["well"]) for one in attempts if one["outcome"] != "raised")
    return Rehearsed(
        seed,
        tasks,
        executors[0].struck,
        sum(times > 1 for times in ended.values()),
        time.monotonic() - began,
        stored(storage) == undisturbed,
    )


def table(found: list[Rehearsed], undisturbed: float) -> str:
    """The rehearsals as Markdown, and what they come to."""
    lines = ["| seed | tasks | killed | stopped | refused | slowed | flipped | wells twice | seconds more | equal |"]
    lines.append("|" + "-|" * 10)
    for one in found:
        numbers = [one.struck[kind] for kind in ("kill", "stop", "refuse", "slow", "flip")]
        cells = [one.seed, one.tasks, *numbers, one.twice, f"{one.seconds - undisturbed:.0f}"]
        lines.append("| " + " | ".join(map(str, [*cells, "yes" if one.is_equal else "NO"])) + " |")
    tasks, kills = sum(one.tasks for one in found), sum(one.struck["kill"] for one in found)
    lost = sum(one.seconds - undisturbed for one in found) / len(found)
    equal = sum(one.is_equal for one in found)
    return "\n".join(
        [
            *lines,
            "",
            f"Of {len(found)} runs {equal} left equal bytes. {10_000 * kills / tasks:.0f} kills survived per 10,000 "
            f"tasks; {sum(one.twice for one in found)} wells measured twice; {lost:.0f} s lost a run (undisturbed: "
            f"{undisturbed:.0f} s).",
        ]
    )


def main(seeds: int) -> int:
    """Rehearse seeds 1, 2, ...; returns 0 where all left equal bytes."""
    with TemporaryDirectory() as folder, LocalS3() as server:
        with patch.dict(os.environ, server.environment("admin")):
            design = simulate(Location(url="s3://images/screen", profile="admin"), "tiny")
        screen = write_tables(Path(folder), design)

        def config(name: str) -> Config:
            keys = {"screen": str(screen), "results.url": f"s3://results/{name}", "engine.kind": "native"}
            keys |= {"images.url": "s3://images/screen", "execution.cluster": "local"}
            keys |= {"images.endpoint": server.endpoint, "results.endpoint": server.endpoint}
            return load_config(SCREENS / "embedded" / "config.yaml", **keys)

        with patch.dict(os.environ, server.environment("worker")):
            began = time.monotonic()
            run(config("undisturbed"), progress=QUIET)
            undisturbed = time.monotonic() - began
            expected = stored(open_storage(config("undisturbed").results))
            found = []
            for seed in range(1, seeds + 1):
                found.append(rehearse(config(f"seed-{seed}"), seed, expected))
                print(found[-1], file=sys.stderr, flush=True)
        print(table(found, undisturbed))
    return 0 if all(one.is_equal for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
