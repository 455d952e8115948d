"""Files and directories over SFTP, version 3: reads in flight, names as bytes.

paramiko's own client fails for a whole directory if one name is not UTF-8, and either reads
one block at a time or buffers everything that was not consumed yet. Source:
draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL, sections 4.3 and 4.10.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from shared.adapters.sftp.packets import (
    DISCONNECTED,
    Attributes,
    DirectoryEntry,
    FileType,
    Kind,
    SftpStatus,
    StatusError,
    attributes,
    entries,
    expect,
    text,
)
from shared.adapters.sftp.requests import SftpRequests
from shared.core.errors import Code, PermanentError
from shared.core.sftp_errors import ProtocolError, UnreachableError

#: Bytes per read request. OpenSSH answers up to 255 KiB, others 32 KiB; a shorter answer
#: makes later requests as short.
READ_BYTES = 128 << 10

#: Requests in flight, of all threads together: 8 MiB of reads, which fills a line of
#: 1 Gbit/s with a round trip of 60 ms.
IN_FLIGHT = 64

#: A read may take ``SLOW_READ_S`` plus its length at this rate. A server that sends a byte
#: now and then would keep a worker busy for ever without it.
SLOW_READ_S = 30.0
SLOW_READ_BYTES_PER_S = 16 << 10

_LEAST_READ_BYTES = 4 << 10

# No file is longer than this; the search for the end of one starts here.
_MAX_FILE_BYTES = 1 << 62

_READ_FLAG, _WRITE_FLAG, _CREATE_FLAG, _TRUNCATE_FLAG = 0x01, 0x02, 0x08, 0x10

POSIX_RENAME = b"posix-rename@openssh.com"
FSYNC = b"fsync@openssh.com"


class SftpSession(SftpRequests):
    """The files and directories of one SFTP session, shared by threads.

    Paths are bytes, as the server has them. The arguments are those of ``SftpRequests``.
    """

    def __init__(self, channel: Any, timeout_s: float) -> None:
        super().__init__(channel, timeout_s)
        self._slots = threading.BoundedSemaphore(IN_FLIGHT)
        self._read_bytes = READ_BYTES
        self._reads_in_flight = IN_FLIGHT
        self._has_lstat = True

    # ── attributes, names and handles ──

    def attributes_of(self, path: bytes) -> Attributes:
        """Return the attributes of a path, of the link itself where it is one.

        See ``attributes_of_all``. Raises ``StatusError``.
        """
        (found,) = self.attributes_of_all([path])
        if isinstance(found, StatusError):
            raise found
        return found

    def attributes_of_all(self, paths: Iterable[bytes]) -> list[Attributes | StatusError]:
        """Return the attributes of each path, or why the server does not report them.

        LSTAT is the one request whose answers are compared with each other: READDIR, STAT
        and FSTAT give other sizes or times on some servers (WS_FTP and Apache MINA SSHD
        0.13 even reject FSTAT: github.com/pkg/sftp issue 288). STAT stands in where the
        server does not know LSTAT, and completes an answer without a size or a time.
        """
        paths = list(paths)
        unsupported = StatusError(SftpStatus.OP_UNSUPPORTED, "")
        found: list[Attributes | StatusError] = [unsupported] * len(paths)
        if self._has_lstat:
            found = self._all(Kind.LSTAT, paths)
        # STAT would describe the target of a link.
        lacking = [
            n
            for n, one in enumerate(found)
            if isinstance(one, StatusError)
            or (one.type is not FileType.OTHER and None in (one.size, one.mtime))
        ]
        more = self._all(Kind.STAT, [paths[n] for n in lacking])
        for n, by_stat in zip(lacking, more, strict=True):
            by_lstat = found[n]
            if isinstance(by_stat, StatusError):
                if isinstance(by_lstat, StatusError) and by_lstat.code == unsupported.code:
                    found[n] = by_stat
            elif isinstance(by_lstat, StatusError):
                found[n] = by_stat
            else:
                found[n] = Attributes(
                    size=by_stat.size if by_lstat.size is None else by_lstat.size,
                    mode=by_stat.mode if by_lstat.mode is None else by_lstat.mode,
                    mtime=by_stat.mtime if by_lstat.mtime is None else by_lstat.mtime,
                )
        return found

    def _all(self, kind: Kind, paths: list[bytes]) -> list[Attributes | StatusError]:
        replies: list[Attributes | StatusError] = []
        sent: deque[Future[bytes]] = deque()
        waiting = deque(paths)
        while waiting or sent:
            while waiting and len(sent) < IN_FLIGHT:
                sent.append(self._request(kind, text(waiting.popleft())))
            try:
                replies.append(attributes(expect(self._result(sent.popleft()), Kind.ATTRS)))
            except StatusError as error:
                if error.code in DISCONNECTED:
                    raise
                if kind == Kind.LSTAT and error.code == SftpStatus.OP_UNSUPPORTED:
                    self._has_lstat = False
                replies.append(error)
        return replies

    def real_path(self, path: bytes) -> bytes:
        """Return the absolute path without links, as far as the path exists."""
        reply = self._answer(Kind.REALPATH, text(path), want=Kind.NAME)
        reply.number()
        return reply.text()

    def open_read(self, path: bytes) -> bytes:
        """Open a file for reading; returns its handle."""
        body = text(path) + struct.pack(">II", _READ_FLAG, 0)
        return self._answer(Kind.OPEN, body, want=Kind.HANDLE).text()

    def open_write(self, path: bytes) -> bytes:
        """Create or empty a file; returns its handle."""
        flags = _WRITE_FLAG | _CREATE_FLAG | _TRUNCATE_FLAG
        body = text(path) + struct.pack(">II", flags, 0)
        return self._answer(Kind.OPEN, body, want=Kind.HANDLE).text()

    def close_handle(self, handle: bytes) -> None:
        """Close a file; the server may report a failed write only now."""
        self._answer(Kind.CLOSE, text(handle), want=Kind.STATUS)

    def forget(self, handle: bytes) -> None:
        """Close a file or directory that was only read, without waiting for the reply."""
        if not self.is_broken:
            self._request(Kind.CLOSE, text(handle))

    # ── reading and writing ──

    def read(self, handle: bytes, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file.

        Raises ``StatusError``, and ``PermanentError`` (``timeout``) for a server that is
        slower than ``SLOW_READ_BYTES_PER_S``.
        """
        start, limit_s = time.monotonic(), SLOW_READ_S + length / SLOW_READ_BYTES_PER_S
        pieces: list[memoryview] = []
        requests: deque[tuple[int, int, Future[bytes]]] = deque()
        asked, end = offset, offset + length
        while requests or asked < end:
            while asked < end and len(requests) < self._reads_in_flight:
                size = min(self._read_bytes, end - asked)
                requests.append((asked, size, self._ask(handle, asked, size)))
                asked += size
            wanted, size, answer = requests.popleft()
            try:
                piece = self._piece(answer, size)
            except StatusError as error:
                if error.code == SftpStatus.FAILURE:
                    # Some servers reject reads out of order or many at once; a retry of
                    # this read sends one at a time (github.com/rclone/rclone issue 5232).
                    self._reads_in_flight = 1
                raise
            if not piece:
                break
            pieces.append(piece)
            if time.monotonic() - start > limit_s:
                seconds = time.monotonic() - start
                self.close(UnreachableError("the server is too slow"))
                raise PermanentError(
                    Code.TIMEOUT,
                    f"the server sent {sum(map(len, pieces))} bytes in {seconds:.0f} s",
                )
            if len(piece) < size:
                self._read_bytes = max(_LEAST_READ_BYTES, min(self._read_bytes, len(piece)))
                rest = wanted + len(piece), size - len(piece)
                requests.appendleft((*rest, self._ask(handle, *rest)))
        return b"".join(pieces)

    def size_of(self, handle: bytes, reported: int | None) -> int:
        """Return the size of an open file as its bytes show it.

        ``reported`` is the server's answer. Servers that encrypt or convert files report
        another size than they send, so two bytes are read: the last one, and the one after
        it. Where they contradict the server, the end is searched by halving.
        """
        last, size = (reported or 0) - 1, reported or 0
        if reported is not None and not self._has(handle, size):
            if last < 0 or self._has(handle, last):
                return size
            low, high = 0, last  # some byte from low to high is the first that is missing
        else:
            low, high = size, max(1, 2 * size)
            while high < _MAX_FILE_BYTES and self._has(handle, high):
                low, high = high + 1, 2 * high
        while low < high:
            middle = (low + high) // 2
            if self._has(handle, middle):
                low = middle + 1
            else:
                high = middle
        return low

    def _has(self, handle: bytes, offset: int) -> bool:
        try:
            return bool(self._piece(self._ask(handle, offset, 1), 1))
        except StatusError as error:
            if error.code in DISCONNECTED:
                raise
            return False  # some servers answer FAILURE instead of EOF past the end

    def write(self, handle: bytes, offset: int, data: bytes) -> Future[bytes]:
        """Send a piece of a file; pass the result to ``wait_written``."""
        return self._request(Kind.WRITE, text(handle) + struct.pack(">Q", offset) + text(data))

    def wait_written(self, future: Future[bytes]) -> None:
        """Wait for the reply to ``write``; raises ``StatusError`` if it failed."""
        expect(self._result(future), Kind.STATUS)

    # ── directories ──

    def open_directory(self, path: bytes) -> bytes:
        """Open a directory; returns its handle."""
        return self._answer(Kind.OPENDIR, text(path), want=Kind.HANDLE).text()

    def check_directory(self, path: bytes) -> None:
        """Raise ``StatusError`` unless a path can be listed.

        It is opened and read once: AsyncSSH's server opens anything.
        """
        handle = self.open_directory(path)
        try:
            self._answer(Kind.READDIR, text(handle), want=Kind.NAME)
        except StatusError as error:
            # An empty directory ends so on some servers, and a missing one on others.
            is_missing = error.code == SftpStatus.NO_SUCH_FILE
            if is_missing and self.attributes_of(path).type in (FileType.DIRECTORY, None):
                return
            if error.code != SftpStatus.EOF:
                raise
        finally:
            self.forget(handle)

    def pages(self, path: bytes) -> Iterator[list[DirectoryEntry]]:
        """Yield the entries of a directory in the pages that the server sends."""
        handle = self.open_directory(path)
        try:
            while True:
                try:
                    reply = self._answer(Kind.READDIR, text(handle), want=Kind.NAME)
                except StatusError as error:
                    # NO_SUCH_FILE ends the listing of an empty directory on some servers.
                    if error.code in (SftpStatus.EOF, SftpStatus.NO_SUCH_FILE):
                        return
                    raise
                page = entries(reply)
                if not page:
                    return
                yield page
        finally:
            self.forget(handle)

    def make_directory(self, path: bytes) -> None:
        """Create a directory; raises ``StatusError``, also if it exists."""
        self._answer(Kind.MKDIR, text(path) + struct.pack(">I", 0), want=Kind.STATUS)

    def remove(self, path: bytes) -> None:
        self._answer(Kind.REMOVE, text(path), want=Kind.STATUS)

    def rename(self, old: bytes, new: bytes) -> None:
        """Rename a file; raises ``StatusError`` if the new name exists."""
        self._answer(Kind.RENAME, text(old) + text(new), want=Kind.STATUS)

    def extended(self, name: bytes, *arguments: bytes) -> None:
        """Call an operation beyond the protocol, one of ``extensions``."""
        body = b"".join(map(text, (name, *arguments)))
        self._answer(Kind.EXTENDED, body, want=Kind.STATUS)

    def _ask(self, handle: bytes, offset: int, length: int) -> Future[bytes]:
        if not self._slots.acquire(timeout=self._timeout_s):
            raise self._timed_out()
        body = text(handle) + struct.pack(">QI", offset, length)
        return self._request(Kind.READ, body, lambda _: self._slots.release())

    def _piece(self, answer: Future[bytes], asked: int) -> memoryview:
        """Return the bytes of a reply to a read of ``asked`` bytes; none at end of file."""
        try:
            data = expect(self._result(answer), Kind.DATA).view()
        except StatusError as error:
            if error.code == SftpStatus.EOF:
                return memoryview(b"")
            raise
        if len(data) > asked:
            broken = ProtocolError(
                f"the server sent {len(data)} bytes where {asked} were requested"
            )
            self.close(broken)
            raise broken
        return data
