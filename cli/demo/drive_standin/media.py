"""Sending a file's bytes: ranges, and faults of the connection."""

from __future__ import annotations

import os
import re
import socket
import struct
from dataclasses import dataclass
from typing import BinaryIO

from cli.demo.drive_standin.faults import Faults
from cli.demo.drive_standin.state import Content

#: Bytes handed to the kernel at a time.
BLOCK = 4 << 20


class CutConnectionError(Exception):
    """The connection was cut on purpose."""


@dataclass(frozen=True)
class ByteRange:
    """The bytes to send, and the status."""

    status: int
    start: int
    length: int

    def headers(self, size: int) -> dict[str, str]:
        """Return the headers that name the range."""
        if self.status == 416:
            return {"Content-Range": f"bytes */{size}"}
        last = self.start + self.length - 1
        ranged = {"Content-Range": f"bytes {self.start}-{last}/{size}"}
        return ranged if self.status == 206 else {}


_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def span(header: str | None, size: int) -> ByteRange:
    """Return what a ``Range`` header asks of a file of ``size`` bytes (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(header or "")
    if not match or match.groups() == ("", ""):
        return ByteRange(200, 0, size)  # a header that cannot be read is ignored
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if last and first and int(last) < int(first):
        return ByteRange(200, 0, size)
    if start >= size or (not first and last == "0"):
        return ByteRange(416, 0, 0)
    return ByteRange(206, start, end - start)


#: Closing a socket that lingers for zero seconds resets the connection.
_RESET = struct.pack("ii", 1, 0)


def is_to_be_reset(connection: socket.socket) -> bool:
    """Return whether closing the connection is to reset it."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET


def send(out: socket.socket, content: Content, part: ByteRange, faults: Faults) -> None:
    """Send the bytes; raises ``CutConnectionError`` when a fault cuts the connection."""
    cut = faults.cut_point(part.length)
    length = part.length if cut is None else min(cut, part.length)
    with content.open() as file:
        block = min(BLOCK, int(faults.bandwidth / 50)) if faults.bandwidth else BLOCK
        sent = 0
        while sent < length:
            count = min(block, length - sent)
            faults.pace(count)
            sent += _send_block(out, file, part.start + sent, count)
    if cut is not None and cut < part.length:
        if faults.reset:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise CutConnectionError


def _send_block(out: socket.socket, file: BinaryIO, start: int, count: int) -> int:
    try:
        number = file.fileno()
    except OSError:
        file.seek(start)
        out.sendall(file.read(count))
        return count
    sent = os.sendfile(out.fileno(), number, start, count)
    if sent == 0:
        raise CutConnectionError  # the file shrank under us
    return sent
