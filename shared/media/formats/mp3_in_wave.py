"""The head of a WAV that holds MP3 frames.

Sources: Microsoft's ``MPEGLAYER3WAVEFORMAT`` (mmreg.h) for the format, EBU Tech 3306 for
files over 4 GiB. Up to there the bytes are those that FFmpeg writes (``-rf64 auto``).
"""

from __future__ import annotations

import struct

from shared.media.formats.mp3_frames import FrameError, Header

#: Where the frames begin.
HEAD_BYTES = 106

# Where the body of the first chunk begins, that of the format when it is second, and the sound.
_FIRST_AT, _FORMAT_AT, _DATA_AT = 20, 56, 98
_FORMAT_TAG, _MPEG_ID, _PADDING_OFF = 0x55, 1, 2
_BLOCK_SAMPLES = 1152
_DELAY = 1393  # in samples; every writer states this one
_TOO_MUCH = 0xFFFFFFFF
_LONG = struct.Struct("<QQQI")


def head(first: Header, frames: int, audio_bytes: int) -> bytes:
    """Return what stands before ``frames`` frames of ``audio_bytes``; ``pad`` stands behind."""
    samples = frames * first.samples
    riff_bytes = HEAD_BYTES - 8 + audio_bytes + len(pad(audio_bytes))
    long = riff_bytes >= _TOO_MUCH
    sizes = _LONG.pack(riff_bytes, audio_bytes, samples, 0) if long else bytes(_LONG.size)
    order = [(b"fmt ", _format(first)), (b"ds64" if long else b"JUNK", sizes)]
    parts = [
        struct.pack("<4sI4s", b"RF64" if long else b"RIFF", min(riff_bytes, _TOO_MUCH), b"WAVE"),
        # Sizes over 4 GiB must come first; without them simple readers want the format there.
        *(_chunk(name, body) for name, body in (order[::-1] if long else order)),
        _chunk(b"fact", struct.pack("<I", min(samples, _TOO_MUCH))),
        struct.pack("<4sI", b"data", _TOO_MUCH if long else audio_bytes),
    ]
    return b"".join(parts)


def pad(audio_bytes: int) -> bytes:
    """Return what makes the length of the sound even."""
    return bytes(audio_bytes % 2)


def audio_bytes(head: bytes) -> int:
    """Return how many bytes of frames follow; raises ``FrameError`` for another kind of file."""
    kind, data = head[:4], head[_DATA_AT:]
    tag = head[_FORMAT_AT if kind == b"RF64" else _FIRST_AT :][:2]
    if kind not in (b"RIFF", b"RF64") or tag != bytes([_FORMAT_TAG, 0]) or data[:4] != b"data":
        raise FrameError("it is no WAV that holds MP3")
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
