"""What is no fault of a well stops the run at the third, with one message; all wells stay open, and no file is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import flow, measure
from pipeline.config import Config
from pipeline.errors import Away, EngineError, PipelineError, Stopped
from pipeline.progress import Progress
from pipeline.results import ledger
from pipeline.results.run import open_run
from pipeline.storage import LocalStorage
from tests.end_to_end.conftest import stored

QUIET = Progress(quiet=True)


def measured_wells(config: Config) -> int:
    run = open_run(config.results)
    return sum(len(ledger.listed_wells(run.storage, run.measuring12, plate)) for plate in run.plates)


def full_after(bytes_written: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has room for so much, and then none (or may not be written to)."""
    room, sync = [bytes_written], os.fsync

    def fsync(file: int) -> None:
        room[0] -= os.fstat(file).st_size
        if room[0] < 0:
            raise OSError(number, os.strerror(number))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EDQUOT, "quota exceeded"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_a_full_or_read_only_disk_stops_the_run_and_leaves_no_file(
    quick: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    config = quick(f"full-{number}", **{"illumination": "none", "subset.plates": ["SIM00101"]})
    whole = measure.measure_well
    begun: list[str] = []

    def measure_well(*arguments: str) -> dict:
        begun.append(arguments[-1])
        if len(begun) == 1:
            full_after(60_000, number, monkeypatch)
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "measure_well", measure_well)
        with pytest.raises(
            Stopped, match=rf"3 tasks failed, measure/.* the last.*{said}.*left open.*Next: .* then `run`"
        ) as stop:
            flow.run(config, progress=QUIET)
        assert len(str(stop.value).splitlines()) == 1
        assert len(begun) < 6
    monkeypatch.undo()
    assert not list(Path(config.results.url).rglob(".writing-*"))

    if number != errno.ENOSPC:
        return
    flow.run(config, progress=QUIET)
    fresh = quick(f"room-{number}", **{"illumination": "none", "subset.plates": ["SIM00101"]})
    flow.run(fresh, progress=QUIET)
    assert stored(config.results) == stored(fresh.results)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), 3),
        (EngineError("CellProfiler does not start"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (Away("s3://images/x: no answer."), 1),
    ],
)
def test_a_refused_right_an_engine_that_does_not_start_and_a_store_that_is_away_stop_the_run(
    quick: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int
) -> None:
    config = quick(f"refused-{type(error).__name__}", **{"illumination": "none"})
    images, get = config.images.url, LocalStorage.get
    begun: list[str] = []

    def measure_well(*arguments: str) -> dict:
        begun.append(arguments[-1])
        if not isinstance(error, PermissionError):
            raise error
        return whole(*arguments)

    def refusing(self: LocalStorage, key: str, **more: str) -> bytes:
        if begun and self.location.url == images:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(error))
                return get(self, key, **more)
        return get(self, key, **more)

    whole = measure.measure_well
    monkeypatch.setattr(measure, "measure_well", measure_well)
    monkeypatch.setattr(LocalStorage, "get", refusing)
    with pytest.raises(Stopped, match=str(error.args[-1])):
        flow.run(config, progress=QUIET)
    assert len(begun) == tries
    assert measured_wells(config) == 0


def test_the_third_well_that_is_to_blame_itself_stops_nothing(
    quick: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick("blamed", **{"illumination": "none"})

    def measure_well(*_: str) -> dict:
        raise PipelineError("a defect")

    monkeypatch.setattr(measure, "measure_well", measure_well)
    summary = flow.run(config, progress=QUIET)
    assert summary.wells == {"waiting": len(summary.failures)}
