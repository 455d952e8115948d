"""MP3 frames: headers, offsets, and the Info frame before them.

Sources: ISO/IEC 11172-3 and 13818-3 for the header; the Info frame is the one that LAME
writes ("MP3 Info Tag revision 1"); players take the exact length from it.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from shared.media.formats.mp3_rates import RATES_BY_VERSION

_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

#: Samples that the encoder puts before its input, as the Info frame counts them, and samples
#: that the decoder adds.
ENCODER_DELAY = 576
DECODER_DELAY = 529

_TAG_BYTES = 156
_PADDING_BIT = 0x02


class FrameError(ValueError):
    """The data is not a series of MP3 frames of one kind."""


@dataclass(frozen=True)
class Header:
    """The first four bytes of a Layer III frame.

    ``version`` is 3 for MPEG-1, 2 for MPEG-2, 0 for MPEG-2.5; ``bitrate`` is in kbit/s.
    """

    version: int
    bitrate: int
    sample_rate: int
    padding: bool
    mode: int

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read a header; raises ``FrameError`` for other bytes."""
        if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
            raise FrameError("no frame starts here")
        version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
        bitrate, rate = data[2] >> 4, data[2] >> 2 & 3
        if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
            raise FrameError("not a Layer III frame of a fixed bit rate")
        rates = _BITRATES_1 if version == 3 else _BITRATES_2
        return cls(
            version,
            rates[bitrate],
            RATES_BY_VERSION[version][rate],
            bool(data[2] & 2),
            data[3] >> 6,
        )

    @property
    def samples(self) -> int:
        """Samples per channel in a frame."""
        return 1152 if self.version == 3 else 576

    @property
    def size(self) -> int:
        """Bytes of the frame, including header and padding."""
        return self.samples // 8 * self.bitrate * 1000 // self.sample_rate + self.padding

    @property
    def side_bytes(self) -> int:
        """Bytes of side information after the header."""
        mono = self.mode == 3
        if self.version == 3:
            return 17 if mono else 32
        return 9 if mono else 17


def samples_per_frame(sample_rate: int) -> int:
    """Return the samples per channel in a frame at this sample rate."""
    return 1152 if sample_rate >= 32000 else 576


def frame_starts(data: bytes | mmap.mmap, start: int = 0) -> array[int]:
    """Return the offset of each frame from ``start`` on, and the end of the last one.

    Raises ``FrameError`` unless the rest of ``data`` is whole frames of one kind and bit rate.
    """
    starts = whole_frames(data, start)
    if starts[-1] != len(data):
        raise FrameError(f"the last frame is cut at byte {len(data)}")
    return starts


def count_frames(blocks: Iterator[bytes]) -> tuple[Header, int]:
    """Return the first header and the number of frames of a file, given in blocks of any size.

    Raises ``FrameError`` unless every frame is whole and of the first one's kind.
    """
    rest, first, count = b"", b"", 0
    for block in blocks:
        rest = data = rest + block
        if len(data) < 4:
            continue
        first = first or data[:4]
        starts = whole_frames(data)
        count += len(starts) - 1
        rest = data[starts[-1] :]
        if count and rest and not _same_kind(rest[:4], first):
            raise FrameError(f"no frame starts after {count} frames")
    if rest or not count:
        raise FrameError("the last frame is cut" if rest else "it contains no frame")
    return Header.parse(first), count


def _same_kind(head: bytes, first: bytes) -> bool:
    """Return whether ``head``, which may be cut, starts a frame like ``first``."""
    masks = (0xFF, 0xFF, 0xFF & ~_PADDING_BIT)
    return all(a & mask == b & mask for a, b, mask in zip(head, first, masks, strict=False))


def whole_frames(data: bytes | bytearray | mmap.mmap, start: int = 0) -> array[int]:
    """Return the offset of each whole frame, and the end of the last one.

    Raises ``FrameError`` for anything but frames of one kind; the last one may be cut.
    """
    starts, at, end = array("q", [start]), start, len(data)
    if end < start + 4:
        return starts
    first = Header.parse(bytes(data[start : start + 4]))
    size = first.size - first.padding
    second, third = data[start + 1], data[start + 2] & ~_PADDING_BIT
    while at + 3 <= end:
        if data[at] != 0xFF or data[at + 1] != second or data[at + 2] & ~_PADDING_BIT != third:
            raise FrameError(f"no frame starts at byte {at}")
        at += size + (data[at + 2] >> 1 & 1)
        if at > end:
            break
        starts.append(at)
    return starts


def info_frame(
    first: Header, frames: int, audio_bytes: int, samples: int, delay: int = ENCODER_DELAY
) -> bytes:
    """Return the Info frame to put before ``frames`` frames.

    ``audio_bytes`` counts the frames alone. ``samples`` per channel are what a decoder returns:
    it drops ``delay`` and 529 at the start, and the rest at the end.
    """
    header = _info_header(first)
    size = Header.parse(header).size
    padding = min(0xFFF, max(0, frames * first.samples - delay - samples))
    tag = b"Info" + struct.pack(">III", 0xF, frames, audio_bytes + size)
    tag += bytes(i * 256 // 100 for i in range(100))  # constant bit rate: evenly spaced
    tag += struct.pack(">I", 0)
    tag += b"Lavc\0\0\0\0\0" + bytes([0x01, 0]) + bytes(8)  # constant bit rate, no gain
    tag += bytes([0, min(first.bitrate, 255)])
    tag += (delay << 12 | padding).to_bytes(3, "big") + bytes(4)
    tag += struct.pack(">IH", min(audio_bytes + size, 0xFFFFFFFF), 0)
    body = header + bytes(first.side_bytes) + tag
    body += struct.pack(">H", _crc16(body))
    return body.ljust(size, b"\0")


def id3_bytes(head: bytes) -> int:
    """Return the size in bytes of the ID3v2 tag at the start of a file, 0 without one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def info_bytes(head: bytes) -> int:
    """Return the size in bytes of the Info frame at the start of a file, 0 without one.

    Its bit rate may be higher than that of the frames after it, which can be too small for it.
    Raises ``FrameError`` when the file does not start with a frame.
    """
    header = Header.parse(head)
    return header.size if head[4 + header.side_bytes :][:4] in (b"Info", b"Xing") else 0


def info_size(first: Header) -> int:
    """Return the size in bytes of ``info_frame``'s result."""
    return Header.parse(_info_header(first)).size


def _info_header(first: Header) -> bytes:
    """Return a header like the stream's, at the lowest bit rate from its own up that fits a tag."""
    need = 4 + first.side_bytes + _TAG_BYTES
    rates = _BITRATES_1 if first.version == 3 else _BITRATES_2
    for index in range(rates.index(first.bitrate), 15):
        header = bytes(
            [
                0xFF,
                0xE0 | first.version << 3 | 1 << 1 | 1,
                index << 4 | RATES_BY_VERSION[first.version].index(first.sample_rate) << 2,
                first.mode << 6,
            ]
        )
        if Header.parse(header).size >= need:
            return header
    raise FrameError("every frame of this kind is too small for an Info tag")


def _crc16(data: bytes) -> int:
    """Return the CRC-16 (reversed polynomial 0xA001) of the tag."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
