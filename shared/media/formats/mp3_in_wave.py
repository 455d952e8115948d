"""The header of a WAV file that contains MP3 frames.

Sources: Microsoft's ``MPEGLAYER3WAVEFORMAT`` (mmreg.h) for the format, EBU Tech 3306 for
files over 4 GiB. Below 4 GiB the bytes are the same as FFmpeg's (``-rf64 auto``).
"""

from __future__ import annotations

import struct

from shared.media.formats.mp3_frames import FrameError, Header

#: Offset of the first frame.
HEAD_BYTES = 106

# Offsets of the first chunk's body, of the format's body if it comes second, and of the data.
_FIRST_AT, _FORMAT_AT, _DATA_AT = 20, 56, 98
_FORMAT_TAG, _MPEG_ID, _PADDING_OFF = 0x55, 1, 2
_BLOCK_SAMPLES = 1152
_DELAY = 1393  # in samples; all writers use this value
_TOO_MUCH = 0xFFFFFFFF
_LONG = struct.Struct("<QQQI")


def head(first: Header, frames: int, audio_bytes: int) -> bytes:
    """Return the header for ``frames`` frames of ``audio_bytes``; ``pad`` comes after them."""
    samples = frames * first.samples
    riff_bytes = HEAD_BYTES - 8 + audio_bytes + len(pad(audio_bytes))
    long = riff_bytes >= _TOO_MUCH
    sizes = _LONG.pack(riff_bytes, audio_bytes, samples, 0) if long else bytes(_LONG.size)
    order = [(b"fmt ", _format(first)), (b"ds64" if long else b"JUNK", sizes)]
    parts = [
        struct.pack("<4sI4s", b"RF64" if long else b"RIFF", min(riff_bytes, _TOO_MUCH), b"WAVE"),
        # Sizes over 4 GiB must come first; otherwise simple readers expect the format.
        *(_chunk(name, body) for name, body in (order[::-1] if long else order)),
        _chunk(b"fact", struct.pack("<I", min(samples, _TOO_MUCH))),
        struct.pack("<4sI", b"data", _TOO_MUCH if long else audio_bytes),
    ]
    return b"".join(parts)


def pad(audio_bytes: int) -> bytes:
    """Return the padding that makes the length of the audio even."""
    return bytes(audio_bytes % 2)


def audio_bytes(head: bytes) -> int:
    """Return how many bytes of frames follow; raises ``FrameError`` for another kind of file."""
    kind, data = head[:4], head[_DATA_AT:]
    tag = head[_FORMAT_AT if kind == b"RF64" else _FIRST_AT :][:2]
    if kind not in (b"RIFF", b"RF64") or tag != bytes([_FORMAT_TAG, 0]) or data[:4] != b"data":
        raise FrameError("it is not a WAV file with MP3 in it")
    if kind == b"RF64":
        return int(_LONG.unpack_from(head, _FIRST_AT)[1])
    return int.from_bytes(data[4:], "little")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _format(first: Header) -> bytes:
    channels = 1 if first.mode == 3 else 2
    rate, bytes_a_second = first.sample_rate, first.bitrate * 125
    wave = struct.pack("<HHIIHH", _FORMAT_TAG, channels, rate, bytes_a_second, first.samples, 0)
    return wave + struct.pack("<HHIHHH", 12, _MPEG_ID, _PADDING_OFF, _BLOCK_SAMPLES, 1, _DELAY)
