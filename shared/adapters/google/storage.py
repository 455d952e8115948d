"""Objects in Cloud Storage: create-only uploads, rejected by the bucket if a bit is wrong."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import google.auth
import google_crc32c
from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import storage
from google.cloud.storage import Blob
from google.cloud.storage.exceptions import DataCorruption
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from shared.adapters.google.retry import within
from shared.adapters.google.signing import signing
from shared.adapters.objects import (
    check_lifetime,
    check_name,
    crc32c_of,
    encode_crc32c,
    is_replay,
)
from shared.core.errors import ConflictError, ObjectExistsError, TransientError
from shared.core.ports import StoredObject
from shared.runtime.per_process import PerProcess

#: Bytes in one request of an upload; the API requires a multiple of 256 KiB.
CHUNK = 8 * 1024 * 1024

# The client's default storage scopes do not cover signBlob.
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_CHECK_S = 2.0  # to connect, and again to answer


class _StartOverError(TransientError):
    """The upload must start again: its answer was lost, its session expired, or it is damaged."""


class GCSStorage:
    """One Cloud Storage bucket (``ports.Storage``).

    A call is retried for ``deadline_s`` seconds, and each attempt waits ``timeout_s`` for
    an answer. For an upload both apply to each chunk of 8 MiB, so that a large upload does
    not time out while it makes progress. The account needs ``roles/storage.objectUser`` on
    the bucket, and ``roles/iam.serviceAccountTokenCreator`` on itself to sign URLs.

    ``credentials`` default to the environment's; with ``STORAGE_EMULATOR_HOST`` none are
    used.
    """

    def __init__(
        self,
        bucket: str,
        *,
        credentials: Credentials | None = None,
        deadline_s: float = 20.0,
        timeout_s: float = 10.0,
    ) -> None:
        self.bucket = bucket
        self._credentials = PerProcess(lambda: credentials or _default_credentials())
        # No project: no call here needs one, and the environment may not name one.
        self._client = PerProcess(
            lambda: storage.Client(project=None, credentials=self._credentials())
        )
        self._deadline_s = deadline_s
        self._timeout_s = timeout_s

    def url(self, name: str) -> str:
        """Return ``gs://bucket/name``."""
        return f"gs://{self.bucket}/{check_name(name)}"

    def put(
        self,
        name: str,
        content: Path | bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        if_generation: int | None = None,
        cache_control: str = "private, max-age=3600",
    ) -> StoredObject:
        """Write an object whole or not at all; see ``ports.Storage.put``.

        The checksum is computed first and sent along: the bucket rejects an object with
        another one ("Data validation and change detection").
        """
        blob = self._blob(name, chunk_size=CHUNK)
        blob.content_type = content_type
        blob.cache_control = cache_control
        blob.metadata = dict(metadata or {})
        crc32c = _checksum(content)
        try:
            self._upload(blob, content, crc32c, if_generation)
        except PreconditionFailed as error:
            if if_generation:
                raise ConflictError(f"{blob.name} is not generation {if_generation}") from error
            # An earlier response may have been lost: then the object is ours.
            there = self.stat(blob.name)
            if there is None:
                raise TransientError(f"{blob.name} existed a moment ago and is gone") from error
            if not is_replay(there, blob.metadata, crc32c):
                raise ObjectExistsError(blob.name) from error
            return there
        if blob.crc32c != crc32c:
            self.delete(name, if_generation=blob.generation)
            raise TransientError(f"{self.url(name)} has checksum {blob.crc32c}, not {crc32c}")
        return _stored(blob)

    # One retry is enough: the second upload finds the object there, or writes it again.
    @retry(retry=retry_if_exception_type(_StartOverError), stop=stop_after_attempt(2), reraise=True)
    def _upload(
        self, blob: Blob, content: Path | bytes, crc32c: str, if_generation: int | None
    ) -> None:
        try:
            opened: Any = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
            with opened as stream:
                blob.upload_from_file(
                    stream,
                    size=_size(content),
                    if_generation_match=if_generation,
                    checksum="crc32c",
                    crc32c_checksum_value=crc32c,
                    timeout=self._timeout_s,
                    # After DataCorruption the session is finished; there is nothing to resume.
                    retry=within(self._deadline_s, unless=DataCorruption),
                )
        except DataCorruption as error:
            raise _StartOverError(f"{blob.name} was damaged in transit") from error
        except GoogleAPICallError as error:
            url = str(getattr(getattr(error.response, "request", None), "url", ""))
            if error.code in (404, 410) and "upload_id=" in url:
                raise _StartOverError(f"the upload session of {blob.name} has expired") from error
            raise

    def prepare(self, name: str, content: Path) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: an upload is visible as soon as it is complete."""
        return nullcontext()

    def stat(self, name: str) -> StoredObject | None:
        """Return the object, or ``None`` when there is none."""
        blob = self._found(name)
        return _stored(blob) if blob else None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises ``FileNotFoundError``.

        A small object is read at once, a larger one by ranges of one generation; a read
        raises a transient error if the object was replaced meanwhile.
        """
        blob = self._found(name)
        if blob is None:
            raise FileNotFoundError(self.url(name))
        if blob.size > CHUNK:
            # A new Blob: the fetched one carries a media link that ignores the generation.
            pinned = self._blob(name, generation=blob.generation)
            return io.BufferedReader(_Ranges(pinned, blob.size, self._limits()), CHUNK)
        try:
            # Reads the current generation: one that was just replaced cannot be read.
            return io.BytesIO(self._blob(name).download_as_bytes(**self._limits()))
        except NotFound as error:
            raise FileNotFoundError(self.url(name)) from error

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with ``prefix``, sorted by name."""
        blobs = self._client().list_blobs(self.bucket, prefix=prefix or None, **self._limits())
        return map(_stored, blobs)

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; succeeds if there is none. Raises ``ConflictError``.

        With ``if_generation`` that generation is removed for good, even in a bucket that
        keeps versions.
        """
        try:
            self._blob(name, generation=if_generation).delete(**self._limits())
        except NotFound as error:
            if if_generation is not None and self.stat(name) is not None:
                raise ConflictError(f"{name} is not generation {if_generation}") from error

    def signed_url(self, name: str, lifetime: timedelta) -> str:
        """Return a URL that anyone can play for at most 7 days.

        IAM's ``signBlob`` signs it when the credentials have no private key, as on Cloud
        Run. An emulator's objects are public, so their plain URL is returned. Raises
        ``ValueError`` for a longer lifetime, ``ConfigurationError`` for a person's own
        credentials, which cannot sign.
        """
        check_lifetime(lifetime)
        blob, credentials = self._blob(name), self._credentials()
        if isinstance(credentials, AnonymousCredentials):
            return str(blob.public_url)
        signer = signing(credentials)
        return str(blob.generate_signed_url(expiration=lifetime, version="v4", credentials=signer))

    def check(self) -> None:
        """Raise if the bucket cannot be reached; takes at most 5 seconds.

        Lists one object, since the account may lack permission to read bucket metadata.
        """
        client, limits = self._client(), {"retry": None, "timeout": (_CHECK_S, _CHECK_S)}
        next(
            iter(client.list_blobs(self.bucket, max_results=1, fields="items(name)", **limits)),
            None,
        )

    def _blob(self, name: str, **settings: Any) -> Blob:
        return self._client().bucket(self.bucket).blob(check_name(name), **settings)

    def _found(self, name: str) -> Blob | None:
        return self._client().bucket(self.bucket).get_blob(check_name(name), **self._limits())

    def _limits(self) -> dict[str, Any]:
        return {"retry": within(self._deadline_s), "timeout": self._timeout_s}


class _Ranges(io.RawIOBase):
    """The bytes of one generation of an object; each read is one request."""

    def __init__(self, blob: Blob, size: int, limits: dict[str, Any]) -> None:
        self._blob = blob
        self._size = size
        self._limits = limits
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readall(self) -> bytes:
        # The inherited readall() reads 8 KiB at a time.
        return b"".join(iter(lambda: self._next(CHUNK), b""))

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, length: int) -> bytes:
        end = min(self._position + length, self._size)
        if self._position >= end:
            return b""
        try:
            data: bytes = self._blob.download_as_bytes(
                start=self._position, end=end - 1, checksum=None, **self._limits
            )
        except NotFound as error:
            raise TransientError(f"{self._blob.name} was replaced while it was read") from error
        self._position += len(data)
        return data


def _default_credentials() -> Credentials:
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    credentials, _ = google.auth.default(scopes=_SCOPES)
    return credentials


def _stored(blob: Blob) -> StoredObject:
    return StoredObject(
        name=blob.name,
        bytes=blob.size,
        crc32c=blob.crc32c,
        generation=blob.generation,
        content_type=blob.content_type or "application/octet-stream",
        metadata=blob.metadata or {},
        updated=blob.updated,
    )


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _checksum(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return crc32c_of(content)
    checksum = 0
    with content.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum = google_crc32c.extend(checksum, chunk)
    return encode_crc32c(checksum)
