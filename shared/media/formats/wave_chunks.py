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
    """One chunk: its name of four bytes, where it and its body begin, its body's size in bytes.

    The size is the file's own claim and can be wrong.
    """

    name: bytes
    at: int
    body: int
    size: int


def is_wav(head: bytes) -> bool:
    """Tell whether a file starts as WAV and RF64 do."""
    return head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE"


def is_w64(head: bytes) -> bool:
    """Tell whether a file starts as Sony's Wave64 does."""
    return head[:16] == _W64_RIFF and head[24:40] == _W64_WAVE


def wav_chunks(reader: BoundedReader) -> Iterator[RiffChunk]:
    """Yield the chunks of a WAV; raises ``UnknownStructureError`` where there is none."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        chunk = RiffChunk(reader.at(at, 4), at, at + 8, reader.uint_le(at + 4, 4))
        yield chunk
        at = chunk.body + chunk.size + chunk.size % 2
    raise UnknownStructureError("too many chunks")


def w64_chunks(reader: BoundedReader) -> Iterator[RiffChunk]:
    """Yield the chunks of a Wave64; raises ``UnknownStructureError`` where there is none.

    A size counts the chunk's own head there; of one that is smaller, nothing is left.
    """
    at = 40
    for _ in range(_MAX_CHUNKS):
        identifier, size = reader.at(at, 16), reader.uint_le(at + 16, 8)
        if not is_w64_chunk(identifier):
            raise UnknownStructureError("no chunk of Wave64")
        yield RiffChunk(identifier[:4], at, at + 24, size - 24)
        at += (max(size, 24) + 7) & ~7
    raise UnknownStructureError("too many chunks")


def is_w64_chunk(identifier: bytes) -> bool:
    """Tell whether 16 bytes name a chunk that Wave64 has."""
    return identifier[4:] == _W64_TAIL


def is_one_run(source: ByteSource) -> bool:
    """Tell whether a file is read the same from front to back as with jumps.

    FFmpeg wants the format before the sound when it cannot seek, and takes the last of
    several sounds when it can.
    """
    head = source.read(0, _HEAD_BYTES)
    if not is_wav(head) and not is_w64(head):
        return False
    reader = BoundedReader(source)
    names = list(_names(wav_chunks(reader) if is_wav(head) else w64_chunks(reader)))
    return names.count(b"data") == 1 and b"fmt " in names[: names.index(b"data")]


def _names(chunks: Iterator[RiffChunk]) -> Iterator[bytes]:
    # Ends where the file does, mostly, or at what no reader takes for a chunk.
    with suppress(UnknownStructureError):
        for chunk in chunks:
            yield chunk.name
