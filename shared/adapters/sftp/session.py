"""The SFTP protocol, version 3, over one channel: requests in flight, names as bytes.

paramiko's own client takes a name that is not UTF-8 for an error that loses its directory,
and either reads one block at a time or keeps all that nobody has taken yet. Source:
draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL, sections 4.3 and 4.10.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from shared.adapters.sftp.packets import (
    Attributes,
    DirectoryEntry,
    Kind,
    Reply,
    SftpStatus,
    StatusError,
    attributes,
    expect,
    extensions,
    packets,
    text,
)
from shared.core.sftp_errors import UnreachableError

#: One read. OpenSSH answers up to 255 KiB, others 32 KiB; a shorter answer makes later
#: requests as short.
READ_BYTES = 128 << 10

#: Reads on their way at once, of all threads together: 8 MiB, which fills a line of
#: 1 Gbit/s over 60 ms.
IN_FLIGHT = 64

_LEAST_READ_BYTES = 4 << 10

# The answer to the first packet has no number; 0 is nobody else's.
_VERSION_NUMBER = 0

_READ_FLAG, _WRITE_FLAG, _CREATE_FLAG, _TRUNCATE_FLAG = 0x01, 0x02, 0x08, 0x10

POSIX_RENAME = b"posix-rename@openssh.com"
FSYNC = b"fsync@openssh.com"


class SftpSession:
    """One SFTP session; threads share it. Every call raises ``UnreachableError`` once it broke.

    Args:
        channel: An open channel with the subsystem ``sftp`` (paramiko's ``Channel``).
        timeout_s: How long an answer may take before the session counts as broken.
    """

    def __init__(self, channel: Any, timeout_s: float) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        versions: Future[bytes] = Future()
        self._pending: dict[int, Future[bytes]] = {_VERSION_NUMBER: versions}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._slots = threading.BoundedSemaphore(IN_FLIGHT)
        self._read_bytes = READ_BYTES
        self._broken: str | None = None
        channel.settimeout(timeout_s)
        threading.Thread(target=self._receive, name="sftp", daemon=True).start()
        self._send(bytes([Kind.INIT]) + struct.pack(">I", 3))
        self.extensions = extensions(self._result(versions))

    @property
    def is_broken(self) -> bool:
        """Whether no request can succeed any more."""
        return self._broken is not None

    def close(self, reason: str = "the connection was closed") -> None:
        """End the session; calls that wait for an answer raise ``UnreachableError``."""
        with self._lock:
            self._broken = self._broken or reason
            pending, self._pending = self._pending, {}
        for future in pending.values():
            future.set_exception(UnreachableError(self._broken))
        self._channel.close()

    # Operations. Paths are bytes, as the server has them.

    def lstat(self, path: bytes) -> Attributes:
        """Return the attributes of a path, of the link itself where it is one."""
        return attributes(self._answer(Kind.LSTAT, text(path), want=Kind.ATTRS))

    def stat(self, path: bytes) -> Attributes:
        """Return the attributes of what a path leads to."""
        return attributes(self._answer(Kind.STAT, text(path), want=Kind.ATTRS))

    def fstat(self, handle: bytes) -> Attributes:
        """Return the attributes of an open file."""
        return attributes(self._answer(Kind.FSTAT, text(handle), want=Kind.ATTRS))

    def real_path(self, path: bytes) -> bytes:
        """Return the absolute path, which no link is part of as far as it exists."""
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
        """Close a file or directory; a server may tell of a failed write only now."""
        self._answer(Kind.CLOSE, text(handle), want=Kind.STATUS)

    def forget(self, handle: bytes) -> None:
        """Close a file that was only read, without waiting for the answer."""
        self._request(Kind.CLOSE, text(handle))

    def read(self, handle: bytes, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file."""
        pieces: list[memoryview] = []
        requests: deque[tuple[int, int, Future[bytes]]] = deque()
        asked, end = offset, offset + length
        while requests or asked < end:
            while asked < end and len(requests) < IN_FLIGHT:
                size = min(self._read_bytes, end - asked)
                requests.append((asked, size, self._ask(handle, asked, size)))
                asked += size
            wanted, size, answer = requests.popleft()
            piece = self._piece(answer)
            if not piece:
                break
            pieces.append(piece)
            if len(piece) < size:
                self._read_bytes = max(_LEAST_READ_BYTES, min(self._read_bytes, len(piece)))
                rest = wanted + len(piece), size - len(piece)
                requests.appendleft((*rest, self._ask(handle, *rest)))
        return b"".join(pieces)

    def write(self, handle: bytes, offset: int, data: bytes) -> Future[bytes]:
        """Send a piece of a file; ``settle`` the result."""
        return self._request(Kind.WRITE, text(handle) + struct.pack(">Q", offset) + text(data))

    def settle(self, future: Future[bytes]) -> None:
        """Wait for the answer to ``write``; raises ``StatusError`` when it was refused."""
        expect(self._result(future), Kind.STATUS)

    def entries(self, path: bytes) -> Iterator[DirectoryEntry]:
        """Yield what is in a directory, a page of the server's at a time."""
        handle = self._answer(Kind.OPENDIR, text(path), want=Kind.HANDLE).text()
        try:
            while page := self._page(handle):
                yield from page
        finally:
            if not self.is_broken:
                self.close_handle(handle)

    def make_directory(self, path: bytes) -> None:
        """Create a directory; raises ``StatusError``, also when it is there."""
        self._answer(Kind.MKDIR, text(path) + struct.pack(">I", 0), want=Kind.STATUS)

    def remove(self, path: bytes) -> None:
        """Remove a file."""
        self._answer(Kind.REMOVE, text(path), want=Kind.STATUS)

    def rename(self, old: bytes, new: bytes) -> None:
        """Give a file another name; raises ``StatusError`` when that is taken."""
        self._answer(Kind.RENAME, text(old) + text(new), want=Kind.STATUS)

    def extended(self, name: bytes, *arguments: bytes) -> None:
        """Ask for an operation beyond the protocol, one of ``extensions``."""
        body = b"".join(map(text, (name, *arguments)))
        self._answer(Kind.EXTENDED, body, want=Kind.STATUS)

    # Requests and answers.

    def _page(self, handle: bytes) -> list[DirectoryEntry]:
        try:
            reply = self._answer(Kind.READDIR, text(handle), want=Kind.NAME)
        except StatusError as error:
            if error.code == SftpStatus.EOF:
                return []
            raise
        page = []
        for _ in range(reply.number()):
            name, _long = reply.text(), reply.text()
            page.append(DirectoryEntry(name, attributes(reply)))
        return page

    def _ask(self, handle: bytes, offset: int, length: int) -> Future[bytes]:
        if not self._slots.acquire(timeout=self._timeout_s):
            raise self._timed_out()
        body = text(handle) + struct.pack(">QI", offset, length)
        return self._request(Kind.READ, body, lambda _: self._slots.release())

    def _piece(self, answer: Future[bytes]) -> memoryview:
        """Return what was read; nothing at the end of the file."""
        try:
            return expect(self._result(answer), Kind.DATA).view()
        except StatusError as error:
            if error.code == SftpStatus.EOF:
                return memoryview(b"")
            raise

    def _answer(self, kind: int, body: bytes, *, want: Kind) -> Reply:
        return expect(self._result(self._request(kind, body)), want)

    def _request(
        self, kind: int, body: bytes, answered: Callable[[Future[bytes]], object] | None = None
    ) -> Future[bytes]:
        future: Future[bytes] = Future()
        if answered:
            future.add_done_callback(answered)
        with self._lock:
            number, broken = next(self._numbers) & 0xFFFFFFFF, self._broken
            if broken is None:
                self._pending[number] = future
        if broken is None:
            self._send(bytes([kind]) + struct.pack(">I", number) + body)
        else:
            future.set_exception(UnreachableError(broken))
        return future

    def _send(self, packet: bytes) -> None:
        try:
            with self._sending:
                self._channel.sendall(struct.pack(">I", len(packet)) + packet)
        except OSError as error:
            self.close(f"the connection broke: {error}")

    def _result(self, future: Future[bytes]) -> bytes:
        try:
            return future.result(self._timeout_s)
        except FutureTimeoutError:
            raise self._timed_out() from None

    def _timed_out(self) -> UnreachableError:
        reason = f"the server has not answered for {self._timeout_s:g} s"
        self.close(reason)
        return UnreachableError(reason)

    def _receive(self) -> None:
        try:
            for packet in packets(self._channel):
                (number,) = struct.unpack_from(">I", packet, 1)
                if packet[0] == Kind.VERSION:
                    number = _VERSION_NUMBER
                with self._lock:
                    future = self._pending.pop(number, None)
                if future:
                    future.set_result(packet)
            self.close("the server has closed the connection")
        except Exception as error:
            self.close(f"the connection broke: {error}")
