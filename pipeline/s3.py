"""S3, on AWS or any other server. The only module that opens an S3 client; `pipeline.storage` is the way to it.

Requests are retried here and nowhere else (botocore's own retries are off), so that delays do not multiply.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import obstore
import obstore.exceptions
import obstore.store
import stamina
import stamina.instrumentation
from botocore import UNSIGNED
from obstore.auth.boto3 import Boto3CredentialProvider

from pipeline.errors import AccessDenied, Away, Changed, ConfigError, Damaged, NotFound, StorageError, spoken
from pipeline.seals import checked
from pipeline.storage import Entry, Location, Stat, current_patience, is_md5, md5
from pipeline.traffic import TRAFFIC

log = logging.getLogger(__name__)

#: an object that arrives damaged is asked for so often; a store that does not answer, for as long as patience goes
ATTEMPTS = 6
#: keys that have expired may be about to be renewed: seconds
RENEWAL = 60.0
#: bytes between two parts of an object up to which they are asked for together
GAP = 64 * 1024
#: answers that a later try can mend; 409 is AWS's word for two conditional writes at once
_TRANSIENT = {
    *("SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "RequestTimeout"),
    *("InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict", "RequestTimeTooSkewed"),
    *("408", "409", "429", "500", "502", "503", "504"),
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_UNKNOWN_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"}
_CHANGED = {"PreconditionFailed", "412"}
#: right -> as what its requests are counted; what is removed costs nothing
_COUNTED: dict[str, dict[str, int]] = {
    "s3:GetObject": {"reads": 1},
    "s3:PutObject": {"writes": 1},
    "s3:ListBucket": {"lists": 1},
    "s3:DeleteObject": {},
}


class S3Storage:
    """A prefix of a bucket, on AWS or any other S3 server."""

    def __init__(self, location: Location) -> None:
        self.location = location
        bucket, _, prefix = location.url.removeprefix("s3://").partition("/")
        self._payer = {"RequestPayer": "requester"} if location.requester_pays else {}
        self.bucket, self.prefix = bucket, prefix.strip("/") + "/" if prefix.strip("/") else ""
        self.client = _client(location)
        # With a star for "s3" it comes before botocore's own, which takes what is no XML for an answer cut short.
        self.client.meta.events.register_first("before-parse.*.*", self._refuse_pages)

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        condition = {} if etag is None else {"IfMatch": f'"{etag}"'}

        def request() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key, **condition, **self._payer)
            data: bytes = answer["Body"].read()
            TRAFFIC.count(bytes_in=len(data))
            # With a KMS key the ETag is no MD5 although it looks like one.
            comparable = etag is not None and is_md5(etag) and "aws:kms" not in answer.get("ServerSideEncryption", "")
            if comparable and md5(data) != etag:
                raise Changed(f"{self._url(key)} arrived damaged, again and again: its MD5 is not {etag}", retry=True)
            try:
                return checked(data, self._url(key))
            except Damaged as error:
                raise Damaged(error.message, retry=True) from None

        return self._ask("s3:GetObject", key, request)

    def stat(self, key: str) -> Stat | None:
        place = {"Bucket": self.bucket, "Key": self.prefix + key, **self._payer}
        try:
            found = self._ask("s3:GetObject", key, lambda: self.client.head_object(**place))
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
        place = {"Bucket": self.bucket, "Key": self.prefix + key}
        self._ask("s3:DeleteObject", key, lambda: self.client.delete_object(**place))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if not ranges:
            return []
        starts, ends = zip(*ranges, strict=True)
        with self._named_parts(key):
            parts = obstore.get_ranges(self._parts, self.prefix + key, starts=starts, ends=ends, coalesce=GAP)
        return [bytes(part) for part in parts]

    def get_end(self, key: str, size: int) -> bytes:
        with self._named_parts(key):
            return bytes(obstore.get(self._parts, self.prefix + key, options={"range": {"suffix": size}}).bytes())

    @cached_property
    def _parts(self) -> obstore.store.S3Store:
        """Another client, for parts of objects: a question makes hundreds of small requests at once, which boto3 signs
        and reads in Python, one after the other. Its own retries count for them."""
        place = self.location
        # Each is said here, for what is not said obstore takes from environment variables, whose names and order are
        # not boto3's: AWS_ENDPOINT_URL_S3 goes before an `endpoint`.
        return obstore.store.S3Store(
            self.bucket,
            aws_endpoint_url_s3=str(self.client.meta.endpoint_url),
            region=self.client.meta.region_name,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            request_payer=place.requester_pays,
            skip_signature=place.anonymous,
            credential_provider=None if place.anonymous else Boto3CredentialProvider(_session(place)),
        )

    @contextmanager
    def _named_parts(self, key: str) -> Iterator[None]:
        """obstore's errors as ours."""
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"{self._url(key)} does not exist") from None
        except (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError) as error:
            raise AccessDenied(self._denied("s3:GetObject", key, type(error).__name__)) from error
        except obstore.exceptions.BaseError as error:
            raise StorageError(f"{self._url(key)}: {error}") from error

    def prepare(self) -> None:
        pass

    def server_time(self) -> datetime:
        """What the server takes for now."""
        place = {"Bucket": self.bucket, "Prefix": self.prefix, "MaxKeys": 1, **self._payer}
        answer = self._ask("s3:ListBucket", "", lambda: self.client.list_objects_v2(**place))
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def _put(self, key: str, data: bytes, **conditions: Any) -> None:
        place = {"Bucket": self.bucket, "Key": self.prefix + key, **self._payer}
        more = {"Body": data, "ChecksumAlgorithm": "SHA256", **conditions}
        TRAFFIC.count(bytes_out=len(data))
        self._ask("s3:PutObject", key, lambda: self.client.put_object(**place, **more))

    def _page(self, prefix: str, **more: str) -> dict[str, Any]:
        place = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, **self._payer}
        return self._ask("s3:ListBucket", prefix, lambda: self.client.list_objects_v2(**place, **more))

    def _refuse_pages(self, operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        """An answer that no S3 server gives: web servers answer everything with a page, however often one asks.

        Nor does a redirection that names no region lead to one: botocore would follow it without end.
        """
        name, status, headers = operation_model.name, response_dict["status_code"], response_dict["headers"]
        body = response_dict["body"][:1024] if isinstance(response_dict["body"], bytes) else b""  # else a stream
        if name == "ListObjectsV2" and status == 200:
            is_s3 = b"<ListBucketResult" in body or b"<Error" in body
        elif name in ("GetObject", "HeadObject", "PutObject") and status == 200:
            is_s3 = "ETag" in headers
        else:
            is_s3 = not 300 <= status < 400 or b"<Error" in body or "x-amz-bucket-region" in headers
        if not is_s3:
            raise self._no_s3(f" ({status})")

    def _no_s3(self, answer: str = "") -> StorageError:
        return StorageError(
            f"{self._server} does not answer as an S3 server does{answer}, when asked for s3://{self.bucket}/"
            f"{self.prefix}. Check the endpoint: a server's web page has another port than its S3 interface."
        )

    @property
    def _server(self) -> str:
        return str(self.location.endpoint or self.client.meta.endpoint_url)

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    def _ask(self, right: str, key: str, request: Any) -> Any:
        """One request with our errors and the only retries there are. `right`: what AWS calls the permission for it."""
        seconds, began, tries = current_patience(), time.monotonic(), 0

        def may_pass(error: Exception) -> bool:
            is_expired = isinstance(error, AccessDenied) and time.monotonic() - began > RENEWAL
            is_damaged = isinstance(error, Changed | Damaged) and tries >= ATTEMPTS
            return isinstance(error, StorageError) and error.retry and not is_expired and not is_damaged

        def once() -> Any:
            TRAFFIC.count(**_COUNTED[right])
            try:
                return request()
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                named = self._named(right, key, error)
                if named.retry:
                    self._say_trouble(error, seconds)
                raise named from error

        try:
            for attempt in stamina.retry_context(
                on=may_pass, attempts=None, timeout=seconds, wait_initial=0.2, wait_max=10.0, wait_jitter=1.0
            ):
                with attempt:
                    tries = attempt.num
                    return once()
        except (AccessDenied, Changed, Damaged):
            raise
        except StorageError as error:
            if not error.retry:
                raise
            raise Away(f"{error} It was asked again for {spoken(time.monotonic() - began)}.") from error
        raise AssertionError("unreachable")  # pragma: no cover

    def _say_trouble(self, error: Exception, seconds: float) -> None:
        if isinstance(error, botocore.exceptions.ClientError):
            trouble = f"answers {error.response.get('Error', {}).get('Code', '')}"
        else:
            trouble = next(
                (words for kind, words in _TROUBLES.items() if isinstance(error, kind)), type(error).__name__
            )
        _say_once(
            f"{self._server} {trouble} (asked for s3://{self.bucket}). Each request is made again, for up to "
            f"{spoken(seconds)}; this is said once."
        )

    def _named(self, right: str, key: str, error: Exception) -> StorageError:
        url = self._url(key)
        if isinstance(error, botocore.exceptions.ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if code == "NoSuchBucket":
                return StorageError(f"Bucket {self.bucket} does not exist at {self._server}. Check URL and endpoint.")
            if right == "s3:ListBucket" and code.isdigit() and code not in _TRANSIENT:
                return self._no_s3(f" ({code})")  # where an S3 server refuses a listing, it says why
            if code in _ABSENT:
                return NotFound(f"{url} does not exist")
            if code in _DENIED:
                return AccessDenied(self._denied(right, key, code))
            if code in _EXPIRED:
                why = f"the keys of {self._who} have expired ({code}). Renew them (`aws sso login`, or a new token)."
                return AccessDenied(f"{url}: {why}", retry=True)
            if code in _UNKNOWN_KEYS:
                return AccessDenied(
                    f"{url}: {self._server} does not accept the keys of {self._who} ({code}). Check the profile, and "
                    "that its keys are of this server."
                )
            if code in _CHANGED:
                return Changed(f"{url} is not the object that was expected")
            return StorageError(f"{url}: {error}", retry=code in _TRANSIENT)
        if isinstance(error, botocore.exceptions.NoCredentialsError):
            return AccessDenied(f"{url}: {error}. Name a profile, or set `anonymous: true` for a public bucket.")
        if isinstance(error, _NO_KEYS):
            return AccessDenied(f"{url}: no keys for {self._who}: {error}")
        if isinstance(error, botocore.exceptions.ParamValidationError):
            return StorageError(f"{url} cannot be asked for: {error}")
        if isinstance(error, botocore.exceptions.SSLError):
            return StorageError(f"{url}: {error}. Check the endpoint (https:// or http://) and its certificate.")
        return StorageError(f"{url}: {error}", retry=True)  # connections, time-outs, bodies cut short

    @property
    def _who(self) -> str:
        return self.location.profile or ("anyone" if self.location.anonymous else "the default credentials")

    def _denied(self, right: str, key: str, code: str) -> str:
        if right == "s3:ListBucket":
            where = f"on bucket {self.bucket}, prefix {self.prefix + key or '(all)'}"
            also = f" Some servers answer so where there is no bucket {self.bucket}."
        else:
            where = f"on {self.bucket}/{self.prefix}*"
            also = "" if right == "s3:PutObject" else " Without s3:ListBucket, what is not there is answered so, too."
        pays = not self.location.requester_pays and not self.location.anonymous and right != "s3:PutObject"
        return (
            f"{self._url(key)}: access denied ({code}) for {self._who}: the right {right} {where} is lacking.{also}"
            + (" Where the bucket's readers pay, set `requester_pays: true`." if pays else "")
        )


#: what may pass, in words
_TROUBLES: dict[type[Exception], str] = {
    botocore.exceptions.EndpointConnectionError: "cannot be reached",
    botocore.exceptions.ProxyConnectionError: "cannot be reached",
    botocore.exceptions.ConnectTimeoutError: "cannot be reached",
    botocore.exceptions.ReadTimeoutError: "does not answer in time",
    botocore.exceptions.ConnectionClosedError: "closes connections",
    botocore.exceptions.FlexibleChecksumError: "sends answers that are damaged",
    botocore.exceptions.ResponseStreamingError: "cuts answers short",
    botocore.exceptions.IncompleteReadError: "cuts answers short",
}
#: what goes wrong on the way to the keys of a profile; asking again helps with none of it
_NO_KEYS = (
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.SSOError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.ConfigNotFound,
    botocore.exceptions.ConfigParseError,
)


def _client(location: Location) -> Any:
    """boto3's client. Raises `ConfigError` where the location, or this machine's AWS configuration, makes none."""
    session = _session(location)
    try:
        return session.client(
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
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ConfigError(f"{location}: this place cannot be opened: {error}") from error


def _session(location: Location) -> boto3.Session:
    try:
        return boto3.Session(profile_name=location.profile, region_name=location.region)
    except botocore.exceptions.ProfileNotFound:
        raise ConfigError(
            f"{location}: this machine's AWS configuration has no profile {location.profile!r}. "
            "`aws configure --profile NAME` makes one; AWS_SHARED_CREDENTIALS_FILE says where the file is."
        ) from None
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"{location}: this machine's AWS configuration cannot be used: {error}") from error


@lru_cache(maxsize=256)
def _say_once(what: str) -> None:
    """Once in a process: a store that throttles refuses hundreds of requests for one reason."""
    log.warning(what)


def _say_retry(details: stamina.instrumentation.RetryDetails) -> None:
    if not isinstance(details.caused_by, StorageError):  # ours are said where they happen
        log.warning("%s is tried again: %s", details.name, details.caused_by)


stamina.instrumentation.set_on_retry_hooks([_say_retry])
