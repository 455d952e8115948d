"""Packets of the SFTP protocol, version 3: encoding and decoding.

Source: draft-ietf-secsh-filexfer-02; status codes above 8 are those of
draft-ietf-secsh-filexfer-13, which some servers send in version 3 too.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from shared.core.sftp_errors import ProtocolError

VERSION = 3

_MAX_PACKET_BYTES = 1 << 20
_RECEIVED_BYTES = 2 << 20
_NOT_SFTP = (
    "the server did not answer in the SFTP protocol"
    " (a login script that prints text has this effect)"
)

_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 0x01, 0x02, 0x04, 0x08
_HAS_MORE = 0x80000000

# Values that servers send for an unknown size or time.
_UNKNOWN_SIZE = (1 << 64) - 1
_UNKNOWN_TIMES = (0, (1 << 32) - 1)


class Kind(IntEnum):
    """The type of a packet: its first byte."""

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
    """The codes of a status reply."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8
    NO_SUCH_PATH = 10
    WRITE_PROTECT = 12
    NOT_A_DIRECTORY = 19
    INVALID_FILENAME = 20
    LINK_LOOP = 21
    INVALID_PARAMETER = 23
    FILE_IS_A_DIRECTORY = 24


#: The path does not lead to a file or directory.
MISSING = frozenset({SftpStatus.NO_SUCH_FILE, SftpStatus.NO_SUCH_PATH, SftpStatus.NOT_A_DIRECTORY})
#: The same request gets the same answer.
REFUSED = frozenset(
    {
        SftpStatus.PERMISSION_DENIED,
        SftpStatus.BAD_MESSAGE,
        SftpStatus.OP_UNSUPPORTED,
        SftpStatus.WRITE_PROTECT,
        SftpStatus.INVALID_FILENAME,
        SftpStatus.LINK_LOOP,
        SftpStatus.INVALID_PARAMETER,
        SftpStatus.FILE_IS_A_DIRECTORY,
    }
)
#: The server has lost its own connection to the files; nothing is wrong with the request.
DISCONNECTED = frozenset({SftpStatus.NO_CONNECTION, SftpStatus.CONNECTION_LOST})


class StatusError(Exception):
    """The server rejected a request; ``code`` is one of ``SftpStatus``, or another number."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message or f"status {code}")


class FileType(IntEnum):
    """The type of a file, as far as it matters here."""

    REGULAR = stat.S_IFREG
    DIRECTORY = stat.S_IFDIR
    OTHER = 1  # links, devices, pipes


@dataclass(frozen=True)
class Attributes:
    """Attributes of a file; ``None`` for those that the server does not report.

    ``mtime`` is in seconds. ``mode`` may lack the bits of the file type: draft 02 does not
    define them, and several Windows servers send permissions only.
    """

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None

    @property
    def type(self) -> FileType | None:
        """The file type, or ``None`` if the server does not report it."""
        bits = stat.S_IFMT(self.mode or 0)
        if not bits:
            return None
        return FileType(bits) if bits in (stat.S_IFREG, stat.S_IFDIR) else FileType.OTHER


@dataclass(frozen=True)
class DirectoryEntry:
    """One entry of a directory: its name, its line as ``ls -l`` prints it, its attributes."""

    name: bytes
    long_name: bytes
    attributes: Attributes


class Reply:
    """The body of a reply, read field by field; one that ends early raises ``ProtocolError``."""

    def __init__(self, packet: bytes, offset: int = 5) -> None:
        self._packet = packet
        self._offset = offset

    def number(self) -> int:
        """Read a 32-bit number."""
        return self._unpack(">I", 4)

    def long(self) -> int:
        """Read a 64-bit number."""
        return self._unpack(">Q", 8)

    def _unpack(self, layout: str, size: int) -> int:
        if self._offset + size > len(self._packet):
            raise ProtocolError(_NOT_SFTP)
        (value,) = struct.unpack_from(layout, self._packet, self._offset)
        self._offset += size
        return int(value)

    def view(self) -> memoryview:
        """Read a string without copying it."""
        size = self.number()
        start, self._offset = self._offset, self._offset + size
        if self._offset > len(self._packet):
            raise ProtocolError(_NOT_SFTP)
        return memoryview(self._packet)[start : self._offset]

    def text(self) -> bytes:
        """Read a string."""
        return bytes(self.view())

    @property
    def has_more(self) -> bool:
        """Whether any bytes are left."""
        return self._offset < len(self._packet)


def packets(channel: Any) -> Iterator[bytes]:
    """Yield the packets of a channel, without their lengths, until it is closed."""
    buffer = bytearray()
    while True:
        try:
            received = channel.recv(_RECEIVED_BYTES)
        except TimeoutError:
            continue  # an idle session; requests have their own timeouts
        if not received:
            return
        buffer += received
        position = 0
        while len(buffer) - position >= 4:
            (size,) = struct.unpack_from(">I", buffer, position)
            if not 5 <= size <= _MAX_PACKET_BYTES:
                raise ProtocolError(_NOT_SFTP)
            end = position + 4 + size
            if end > len(buffer):
                break
            yield bytes(memoryview(buffer)[position + 4 : end])
            position = end
        del buffer[:position]


def text(value: bytes) -> bytes:
    """Encode a string: its length and its bytes."""
    return struct.pack(">I", len(value)) + value


def expect(packet: bytes, kind: int) -> Reply:
    """Return the body of a reply of type ``kind``; raises ``StatusError`` and ``ProtocolError``."""
    reply = Reply(packet)
    if packet[0] == Kind.STATUS:
        code = reply.number()
        if code != SftpStatus.OK or kind != Kind.STATUS:
            message = reply.text().decode("utf-8", "replace") if reply.has_more else ""
            raise StatusError(code, message)
    elif packet[0] != kind:
        raise ProtocolError(f"the server answered with a packet of type {packet[0]}")
    return reply


def attributes(reply: Reply) -> Attributes:
    """Read the attributes of a file."""
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
    return Attributes(
        None if size == _UNKNOWN_SIZE else size,
        mode,
        None if mtime in _UNKNOWN_TIMES else mtime,
    )


def entries(reply: Reply) -> list[DirectoryEntry]:
    """Read the entries of a directory."""
    return [
        DirectoryEntry(reply.text(), reply.text(), attributes(reply)) for _ in range(reply.number())
    ]


def extensions(packet: bytes) -> dict[bytes, bytes]:
    """Return the extensions that the server announces in its first reply.

    Raises ``ProtocolError`` unless it speaks version 3 or an older one, whose replies to
    the requests used here are the same.
    """
    if packet[0] != Kind.VERSION:
        raise ProtocolError(_NOT_SFTP)
    reply, found = Reply(packet, offset=1), {}
    version = reply.number()
    if version > VERSION:
        raise ProtocolError(
            f"the server speaks version {version} of the SFTP protocol, and not {VERSION}"
        )
    while reply.has_more:
        name = reply.text()
        found[name] = reply.text()
    return found
