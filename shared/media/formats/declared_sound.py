"""What WAV, RF64, W64, FLAC, MP3 and AVI declare of their length."""

from __future__ import annotations

from dataclasses import dataclass

from shared.media.formats.bounded_reader import BoundedReader, Declared, UnknownStructureError
from shared.media.formats.wave_chunks import Chunk, w64_chunks, wav_chunks

#: Formats of which each block is one sample of each channel: PCM, float, A-law, mu-law,
#: and the extensible header, which holds one of them in practice.
_SAMPLED = frozenset({1, 3, 6, 7, 0xFFFE})

_MAX_CHUNKS = 1000


def is_flac(head: bytes) -> bool:
    """Tell whether a file starts as FLAC does."""
    return head[:4] == b"fLaC"


def is_avi(head: bytes) -> bool:
    """Tell whether a file starts as AVI does."""
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


@dataclass
class _Wave:
    format: int = 0
    rate: int = 0
    bytes_per_second: int = 0
    block: int = 0
    samples: int = 0
    long_size: int = 0


def declared_wav(reader: BoundedReader, _: int | None) -> Declared:
    """Read the chunks before the data; a size that only a broken-off writer leaves is none."""
    wave = _Wave()
    for chunk in wav_chunks(reader):
        size = chunk.size
        if chunk.name == b"data":
            if size == 0xFFFFFFFF and wave.long_size:
                size = wave.long_size
            elif _is_no_size(size):
                size = 0
            return _wave("wav", reader, wave, chunk.body, size)
        if chunk.name == b"ds64":
            wave.long_size = reader.uint_le(chunk.body + 8, 8)
        _read_wave_chunk(reader, chunk, wave)
    raise UnknownStructureError("no data")


def declared_w64(reader: BoundedReader, _: int | None) -> Declared:
    """Read the chunks before the data of Sony's Wave64."""
    wave = _Wave()
    for chunk in w64_chunks(reader):
        if chunk.size < 0:
            raise UnknownStructureError("a chunk smaller than its head")
        if chunk.name == b"data":
            size = 0 if chunk.size >= (1 << 62) - 24 else chunk.size
            return _wave("w64", reader, wave, chunk.body, size)
        _read_wave_chunk(reader, chunk, wave)
    raise UnknownStructureError("no data")


def _is_no_size(size: int) -> bool:
    # What writers put where they cannot come back: the greatest number they know, less
    # the header or a page.
    return size >= 0xFFFFF000 or 0x7FFFF000 <= size <= 0x80001000


def _read_wave_chunk(reader: BoundedReader, chunk: Chunk, wave: _Wave) -> None:
    body = chunk.body
    if chunk.name == b"fmt ":
        wave.format = reader.uint_le(body, 2)
        wave.rate = reader.uint_le(body + 4, 4)
        wave.bytes_per_second = reader.uint_le(body + 8, 4)
        wave.block = reader.uint_le(body + 12, 2)
    elif chunk.name == b"fact":
        wave.samples = reader.uint_le(body, 4)


def _wave(container: str, reader: BoundedReader, wave: _Wave, body: int, size: int) -> Declared:
    if not size:
        return Declared(container=container)
    is_cut = body + size > reader.size
    duration, is_counted = _wave_duration(wave, size)
    return Declared(
        container=container,
        ends_early=is_cut,
        expected_bytes=body + size if is_cut else None,
        audio_duration_s=duration,
        counted=is_counted,
    )


def _wave_duration(wave: _Wave, size: int) -> tuple[float | None, bool]:
    if wave.format in _SAMPLED and wave.block and wave.rate:
        return size // wave.block / wave.rate, True
    if wave.samples and not _is_no_size(wave.samples) and wave.rate:
        return wave.samples / wave.rate, False
    return (size / wave.bytes_per_second if wave.bytes_per_second else None), False


def declared_flac(reader: BoundedReader, _: int | None) -> Declared:
    """Read STREAMINFO (RFC 9639, 8.2), whose total of samples may be 0 for unknown."""
    if reader.uint(4, 1) & 0x7F:
        raise UnknownStructureError("STREAMINFO is not first")
    packed = reader.uint(18, 8)
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    duration = samples / rate if samples and rate else None
    return Declared(container="flac", audio_duration_s=duration, counted=duration is not None)


_MP3_RATES = (44100, 48000, 32000)


@dataclass(frozen=True)
class _FrameHeader:
    rate: int
    samples: int
    side_info: int


def is_mp3(head: bytes) -> bool:
    """Tell whether a file starts with a frame of MPEG audio, layer III."""
    return _frame_header(int.from_bytes(head[:4], "big")) is not None


def declared_mp3(reader: BoundedReader, offset: int) -> Declared:
    """Read the Xing, Info or VBRI header in the first frame, at ``offset``."""
    frame = _frame_header(reader.uint(offset, 4))
    if frame is None:
        raise UnknownStructureError("no frame of MP3")
    xing = offset + 4 + frame.side_info
    if reader.at(xing, 4) in (b"Xing", b"Info"):
        return _xing(reader, frame, offset, xing)
    vbri = offset + 4 + 32
    if reader.at(vbri, 4) == b"VBRI":
        size, frames = reader.uint(vbri + 10, 4), reader.uint(vbri + 14, 4)
        return _mp3(reader, frame, offset + size, frames * frame.samples)
    return Declared(container="mp3")


def _frame_header(header: int) -> _FrameHeader | None:
    version, layer = header >> 19 & 3, header >> 17 & 3
    bitrate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate == 15 or rate == 3:
        return None
    is_mpeg1, is_mono = version == 3, header >> 6 & 3 == 3
    divisor = {3: 1, 2: 2, 0: 4}[version]
    side_info = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    return _FrameHeader(_MP3_RATES[rate] // divisor, 1152 if is_mpeg1 else 576, side_info)


def _xing(reader: BoundedReader, frame: _FrameHeader, start: int, xing: int) -> Declared:
    flags = reader.uint(xing + 4, 4)
    position = xing + 8
    frames = size = 0
    if flags & 1:
        frames, position = reader.uint(position, 4), position + 4
    if flags & 2:
        size, position = reader.uint(position, 4), position + 4
    position += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    samples = frames * frame.samples
    if reader.at(position, 4) in (b"LAME", b"Lavc", b"Lavf"):
        # The encoder's delay and padding, 12 bits each, which a decoder leaves out.
        padding = reader.uint(position + 21, 3)
        samples -= (padding >> 12) + (padding & 0xFFF)
    return _mp3(reader, frame, start + size, samples)


def _mp3(reader: BoundedReader, frame: _FrameHeader, end: int, samples: int) -> Declared:
    is_cut = end > reader.size
    return Declared(
        container="mp3",
        ends_early=is_cut,
        expected_bytes=end if is_cut else None,
        audio_duration_s=samples / frame.rate if samples > 0 else None,
    )


def declared_avi(reader: BoundedReader, stream_index: int | None) -> Declared:
    """Read the sizes of all RIFF chunks and the length in the audio stream's header."""
    offset, expected = 0, 0
    while offset + 12 <= reader.size and reader.at(offset, 4) == b"RIFF":
        size = reader.uint_le(offset + 4, 4)
        if not size or _is_no_size(size):
            expected = 0
            break
        offset += 8 + size + size % 2
        expected = offset - size % 2
    is_cut = expected > reader.size
    try:
        duration = _avi_duration(reader, stream_index)
    except UnknownStructureError:
        duration = None
    return Declared(
        container="avi",
        ends_early=is_cut,
        expected_bytes=expected if is_cut else None,
        audio_duration_s=duration if expected else None,
    )


def _avi_duration(reader: BoundedReader, stream_index: int | None) -> float | None:
    number = -1
    offset = 12
    for _ in range(_MAX_CHUNKS):
        kind, size = reader.at(offset, 4), reader.uint_le(offset + 4, 4)
        if kind == b"LIST" and reader.at(offset + 8, 4) in (b"hdrl", b"strl"):
            offset += 12  # look inside
            continue
        if kind == b"LIST" and reader.at(offset + 8, 4) == b"movi":
            break
        if kind == b"strh":
            number += 1
            is_audio = reader.at(offset + 8, 4) == b"auds"
            if stream_index == number or (stream_index is None and is_audio):
                return _stream_duration(reader, offset + 8) if is_audio else None
        offset += 8 + size + size % 2
    return None


def _stream_duration(reader: BoundedReader, header: int) -> float | None:
    scale, rate = reader.uint_le(header + 20, 4), reader.uint_le(header + 24, 4)
    length = reader.uint_le(header + 32, 4)
    return length * scale / rate if length and scale and rate else None
