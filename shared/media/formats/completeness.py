"""Whether a file ends before the bytes or samples that it declares: the only kind of truncation.

A declared length alone is no evidence: good recordings exist whose container is seconds or
hours off. So each format is asked one question, whether its own structure ends behind the end
of the file, and only then does a declared length show how much is missing. Formats that
declare nothing (Ogg, MPEG-TS, a fragmented MP4, a live Matroska) are always whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from shared.core.ports import ByteSource
from shared.media.formats import matroska, mp3_frames, mp4_boxes
from shared.media.formats.bounded_reader import BoundedReader, UnknownStructureError
from shared.media.formats.wave_chunks import RiffChunk, is_w64, is_wav, w64_chunks, wav_chunks

_HEAD_BYTES = 64

#: The GUIDs of an ASF's header, and of its File Properties object.
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MAX_CAF_CHUNKS = 1000

#: Frames of a TTA, of 1.04 s each: a week.
_MAX_TTA_FRAMES = 600_000

#: Boxes that an MP4 or MOV has at its top level (ISO/IEC 14496-12 and Apple's QTFF).
_TOP_LEVEL = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"styp", b"sidx"}
    | {b"moof", b"mfra", b"meta", b"udta", b"PICT", b"pdin", b"emsg", b"prft", b"ssix", b"junk"}
)
#: Formats of a WAV of which each block is one sample of each channel: PCM, float, A-law,
#: mu-law, and the extensible header, which contains one of them in practice.
_SAMPLED = frozenset({1, 3, 6, 7, 0xFFFE})

#: How far before the end of a FLAC its last frame is looked for: one of 65,535 samples in 8
#: channels of 32 bits would be larger, but no encoder writes blocks of more than 4,608.
_LAST_FRAME_BYTES = 256 << 10


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """What a file's own structure shows.

    ``ends_early`` is true when bytes or samples are missing at the end. ``declared_share`` is
    then the declared size by the real one, 1 where no size is declared; ``duration_s`` is the
    declared length in seconds, of the audio or of the whole recording.
    """

    ends_early: bool = False
    declared_share: float = 1.0
    duration_s: float | None = None


WHOLE = Completeness()

_Examine: TypeAlias = Callable[[BoundedReader], Completeness]


def examine(source: ByteSource) -> Completeness:
    """Return whether ``source`` ends early.

    Only its own structure is read, some kilobytes of it. Damaged or unknown structures prove
    nothing, so they give ``WHOLE``. An error of the source passes through.
    """
    reader = BoundedReader(source)
    try:
        head = reader.at(0, min(_HEAD_BYTES, reader.size))
        for is_format, examine_format in _FORMATS:
            if is_format(head):
                return examine_format(reader)
        return _mp3(reader, mp3_frames.id3_bytes(head))
    except (UnknownStructureError, mp3_frames.FrameError):
        return WHOLE


def _sized(reader: BoundedReader, end: int, duration_s: float | None = None) -> Completeness:
    """Judge a file whose structure ends at byte ``end``."""
    if end <= reader.size:
        return WHOLE
    return Completeness(
        ends_early=True, declared_share=end / max(1, reader.size), duration_s=duration_s
    )


def _mp4(reader: BoundedReader) -> Completeness:
    end, last, has_index = 0, b"", False
    duration_s: float | None = None
    for box in mp4_boxes.boxes(reader, 0, None):
        if box.kind not in _TOP_LEVEL:
            break
        end, last = box.end, box.kind
        if box.kind == b"moof":
            return WHOLE  # fragmented: the length of its audio is nowhere declared
        if box.kind == b"moov" and box.end <= reader.size:
            has_index, duration_s = True, mp4_boxes.duration_s(reader, box)
            if mp4_boxes.has(reader, box, b"mvex"):
                return WHOLE
    if not has_index and last == b"mdat" and end >= reader.size:
        # The index is written last, so a file that ends with its data has lost it.
        return Completeness(ends_early=True, declared_share=max(1.0, end / max(1, reader.size)))
    return _sized(reader, end, duration_s)


def _matroska(reader: BoundedReader) -> Completeness:
    """Compare the size of the Segment; an unknown one is that of a live recording."""
    _, body, end = matroska.segment(reader)
    if end is None or end <= reader.size:
        return WHOLE
    length, first = matroska.times(reader, body)
    if length and first and first < length:
        length -= first  # FFmpeg writes the time of the last packet's end
    return _sized(reader, end, length)


def _wav(reader: BoundedReader) -> Completeness:
    long_size, rate, block = 0, 0, 0
    for chunk in wav_chunks(reader):
        if chunk.name == b"ds64":
            long_size = reader.uint_le(chunk.body + 8, 8)
        elif chunk.name == b"fmt ":
            rate, block = _rate_and_block(reader, chunk)
        elif chunk.name == b"data":
            size = long_size if chunk.size == 0xFFFFFFFF and long_size else chunk.size
            if size == chunk.size and _is_no_size(size):
                return WHOLE
            return _sized(reader, chunk.body + size, _samples(size, rate, block))
    raise UnknownStructureError("no data")


def _w64(reader: BoundedReader) -> Completeness:
    rate, block = 0, 0
    for chunk in w64_chunks(reader):
        if chunk.name == b"fmt ":
            rate, block = _rate_and_block(reader, chunk)
        elif chunk.name == b"data":
            if chunk.size >= (1 << 62) - 24:
                return WHOLE
            return _sized(reader, chunk.body + chunk.size, _samples(chunk.size, rate, block))
    raise UnknownStructureError("no data")


def _rate_and_block(reader: BoundedReader, chunk: RiffChunk) -> tuple[int, int]:
    """Return rate and bytes of a block from a ``fmt`` chunk; no block where it is no sample."""
    block = reader.uint_le(chunk.body + 12, 2)
    sampled = reader.uint_le(chunk.body, 2) in _SAMPLED
    return reader.uint_le(chunk.body + 4, 4), block if sampled else 0


def _samples(size: int, rate: int, block: int) -> float | None:
    return size // block / rate if block and rate else None


def _is_no_size(size: int) -> bool:
    """Return whether a size is the placeholder of a writer that could not come back.

    Such writers put the greatest number they know, less the header or a page.
    """
    return size >= 0xFFFFF000 or 0x7FFFF000 <= size <= 0x80001000


def _avi(reader: BoundedReader) -> Completeness:
    """Add up all RIFF chunks: large files have several (OpenDML)."""
    offset = end = 0
    while offset + 12 <= reader.size and reader.at(offset, 4) == b"RIFF":
        size = reader.uint_le(offset + 4, 4)
        if not size or _is_no_size(size):
            return WHOLE
        end = offset + 8 + size
        offset = end + size % 2
    # The main header, "avih", is first: microseconds of a picture, and the number of pictures.
    length = reader.uint_le(32, 4) * reader.uint_le(48, 4) / 1e6
    return _sized(reader, end, length or None)


def _aiff(reader: BoundedReader) -> Completeness:
    """Compare the size of the FORM (AIFF-C draft 1991), which a pipe leaves at its first value."""
    size = reader.uint(4, 4)
    return WHOLE if not size or _is_no_size(size) else _sized(reader, 8 + size)


def _au(reader: BoundedReader) -> Completeness:
    """Compare the sizes of header and data; all ones stand for an unknown size (Sun, .au)."""
    size = reader.uint(8, 4)
    return WHOLE if _is_no_size(size) else _sized(reader, reader.uint(4, 4) + size)


def _caf(reader: BoundedReader) -> Completeness:
    """Compare the size of the data; -1 is that of an unfinished recording (Apple, CAF)."""
    at = 8
    for _ in range(_MAX_CAF_CHUNKS):
        kind, size = reader.at(at, 4), reader.uint(at + 4, 8)
        if kind == b"data":
            return WHOLE if size >= 1 << 63 else _sized(reader, at + 12 + size)
        at += 12 + size
    raise UnknownStructureError("no data")


def _asf(reader: BoundedReader) -> Completeness:
    """Compare the size and length in the File Properties (ASF, 3.2), but for a broadcast."""
    at = 30
    for _ in range(reader.uint_le(24, 4)):
        if reader.at(at, 16) == _ASF_FILE:
            size, ticks = reader.uint_le(at + 40, 8), reader.uint_le(at + 64, 8)
            is_broadcast = reader.uint_le(at + 88, 4) & 1
            length = ticks / 1e7 - reader.uint_le(at + 80, 8) / 1000
            return WHOLE if is_broadcast else _sized(reader, size, length if length > 0 else None)
        at += reader.uint_le(at + 16, 8)
    raise UnknownStructureError("no File Properties")


def _tta(reader: BoundedReader) -> Completeness:
    """Add up the sizes of the frames that the seek table lists (TTA1, "Seek table")."""
    rate, samples = reader.uint_le(10, 4), reader.uint_le(14, 4)
    frame = 256 * rate // 245
    if not rate or not samples:
        raise UnknownStructureError("no samples")
    frames = -(-samples // frame)
    if frames > _MAX_TTA_FRAMES:
        raise UnknownStructureError(f"{frames} frames")
    table = reader.at(22, 4 * frames)
    sizes = struct.unpack(f"<{frames}I", table)
    return _sized(reader, 22 + 4 * frames + 4 + sum(sizes), samples / rate)


def _flac(reader: BoundedReader) -> Completeness:
    """Compare the count of samples in STREAMINFO (RFC 9639, 8.2), if it counts these frames.

    A stream copy of a part keeps the count of the whole, but is no truncation: its first
    frame is not the first one, or its last frame is whole.
    """
    if reader.uint(4, 1) & 0x7F:
        raise UnknownStructureError("STREAMINFO is not first")
    packed = reader.uint(18, 8)
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    if not rate or not samples:
        return WHOLE
    at, is_last = 4, False
    while not is_last:
        is_last, size = bool(reader.uint(at, 1) & 0x80), reader.uint(at + 1, 3)
        at += 4 + size
    # Sync code, then block size, rate, channels; the coded number of the first frame is 0.
    if reader.uint(at, 2) & 0xFFFE != 0xFFF8 or reader.uint(at + 4, 1):
        return WHOLE
    tail = reader.at(
        max(at, reader.size - _LAST_FRAME_BYTES), min(_LAST_FRAME_BYTES, reader.size - at)
    )
    if _ends_with_whole_frame(tail, reader.at(at, 2)):
        return WHOLE
    return Completeness(ends_early=True, duration_s=samples / rate)


def _ends_with_whole_frame(tail: bytes, sync: bytes) -> bool:
    """Return whether the last FLAC frame ends where the file does.

    A frame ends with a CRC-16 (polynomial 0x8005) of itself, so that the CRC-16 of a whole
    frame, this included, is 0.
    """
    crcs = [0] * 256
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
        crcs[byte] = crc
    start = len(tail)
    for _ in range(32):
        start = tail.rfind(sync, 0, start)
        if start < 0:
            return False
        crc = 0
        for byte in tail[start:]:
            crc = (crc << 8 & 0xFFFF) ^ crcs[crc >> 8 ^ byte]
        if crc == 0:
            return True
    return False


def _mp3(reader: BoundedReader, start: int) -> Completeness:
    """Read the Xing, Info or VBRI header in the first frame."""
    first = mp3_frames.Header.parse(reader.at(start, 4))
    xing, vbri = start + 4 + first.side_bytes, start + 4 + 32
    if reader.at(xing, 4) in (b"Xing", b"Info"):
        flags, at, frames, size = reader.uint(xing + 4, 4), xing + 8, 0, 0
        if flags & 1:
            frames, at = reader.uint(at, 4), at + 4
        if flags & 2:
            size = reader.uint(at, 4)
    elif reader.at(vbri, 4) == b"VBRI":
        size, frames = reader.uint(vbri + 10, 4), reader.uint(vbri + 14, 4)
    else:
        return WHOLE
    length = frames * first.samples / first.sample_rate if frames else None
    return _sized(reader, start + size, length)


_FORMATS: tuple[tuple[Callable[[bytes], bool], _Examine], ...] = (
    (lambda head: head[:4] == matroska.SIGNATURE, _matroska),
    (is_wav, _wav),
    (is_w64, _w64),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _avi),
    (lambda head: head[:4] == b"fLaC", _flac),
    (lambda head: head[:4] == b"TTA1", _tta),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] == b".snd", _au),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:16] == _ASF, _asf),
    (lambda head: head[4:8] in _TOP_LEVEL, _mp4),
)
