"""What a file declares of its audio's length, and whether it is shorter than it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from shared.core.ports import ByteSource
from shared.media.formats.bounded_reader import BoundedReader, Declared, UnknownStructureError
from shared.media.formats.declared_matroska import declared_matroska, is_matroska
from shared.media.formats.declared_mp4 import declared_mp4, is_mp4
from shared.media.formats.declared_sound import (
    declared_avi,
    declared_flac,
    declared_mp3,
    declared_w64,
    declared_wav,
    is_avi,
    is_flac,
    is_mp3,
)
from shared.media.formats.wave_chunks import is_w64, is_wav

__all__ = ["Declared", "declared"]

_Reads: TypeAlias = Callable[[BoundedReader, int | None], Declared]

_FORMATS: tuple[tuple[Callable[[bytes], bool], _Reads], ...] = (
    (is_matroska, declared_matroska),
    (is_wav, declared_wav),
    (is_w64, declared_w64),
    (is_avi, declared_avi),
    (is_flac, declared_flac),
    (is_mp4, declared_mp4),
)

_HEAD_BYTES = 64


def declared(source: ByteSource, stream_index: int | None = None) -> Declared:
    """Return what ``source`` says of its audio.

    Only the file's own structure is read, a few megabytes of it at most, and nothing of it
    is believed that does not fit together: garbage gives a ``Declared()`` that knows
    nothing. Formats that declare nothing (Ogg, MPEG-TS, a fragmented MP4, a live Matroska)
    give the same. An error of the source passes through.

    Args:
        source: The file; only its size and a few ranges are asked for.
        stream_index: FFmpeg's number of the stream in the file; ``None`` takes the first
            audio track.
    """
    try:
        return _declared(BoundedReader(source), stream_index)
    except UnknownStructureError:
        return Declared()


def _declared(reader: BoundedReader, stream_index: int | None) -> Declared:
    head = reader.at(0, min(_HEAD_BYTES, reader.size))
    for is_format, read in _FORMATS:
        if is_format(head):
            return read(reader, stream_index)
    start = _after_id3(head)
    if is_mp3(reader.at(start, 4)):
        return declared_mp3(reader, start)
    return Declared()


def _after_id3(head: bytes) -> int:
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)
