"""One place below a URL: get, list, put, put-if-absent, put-if-unchanged. The only module that opens an S3 client.

A location is `s3://bucket/prefix` or a local folder. Keys are relative to it. Credentials never travel: a location
names at most a profile of the machine's AWS configuration, and every process finds the secret for itself.

Requests are retried here and nowhere else (botocore's own retries are off), so that delays do not multiply.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.config
import botocore.exceptions
import stamina
import zarr.storage
from botocore import UNSIGNED
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import AccessDenied, Changed, ConfigError, NotFound, StorageError


class Location(BaseModel):
    """Where something lies and how to reach it. Holds names only, never a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="`s3://bucket/prefix` or a local folder.")
    endpoint: str | None = Field(
        None, description="Address of an S3 server other than AWS, e.g. http://127.0.0.1:8333."
    )
    region: str | None = Field(None, description="AWS region; left out, boto3's own rules decide.")
    profile: str | None = Field(None, description="Profile of the AWS configuration files whose credentials to use.")
    anonymous: bool = Field(False, description="Read without credentials, as the Cell Painting Gallery allows.")

    @property
    def is_s3(self) -> bool:
        return self.url.startswith("s3://")

    def join(self, *parts: str) -> Location:
        return self.model_copy(update={"url": "/".join([self.url.rstrip("/"), *(part.strip("/") for part in parts)])})

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Entry:
    """One object of a listing. `etag`: the MD5 of the bytes (hex) for local files and simple S3 uploads."""

    key: str
    size: int
    etag: str | None
    modified: datetime


@dataclass(frozen=True)
class Stat:
    size: int
    etag: str
    metadata: dict[str, str]


class Storage(Protocol):
    """What every store can do. Keys are relative to `location`."""

    location: Location

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """The whole object by one request.

        With `etag`, raises `Changed` where the object is no longer that one or its bytes do not have that MD5.
        """
        ...

    def stat(self, key: str) -> Stat | None:
        """Size, ETag and user metadata, or None where there is no such object."""
        ...

    def entries(self, prefix: str = "", *, checksums: bool = False) -> Iterator[Entry]:
        """All objects whose key starts with `prefix`, in order of their keys.

        Local files have no ETag to list: with `checksums` their MD5 is computed, which reads them.
        """
        ...

    def folders(self, prefix: str = "") -> list[str]:
        """Names of the folders directly below `prefix` (a folder's key, ending in "/", or "")."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write, whatever was there before. For what may be made again: pages, tables, logs."""
        ...

    def put_if_absent(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> bool:
        """Write if there is nothing yet; False where there is already something, which is left as it is."""
        ...

    def put_if_unchanged(self, key: str, data: bytes, etag: str, metadata: dict[str, str] | None = None) -> None:
        """Replace the object with this ETag. Raises `Changed` where it is another one."""
        ...

    def remove(self, key: str) -> None:
        """Take an object away; harmless where there is none."""
        ...

    def zarr_store(self, key: str = "") -> Any:
        """A read-only zarr store of what lies below `key`."""
        ...


@lru_cache(maxsize=64)
def open_storage(location: Location | str) -> Storage:
    """The store at a location. Opening makes no request; one client per location and process."""
    if isinstance(location, str):
        location = Location(url=location)
    if "://" in location.url and not location.is_s3:
        raise ConfigError(f"{location}: only s3://bucket/prefix and local folders can be read and written")
    return S3Storage(location) if location.is_s3 else LocalStorage(location)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def is_md5(etag: str) -> bool:
    """Whether an ETag can be compared with the bytes: those of multipart uploads ("...-3") cannot."""
    return re.fullmatch(r"[0-9a-f]{32}", etag) is not None


# --- local folders ----------------------------------------------------------------------------------------------------


class LocalStorage:
    """A folder. Objects appear whole or not at all: written beside their place, then linked into it."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.root = Path(location.url.removeprefix("file://")).expanduser().absolute()

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        try:
            data = (self.root / key).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{self.root / key} does not exist") from None
        except OSError as error:
            raise StorageError(f"{self.root / key} cannot be read: {error}") from error
        if etag is not None and md5(data) != etag:
            raise Changed(f"{self.root / key} is not the file that was planned: its MD5 is {md5(data)}, not {etag}")
        return data

    def stat(self, key: str) -> Stat | None:
        path = self.root / key
        if not path.is_file():
            return None
        data = path.read_bytes()
        return Stat(len(data), md5(data), {})

    def entries(self, prefix: str = "", *, checksums: bool = False) -> Iterator[Entry]:
        folder = self.root / prefix.rpartition("/")[0]
        if not folder.is_dir():
            return
        files = []
        for top, folders, names in os.walk(folder, followlinks=True):
            folders[:] = [name for name in folders if not _is_loop(Path(top, name))]
            files += [Path(top, name) for name in names]
        for key, path in sorted((file.relative_to(self.root).as_posix(), file) for file in files):
            if key.startswith(prefix) and not path.name.startswith(_TEMPORARY):
                try:
                    status = path.stat()
                    etag = md5(path.read_bytes()) if checksums else None
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ELOOP):
                        raise
                    continue  # taken away while we listed, or a link that leads nowhere
                yield Entry(key, status.st_size, etag, datetime.fromtimestamp(status.st_mtime, UTC))

    def folders(self, prefix: str = "") -> list[str]:
        folder = self.root / prefix
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_loop(entry))

    def put(self, key: str, data: bytes) -> None:
        with self._written(key, data) as temporary:
            os.replace(temporary, self.root / key)

    def put_if_absent(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> bool:
        with self._written(key, data) as temporary:
            try:
                os.link(temporary, self.root / key)  # atomic, and fails where something is
            except FileExistsError:
                return False
        return True

    def put_if_unchanged(self, key: str, data: bytes, etag: str, metadata: dict[str, str] | None = None) -> None:
        found = self.stat(key)
        if found is None or found.etag != etag:
            raise Changed(f"{self.root / key} was changed by someone else")
        self.put(key, data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def zarr_store(self, key: str = "") -> Any:
        return zarr.storage.LocalStore(self.root / key, read_only=True)

    def _written(self, key: str, data: bytes) -> _TemporaryFile:
        return _TemporaryFile(self.root / key, data)


def _is_loop(folder: Path) -> bool:
    """Whether this is a link to a folder that it lies in itself: followed, two of them would never end."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve().is_relative_to(target) for above in folder.parents)


_TEMPORARY = ".writing-"


class _TemporaryFile:
    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data = path, data

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.path.parent)
        self.temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(self.data)
            file.flush()
            os.fsync(file.fileno())
        self.temporary.chmod(0o644)
        return self.temporary

    def __exit__(self, *_: object) -> None:
        self.temporary.unlink(missing_ok=True)


# --- S3 ---------------------------------------------------------------------------------------------------------------

#: answers that a later try can mend; 409 is AWS's word for two conditional writes at once
_TRANSIENT = {
    *("SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "RequestTimeout"),
    *("InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed"),
    *("ExpiredToken", "ExpiredTokenException"),
    *("408", "409", "429", "500", "502", "503", "504"),
}
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden"}
_CHANGED = {"PreconditionFailed", "412"}


class S3Storage:
    """A prefix of a bucket, on AWS or any other S3 server."""

    def __init__(self, location: Location) -> None:
        self.location = location
        bucket, _, prefix = location.url.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigError(f"{location.url!r} names no bucket; write s3://bucket/prefix")
        self.bucket, self.prefix = bucket, prefix.strip("/") + "/" if prefix.strip("/") else ""
        session = _session(location)
        self.client = session.client(
            "s3",
            endpoint_url=location.endpoint,
            region_name=location.region or session.region_name or "us-east-1",
            config=botocore.config.Config(
                signature_version=UNSIGNED if location.anonymous else None,
                retries={"total_max_attempts": 1},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=32,
                s3={"addressing_style": "path"} if location.endpoint else None,
            ),
        )

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}

        def request() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **condition)
            data: bytes = answer["Body"].read()
            # With a KMS key the ETag is no MD5 although it looks like one.
            comparable = etag is not None and is_md5(etag) and "aws:kms" not in answer.get("ServerSideEncryption", "")
            if comparable and md5(data) != etag:
                raise Changed(f"{self._url(key)} arrived damaged, again and again: its MD5 is not {etag}", retry=True)
            return data

        return self._ask(key, request)

    def stat(self, key: str) -> Stat | None:
        try:
            found = self._ask(key, lambda: self.client.head_object(Bucket=self.bucket, Key=self.prefix + key))
        except NotFound:
            return None
        return Stat(found["ContentLength"], found["ETag"].strip('"'), found["Metadata"])

    def entries(self, prefix: str = "", *, checksums: bool = False) -> Iterator[Entry]:
        token: dict[str, str] = {}
        while True:
            page = self._page(prefix, **token)
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                yield Entry(key, item["Size"], item["ETag"].strip('"'), item["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def folders(self, prefix: str = "") -> list[str]:
        names: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self._page(prefix, Delimiter="/", **token)
            below = len(self.prefix + prefix)
            names += [item["Prefix"][below:].rstrip("/") for item in page.get("CommonPrefixes", [])]
            if not page.get("IsTruncated"):
                return sorted(names)
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def put(self, key: str, data: bytes) -> None:
        self._put(key, data)

    def put_if_absent(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> bool:
        try:
            self._put(key, data, IfNoneMatch="*", Metadata=metadata or {})
        except Changed:
            return False
        return True

    def put_if_unchanged(self, key: str, data: bytes, etag: str, metadata: dict[str, str] | None = None) -> None:
        self._put(key, data, IfMatch=f'"{etag}"', Metadata=metadata or {})

    def remove(self, key: str) -> None:
        self._ask(key, lambda: self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key))

    def zarr_store(self, key: str = "") -> Any:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        place = self.location
        session = _session(place)
        store = S3Store(
            self.bucket,
            prefix=f"{self.prefix}{key}".rstrip("/"),
            endpoint=self.client.meta.endpoint_url,
            region=self.client.meta.region_name,
            client_options={"allow_http": True},
            **(
                {"skip_signature": True}
                if place.anonymous
                else {"credential_provider": Boto3CredentialProvider(session)}
            ),
        )
        return zarr.storage.ObjectStore(store, read_only=True)

    def _put(self, key: str, data: bytes, **conditions: Any) -> None:
        self._ask(
            key,
            lambda: self.client.put_object(
                Bucket=self.bucket, Key=self.prefix + key, Body=data, ChecksumAlgorithm="SHA256", **conditions
            ),
        )

    def _page(self, prefix: str, **more: str) -> dict[str, Any]:
        return self._ask(
            prefix, lambda: self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + prefix, **more)
        )

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def _ask(self, key: str, request: Any) -> Any:
        """One request with our errors and the only retries there are."""
        for attempt in stamina.retry_context(
            on=_can_be_retried, attempts=6, timeout=120.0, wait_initial=0.2, wait_max=10.0, wait_jitter=1.0
        ):
            with attempt:
                try:
                    return request()
                except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                    raise self._named(key, error) from error
        raise AssertionError("unreachable")  # pragma: no cover

    def _named(self, key: str, error: Exception) -> Exception:
        url = self._url(key)
        if isinstance(error, botocore.exceptions.ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if code in _ABSENT:
                return NotFound(f"{url} does not exist")
            if code == "NoSuchBucket":
                return StorageError(f"Bucket {self.bucket} does not exist. Check the URL and the endpoint.")
            if code in _DENIED:
                who = self.location.profile or ("anyone" if self.location.anonymous else "the default credentials")
                return AccessDenied(f"{url}: access denied ({code}) for {who}. Check the profile and its rights.")
            if code in _CHANGED:
                return Changed(f"{url} is not the object that was expected")
            return StorageError(f"{url}: {error}", retry=code in _TRANSIENT)
        if isinstance(error, botocore.exceptions.NoCredentialsError):
            return AccessDenied(f"{url}: {error}. Name a profile, or set `anonymous: true` for a public bucket.")
        return StorageError(f"{url}: {error}", retry=True)  # connections, time-outs, bodies cut short


def _session(location: Location) -> boto3.Session:
    try:
        return boto3.Session(profile_name=location.profile, region_name=location.region)
    except botocore.exceptions.ProfileNotFound:
        raise ConfigError(
            f"{location}: this machine's AWS configuration has no profile {location.profile!r}. "
            "`aws configure --profile NAME` makes one; AWS_SHARED_CREDENTIALS_FILE says where the file is."
        ) from None


def _can_be_retried(error: Exception) -> bool:
    return isinstance(error, StorageError) and error.retry
