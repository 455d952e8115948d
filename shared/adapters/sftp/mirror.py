"""Writes files to an SFTP server: each appears whole under its name, or not at all."""

from __future__ import annotations

import io
import posixpath
import uuid
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from shared.adapters.sftp.packets import MISSING, StatusError
from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.session import FSYNC, POSIX_RENAME, SftpSession

#: Bytes per write, which every server accepts, and how many writes are in flight.
_WRITE_BYTES = 32 << 10
_IN_FLIGHT = 32


class SftpMirror:
    """``ports.Mirror`` in a directory of a server, which is created if missing."""

    def __init__(self, server: SftpServer, root: str) -> None:
        self._server = server
        self._root = root.encode()

    def put(self, name: str, content: Path | bytes) -> None:
        """Write a file, replacing one of that name; retried if the connection broke.

        The bytes are written to a hidden file beside it, synced where the server can
        (``fsync@openssh.com``), and renamed in one step (``posix-rename@openssh.com``;
        elsewhere the old file is removed first).
        """
        path = posixpath.join(self._root, name.encode())
        # One name for all attempts: a retry overwrites what a broken connection left.
        hidden = f".audio-pipeline.{uuid.uuid4().hex}.tmp".encode()
        unfinished = posixpath.join(posixpath.dirname(path), hidden)
        self._server.call(lambda session: _put(session, path, unfinished, content), path)


def _put(session: SftpSession, path: bytes, unfinished: bytes, content: Path | bytes) -> None:
    _make_directories(session, posixpath.dirname(path))
    try:
        written: deque[Future[bytes]] = deque()
        offset = 0
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            handle = session.open_write(unfinished)
            while data := file.read(_WRITE_BYTES):
                written.append(session.write(handle, offset, data))
                offset += len(data)
                if len(written) >= _IN_FLIGHT:
                    session.wait_written(written.popleft())
        while written:
            session.wait_written(written.popleft())
        if FSYNC in session.extensions:
            session.extended(FSYNC, handle)
        session.close_handle(handle)
        if POSIX_RENAME in session.extensions:
            session.extended(POSIX_RENAME, unfinished, path)
            return
        # The protocol's own rename fails if the new name exists.
        try:
            session.remove(path)
        except StatusError as error:
            if error.code not in MISSING:
                raise
        session.rename(unfinished, path)
    except BaseException:
        if not session.is_broken:
            with suppress(StatusError):
                session.remove(unfinished)
        raise


def _make_directories(session: SftpSession, path: bytes) -> None:
    if path in (b"", b"/", b"."):
        return
    try:
        session.attributes_of(path)
    except StatusError as error:
        if error.code not in MISSING:
            raise
        _make_directories(session, posixpath.dirname(path))
        with suppress(StatusError):  # another writer was faster, or the upload will fail
            session.make_directory(path)
