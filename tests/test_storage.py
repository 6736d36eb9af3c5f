"""One contract, two stores: a local folder, and a real S3 server."""

from __future__ import annotations

import errno
import hashlib
import http.server
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
import stamina
from botocore.exceptions import EndpointConnectionError

from pipeline.errors import AccessDenied, Away, Changed, ConfigError, NoSpace, NotFound, StorageError
from pipeline.simulate.s3_server import LocalS3
from pipeline.storage import IMPATIENT, Location, Storage, current_patience, open_storage, patience, patiently


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


def test_parts_of_an_object_are_got_without_the_rest(storage: Storage) -> None:
    data = bytes(range(256)) * 2000
    storage.put("parts", data)
    assert storage.get_end("parts", 10) == data[-10:]
    assert storage.get_end("parts", 10**6) == data
    ranges = [(0, 5), (5, 9), (300_000, 300_300), (70, 80)]
    assert storage.get_ranges("parts", ranges) == [data[start:end] for start, end in ranges]
    assert storage.get_ranges("parts", []) == []
    for part in (lambda: storage.get_end("nowhere", 4), lambda: storage.get_ranges("nowhere", [(0, 4)])):
        with pytest.raises(NotFound, match="nowhere"):
            part()


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
    with pytest.raises(AccessDenied, match=r"for reader: the right s3:PutObject on results/x/\* is lacking"):
        reader.put("key", b"bytes")


def test_the_right_that_is_lacking_is_named_with_the_bucket_and_the_prefix(server: LocalS3) -> None:
    other = open_storage(Location(url="s3://images/x", endpoint=server.endpoint, profile="reader"))
    with pytest.raises(AccessDenied, match=r"the right s3:ListBucket on bucket images, prefix x/plate/ is lacking"):
        list(other.entries("plate/"))
    with pytest.raises(AccessDenied, match=r"the right s3:ListBucket on bucket images, prefix x/ is lacking"):
        other.folders()
    with pytest.raises(AccessDenied, match=r"the right s3:GetObject on images/x/\* is lacking"):
        other.get("key")
    with pytest.raises(AccessDenied, match="s3:GetObject"):
        other.stat("key")


def test_keys_that_a_server_does_not_know_are_no_lack_of_rights(server: LocalS3, tmp_path: Path) -> None:
    keys = tmp_path / "credentials"
    keys.write_text("[stranger]\naws_access_key_id = AKIASTRANGER\naws_secret_access_key = nothing\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
        storage = open_storage(Location(url="s3://results/strange", endpoint=server.endpoint, profile="stranger"))
        with pytest.raises(AccessDenied, match=r"does not accept the keys of stranger \(InvalidAccessKeyId\)"):
            storage.get("key")


def test_a_missing_bucket_is_an_error_and_not_an_empty_place(server: LocalS3) -> None:
    nowhere = open_storage(Location(url="s3://nowhere/x", endpoint=server.endpoint, profile="admin"))
    with pytest.raises(StorageError, match=f"Bucket nowhere does not exist at {server.endpoint}"):
        nowhere.get("key")
    with pytest.raises(StorageError, match=f"Bucket nowhere does not exist at {server.endpoint}"):
        list(nowhere.entries())


def test_a_server_that_does_not_answer_is_away(server: LocalS3) -> None:
    gone = open_storage(Location(url="s3://results/x", endpoint="http://127.0.0.1:9", profile="worker"))
    with patience(0.5), pytest.raises(Away, match=r"x/key: Could not connect.*It was asked again for \d+ s\."):
        gone.get("key")


def test_a_server_that_comes_back_within_the_patience_is_waited_for(
    server: LocalS3, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(Location(url="s3://results/x", endpoint=server.endpoint, profile="worker"))
    storage.put("key", b"data")
    refused = iter(range(30))  # with waits of up to 10 s each, minutes: more than the six tries of old
    whole = storage.client.get_object  # type: ignore[attr-defined]

    def get_object(**request: object) -> object:
        if next(refused, None) is not None:
            raise EndpointConnectionError(endpoint_url=server.endpoint)
        return whole(**request)

    monkeypatch.setattr(storage.client, "get_object", get_object)  # type: ignore[attr-defined]
    with patience(900), stamina.set_testing(True, attempts=100), caplog.at_level(logging.WARNING):
        assert storage.get("key") == b"data"
    assert [record.getMessage() for record in caplog.records] == [
        f"{server.endpoint} cannot be reached (asked for s3://results). Each request is made again, for up to 15 min; "
        "this is said once."
    ]


def test_a_task_brings_its_patience_with_it() -> None:
    assert patiently(900, current_patience) == 900
    assert current_patience() == IMPATIENT


def test_keys_that_have_expired_are_asked_about_for_a_while_and_then_named(
    faulty: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.script = ["expired"] * 3
    assert faulty.storage().get("key") == faulty.body
    faulty.script = ["expired"] * 99
    monkeypatch.setattr("pipeline.s3.RENEWAL", 0.0)
    with pytest.raises(AccessDenied, match=r"the keys of anyone have expired \(ExpiredToken\). Renew them"):
        faulty.storage().get("key")


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
    codes: ClassVar = {"503": "SlowDown", "500": "InternalError", "409": "OperationAborted"}
    codes |= {"429": "TooManyRequests", "403": "AccessDenied"}
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
        if fault == "expired":
            self._send(400, b"<Error><Code>ExpiredToken</Code></Error>")
        elif fault.isdigit():
            code = self.server.codes[fault]
            self._send(int(fault), f"<Error><Code>{code}</Code></Error>".encode())
        elif fault == "reset":
            self.close_connection = True
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


@pytest.mark.parametrize("fault", ["503", "500", "409", "429", "cut short", "damaged", "reset"])
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
    with pytest.raises(Away, match=r"SlowDown.*It was asked again for"):
        faulty.storage().get("key")
    assert faulty.requests == 6


def test_an_object_that_stays_damaged_is_not_what_was_planned(faulty: FaultyS3) -> None:
    faulty.script = ["damaged"] * 99
    with stamina.set_testing(True, attempts=99), pytest.raises(Changed, match="damaged"):
        faulty.storage().get("key", etag=hashlib.md5(faulty.body).hexdigest())
    assert faulty.requests == 6  # however long one would wait for a server that is away


def test_what_is_asked_again_is_said_once_in_plain_words(faulty: FaultyS3, caplog: pytest.LogCaptureFixture) -> None:
    storage = faulty.storage()
    with caplog.at_level(logging.WARNING):
        for key in ("one", "two", "three"):
            faulty.script = ["503", "503"]
            storage.get(key)
    assert [record.getMessage() for record in caplog.records] == [
        f"http://127.0.0.1:{faulty.server_port} answers SlowDown (asked for s3://bucket). Each request is made again, "
        "for up to 15 s; this is said once."
    ]


class WebServer(http.server.ThreadingHTTPServer):
    """Answers every request with one page, or with the wanted `body`, and keeps the headers of the requests."""

    status, body = 200, b"<!DOCTYPE html><html><body><p>A page, and a paragraph<p>Another one</body></html>"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.asked: list[tuple[str, str | None]] = []

    def storage(self, **more: object) -> Storage:
        address = f"http://127.0.0.1:{self.server_port}"
        return open_storage(Location(url="s3://bucket/prefix", endpoint=address, **{"anonymous": True, **more}))


class _Page(http.server.BaseHTTPRequestHandler):
    server: WebServer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.headers.get("x-amz-request-payer")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        for header in self.server.headers:
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.server.body)

    do_GET = do_HEAD = do_PUT = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with stamina.set_testing(True, attempts=6):
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "body", [WebServer.body, b"<html><head/><body>well-formed</body></html>", b"", b'{"status": "ok"}']
)
def test_a_web_page_where_an_s3_server_should_be_is_said_with_the_endpoint(web: WebServer, body: bytes) -> None:
    web.body = body
    storage = web.storage()
    for request in (
        lambda: list(storage.entries()),
        storage.folders,
        lambda: storage.get("key"),
        lambda: storage.stat("key"),
        lambda: storage.put("key", b"bytes"),
        lambda: storage.put_if_absent("key", b"bytes"),
    ):
        web.asked.clear()
        with pytest.raises(StorageError, match=f"http://127.0.0.1:{web.server_port} does not answer as an S3 server"):
            request()
        assert len(web.asked) == 1  # it would not help to ask again


@pytest.mark.parametrize("status", [302, 400, 403, 404, 405])
def test_what_a_web_server_refuses_to_list_is_no_lack_of_rights_and_no_empty_place(web: WebServer, status: int) -> None:
    web.status = status
    with pytest.raises(StorageError, match=rf"does not answer as an S3 server does \({status}\)"):
        list(web.storage().entries())


def test_the_one_who_asks_pays_where_that_is_set_and_only_there(web: WebServer, tmp_path: Path) -> None:
    web.headers = (("ETag", '"0"'),)
    web.body = b"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    keys = tmp_path / "credentials"
    keys.write_text("[payer]\naws_access_key_id = A\naws_secret_access_key = B\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
        patch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")  # the config's endpoint counts, for zarr too
        patch.setenv("AWS_SKIP_SIGNATURE", "true")
        for pays, header in ((True, "requester"), (False, None)):
            storage = web.storage(anonymous=False, profile="payer", requester_pays=pays)
            web.asked.clear()
            list(storage.entries())
            storage.folders()
            storage.get("key")
            storage.stat("key")
            storage.put("key", b"bytes")
            assert web.asked == [(method, header) for method in ("GET", "GET", "GET", "HEAD", "PUT")]
            web.asked.clear()
            with pytest.raises(StorageError, match="non-partial"):  # this server knows no ranges
                storage.get_end("cells", 10)
            assert web.asked == [("GET", header)]


def test_nobody_pays_without_credentials() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Location(url="s3://bucket/x", anonymous=True, requester_pays=True)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8333", "minio.lab:9000", "localhost", "s3.example.org"])
def test_an_endpoint_without_a_scheme_is_refused_with_what_to_write(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=f"write http://{endpoint}, or https://{endpoint}"):
        Location(url="s3://bucket/x", endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["http://", "ftp://host", "s3://bucket", "http://host:port", "http://host:99999"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="write http://host:port"):
        Location(url="s3://bucket/x", endpoint=endpoint)


@pytest.mark.parametrize(
    "place",
    [
        {"url": "s3://bucket/x", "endpoint": "http://user:SECRET@host:9000"},
        {"url": "s3://bucket/x", "endpoint": "http://SECRET@host"},
        {"url": "s3://bucket/x", "endpoint": "user:SECRET@host:9000"},
        {"url": "s3://user:SECRET@bucket/x"},
        {"url": "https://user:SECRET@host/bucket/x"},
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(place: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="profile") as caught:
        Location(**place)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3:bucket/prefix", "s3:/bucket/prefix"])
def test_a_place_in_s3_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="write s3://bucket/prefix"):
        open_storage(url)


def test_a_bucket_that_cannot_be_one_is_asked_for_once(server: LocalS3) -> None:
    storage = open_storage(Location(url="s3://My Bucket/x", endpoint=server.endpoint, profile="worker"))
    with pytest.raises(StorageError, match="Invalid bucket name") as caught:
        list(storage.entries())
    assert not caught.value.retry


# What a file system refuses.


def tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_bytes(b"a file")
    storage = open_storage(str(tmp_path / "results"))
    for request in (storage.prepare, lambda: storage.put("a/key", b""), lambda: storage.put_if_absent("key", b"")):
        with pytest.raises(
            StorageError, match=f"{tmp_path}/results.* cannot be written.*(Not a directory|File exists)"
        ):
            request()
    with pytest.raises(StorageError, match="Not a directory"):
        storage.get("key")
    assert storage.stat("key") is None
    assert list(storage.entries()) == []
    assert storage.folders() == []


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    storage = open_storage(str(tmp_path))
    with pytest.raises(StorageError, match="key cannot be read: Is a directory"):
        storage.get("key")
    with pytest.raises(StorageError, match="key cannot be written: Is a directory"):
        storage.put("key", b"")
    assert tree(tmp_path) == ["key"]


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    for request in (
        lambda: storage.put("x" * 300, b""),
        lambda: storage.get("x" * 300),
        lambda: storage.stat("x" * 300),
    ):
        with pytest.raises(StorageError, match="File name too long"):
            request()
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind", "cause"),
    [
        (errno.ENOSPC, NoSpace, "No space left on device"),
        (errno.EDQUOT, NoSpace, "Disk quota exceeded"),
        (errno.EROFS, AccessDenied, "Read-only file system"),
        (errno.EACCES, AccessDenied, "Permission denied"),
    ],
)
def test_a_write_that_fails_names_the_file_and_the_cause_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StorageError], cause: str
) -> None:
    storage = open_storage(str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    for write in (storage.put, storage.put_if_absent):
        with pytest.raises(kind, match=f"{tmp_path}/a/key cannot be written: {cause}"):
            write("a/key", b"bytes")
    assert tree(tmp_path) == ["a"]


def test_a_file_system_without_links_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match="file system knows no links"):
        open_storage(str(tmp_path)).put_if_absent("key", b"bytes")
    assert tree(tmp_path) == []


def test_a_folder_that_may_not_be_read_is_an_error_and_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plate/below").mkdir(parents=True)
    (tmp_path / "plate/below/image.tiff").write_bytes(b"")
    scan = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "below":  # the tests may run as root, to whom nothing is forbidden
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(AccessDenied, match=f"{tmp_path}/plate/below cannot be listed: Permission denied"):
        list(open_storage(str(tmp_path)).entries("plate/"))


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
