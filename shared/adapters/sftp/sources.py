"""Audio files on an SFTP server: found page by page, read by range, never changed."""

from __future__ import annotations

import hashlib
import logging
import posixpath
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from shared.adapters.sftp.listing import AudioFiles, FoundFile, shown
from shared.adapters.sftp.packets import DISCONNECTED, MISSING, Attributes, FileType, StatusError
from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.session import SftpSession
from shared.core.errors import Code, PermanentError, TransientError
from shared.core.filetypes import mime_type
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path, encode_path
from shared.core.ports import PassedOver
from shared.core.sftp_errors import UnreachableError

#: Bytes hashed at the start, in the middle and at the end of a file without a time.
SAMPLE_BYTES = 64 << 10

_EPOCH = datetime.fromtimestamp(0, UTC)

_log = logging.getLogger(__name__)


class SftpSources:
    """``ports.Sources`` under one directory of a server; ``source_id`` is relative to it.

    A file's revision is its size and modification time by LSTAT (STAT where the server
    lacks it). Where the server reports no time, it is the size and a hash of the file's
    first, middle and last 64 KiB.

    Args:
        server: The server.
        root: The directory, ``SFTP_REMOTE_PATH``; relative to the login's directory unless
            absolute.
        exclude: A directory to skip where it is below ``root``: ``SFTP_MIRROR_PATH``.
        passed_over: Where each listing adds the files that it passes over, if anyone asks.
    """

    def __init__(
        self,
        server: SftpServer,
        root: str,
        *,
        exclude: str = "",
        passed_over: PassedOver | None = None,
    ) -> None:
        self._server = server
        self._root = root.encode()
        self._exclude = exclude.encode()
        self._passed_over = passed_over

    def open(self, item: SourceFile) -> SftpFile:
        """Open the revision that ``item`` names.

        Raises ``PermanentError`` (``gone``, ``forbidden``, ``superseded``),
        ``UnreachableError`` and ``ServerError``.
        """
        return SftpFile(self._server, self.path(item.source_id), item.revision)

    def path(self, source_id: str) -> bytes:
        """Return the path of a file on the server; raises ``PermanentError`` for one outside."""
        relative = decode_path(source_id)
        if any(part in (b"", b".", b"..") for part in relative.split(b"/")) or b"\0" in relative:
            raise PermanentError(Code.FORBIDDEN, f"{source_id} is not below the source directory")
        return posixpath.join(self._root, relative)

    def list(self) -> Iterator[SourceFile]:
        """Yield the audio files below the directory, a page of the server's at a time.

        See ``AudioFiles`` for what is skipped. Raises ``ServerError`` and
        ``UnreachableError``.
        """
        timeless = 0
        with self._server.used():
            passed_over = self._passed_over or PassedOver()
            files = AudioFiles(self._server, self._root, self._exclude, passed_over)
            for found in files.all():
                if found.attributes.mtime is None:
                    timeless += 1
                    if timeless == 1:
                        _log.warning(
                            "the server reports no modification time for %s: such files are"
                            " identified by their size and a hash of their content, and one"
                            " that is still being uploaded is not recognised",
                            encode_path(found.path),
                        )
                try:
                    yield self._describe(found)
                except UnreachableError:
                    raise
                except (PermanentError, TransientError) as error:
                    _log.error("skipping a file: %s", error)

    def _describe(self, found: FoundFile) -> SourceFile:
        revision, size = _plain_revision(found.attributes), found.attributes.size
        if revision is None:
            path = posixpath.join(self._root, found.path)

            def by_content(session: SftpSession) -> tuple[str, int]:
                handle = session.open_read(path)
                try:
                    return _hash_revision(session, handle, found.attributes)
                finally:
                    session.forget(handle)

            # Once: a file that fails is skipped, and must not delay the others.
            revision, size = self._server.once(by_content, path)
        name = shown(posixpath.basename(found.path))
        mtime = found.attributes.mtime
        return SourceFile(
            source=Source.SFTP,
            source_id=encode_path(found.path),
            revision=revision,
            name=name,
            mime_type=mime_type(name),
            size_bytes=size or 0,
            created_at=datetime.fromtimestamp(mtime, UTC) if mtime else _EPOCH,
        )


class SftpFile:
    """The bytes of one revision of a file; ``ports.ByteSource``."""

    local_path: Path | None = None

    def __init__(self, server: SftpServer, path: bytes, revision: str) -> None:
        self._server = server
        self._path = path
        self._revision = revision
        self._size = 0
        self._lock = threading.Lock()
        self._opened: tuple[SftpSession, bytes] | None = None
        self._closed = False
        self._use = server.used()
        self._use.__enter__()
        try:
            # Not opened before it is known to be a file: opening a pipe can block a server.
            server.call(self._require_file, path)
            server.call(self._handle, path)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file.

        Many requests are in flight at once; where the connection breaks, another one
        resumes. Raises ``PermanentError`` (``superseded``, ``gone``, ``forbidden``,
        ``timeout``).
        """
        wanted = max(0, min(length, self._size - offset))

        def read(session: SftpSession) -> bytes:
            handle = self._handle(session)
            try:
                return session.read(handle, offset, wanted)
            except StatusError:
                with self._lock:  # the handle may be what has failed
                    if self._opened == (session, handle):
                        self._opened = None
                        session.forget(handle)
                raise

        data = self._server.call(read, self._path)
        if len(data) < wanted:
            raise self._superseded()
        return data

    def check_unchanged(self) -> None:
        """Compare the file that is at its path now with the revision."""
        self._server.call(
            lambda session: self._require_same(session, self._handle(session)), self._path
        )

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            opened, self._opened = self._opened, None
        if opened:
            session, handle = opened
            session.forget(handle)
        self._use.__exit__(None, None, None)

    def _handle(self, session: SftpSession) -> bytes:
        """Return the handle on this connection, opening and checking the file if needed."""
        with self._lock:
            if self._closed:
                raise ValueError("read of a closed file")
            if self._opened is None or self._opened[0] is not session:
                handle = session.open_read(self._path)
                try:
                    # After the open, so that a file put there in between is noticed.
                    found = self._require_same(session, handle)
                    self._size = session.size_of(handle, found.size)
                except BaseException:
                    session.forget(handle)
                    raise
                self._opened = session, handle
            return self._opened[1]

    def _require_same(self, session: SftpSession, handle: bytes) -> Attributes:
        found = self._require_file(session)
        revision = _plain_revision(found)
        if revision is None:
            revision, _ = _hash_revision(session, handle, found)
        if revision != self._revision:
            raise self._superseded()
        return found

    def _require_file(self, session: SftpSession) -> Attributes:
        try:
            found = session.attributes_of(self._path)
        except StatusError as error:
            if error.code in MISSING | DISCONNECTED:
                raise
            found = Attributes()  # the server does not report them
        if found.type not in (None, FileType.REGULAR):
            raise PermanentError(Code.GONE, f"{encode_path(self._path)} is no longer a file")
        return found

    def _superseded(self) -> PermanentError:
        return PermanentError(
            Code.SUPERSEDED, f"{encode_path(self._path)} has changed since it was found"
        )


def _plain_revision(found: Attributes) -> str | None:
    if found.size is None or found.mtime is None:
        return None
    return f"{found.size}-{found.mtime}"


def _hash_revision(session: SftpSession, handle: bytes, found: Attributes) -> tuple[str, int]:
    """Return the revision of a file whose time is not reported, and its size."""
    size = session.size_of(handle, found.size)
    digest = hashlib.sha256()
    for offset in (0, max(0, (size - SAMPLE_BYTES) // 2), max(0, size - SAMPLE_BYTES)):
        digest.update(session.read(handle, offset, min(SAMPLE_BYTES, size - offset)))
    return f"{size}-{digest.hexdigest()[:32]}", size
