"""The chunks of WAV, RF64 and Sony's Wave64, in their order in the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from shared.core.ports import ByteSource
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError

_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_WAVE = bytes.fromhex("77617665f3acd3118cd100c04f8edb8a")
_W64_TAIL = _W64_WAVE[4:]

_HEAD_BYTES = 64
_MAX_CHUNKS = 1000


class RiffChunk(NamedTuple):
    """One chunk: its name of four bytes, the offsets of it and its body, its body's size in bytes.

    The size is the file's own claim and can be wrong.
    """

    name: bytes
    at: int
    body: int
    size: int


def is_wav(head: bytes) -> bool:
    """Return whether a file starts like WAV or RF64."""
    return head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE"


def is_w64(head: bytes) -> bool:
    """Return whether a file starts like Sony's Wave64."""
    return head[:16] == _W64_RIFF and head[24:40] == _W64_WAVE


def wav_chunks(reader: BoundedReader) -> Iterator[RiffChunk]:
    """Yield the chunks of a WAV; raises ``UnknownStructureError`` at the end of the file."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        chunk = RiffChunk(reader.at(at, 4), at, at + 8, reader.uint_le(at + 4, 4))
        yield chunk
        at = chunk.body + chunk.size + chunk.size % 2
    raise UnknownStructureError("too many chunks")


def w64_chunks(reader: BoundedReader) -> Iterator[RiffChunk]:
    """Yield the chunks of a Wave64; raises ``UnknownStructureError`` where none follows.

    A size in the file includes the chunk's own head of 24 bytes.
    """
    at = 40
    for _ in range(_MAX_CHUNKS):
        identifier, size = reader.at(at, 16), reader.uint_le(at + 16, 8)
        if not is_w64_chunk(identifier):
            raise UnknownStructureError("not a chunk of Wave64")
        yield RiffChunk(identifier[:4], at, at + 24, size - 24)
        at += (max(size, 24) + 7) & ~7
    raise UnknownStructureError("too many chunks")


def is_w64_chunk(identifier: bytes) -> bool:
    """Return whether 16 bytes are the name of a Wave64 chunk."""
    return identifier[4:] == _W64_TAIL


def is_one_run(source: ByteSource) -> bool:
    """Return whether FFmpeg reads the same audio without seeking as with it.

    Without seeking it needs the format before the data; with seeking it uses the last of
    several data chunks.
    """
    head = source.read(0, _HEAD_BYTES)
    if not is_wav(head) and not is_w64(head):
        return False
    reader = BoundedReader(source)
    names = []
    with suppress(UnknownStructureError):  # the end of the file, or bytes that are no chunk
        for chunk in wav_chunks(reader) if is_wav(head) else w64_chunks(reader):
            names.append(chunk.name)  # noqa: PERF401 - the names before the error count
    return names.count(b"data") == 1 and b"fmt " in names[: names.index(b"data")]
