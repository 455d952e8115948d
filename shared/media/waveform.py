"""Draws a recording's loudness over time as a picture, for people who browse the bucket.

Each column is measured from a few packets; the others are dropped before the decoder, so that a
picture does not cost a decode of all audio.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from shared.media import presets
from shared.media.ffmpeg.pipes import write_all
from shared.media.ffmpeg.process import Job
from shared.media.presets import Recipe
from shared.media.source.inputs import own_file

COLUMNS = 400
HEIGHT = 240
_BAR, _GAP = 3, 1
#: Share of the height for the loudest column, and the highest gain for quiet audio (20 dB).
_FULL, _MAX_GAIN = 0.95, 10.0
_RATE = 8000
#: Seconds measured in each column, in whole packets.
_MEASURED_S = 0.08

_BACKGROUND, _PEAK, _BODY = 0, 1, 2
#: Blue, green, red, alpha, in the order of FFmpeg's palette.
_PALETTE = (bytes([255, 255, 255, 0]), bytes([244, 190, 138, 255]), bytes([232, 115, 26, 255]))


class LoudnessLevel(NamedTuple):
    """Loudness of one column: the highest sample and the mean, 0 to 1."""

    peak: float
    mean: float


def arguments(path: Path, recipe: Recipe, duration_s: float) -> list[str]:
    """Return the arguments that print the measured samples of ``path``."""
    step = duration_s / COLUMNS
    at = f"mod(pts*tb,{step:.6f})"
    # A packet may be longer than that (FLAC: 0.3 s): the packet at the start of a column stays.
    drop = (
        f"gt({at},{_MEASURED_S})*lt({at}+duration*tb,{step:.6f})" if step > 4 * _MEASURED_S else "0"
    )
    return [
        *("-bsf:a", "noise=drop=" + drop.replace(",", r"\,")),
        *own_file(path, recipe),
        *("-map", "0:a:0", "-af", presets.COUNTED_TIMES),
        *("-ac", "1", "-ar", str(_RATE), "-f", "s16le", "pipe:1"),
    ]


def measure(blocks: Iterable[bytes]) -> tuple[LoudnessLevel, ...]:
    """Return the level of each column, from mono samples of 16 bits, few enough for memory."""
    data = b"".join(blocks)
    samples = array("h", data[: len(data) // 2 * 2])
    edges = [len(samples) * column // COLUMNS for column in range(COLUMNS + 1)]
    return tuple(_level(samples[start:end]) for start, end in pairwise(edges))


def _level(samples: array[int]) -> LoudnessLevel:
    if not samples:
        return LoudnessLevel(0.0, 0.0)
    sampled = samples[:: max(1, len(samples) // 512)]
    mean = sum(map(abs, sampled)) / len(sampled)
    return LoudnessLevel(max(max(samples), -min(samples)) / 32768, mean / 32768)


def draw(levels: Iterable[LoudnessLevel], path: Path, job: Job) -> None:
    """Draw a PNG with one bar per column, its peak light and its mean dark."""
    width = COLUMNS * (_BAR + _GAP)
    arguments_ = [
        *("-f", "rawvideo", "-pixel_format", "pal8", "-video_size", f"{width}x{HEIGHT}"),
        *("-i", "pipe:0", "-frames:v", "1", "-c:v", "png", "-fflags", "+bitexact"),
        *("-f", "image2pipe", f"file:{path}"),
    ]
    process = job.start(arguments_, stdin=True, ours=True)
    palette = b"".join(_PALETTE).ljust(1024, b"\0")
    write_all(process.stdin, _pixels(_scaled(tuple(levels))) + palette)
    process.close_stdin()
    process.wait()


def _scaled(levels: tuple[LoudnessLevel, ...]) -> tuple[LoudnessLevel, ...]:
    """Scale the loudest column to the full height, unless all columns are nearly silent."""
    gain = min(_MAX_GAIN, _FULL / max(max(level.peak for level in levels), 1e-9))
    return tuple(LoudnessLevel(level.peak * gain, level.mean * gain) for level in levels)


def _pixels(levels: tuple[LoudnessLevel, ...]) -> bytes:
    """Return one byte per pixel; the lower half mirrors the upper one."""
    peaks, means = (_heights(values) for values in zip(*levels, strict=True))
    upper = [_row(peaks, means, distance) for distance in reversed(range(HEIGHT // 2))]
    return b"".join([*upper, *reversed(upper)])


def _heights(values: Iterable[float]) -> bytes:
    half = HEIGHT // 2
    bars = (bytes([max(1, min(half, round(value * half)))]) * _BAR for value in values)
    return b"".join(bar + bytes(_GAP) for bar in bars)


def _row(peaks: bytes, means: bytes, distance: float) -> bytes:
    def reached(colour: int) -> bytes:
        return bytes(colour if height > distance else _BACKGROUND for height in range(256))

    return bytes(map(max, peaks.translate(reached(_PEAK)), means.translate(reached(_BODY))))
