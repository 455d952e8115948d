"""How much of a stream of bare frames is damaged, and how much between them is only junk.

MP3, ADTS and LATM have no container: each frame begins with a sync word, and a reader finds the
next one by itself. Half a megabyte of junk before the first frame is no lost audio, though a
decoder refuses every piece of it. A few damaged bytes within the audio are lost audio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from shared.core.ports import ByteSource
from shared.media.formats import mp3_frames
from shared.media.formats.mp3_rates import RATES_BY_VERSION

_BLOCK_BYTES = 1 << 20
#: No frame of these formats is longer: the length of ADTS and LATM has 13 bits.
_MAX_FRAME_BYTES = 1 << 13
#: A gap of more frames than this is junk; a damaged frame leaves a gap of one to three.
_JUNK_FRAMES = 16

#: Bit rates of Layer II in kbit/s by their index: of MPEG-2, and of MPEG-1.
_LAYER_2_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
)

#: Returns the length of the frame that begins at an offset, 0 where none begins.
_FrameAt: TypeAlias = Callable[[bytes, int], int]


def damaged_share(source: ByteSource, demuxer: str) -> float:
    """Return which share of a stream with junk in it is damaged audio, 0 to 1.

    Returns 1, so that every packet which the decoder refused counts, for formats that have a
    container and where there is no junk.
    """
    if demuxer not in _FORMATS:
        return 1.0
    sync, frame_at = _FORMATS[demuxer]
    sizes, gaps = _scan(source, sync, frame_at)
    if not sizes:
        return 1.0
    mean = sum(sizes.values()) / len(sizes)
    first, last = min(sizes), max(sizes)
    around = (first, source.size - last - sizes[last])
    if max(*gaps, *around) <= _JUNK_FRAMES * mean:
        return 1.0
    lost = sum(max(1, round(gap / mean)) for gap in gaps if gap <= _JUNK_FRAMES * mean)
    return lost / (lost + len(sizes))


def _scan(source: ByteSource, sync: bytes, frame_at: _FrameAt) -> tuple[dict[int, int], list[int]]:
    """Return the length of each frame by its position, and the lengths of the gaps between."""
    sizes: dict[int, int] = {}
    gaps: list[int] = []
    start, at, end_of_frame, data = 0, 0, -1, b""
    while True:
        if len(data) - at < 2 * _MAX_FRAME_BYTES and start + len(data) < source.size:
            data, start, at = data[at:], start + at, 0
            data += source.read(start + len(data), _BLOCK_BYTES)
        size = frame_at(data, at)
        follows = at + size == len(data) or frame_at(data, at + size) > 0
        if size and at + size <= len(data) and follows:
            if 0 <= end_of_frame < start + at:
                gaps.append(start + at - end_of_frame)
            sizes[start + at] = size
            at += size
            end_of_frame = start + at
            continue
        following = data.find(sync, at + 1)
        if following < 0 and start + len(data) >= source.size:
            return sizes, gaps
        at = following if following >= 0 else len(data) - 1


def _mpeg_audio_frame(data: bytes, at: int) -> int:
    try:
        return mp3_frames.Header.parse(data[at : at + 4]).size
    except mp3_frames.FrameError:
        return _layer_2_frame(data[at : at + 4])


def _layer_2_frame(head: bytes) -> int:
    """Read the header of a Layer II frame, of 1152 samples (ISO/IEC 11172-3, 2.4.2.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF4:
        return 0
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return 0
    kbits = _LAYER_2_KBITS[version == 3][bitrate]
    return 144_000 * kbits // RATES_BY_VERSION[version][rate] + (head[2] >> 1 & 1)


def _adts_frame(data: bytes, at: int) -> int:
    """Read ``aac_frame_length`` (ISO/IEC 13818-7, 6.2)."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    size = (head[3] & 0x03) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0


def _latm_frame(data: bytes, at: int) -> int:
    """Read ``audioMuxLengthBytes`` (ISO/IEC 14496-3, AudioSyncStream)."""
    head = int.from_bytes(data[at : at + 3], "big")
    if len(data) - at < 3 or head >> 13 != 0x2B7:
        return 0
    return 3 + (head & 0x1FFF)


_FORMATS: dict[str, tuple[bytes, _FrameAt]] = {
    "mp3": (b"\xff", _mpeg_audio_frame),
    "aac": (b"\xff", _adts_frame),
    "loas": (b"\x56", _latm_frame),
}
