"""Draws a recording's loudness over time as a picture, for people who browse the bucket.

Each column is measured from a few packets; the others are dropped before the decoder, so that a
picture does not cost a decode of all audio.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shared.media import presets

COLUMNS = 400
HEIGHT = 240
_BAR, _GAP = 3, 1
#: Share of the height for the loudest column, and the highest gain for quiet audio (20 dB).
_FULL, _MAX_GAIN = 0.95, 10.0
_RATE = 8000
#: Seconds measured in each column, in whole packets.
_MEASURED_S = 0.08

#: The palette: background, peak, mean, and both. Red, green and blue of each, and its opacity.
_COLOURS = bytes([255, 255, 255, 138, 190, 244, 26, 115, 232, 26, 115, 232])
_OPACITY = bytes([0, 255, 255, 255])


class LoudnessLevel(NamedTuple):
    """Loudness of one column: the highest sample and the mean, 0 to 1."""

    peak: float
    mean: float


def unmeasured(duration_s: float) -> str:
    """Return an expression of FFmpeg: whether the packet of audio of this length is not measured.

    A packet may be longer than what is measured (FLAC: 0.3 s): that at the start of a column stays.
    """
    return _between_columns("pts*tb", "duration*tb", duration_s)


def output_arguments(duration_s: float) -> list[str]:
    """Return the output that prints the measured samples, whatever else is decoded."""
    unmeasured = _between_columns("t", "samples_n/sample_rate", duration_s)
    filters = f"aselect='not({unmeasured})',{presets.COUNTED_TIMES}"
    return ["-map", "0:a:0", "-af", filters, "-ac", "1", "-ar", str(_RATE), "-f", "s16le", "pipe:1"]


def _between_columns(start: str, length: str, duration_s: float) -> str:
    step = duration_s / COLUMNS
    if step <= 4 * _MEASURED_S:
        return "0"
    # FFmpeg evaluates this for each packet, which is a sixth of the time of a verification.
    return f"between(mod({start},{step:.6f}),{_MEASURED_S},{step:.6f}-{length})"


def measure(data: bytes) -> tuple[LoudnessLevel, ...]:
    """Return the level of each column, from what FFmpeg printed: mono samples of 16 bits."""
    samples = array("h", data[: len(data) // 2 * 2])
    edges = [len(samples) * column // COLUMNS for column in range(COLUMNS + 1)]
    return tuple(_level(samples[start:end]) for start, end in pairwise(edges))


def _level(samples: array[int]) -> LoudnessLevel:
    if not samples:
        return LoudnessLevel(0.0, 0.0)
    sizes = list(map(abs, samples))
    sampled = sizes[:: max(1, len(sizes) // 512)]
    return LoudnessLevel(max(sizes) / 32768, sum(sampled) / len(sampled) / 32768)


def draw(levels: Iterable[LoudnessLevel], path: Path) -> None:
    """Draw a PNG with one bar per column, its peak light and its mean dark.

    The chunks of a picture with a palette are those of PNG (ISO/IEC 15948), section 11.
    """
    rows = _rows(_scaled(tuple(levels)))
    # 8 bits for a pixel, which is a number of the palette; no interlacing.
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    # A byte before each row names its filter: none.
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"PLTE", _COLOURS), (b"tRNS", _OPACITY), (b"IDAT", pixels))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in (*chunks, (b"IEND", b"")))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _scaled(levels: tuple[LoudnessLevel, ...]) -> tuple[LoudnessLevel, ...]:
    """Scale the loudest column to the full height, unless all columns are nearly silent."""
    gain = min(_MAX_GAIN, _FULL / max(max(level.peak for level in levels), 1e-9))
    return tuple(LoudnessLevel(level.peak * gain, level.mean * gain) for level in levels)


def _rows(levels: tuple[LoudnessLevel, ...]) -> list[bytes]:
    """Return one byte per pixel; the lower half mirrors the upper one."""
    peaks, means = (_heights(values) for values in zip(*levels, strict=True))
    upper = [_row(peaks, means, distance) for distance in reversed(range(HEIGHT // 2))]
    return [*upper, *reversed(upper)]


def _heights(values: Iterable[float]) -> bytes:
    half = HEIGHT // 2
    bars = (bytes([max(1, min(half, round(value * half)))]) * _BAR for value in values)
    return b"".join(bar + bytes(_GAP) for bar in bars)


def _row(peaks: bytes, means: bytes, distance: int) -> bytes:
    """Return the row at this distance from the middle: the colour of each pixel."""
    light, dark = (
        int.from_bytes(heights.translate(bytes(distance + 1).ljust(256, colour)))
        for heights, colour in ((peaks, b"\1"), (means, b"\2"))
    )
    return (light | dark).to_bytes(len(peaks))
