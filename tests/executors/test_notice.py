"""A worker that is told to go: no new task, its own finished or given up, then it closes."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster, Worker
from distributed.diagnostics.plugin import WorkerPlugin

from pipeline.executors.notice import heed, is_to_be_taken
from tests.executors.scripted import attempts, scripted


class Notice(WorkerPlugin):
    """As the preload, with a folder's file for the notice, and patience as the test has it."""

    def __init__(self, folder: str, left: float) -> None:
        self.folder, self.left = folder, left

    def setup(self, worker: Worker) -> None:
        told = Path(self.folder, f"going-{worker.name}")
        worker._watch_for_notice = asyncio.create_task(heed(worker, told.exists, look=0.05, left=self.left))


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def on(client: Client, name: int) -> str:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return next(address for address, worker in workers.items() if worker["name"] == name)


def until(condition: threading.Event) -> None:
    assert condition.wait(60)


def test_it_finishes_its_task_and_takes_no_other(client: Client, tmp_path: Path) -> None:
    client.register_plugin(Notice(str(tmp_path), left=60))
    going = on(client, 0)
    began, gone = threading.Event(), threading.Event()
    held = client.submit(
        scripted, str(tmp_path), "held", ["hang"], key="held", workers=[going], allow_other_workers=True
    )
    watch(client, lambda: attempts(tmp_path, "held") == 1, began)
    until(began)
    (tmp_path / "going-0").touch()
    retired = threading.Event()
    watch(client, lambda: status(client, going) == "closing_gracefully", retired)
    until(retired)
    others = [client.submit(scripted, str(tmp_path), f"t{i}", ["work"], key=f"t{i}", pure=False) for i in range(4)]
    assert [other.result(timeout=60)["attempt"] for other in others] == [1] * 4  # on the other, for this one is busy
    (tmp_path / "held.go").touch()
    assert held.result(timeout=60)["attempt"] == 1
    watch(client, lambda: going not in client.scheduler_info(n_workers=-1)["workers"], gone)
    until(gone)
    assert attempts(tmp_path, "held") == 1


def test_it_gives_up_what_does_not_end_in_time_and_another_does_it(client: Client, tmp_path: Path) -> None:
    client.register_plugin(Notice(str(tmp_path), left=0.2))
    going = on(client, 0)
    began = threading.Event()
    script = ["hang", "work"]  # the second attempt ends
    held = client.submit(scripted, str(tmp_path), "held", script, key="held", workers=[going], allow_other_workers=True)
    watch(client, lambda: attempts(tmp_path, "held") == 1, began)
    until(began)
    (tmp_path / "going-0").touch()
    assert held.result(timeout=60)["attempt"] == 2


def test_aws_says_when_it_takes_a_machine_back() -> None:
    said = threading.Event()

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.answer(200, b"token")

        def do_GET(self) -> None:
            knows = self.headers["X-aws-ec2-metadata-token"] == "token" and self.path.endswith("/spot/instance-action")
            self.answer(200 if said.is_set() and knows else 404, b"{}")

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        assert not is_to_be_taken(place)
        said.set()
        assert is_to_be_taken(place)
        server.shutdown()
    assert not is_to_be_taken("http://127.0.0.1:1")  # a machine without metadata


def status(client: Client, worker: str) -> str:
    return str(client.scheduler_info(n_workers=-1)["workers"].get(worker, {}).get("status"))


def watch(client: Client, condition: object, event: threading.Event) -> None:
    """Set the event once the condition holds; asked on and on, in a thread of its own."""

    def ask() -> None:
        tick = threading.Event()
        for _ in range(1200):
            if condition():  # type: ignore[operator]
                event.set()
                return
            tick.wait(0.05)

    threading.Thread(target=ask, daemon=True).start()
