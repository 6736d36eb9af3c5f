"""One contract, two stores: a local folder, and a real S3 server."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
import stamina

from pipeline.errors import AccessDenied, Changed, ConfigError, NotFound, StorageError
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import Location, Storage, open_storage


@pytest.fixture(scope="module")
def server() -> Iterator[LocalS3]:
    with LocalS3() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials_file))
        yield server


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path))
    server: LocalS3 = request.getfixturevalue("server")
    prefix = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    return open_storage(Location(url=f"s3://results/{prefix}", endpoint=server.endpoint, profile="worker"))


def test_what_was_put_is_got_and_its_etag_is_the_md5_of_its_bytes(storage: Storage) -> None:
    storage.put("a folder/key", b"bytes")
    found = storage.stat("a folder/key")
    assert found is not None
    assert found.etag == hashlib.md5(b"bytes").hexdigest()
    assert storage.get("a folder/key", etag=found.etag) == b"bytes"


def test_an_object_that_is_not_there_is_not_found(storage: Storage) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        storage.get("nothing")
    assert storage.stat("nothing") is None


def test_a_replaced_object_is_noticed_by_its_etag(storage: Storage) -> None:
    storage.put("key", b"first")
    etag = hashlib.md5(b"first").hexdigest()
    storage.put("key", b"other")
    with pytest.raises(Changed):
        storage.get("key", etag=etag)


def test_put_if_absent_leaves_what_is_there(storage: Storage) -> None:
    assert storage.put_if_absent("key", b"first")
    assert not storage.put_if_absent("key", b"second")
    assert storage.get("key") == b"first"


def test_of_eight_writers_at_once_one_wins(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda writer: storage.put_if_absent("raced", str(writer).encode()), range(8)))
    assert won.count(True) == 1
    assert storage.get("raced") == str(won.index(True)).encode()


def test_put_if_unchanged_replaces_only_the_object_it_was_told(storage: Storage) -> None:
    storage.put("key", b"first")
    storage.put_if_unchanged("key", b"second", hashlib.md5(b"first").hexdigest())
    with pytest.raises(Changed):
        storage.put_if_unchanged("key", b"third", hashlib.md5(b"first").hexdigest())
    assert storage.get("key") == b"second"


def test_a_listing_has_every_object_below_a_prefix_in_order(storage: Storage) -> None:
    for key in ("b/2", "b/1", "a/1", "b/c/3"):
        storage.put(key, key.encode())
    listed = list(storage.entries("b/", checksums=True))
    assert [entry.key for entry in listed] == ["b/1", "b/2", "b/c/3"]
    assert [entry.etag for entry in listed] == [hashlib.md5(entry.key.encode()).hexdigest() for entry in listed]
    assert [entry.size for entry in listed] == [3, 3, 5]
    assert storage.folders() == ["a", "b"]
    assert storage.folders("b/") == ["c"]
    assert list(storage.entries("nowhere/")) == []


def test_links_to_a_folder_around_them_are_not_followed_and_others_are(tmp_path: Path) -> None:
    for folder in ("plates/P1", "other", "disk/P2"):
        (tmp_path / "root" / folder).mkdir(parents=True)
        (tmp_path / "root" / folder / "image").write_bytes(b"1")
    root = tmp_path / "root"
    links = {"plates/one": "..", "plates/two": str(root / "plates"), "plates/all": "../..", "plates/P2": "../disk/P2"}
    links |= {"other/there": "../plates", "plates/back": "../other", "itself": "itself", "lost": "nowhere"}
    for link, target in links.items():
        (root / link).symlink_to(target)
    storage = open_storage(str(root))
    assert [entry.key for entry in storage.entries()] == [
        *("disk/P2/image", "other/image", "other/there/P1/image", "other/there/P2/image"),
        *("plates/P1/image", "plates/P2/image", "plates/back/image"),
    ]
    assert storage.folders() == ["disk", "other", "plates"]
    assert storage.folders("plates/") == ["P1", "P2", "back"]
    assert storage.folders("plates/back/") == []
    assert storage.folders("other/there/") == ["P1", "P2"]


def test_the_reader_may_not_write_and_is_told_so_at_once(server: LocalS3) -> None:
    reader = open_storage(Location(url="s3://results/x", endpoint=server.endpoint, profile="reader"))
    with pytest.raises(AccessDenied, match="for reader"):
        reader.put("key", b"bytes")


def test_a_missing_bucket_is_an_error_and_not_an_empty_place(server: LocalS3) -> None:
    nowhere = open_storage(Location(url="s3://nowhere/x", endpoint=server.endpoint, profile="admin"))
    with pytest.raises(StorageError, match="does not exist"):
        nowhere.get("key")
    with pytest.raises(StorageError, match="does not exist"):
        list(nowhere.entries())


def test_a_server_that_does_not_answer_is_worth_another_try(server: LocalS3) -> None:
    gone = open_storage(Location(url="s3://results/x", endpoint="http://127.0.0.1:9", profile="worker"))
    with stamina.set_testing(True, attempts=1), pytest.raises(StorageError) as caught:
        gone.get("key")
    assert caught.value.retry


@pytest.fixture
def faulty() -> Iterator[FaultyS3]:
    """An S3 server that answers each request by a script, and then as it should."""
    server = FaultyS3(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with stamina.set_testing(True, attempts=6):  # no waits, as many attempts as always
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


class FaultyS3(http.server.ThreadingHTTPServer):
    body = b"the bytes of an image"
    script: ClassVar[list[str]] = []
    requests = 0

    def storage(self) -> Storage:
        return open_storage(
            Location(url="s3://bucket/prefix", endpoint=f"http://127.0.0.1:{self.server_port}", anonymous=True)
        )


class _Answer(http.server.BaseHTTPRequestHandler):
    server: FaultyS3

    def do_GET(self) -> None:
        self.server.requests += 1
        fault = self.server.script.pop(0) if self.server.script else ""
        if fault.isdigit():
            code = {"503": "SlowDown", "429": "TooManyRequests", "403": "AccessDenied"}[fault]
            self._send(int(fault), f"<Error><Code>{code}</Code></Error>".encode())
        elif fault == "damaged":
            self._send(200, self.server.body[::-1])
        elif fault == "cut short":
            self._send(200, self.server.body, lost=5)
        else:
            self._send(200, self.server.body)

    def _send(self, status: int, body: bytes, lost: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.md5(self.server.body).hexdigest()}"')
        self.end_headers()
        self.wfile.write(body[: len(body) - lost])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("fault", ["503", "429", "cut short", "damaged"])
def test_what_may_pass_is_asked_for_again(faulty: FaultyS3, fault: str) -> None:
    faulty.script = [fault, fault]
    assert faulty.storage().get("key", etag=hashlib.md5(faulty.body).hexdigest()) == faulty.body
    assert faulty.requests == 3


def test_what_cannot_pass_is_asked_for_once(faulty: FaultyS3) -> None:
    faulty.script = ["403"] * 9
    with pytest.raises(AccessDenied):
        faulty.storage().get("key")
    assert faulty.requests == 1


def test_there_is_an_end_to_asking(faulty: FaultyS3) -> None:
    faulty.script = ["503"] * 99
    with pytest.raises(StorageError) as caught:
        faulty.storage().get("key")
    assert caught.value.retry
    assert faulty.requests == 6


def test_an_object_that_stays_damaged_is_not_what_was_planned(faulty: FaultyS3) -> None:
    faulty.script = ["damaged"] * 99
    with pytest.raises(Changed, match="damaged"):
        faulty.storage().get("key", etag=hashlib.md5(faulty.body).hexdigest())


def test_a_place_that_is_neither_s3_nor_a_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="gs://bucket/prefix: only s3://"):
        open_storage("gs://bucket/prefix")


def test_a_location_holds_no_secret(server: LocalS3) -> None:
    import pickle

    import boto3

    place = Location(url="s3://results/x", endpoint=server.endpoint, profile="worker")
    secret = boto3.Session(profile_name="worker").get_credentials().secret_key
    assert secret.encode() not in pickle.dumps(place)
    assert secret not in place.model_dump_json()
