"""One place below a URL: get, list, put, put-if-absent, put-if-unchanged. `pipeline.s3` has the part for S3.

A location is `s3://bucket/prefix` or a local folder. Keys are relative to it. Credentials never travel: a location
names at most a profile of the machine's AWS configuration, and every process finds the secret for itself.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.errors import AccessDenied, Changed, ConfigError, NoSpace, NotFound, StorageError
from pipeline.seals import checked
from pipeline.traffic import TRAFFIC


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
    requester_pays: bool = Field(
        False, description="Pay for the requests and the traffic, where a bucket asks its readers to (requester pays)."
    )

    # These raise our own error: one of pydantic's would repeat the value, and with it a secret that stands in it.

    @field_validator("url")
    @classmethod
    def _names_a_place(cls, url: str) -> str:
        url = url.strip()
        scheme, _, rest = url.partition("://")
        before_path = rest.partition("/")[0]
        if "@" in before_path or (scheme == "s3" and ":" in before_path):
            raise ConfigError(
                f"A URL holds more than a bucket between {scheme}:// and the next /. Credentials do not belong there "
                "(they would be copied into the results): name a profile of the AWS configuration in `profile`."
            )
        if url.startswith("s3:") and not (scheme == "s3" and before_path):
            raise ConfigError(f"{url!r} names no bucket; write s3://bucket/prefix")
        return url

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        return None if endpoint is None else _address(endpoint.strip())

    @model_validator(mode="after")
    def _someone_pays(self) -> Self:
        if self.requester_pays and self.anonymous:
            raise ConfigError(f"{self.url}: `anonymous` and `requester_pays` exclude each other: nobody would pay")
        return self

    @property
    def is_s3(self) -> bool:
        return self.url.startswith("s3://")

    def join(self, *parts: str) -> Location:
        return self.model_copy(update={"url": "/".join([self.url.rstrip("/"), *(part.strip("/") for part in parts)])})

    def __str__(self) -> str:
        return self.url


def _address(endpoint: str) -> str:
    """The address of an S3 server. Raises `ConfigError`, which repeats no secret, where it is none."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"endpoint: this is no address ({error}); write http://host:port") from None
    if "@" in endpoint:
        raise ConfigError(
            "endpoint: credentials do not belong into an address (they would be copied into the results). Take out "
            "what stands before the @, and name a profile of the AWS configuration in `profile`."
        )
    if not endpoint:
        raise ConfigError("endpoint: there is no address behind it; write http://host:port, or delete the line for AWS")
    if "://" not in endpoint:
        raise ConfigError(
            f"endpoint: {endpoint!r} does not say how to speak to the server; write http://{endpoint}, or "
            f"https://{endpoint} where it has a certificate"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == 0:
        raise ConfigError(f"endpoint: {endpoint!r} is no address of an S3 server; write http://host:port")
    return endpoint


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

        With `etag`, raises `Changed` where the object is no longer that one or its bytes do not have that MD5. Raises
        `Damaged` where it is sealed (`pipeline.seals`) and its bytes are not what was sealed.
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

    def prepare(self) -> None:
        """Find out whether a folder can be written to, before work is put into it. Buckets tell at the first write."""
        ...

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of an object, each from a first byte to before an end. Parts that touch come by one request."""
        ...

    def get_end(self, key: str, size: int) -> bytes:
        """The last bytes of an object; all of one that has fewer."""
        ...


#: seconds in which a store that does not answer is asked again, where nobody says otherwise
IMPATIENT = 15.0
_patience = IMPATIENT


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """How long, in this process, a store that does not answer is asked again."""
    global _patience
    before, _patience = _patience, seconds
    try:
        yield
    finally:
        _patience = before


def current_patience() -> float:
    return _patience


def patiently(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with so much patience: what a task is wrapped in, so that workers wait as their driver does."""
    with patience(seconds):
        return function(*arguments)


@lru_cache(maxsize=64)
def open_storage(location: Location | str) -> Storage:
    """The store at a location. Opening makes no request; one client per location and process."""
    if isinstance(location, str):
        location = Location(url=location)
    if "://" in location.url and not location.is_s3:
        raise ConfigError(f"{location}: only s3://bucket/prefix and local folders can be read and written")
    if not location.is_s3:
        return LocalStorage(location)
    from pipeline.s3 import S3Storage

    return S3Storage(location)


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
        with _named_errors(self.root / key, "read"):
            TRAFFIC.count(reads=1)
            data = (self.root / key).read_bytes()
        TRAFFIC.count(bytes_in=len(data))
        if etag is not None and md5(data) != etag:
            raise Changed(f"{self.root / key} is not the file that was planned: its MD5 is {md5(data)}, not {etag}")
        return checked(data, str(self.root / key))

    def stat(self, key: str) -> Stat | None:
        path = self.root / key
        TRAFFIC.count(reads=1)
        with suppress(NotFound), _named_errors(path, "read"):
            if path.is_file():
                data = path.read_bytes()
                return Stat(len(data), md5(data), {})
        return None

    def entries(self, prefix: str = "", *, checksums: bool = False) -> Iterator[Entry]:
        TRAFFIC.count(lists=1)
        folder = self.root / prefix.rpartition("/")[0]
        if not self._is_folder(folder):
            return
        files = []
        for top, folders, names in os.walk(folder, followlinks=True, onerror=_raise_named):
            folders[:] = [name for name in folders if not _is_loop(Path(top, name))]
            files += [Path(top, name) for name in names]
        TRAFFIC.count(lists=len(files) // PAGE)  # a bucket tells so many at a time
        for key, path in sorted((file.relative_to(self.root).as_posix(), file) for file in files):
            if key.startswith(prefix) and not path.name.startswith(_TEMPORARY):
                try:
                    with _named_errors(path, "read"):
                        status = path.stat()
                        etag = md5(path.read_bytes()) if checksums else None
                except NotFound:  # taken away while we listed, or a link that leads nowhere
                    continue
                yield Entry(key, status.st_size, etag, datetime.fromtimestamp(status.st_mtime, UTC))

    def folders(self, prefix: str = "") -> list[str]:
        TRAFFIC.count(lists=1)
        folder = self.root / prefix
        if not self._is_folder(folder):
            return []
        with _named_errors(folder, "listed"):
            # lost+found is the file system's own, and nobody may read it
            return sorted(
                entry.name
                for entry in folder.iterdir()
                if entry.is_dir() and entry.name != "lost+found" and not _is_loop(entry)
            )

    def put(self, key: str, data: bytes) -> None:
        with self._written(key, data) as temporary:
            os.replace(temporary, self.root / key)

    def put_if_absent(self, key: str, data: bytes, metadata: dict[str, str] | None = None) -> bool:
        with self._written(key, data) as temporary:
            try:
                os.link(temporary, self.root / key)  # atomic, and fails where something is
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP):
                    raise StorageError(
                        f"{self.root / key} cannot be written: its file system knows no links ({error.strerror}), by "
                        "which two writers are kept apart. Choose a folder on another one."
                    ) from error
                raise
        return True

    def put_if_unchanged(self, key: str, data: bytes, etag: str, metadata: dict[str, str] | None = None) -> None:
        found = self.stat(key)
        if found is None or found.etag != etag:
            raise Changed(f"{self.root / key} was changed by someone else")
        self.put(key, data)

    def remove(self, key: str) -> None:
        with _named_errors(self.root / key, "removed"):
            (self.root / key).unlink(missing_ok=True)

    def prepare(self) -> None:
        with _named_errors(self.root, "written to"):
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(prefix=_TEMPORARY, dir=self.root).close()

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        with _named_errors(self.root / key, "read"), (self.root / key).open("rb") as file:
            parts = []
            for start, end in ranges:
                file.seek(start)
                parts.append(file.read(end - start))
            return parts

    def get_end(self, key: str, size: int) -> bytes:
        with _named_errors(self.root / key, "read"), (self.root / key).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
            return file.read()

    def _is_folder(self, path: Path) -> bool:
        with _named_errors(path, "read"):
            return path.is_dir()

    @contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[Path]:
        """The data in a file beside its place. It is gone afterwards, whatever happens."""
        path = self.root / key
        TRAFFIC.count(writes=1, bytes_out=len(data))
        with _named_errors(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.chmod(0o644)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)


def _is_loop(folder: Path) -> bool:
    """Whether this is a link to a folder that it lies in itself: followed, two of them would never end."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(above.resolve().is_relative_to(target) for above in folder.parents)


_TEMPORARY = ".writing-"
#: keys that a bucket tells at a time
PAGE = 1000


@contextmanager
def _named_errors(path: Path, done: str) -> Iterator[None]:
    """Errors of the file system as ours, with the path and the cause."""
    try:
        yield
    except StorageError:
        raise
    except ValueError as error:  # a name with a NUL in it
        raise StorageError(f"{str(path)!r} cannot be {done}: {error}") from error
    except OSError as error:
        leads_nowhere = isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP  # links in a circle
        if leads_nowhere and done == "read":
            raise NotFound(f"{path} does not exist") from None
        cause = error.strerror or str(error)
        at = str(error.filename or "")
        if at not in ("", str(path)) and not Path(at).name.startswith(_TEMPORARY):
            cause += f": {at}"
        raise _kind(error)(f"{path} cannot be {done}: {cause}") from error


#: besides PermissionError: a file system that may not be written to
_DENIED = {errno.EROFS}
#: a disk, or somebody's share of it
_FULL = {errno.ENOSPC, errno.EDQUOT}


def _kind(error: OSError) -> type[StorageError]:
    is_denied = isinstance(error, PermissionError) or error.errno in _DENIED
    return AccessDenied if is_denied else NoSpace if is_full(error) else StorageError


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def _raise_named(error: OSError) -> None:
    """For `os.walk`, which would leave out what it may not read. What was taken away while we listed is no error."""
    if not isinstance(error, FileNotFoundError):
        with _named_errors(Path(error.filename), "listed"):
            raise error
