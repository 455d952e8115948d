"""Sound files on an SFTP server: found page by page, read by range, never changed."""

from __future__ import annotations

import logging
import posixpath
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from shared.adapters.sftp.packets import Attributes, DirectoryEntry, SftpStatus, StatusError
from shared.adapters.sftp.server import SftpServer, translate_errors
from shared.adapters.sftp.session import SftpSession
from shared.core.errors import Code, PermanentError
from shared.core.filetypes import is_sound, mime_type
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path, encode_path
from shared.core.sftp_errors import ServerCode, ServerError

_BARRED = frozenset(b"/\0")

_log = logging.getLogger(__name__)


class SftpSources:
    """``ports.Sources`` under one directory of a server; ``source_id`` is relative to it.

    Args:
        server: The server.
        root: The directory, ``SFTP_REMOTE_PATH``; a relative one starts where logins do.
        exclude: A directory that is left out where it lies below, ``SFTP_MIRROR_PATH``.
    """

    def __init__(self, server: SftpServer, root: str, *, exclude: str = "") -> None:
        self._server = server
        self._root = root.encode()
        self._exclude = exclude.encode()

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
        """Yield the sound files below the directory, as the server sends their pages.

        Left out are hidden names, symbolic links, devices, names that could lead
        elsewhere, and what is no sound by its extension. A directory below that cannot be
        read is logged as an error and left out. Raises ``ServerError``
        (``missing_directory``, ``forbidden_directory``) and ``UnreachableError``.
        """
        with self._server.used():
            excluded = self._check_root()
            waiting = [b""]
            while waiting:
                folder = waiting.pop()
                for entry in self._entries(folder):
                    path = posixpath.join(folder, entry.name)
                    if _is_directory(entry.attributes):
                        if path != excluded:
                            waiting.append(path)
                    elif _is_source(entry):
                        yield _describe(path, entry.attributes)

    def _check_root(self) -> bytes | None:
        """Make sure of the directory; returns the excluded one, relative, if it lies below."""
        try:
            real = self._server.call(self._real_root, self._root)
        except PermanentError as error:
            raise self._unusable(error.code) from error
        excluded = self._real_excluded()
        if real == excluded:
            raise ServerError(
                ServerCode.FORBIDDEN_DIRECTORY,
                "SFTP_MIRROR_PATH leads to the source directory, which is never changed",
            )
        prefix = real.rstrip(b"/") + b"/"
        return excluded.removeprefix(prefix) if excluded.startswith(prefix) else None

    def _real_excluded(self) -> bytes:
        if not self._exclude:
            return b""
        try:
            return self._server.call(lambda s: s.real_path(self._exclude), self._exclude)
        except PermanentError:
            return b""  # it is made with the first file that is put there

    def _real_root(self, session: SftpSession) -> bytes:
        found = session.stat(self._root)
        if found.mode is not None and not stat.S_ISDIR(found.mode):
            raise StatusError(SftpStatus.NO_SUCH_FILE, "not a directory")
        return session.real_path(self._root)

    def _unusable(self, code: Code) -> ServerError:
        root = encode_path(self._root)
        if code is Code.FORBIDDEN:
            return ServerError(
                ServerCode.FORBIDDEN_DIRECTORY, f"the source directory {root} may not be read"
            )
        return ServerError(
            ServerCode.MISSING_DIRECTORY, f"there is no source directory {root} on the server"
        )

    def _entries(self, folder: bytes) -> Iterator[DirectoryEntry]:
        path = posixpath.join(self._root, folder)
        session = self._server.call(lambda session: session, path)
        try:
            # Not tried again half-way: what came already would come twice.
            with translate_errors(path):
                if not folder or _is_directory(session.lstat(path)):
                    yield from _visible(session, path)
        except PermanentError as error:
            if not folder:
                raise self._unusable(error.code) from error
            _log.error("a directory is left out: %s", error)


class SftpFile:
    """The bytes of one revision of a file; ``ports.ByteSource``."""

    local_path: Path | None = None

    def __init__(self, server: SftpServer, path: bytes, revision: str) -> None:
        self._server = server
        self._path = path
        self._revision = revision
        self._lock = threading.Lock()
        self._opened: tuple[SftpSession, bytes] | None = None
        self._closed = False
        self._use = server.used()
        self._use.__enter__()
        try:
            self.check_unchanged()
            server.call(self._handle, path)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(self._revision.partition("-")[0])

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file.

        Many requests are on their way at once, and where the connection breaks another
        one goes on. Raises ``PermanentError`` (``superseded``, ``gone``, ``forbidden``).
        """
        wanted = max(0, min(length, self.size - offset))
        data = self._server.call(
            lambda session: session.read(self._handle(session), offset, wanted), self._path
        )
        if len(data) < wanted:
            raise self._superseded()
        return data

    def check_unchanged(self) -> None:
        """Compare the file, as it lies at its path now, with the revision."""
        self._require_same(self._server.call(lambda s: s.lstat(self._path), self._path))

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            opened, self._opened = self._opened, None
        if opened and not opened[0].is_broken:
            session, handle = opened
            session.forget(handle)
        self._use.__exit__(None, None, None)

    def _handle(self, session: SftpSession) -> bytes:
        """Return the handle on this connection; another one has others."""
        with self._lock:
            if self._closed:
                raise ValueError("read of a closed file")
            if self._opened is None or self._opened[0] is not session:
                handle = session.open_read(self._path)
                self._require_same(session.fstat(handle))
                self._opened = session, handle
            return self._opened[1]

    def _require_same(self, found: Attributes) -> None:
        if found.mode is not None and not stat.S_ISREG(found.mode):
            raise PermanentError(Code.GONE, f"{encode_path(self._path)} is no file any more")
        if _revision(found) != self._revision:
            raise self._superseded()

    def _superseded(self) -> PermanentError:
        return PermanentError(
            Code.SUPERSEDED, f"{encode_path(self._path)} has changed since it was found"
        )


def _visible(session: SftpSession, path: bytes) -> Iterator[DirectoryEntry]:
    for entry in session.entries(path):
        # A name with a slash is none; only a server that means harm would send it.
        if not entry.name or entry.name.startswith(b".") or not _BARRED.isdisjoint(entry.name):
            continue
        if entry.attributes.mode is None:
            # Some servers tell nothing of a file until they are asked for it.
            yield DirectoryEntry(entry.name, session.lstat(posixpath.join(path, entry.name)))
        else:
            yield entry


def _is_directory(found: Attributes) -> bool:
    return stat.S_ISDIR(found.mode or 0)


def _is_source(entry: DirectoryEntry) -> bool:
    return stat.S_ISREG(entry.attributes.mode or 0) and is_sound(_shown(entry.name))


def _describe(path: bytes, found: Attributes) -> SourceFile:
    name = _shown(posixpath.basename(path))
    return SourceFile(
        source=Source.SFTP,
        source_id=encode_path(path),
        revision=_revision(found),
        name=name,
        mime_type=mime_type(name),
        size_bytes=found.size or 0,
        created_at=datetime.fromtimestamp(found.mtime or 0, UTC),
    )


def _revision(found: Attributes) -> str:
    return f"{found.size or 0}-{found.mtime or 0}"


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
