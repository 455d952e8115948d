"""Packets of the SFTP protocol, version 3: what they are made of and cut from.

Source: draft-ietf-secsh-filexfer-02.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from shared.core.sftp_errors import UnreachableError

_MAX_PACKET_BYTES = 1 << 20
_RECEIVED_BYTES = 2 << 20
_NO_SFTP = "the server does not speak SFTP"

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 0x01, 0x02, 0x04, 0x08
_HAS_MORE = 0x80000000


class Kind(IntEnum):
    """The first byte of a packet."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    REALPATH = 16
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200


class SftpStatus(IntEnum):
    """What a server answers to a request that has no better answer."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class StatusError(Exception):
    """The server has refused a request; ``code`` is one of ``SftpStatus``, or its own."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message or f"status {code}")


@dataclass(frozen=True)
class Attributes:
    """What the server tells of a file; ``None`` for what it does not. ``mtime`` in seconds."""

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None


@dataclass(frozen=True)
class DirectoryEntry:
    """One name of a directory, with the attributes of the link where it is one."""

    name: bytes
    attributes: Attributes


class Reply:
    """The body of an answer, taken piece by piece; what is cut raises ``UnreachableError``."""

    def __init__(self, packet: bytes, offset: int = 5) -> None:
        self._packet = packet
        self._offset = offset

    def number(self) -> int:
        """Take a number of 32 bits."""
        return self._unpack(">I", 4)

    def long(self) -> int:
        """Take a number of 64 bits."""
        return self._unpack(">Q", 8)

    def _unpack(self, layout: str, size: int) -> int:
        if self._offset + size > len(self._packet):
            raise UnreachableError(_NO_SFTP)
        (value,) = struct.unpack_from(layout, self._packet, self._offset)
        self._offset += size
        return int(value)

    def view(self) -> memoryview:
        """Take a string without copying it."""
        size = self.number()
        start, self._offset = self._offset, self._offset + size
        if self._offset > len(self._packet):
            raise UnreachableError(_NO_SFTP)
        return memoryview(self._packet)[start : self._offset]

    def text(self) -> bytes:
        """Take a string."""
        return bytes(self.view())

    @property
    def has_more(self) -> bool:
        """Whether anything is left."""
        return self._offset < len(self._packet)


def packets(channel: Any) -> Iterator[bytes]:
    """Yield the packets, without their length, that a channel brings until it is closed."""
    buffer = bytearray()
    while True:
        try:
            received = channel.recv(_RECEIVED_BYTES)
        except TimeoutError:
            continue  # an idle session; who waits for an answer has a clock of its own
        if not received:
            return
        buffer += received
        position = 0
        while len(buffer) - position >= 4:
            (size,) = struct.unpack_from(">I", buffer, position)
            if not 5 <= size <= _MAX_PACKET_BYTES:
                raise UnreachableError(_NO_SFTP)
            end = position + 4 + size
            if end > len(buffer):
                break
            yield bytes(memoryview(buffer)[position + 4 : end])
            position = end
        del buffer[:position]


def text(value: bytes) -> bytes:
    """Return a string as packets hold it."""
    return struct.pack(">I", len(value)) + value


def expect(packet: bytes, kind: int) -> Reply:
    """Return the answer; raises ``StatusError``, and ``UnreachableError`` for nonsense."""
    reply = Reply(packet)
    if packet[0] == Kind.STATUS:
        code = reply.number()
        if code != SftpStatus.OK or kind != Kind.STATUS:
            message = reply.text().decode("utf-8", "replace") if reply.has_more else ""
            raise StatusError(code, message)
    elif packet[0] != kind:
        raise UnreachableError(f"the server answered with a packet of kind {packet[0]}")
    return reply


def attributes(reply: Reply) -> Attributes:
    """Take the attributes of a file."""
    flags = reply.number()
    size = reply.long() if flags & _HAS_SIZE else None
    if flags & _HAS_OWNER:
        reply.long()
    mode = reply.number() if flags & _HAS_MODE else None
    mtime = None
    if flags & _HAS_TIMES:
        reply.number()
        mtime = reply.number()
    if flags & _HAS_MORE:
        for _ in range(2 * reply.number()):
            reply.view()
    return Attributes(size, mode, mtime)


def extensions(packet: bytes) -> dict[bytes, bytes]:
    """Return what the first answer says that the server can do beyond the protocol."""
    reply, found = Reply(packet, offset=5), {}
    while reply.has_more:
        name = reply.text()
        found[name] = reply.text()
    return found
