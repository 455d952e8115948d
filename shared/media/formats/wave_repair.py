"""Repairs headers of WAV, RF64 and Wave64 files in the bytes that FFmpeg reads.

A recorder writes the length of the audio when it stops. After a crash the header still has the
first or an earlier length, and a recorder with a counter of 32 bits starts again at zero after
4 GiB. FFmpeg stops reading at most of these lengths. It also reads integers of 24 bits in words
of 32 (WAVEFORMATEXTENSIBLE) as floats, so the header declares 32 bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from shared.core.ports import ByteSource
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError
from shared.media.formats.wave_chunks import (
    RiffChunk,
    is_w64,
    is_w64_chunk,
    is_wav,
    w64_chunks,
    wav_chunks,
)

#: Offsets, and the bytes to put there.
Patches: TypeAlias = tuple[tuple[int, bytes], ...]

_HEAD_BYTES = 64

#: WAVEFORMATEXTENSIBLE (mmreg.h): its tag, its size, and the first field of the GUID for integers.
_EXTENSIBLE, _EXTENSIBLE_BYTES, _PCM = 0xFFFE, 40, 1

#: Bytes after the declared end count as audio only from one second on: some writers append a few
#: bytes that are no chunk, such as an ID3v1 tag.
_LEAST_S = 1

#: Sizes that mean "not known yet".
_NO_SIZE_64 = 1 << 62
_NO_SIZE_32 = 0xFFFFFFFF


class RepairedSource:
    """A source whose header is repaired; all other bytes are unchanged."""

    local_path: Path | None = None

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._patches: Patches = ()
        self._looked = False

    @property
    def size(self) -> int:
        return self._source.size

    def read(self, offset: int, length: int) -> bytes:
        data = self._source.read(offset, length)
        if not self._looked and offset == 0 and len(data) >= min(_HEAD_BYTES, self.size):
            # Only now: a file that is no WAV gets no read beyond those of the caller.
            self._patches = _find(self._source, data[:_HEAD_BYTES])
            self._looked = True
        for patch in self._patches:
            data = _patched(data, offset, *patch)
        return data

    def check_unchanged(self) -> None:
        self._source.check_unchanged()

    def close(self) -> None:
        self._source.close()


def find_patches(source: ByteSource) -> Patches:
    """Return the changes that FFmpeg needs to read all of the audio; empty for other files."""
    return _find(source, source.read(0, _HEAD_BYTES))


def _find(source: ByteSource, head: bytes) -> Patches:
    try:
        if is_wav(head):
            return _wav(BoundedReader(source), is_long=not head.startswith(b"RIFF"))
        if is_w64(head):
            return _w64(BoundedReader(source))
    except UnknownStructureError:
        pass
    return ()


def _patched(data: bytes, offset: int, start: int, right: bytes) -> bytes:
    if offset >= start + len(right) or offset + len(data) <= start:
        return data
    whole = bytearray(data)
    for index, byte in enumerate(right, start - offset):
        if 0 <= index < len(whole):
            whole[index] = byte
    return bytes(whole)


def _wav(reader: BoundedReader, *, is_long: bool) -> Patches:
    bytes_per_second, long_size_at = 0, 0
    wide: Patches = ()
    for chunk in wav_chunks(reader):
        if chunk.name == b"data":
            break
        if chunk.name == b"ds64":
            long_size_at = chunk.body + 8
        elif chunk.name == b"fmt ":
            bytes_per_second = reader.uint_le(chunk.body + 8, 4)
            wide = _whole_words(reader, chunk)
    body, size = chunk.body, chunk.size
    if is_long and long_size_at:
        size = reader.uint_le(long_size_at, 8)
        is_wrong = not 0 < size < _NO_SIZE_64 or _goes_on(reader, body + size, bytes_per_second)
        actual = ((long_size_at, (reader.size - body).to_bytes(8, "little")),)
        return (*wide, *actual) if is_wrong else wide
    # FFmpeg reads to the end of the file for these two sizes.
    is_wrong = size not in (0, _NO_SIZE_32) and _goes_on(reader, body + size, bytes_per_second)
    return (*wide, (chunk.at + 4, _NO_SIZE_32.to_bytes(4, "little"))) if is_wrong else wide


def _whole_words(reader: BoundedReader, chunk: RiffChunk) -> Patches:
    """Declare all bits of a word as valid: the unused ones are its lowest, and zero."""
    if chunk.size < _EXTENSIBLE_BYTES or reader.uint_le(chunk.body, 2) != _EXTENSIBLE:
        return ()
    word, valid = reader.uint_le(chunk.body + 14, 2), reader.uint_le(chunk.body + 18, 2)
    is_pcm = reader.uint_le(chunk.body + 24, 2) == _PCM
    if not is_pcm or not valid or -(-valid // 8) >= word // 8:
        return ()
    return ((chunk.body + 18, word.to_bytes(2, "little")),)


def _goes_on(reader: BoundedReader, end: int, bytes_per_second: int) -> bool:
    """Return whether the bytes after the declared end are more audio."""
    if reader.size - end < max(8, _LEAST_S * bytes_per_second):
        return False
    end += end % 2
    kind, size = reader.at(end, 4), reader.uint_le(end + 4, 4)
    is_chunk = all(0x20 <= byte < 0x7F for byte in kind) and end + 8 + size <= reader.size + 1
    return not is_chunk


def _w64(reader: BoundedReader) -> Patches:
    bytes_per_second = 0
    wide: Patches = ()
    for chunk in w64_chunks(reader):
        if chunk.name == b"data":
            break
        if chunk.name == b"fmt ":
            bytes_per_second = reader.uint_le(chunk.body + 8, 4)
            wide = _whole_words(reader, chunk)
    size, end = chunk.size, chunk.body + ((chunk.size + 7) & ~7)
    is_wrong = not 0 < size < _NO_SIZE_64 or (
        reader.size - end >= max(40, _LEAST_S * bytes_per_second)
        and not is_w64_chunk(reader.at(end, 16))
    )
    if not is_wrong:
        return wide
    # The size of the whole file changes too: FFmpeg refuses one smaller than its header.
    sizes = ((at + 16, (reader.size - at).to_bytes(8, "little")) for at in (0, chunk.at))
    return (*wide, *sizes)
