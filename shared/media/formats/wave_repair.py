"""Repairs headers of WAV, RF64 and Wave64 files in the bytes that FFmpeg reads.

A recorder writes the length of the audio when it stops. After a crash the header still has the
first or an earlier length, and a recorder with a counter of 32 bits starts again at zero after
4 GiB. FFmpeg stops reading at most of these lengths. Bytes behind a length that can be right are
audio only if they continue the samples (``wave_tail``). FFmpeg also reads integers of 24 bits in
words of 32 (WAVEFORMATEXTENSIBLE) as floats, so the header declares 32 bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from shared.core.ports import ByteSource
from shared.media.formats import wave_tail
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError
from shared.media.formats.wave_chunks import (
    RiffChunk,
    is_w64,
    is_w64_chunk,
    is_wav,
    w64_chunks,
    wav_chunks,
)
from shared.media.formats.wave_tail import SampleLayout

#: Offsets, and the bytes to put there.
Patches: TypeAlias = tuple[tuple[int, bytes], ...]

_HEAD_BYTES = 64

#: WAVEFORMATEXTENSIBLE (mmreg.h): its tag, its size, and the first field of the GUID for integers.
_EXTENSIBLE, _EXTENSIBLE_BYTES, _PCM = 0xFFFE, 40, 1

#: Bytes after the declared end count as audio only from one second on: some writers append a few
#: bytes that are no chunk, such as an ID3v1 tag.
_LEAST_S = 1
#: More behind the declared end than this shows that the counter started again.
_COUNTER_BYTES = 1 << 32

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
    form: SampleLayout | None = None
    wide: Patches = ()
    for chunk in wav_chunks(reader):
        if chunk.name == b"data":
            break
        if chunk.name == b"ds64":
            long_size_at = chunk.body + 8
        elif chunk.name == b"fmt ":
            bytes_per_second = reader.uint_le(chunk.body + 8, 4)
            form = wave_tail.layout(reader, chunk.body, chunk.size)
            wide = _whole_words(reader, chunk)
    body, size = chunk.body, chunk.size
    if is_long and long_size_at:
        size = reader.uint_le(long_size_at, 8)
        is_wrong = not 0 < size < _NO_SIZE_64
        actual = ((long_size_at, (reader.size - body).to_bytes(8, "little")),)
    else:
        is_wrong = False  # FFmpeg reads to the end of the file for 0 and the maximum
        actual = ((chunk.at + 4, _NO_SIZE_32.to_bytes(4, "little")),)
        if size in (0, _NO_SIZE_32):
            return wide
    end = body + size + size % 2
    if not is_wrong and reader.size - end >= max(8, _LEAST_S * bytes_per_second):
        kind, length = reader.at(end, 4), reader.uint_le(end + 4, 4)
        is_chunk = all(0x20 <= byte < 0x7F for byte in kind)
        is_chunk = is_chunk and end + 8 + length <= reader.size + 1
        is_wrong = not is_chunk and _goes_on(reader, form, body, body + size)
    return (*wide, *actual) if is_wrong else wide


def _goes_on(reader: BoundedReader, form: SampleLayout | None, body: int, end: int) -> bool:
    """Return whether the bytes after the declared end are more audio."""
    if reader.size - end >= _COUNTER_BYTES:
        return True
    return form is not None and wave_tail.continues(reader, form, body, end)


def _whole_words(reader: BoundedReader, chunk: RiffChunk) -> Patches:
    """Declare all bits of a word as valid: the unused ones are its lowest, and zero."""
    if chunk.size < _EXTENSIBLE_BYTES or reader.uint_le(chunk.body, 2) != _EXTENSIBLE:
        return ()
    word, valid = reader.uint_le(chunk.body + 14, 2), reader.uint_le(chunk.body + 18, 2)
    is_pcm = reader.uint_le(chunk.body + 24, 2) == _PCM
    if not is_pcm or not valid or -(-valid // 8) >= word // 8:
        return ()
    return ((chunk.body + 18, word.to_bytes(2, "little")),)


def _w64(reader: BoundedReader) -> Patches:
    bytes_per_second = 0
    form: SampleLayout | None = None
    wide: Patches = ()
    for chunk in w64_chunks(reader):
        if chunk.name == b"data":
            break
        if chunk.name == b"fmt ":
            bytes_per_second = reader.uint_le(chunk.body + 8, 4)
            form = wave_tail.layout(reader, chunk.body, chunk.size)
            wide = _whole_words(reader, chunk)
    size, end = chunk.size, chunk.body + ((chunk.size + 7) & ~7)
    is_wrong = not 0 < size < _NO_SIZE_64 or (
        reader.size - end >= max(40, _LEAST_S * bytes_per_second)
        and not is_w64_chunk(reader.at(end, 16))
        and _goes_on(reader, form, chunk.body, chunk.body + size)
    )
    if not is_wrong:
        return wide
    # The size of the whole file changes too: FFmpeg refuses one smaller than its header.
    sizes = ((at + 16, (reader.size - at).to_bytes(8, "little")) for at in (0, chunk.at))
    return (*wide, *sizes)
