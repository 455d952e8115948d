"""Objects in Cloud Storage: create-only uploads that the bucket refuses when a bit is wrong."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
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
from shared.adapters.objects import check_lifetime, check_name, crc32c_of, encode_crc32c
from shared.core.errors import ConflictError, ObjectExistsError, TransientError
from shared.core.ports import StoredObject
from shared.runtime.per_process import PerProcess

#: Bytes in one request of an upload; the API demands a multiple of 256 KiB.
CHUNK = 8 * 1024 * 1024

# The storage scopes that the client would ask for by itself do not cover signBlob.
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_CHECK_S = 2.0  # to connect, and as much again to answer


class _StartOverError(TransientError):
    """The upload was finished unheard, is too old to resume, or has gone wrong on its way."""


class GCSStorage:
    """One Cloud Storage bucket (``ports.Storage``).

    A call is tried again for ``deadline_s`` seconds, each try waiting ``timeout_s`` for an
    answer; an upload has both for each chunk of 8 MiB, so that a large one is not given
    up while it advances. The account needs ``roles/storage.objectUser`` on the bucket,
    and ``roles/iam.serviceAccountTokenCreator`` on itself to sign addresses.

    ``credentials`` default to the environment's; with ``STORAGE_EMULATOR_HOST`` there are
    none.
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
        # No project: nothing here is asked of one, and there may be none in sight.
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
        """Write an object whole or not at all, as the port says.

        The checksum is computed first and sent along: the bucket does not finish an
        object that has another one ("Data validation and change detection").
        """
        blob = self._blob(name, chunk_size=CHUNK)
        blob.content_type = content_type
        blob.cache_control = cache_control
        blob.metadata = dict(metadata or {})
        crc32c = _checksum(content)
        try:
            self._upload(blob, content, crc32c, if_generation)
        except PreconditionFailed as error:
            return self._ours(blob, crc32c, if_generation, error)
        if blob.crc32c != crc32c:
            self.delete(name, if_generation=blob.generation)
            raise TransientError(f"{self.url(name)} became {blob.crc32c}, not {crc32c}")
        return _stored(blob)

    # Once is enough: the second upload finds the object there, or writes it anew.
    @retry(retry=retry_if_exception_type(_StartOverError), stop=stop_after_attempt(2), reraise=True)
    def _upload(
        self, blob: Blob, content: Path | bytes, crc32c: str, if_generation: int | None
    ) -> None:
        try:
            with _opened(content) as stream:
                blob.upload_from_file(
                    stream,
                    size=_size(content),
                    if_generation_match=if_generation,
                    checksum="crc32c",
                    crc32c_checksum_value=crc32c,
                    timeout=self._timeout_s,
                    # Whose last part was refused here is finished there: none to send again.
                    retry=within(self._deadline_s, unless=DataCorruption),
                )
        except DataCorruption as error:
            raise _StartOverError(f"{blob.name} was damaged on its way") from error
        except GoogleAPICallError as error:
            if error.code in (404, 410) and "upload_id=" in _request_url(error):
                raise _StartOverError(f"the upload of {blob.name} is no longer known") from error
            raise

    def _ours(
        self, blob: Blob, crc32c: str, if_generation: int | None, error: PreconditionFailed
    ) -> StoredObject:
        """Return the object in the way if it is this one: an earlier answer was lost."""
        if if_generation:
            raise ConflictError(f"{blob.name} is not of generation {if_generation}") from error
        there = self.stat(blob.name)
        if there is None:
            raise TransientError(f"{blob.name} was there, and is gone") from error
        key = blob.metadata.get("key")
        if key is None or there.metadata.get("key") != key or there.crc32c != crc32c:
            raise ObjectExistsError(blob.name) from error
        return there

    def stat(self, name: str) -> StoredObject | None:
        """Return the object, or ``None`` when there is none."""
        blob = self._found(name)
        return _stored(blob) if blob else None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises ``FileNotFoundError``.

        A small one is read at once; a larger one by ranges of one generation, which raise
        a transient error when it is replaced meanwhile.
        """
        blob = self._found(name)
        if blob is None:
            raise FileNotFoundError(self.url(name))
        if blob.size > CHUNK:
            # A blob that is only named, or the client would go by the link in the answer.
            pinned = self._blob(name, generation=blob.generation)
            return io.BufferedReader(_Ranges(pinned, blob.size, self._limits()), CHUNK)
        try:
            # Of whatever generation it is by now: one that was just replaced cannot be read.
            return io.BytesIO(self._blob(name).download_as_bytes(**self._limits()))
        except NotFound as error:
            raise FileNotFoundError(self.url(name)) from error

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with ``prefix``, sorted by name."""
        blobs = self._client().list_blobs(self.bucket, prefix=prefix or None, **self._limits())
        return map(_stored, blobs)

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; one that is not there is success. Raises ``ConflictError``.

        With ``if_generation`` it is that generation which goes, for good, in a bucket
        that keeps versions too.
        """
        try:
            self._blob(name, generation=if_generation).delete(**self._limits())
        except NotFound as error:
            if if_generation is not None and self.stat(name) is not None:
                raise ConflictError(f"{name} is not of generation {if_generation}") from error

    def signed_url(self, name: str, lifetime: timedelta) -> str:
        """Return an address that plays the object for anyone, for at most 7 days.

        Signed by IAM's ``signBlob`` when the credentials hold no private key, as on Cloud
        Run. An emulator's objects are open to all: their plain address. Raises
        ``ValueError`` for a longer life, ``ConfigurationError`` for a person's own
        credentials, which cannot sign.
        """
        check_lifetime(lifetime)
        blob, credentials = self._blob(name), self._credentials()
        if isinstance(credentials, AnonymousCredentials):
            return str(blob.public_url)
        signer = signing(credentials)
        return str(blob.generate_signed_url(expiration=lifetime, version="v4", credentials=signer))

    def check(self) -> None:
        """Raise when the bucket cannot be reached; takes at most 5 seconds.

        Lists one object: the account that works here need not see the bucket's settings.
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
    """The bytes of one generation of an object, each read a request of its own."""

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
        # The inherited one reads 8 KiB a time.
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


def _opened(content: Path | bytes) -> Any:
    return nullcontext(io.BytesIO(content)) if isinstance(content, bytes) else content.open("rb")


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


def _request_url(error: GoogleAPICallError) -> str:
    return str(getattr(getattr(error.response, "request", None), "url", ""))
