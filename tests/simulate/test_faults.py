"""Faults on purpose: the same seed, the same faults; a run with them leaves the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.executors.clusters.serial import SerialExecutor
from pipeline.progress import Progress
from pipeline.simulate.faults import Faults, chance, chaos, parse, run_with_faults
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import Location, open_storage


def test_faults_are_read_from_a_text_and_others_refused() -> None:
    assert parse("kill=0.05, flip=1") == Faults(kill=0.05, flip=1.0)
    for text in ("kil=0.05", "kill", "kill=2", "kill=-1", "kill=x", ""):
        with pytest.raises(ConfigError, match=r"--chaos: .* is none of kill=0.05, stop=0.05"):
            parse(text)


def test_chances_hang_on_the_seed_and_are_even() -> None:
    drawn = [chance(7, "kill", f"measure/{number}", 1) for number in range(2000)]
    assert drawn == [chance(7, "kill", f"measure/{number}", 1) for number in range(2000)]
    assert drawn != [chance(8, "kill", f"measure/{number}", 1) for number in range(2000)]
    assert 80 < sum(one < 0.05 for one in drawn) < 120


def test_faults_of_requests_need_a_server(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="With folders, say kill and stop alone"),
        chaos(Faults(flip=0.1), 1, [Location(url=str(tmp_path))]),
    ):
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[LocalS3]:
    with LocalS3() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment("worker").items():
            patch.setenv(name, value)
        yield server


def struck(faults: Faults, seed: int, name: str) -> dict[str, int]:
    """Put, get and list 40 objects with faults, and take them away; returns how often each struck."""
    place = Location(url=f"s3://results/{name}")
    with chaos(faults, seed, [place]) as striking:
        storage = open_storage(place)
        for number in range(40):
            data = f"object {number} ".encode() * 100
            assert storage.put_if_absent(f"o{number}", data) or storage.get(f"o{number}") == data
            assert storage.get(f"o{number}", etag=hashlib.md5(data).hexdigest()) == data
        assert len(list(storage.entries())) == 40
        assert (storage.stat("o1") is not None, storage.stat("none")) == (True, None)
        found = dict(striking(SerialExecutor()).struck)
    for number in range(40):
        open_storage(place).remove(f"o{number}")
    return found


def test_requests_that_are_refused_slowed_or_falsified_end_well_and_a_seed_replays(server: LocalS3) -> None:
    faults = Faults(slow=0.05, refuse=0.1, flip=0.2)
    first = struck(faults, 7, "first")
    assert all(first[kind] > 0 for kind in ("slow", "refuse", "flip"))
    assert struck(faults, 7, "first") == first
    assert struck(faults, 8, "first") != first


def test_only_workers_of_this_machine_are_killed() -> None:
    config: Any = SimpleNamespace(execution=SimpleNamespace(cluster="tls://scheduler:8786"))
    with pytest.raises(ConfigError, match="Say --cluster local as well"):
        run_with_faults(config, "kill=0.1", 1, SerialExecutor, Progress(quiet=True))
