"""What a run needs, looked at before it begins. Reads; writes nothing but an empty folder for local results."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from pipeline import __version__
from pipeline.config import Config
from pipeline.diagnosis import next_move
from pipeline.engines import cppipe, open_engine
from pipeline.errors import PipelineError
from pipeline.storage import Location, open_storage

#: bytes free that nothing is said about; what S3 servers allow clocks to differ, in seconds
ENOUGH, SKEW = 5e9, 300


class Found(NamedTuple):
    what: str
    is_well: bool
    said: str


def examine(config: Config) -> Iterator[Found]:
    """One finding for each thing that a run needs."""
    yield Found("python", sys.version_info >= (3, 11), f"{platform.python_version()} ({sys.executable})")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "zarr", "distributed", "boto3"))
    yield Found("versions", True, f"pipeline {__version__}, {libraries}")
    yield _tried("engine", lambda: _engine(config))
    yield _tried("images", lambda: _place(config.images))
    yield _tried("results", lambda: _place(config.results))
    for location in dict.fromkeys([config.images, config.results]):
        if location.is_s3:
            yield _tried("clock", partial(_clock, location))
    for folder in _folders(config):
        yield _disk(folder)
    yield _tried("cluster", lambda: _cluster(config))
    memory = psutil.virtual_memory()
    yield Found(
        "processor", True, f"{_processor()}, {os.cpu_count()} cores, {memory.available / 1e9:.1f} GB memory free"
    )


def _tried(what: str, look: Callable[[], str]) -> Found:
    try:
        return Found(what, True, look())
    except (PipelineError, OSError) as error:
        return Found(what, False, f"{error} Next: {next_move(str(error))}")


def _engine(config: Config) -> str:
    with open_engine(config.engine.kind, cppipe.read_text(config.engine.cppipe)) as engine:
        return f"{engine.version}, {config.engine.cppipe}"


def _place(location: Location) -> str:
    storage = open_storage(location)
    if not location.is_s3:
        return f"{location}: {'is there' if Path(location.url).expanduser().is_dir() else 'is made by `run`'}"
    found = next(storage.entries(), None)
    keys = location.profile or ("nobody" if location.anonymous else "the default credentials")
    return f"{location}: can be listed by {keys}; {'holds objects' if found else 'is empty'}"


def _clock(location: Location) -> str:
    from pipeline.s3 import S3Storage

    apart = (datetime.now(UTC) - S3Storage(location).server_time()).total_seconds()
    if abs(apart) > SKEW:
        raise PipelineError(
            f"This machine's clock is {apart:+.0f} s from that of {location}, whose server refuses signatures so far "
            "off: set it by NTP."
        )
    return f"within {abs(apart):.0f} s of the server of {location}"


def _folders(config: Config) -> list[Path]:
    places = [Path(tempfile.gettempdir())]
    if not config.results.is_s3:
        results = Path(config.results.url.removeprefix("file://")).expanduser().absolute()
        places.append(next(folder for folder in (results, *results.parents) if folder.exists()))
    return places


def _disk(folder: Path) -> Found:
    free = shutil.disk_usage(folder).free
    is_writable = os.access(folder, os.W_OK)
    said = f"{folder}: {free / 1e9:.1f} GB free" + ("" if is_writable else ", and may not be written to")
    return Found("disk", free >= ENOUGH and is_writable, said)


def _cluster(config: Config) -> str:
    how = config.execution
    if "://" not in how.cluster:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
        return f"{how.cluster}, {how.workers} workers; loopback ports can be opened"
    place = urlsplit(how.cluster)
    with socket.create_connection((place.hostname or "", place.port or 8786), timeout=10):
        return f"something listens at {how.cluster}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
