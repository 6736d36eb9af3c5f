"""Faults on purpose, by a seed: a proxy before the S3 server, and workers that are killed or stopped at their tasks.

Each decision hangs on the seed and on what it is about (this try of this task, this request for this object) and on
nothing else, so that a seed replays whatever the order of work.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.executors import Executor, Outcome, Task
from pipeline.flow import run
from pipeline.progress import Progress
from pipeline.report import Summary
from pipeline.storage import Location, open_storage

#: seconds within which a task's worker is killed or stopped after its begin, for which it stands still, and for which
#: an answer is held back
STRIKES, STANDS, HELD = 2.0, 10.0, 1.0


@dataclass(frozen=True)
class Faults:
    """How likely each fault is. Of tries of tasks: `kill`, `stop`; of requests: `slow`, `refuse`, `flip`."""

    kill: float = 0.0
    stop: float = 0.0
    slow: float = 0.0
    refuse: float = 0.0
    flip: float = 0.0

    @property
    def of_requests(self) -> bool:
        return bool(self.slow or self.refuse or self.flip)


def parse(text: str) -> Faults:
    """The faults of "kill=0.05,slow=0.1". Raises `ConfigError` for anything else."""
    names = [field.name for field in fields(Faults)]
    found = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = -1.0
        if name not in names or not 0 <= found[name] <= 1:
            raise ConfigError(f"--chaos: {part!r} is none of {', '.join(f'{n}=0.05' for n in names)} (from 0 to 1)")
    return Faults(**found)


def chance(seed: int, *what: object) -> float:
    """A number from 0 to 1 that hangs on the seed and on what it decides."""
    return int.from_bytes(sha256(repr((seed, *what)).encode()).digest()[:8], "big") / 2**64


def run_with_faults(
    config: Config,
    faults: str,
    seed: int | None,
    executor: Callable[[], Executor],
    progress: Progress,
    *,
    new_measuring: bool = False,
) -> Summary:
    """`run` with faults; says the seed, and at the end how often each struck. Raises `ConfigError` where the workers
    are not processes of a local cluster, which are ours to kill."""
    if config.execution.cluster != "local":
        raise ConfigError("--chaos kills workers: they have to be those of this machine. Say --cluster local as well.")
    found = parse(faults)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    progress.say(f"Chaos by --seed {seed}: the same seed, the same faults.")
    with chaos(found, seed, [config.images, config.results]) as striking:
        made: list[Striking] = []

        def struck_executor() -> Striking:
            made.append(striking(executor()))
            return made[-1]

        summary = run(config, struck_executor, progress, new_measuring=new_measuring)
    for struck in made:
        times = ", ".join(f"{kind} {struck.struck[kind]}" for kind in (field.name for field in fields(Faults)))
        progress.say(f"Faults that struck, by seed {seed}: {times}.")
    return summary


@contextmanager
def chaos(faults: Faults, seed: int, places: list[Location]) -> Iterator[Callable[[Executor], Striking]]:
    """Faults for what runs inside: requests to `places` go through the proxy; the executors that the yielded function
    wraps kill their workers. Its `struck` counts what happened.

    Raises `ConfigError` where faults of requests are asked for and no place is at an http:// server.
    """
    if faults.of_requests and not any(_server(place).startswith("http://") for place in places):
        raise ConfigError(
            "--chaos: slow, refuse and flip are faults of requests: they need images or results on an S3 server that "
            "is named by an `endpoint` of http://. With folders, say kill and stop alone."
        )
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    proxy = _Proxy(faults, seed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    through = {"HTTP_PROXY": proxy.address, "http_proxy": proxy.address, "NO_PROXY": "", "no_proxy": ""}
    try:
        with patch.dict(os.environ, through if faults.of_requests else {}):
            open_storage.cache_clear()  # clients that are open know no proxy
            yield partial(Striking, faults, seed, folder, proxy.struck)
    finally:
        open_storage.cache_clear()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
        shutil.rmtree(folder, ignore_errors=True)


def _server(place: Location) -> str:
    return (place.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3", "")) if place.is_s3 else ""


class Striking:
    """An executor whose workers are killed or stopped while they are at a task. They have to be processes of their own,
    on this machine. `struck`: fault -> how often, also of requests."""

    def __init__(self, faults: Faults, seed: int, folder: Path, struck: Counter[str], executor: Executor) -> None:
        self._strike = partial(struck_while, faults, seed, str(folder))
        self._folder, self._executor, self.struck = folder, executor, struck

    @property
    def workers(self) -> int:
        return self._executor.workers

    def run(self, tasks: deque[Task]) -> Iterator[Outcome]:
        return self._executor.run(_Wrapped(tasks, self._strike))

    def close(self) -> None:
        for kind in ("kill", "stop"):
            self.struck[kind] += len(list(self._folder.glob(f"*.{kind}")))
        self._executor.close()


class _Wrapped(deque[Task]):
    """The tasks of another deque, each with its faults. Holds none itself, for others are put into the first."""

    def __init__(self, tasks: deque[Task], strike: Callable[..., Any]) -> None:
        super().__init__()
        self._tasks, self._strike = tasks, strike

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def popleft(self) -> Task:
        task = self._tasks.popleft()
        return replace(task, function=partial(self._strike, task.key, task.function))

    def extendleft(self, tasks: Any) -> None:
        self._tasks.extendleft(replace(task, function=task.function.args[-1]) for task in tasks)


def struck_while(
    faults: Faults, seed: int, folder: str, key: str, function: Callable[..., Any], *arguments: Any
) -> Any:
    """On a worker: run a task, and have this process killed or stopped meanwhile, or a little later."""
    name = Path(folder, sha256(key.encode()).hexdigest()[:16])
    with open(f"{name}.tries", "a") as file:
        file.write("x")
        attempt = file.tell()
    draw = chance(seed, "strike", key, attempt)
    kind = "kill" if draw < faults.kill else "stop" if draw < faults.kill + faults.stop else None
    if kind is not None:
        after = STRIKES * chance(seed, "after", key, attempt)
        timer = threading.Timer(after, _strike, (kind, Path(f"{name}.{attempt}.{kind}")))
        timer.daemon = True
        timer.start()
    return function(*arguments)


def _strike(kind: str, mark: Path) -> None:
    try:
        mark.touch()
    except OSError:  # the run has ended
        return
    if kind == "stop":
        subprocess.Popen(["/bin/sh", "-c", f"sleep {STANDS}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)


class _Proxy(ThreadingHTTPServer):
    """An HTTP proxy that refuses, slows and falsifies. Requests for one object are counted, so that a seed replays."""

    daemon_threads = True

    def __init__(self, faults: Faults, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.faults, self.seed = faults, seed
        self.struck: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def strikes(self, kind: str, request: str, number: int) -> bool:
        struck = chance(self.seed, kind, request, number) < getattr(self.faults, kind)
        with self._lock:
            self.struck[kind] += struck
        return struck

    def number_of(self, request: str) -> int:
        with self._lock:
            self._seen[request] += 1
            return self._seen[request]

    def handle_error(self, *_: Any) -> None:
        """Clients that were killed leave broken connections."""


class _Request(BaseHTTPRequestHandler):
    server: _Proxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        faults, place = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {place.path}?{place.query}"
        number = faults.number_of(request)
        if faults.strikes("slow", request, number):
            time.sleep(HELD * chance(faults.seed, "held", request, number))
        is_refused = faults.strikes("refuse", request, number)
        loses_answer = self.command == "PUT" and chance(faults.seed, "loses", request, number) < 0.5
        if is_refused and not loses_answer:
            self._send(503, [], b"<Error><Code>SlowDown</Code><Message>chaos</Message></Error>")
            return
        try:
            status, headers, data = self._forwarded(place.netloc, f"{place.path}?{place.query}".rstrip("?"), body)
        except (OSError, HTTPException):
            self.close_connection = True
            return
        if is_refused:  # stored, and nobody is told
            self.close_connection = True
            return
        # Zarr reads shards by itself, notices by their own checksums, and does not ask again.
        is_object = self.command == "GET" and status == 200 and not place.query and "/cells/" not in place.path
        if is_object and data and faults.strikes("flip", request, number):
            bit = int(chance(faults.seed, "bit", request, number) * 8 * len(data))
            data = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        self._send(status, headers, data)

    def _forwarded(self, host: str, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(host, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in _HOPS | {"content-length"}:
                self.send_header(name, value)
        if status not in (204, 304):
            is_head = self.command == "HEAD" and lengths
            self.send_header("Content-Length", lengths[0] if is_head else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        """Says nothing of each request."""


_HOPS = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "expect"}
