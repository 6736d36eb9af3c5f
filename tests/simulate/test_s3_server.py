from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from pipeline.simulate.s3_server import LocalS3


def _refused(call, **arguments) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


@pytest.fixture(scope="module")
def server():
    with LocalS3() as server:
        server.client("admin").put_object(Bucket="images", Key="a/1.tiff", Body=b"pixels")
        yield server


def test_worker_reads_images_and_keeps_results(server):
    worker = server.client("worker")
    assert worker.get_object(Bucket="images", Key="a/1.tiff")["Body"].read() == b"pixels"
    worker.put_object(Bucket="results", Key="cells/1", Body=b"shard")
    assert [found["Key"] for found in worker.list_objects_v2(Bucket="results")["Contents"]] == ["cells/1"]
    assert _refused(worker.put_object, Bucket="images", Key="a/2.tiff", Body=b"") == "AccessDenied"
    assert _refused(worker.delete_object, Bucket="images", Key="a/1.tiff") == "AccessDenied"


def test_reader_sees_results_only_and_writes_nothing(server):
    server.client("admin").put_object(Bucket="results", Key="report.html", Body=b"page")
    reader = server.client("reader")
    assert reader.get_object(Bucket="results", Key="report.html")["Body"].read() == b"page"
    assert _refused(reader.put_object, Bucket="results", Key="x", Body=b"") == "AccessDenied"
    assert _refused(reader.get_object, Bucket="images", Key="a/1.tiff") == "AccessDenied"
    assert _refused(reader.list_objects_v2, Bucket="images") == "AccessDenied"


def test_an_object_is_put_only_where_there_is_none(server):
    worker = server.client("worker")
    worker.put_object(Bucket="results", Key="once", Body=b"1", IfNoneMatch="*")
    assert _refused(worker.put_object, Bucket="results", Key="once", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"


def test_the_environment_alone_makes_a_process_the_role(server, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment("reader").items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("s3")
    assert _refused(client.put_object, Bucket="results", Key="x", Body=b"") == "AccessDenied"
    client.list_objects_v2(Bucket="results")


def test_keys_are_readable_by_their_owner_only(server):
    assert stat.S_IMODE(server.credentials_file.stat().st_mode) == 0o600


def test_every_port_listens_on_loopback(server):
    process = psutil.Process(server._process.pid)
    listening = [one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_the_server_dies_with_its_parent_and_the_same_directory_gives_the_same_objects(tmp_path):
    script = """
import sys
from pipeline.simulate.s3_server import LocalS3
with LocalS3(sys.argv[1]) as server:
    server.client("worker").put_object(Bucket="results", Key="kept", Body=b"kept" * 100_000)
    print(server._process.pid, server.endpoint, flush=True)
    sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid, endpoint = parent.stdout.readline().split()
    weed = psutil.Process(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    psutil.wait_procs([weed], timeout=10)
    assert not weed.is_running() or weed.status() == psutil.STATUS_ZOMBIE

    with LocalS3(tmp_path) as server:
        assert server.endpoint != endpoint
        reader = server.client("reader")
        assert reader.get_object(Bucket="results", Key="kept")["Body"].read() == b"kept" * 100_000
        server.client("worker").put_object(Bucket="results", Key="more", Body=b"more")
