"""Clips that are recognised by their sound: each has a pair of tones of its own."""

from __future__ import annotations

import array
import functools
import itertools
import math
import operator
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.media.ffmpeg.executable import executable

#: Hz. All fit a whole number of times into the window that is analysed, so none of them
#: shows up at the place of another.
FREQUENCIES = tuple(range(300, 3500, 50))
PAIRS = tuple(itertools.combinations(FREQUENCIES, 2))

Pair = tuple[int, int]

#: A damaged clip is longer: the missing part has to exceed the tolerance of half a second.
SECONDS, DAMAGED_SECONDS = 1.0, 3.0

_RATE = 8000
#: Samples that are analysed, from the middle of the first second.
_WINDOW = slice(1600, 5600)
#: The third loudest tone has to be this much weaker in power than the second (10 dB): Opus at
#: 32 kbit/s leaks up to -17 dB of a low tone into its neighbour.
_MARGIN = 10.0

#: How each kind is encoded. ``silent`` has a picture alone, ``empty`` a track without samples.
_AAC = ("-c:a", "aac", "-b:a", "48k")
_PICTURE = ("-c:v", "libx264", "-preset", "ultrafast")
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "m4a": ("m4a", ("-map", "{sound}", *_AAC)),
    "mp4": ("mp4", ("-map", "0:v", "-map", "{sound}", *_PICTURE, *_AAC)),
    "webm": ("webm", ("-map", "{sound}", "-c:a", "libopus", "-b:a", "32k")),
    "wav": ("wav", ("-map", "{sound}")),
    "mp3": ("mp3", ("-map", "{sound}", "-c:a", "libmp3lame", "-b:a", "48k")),
    "silent": ("mp4", ("-map", "0:v", *_PICTURE)),
    "empty": ("wav", ("-map", "{sound}", "-t", "0")),
    "cut": ("m4a", ("-map", "{sound}", *_AAC, "-movflags", "+faststart")),
    "cut wav": ("wav", ("-map", "{sound}")),
}
_BATCH = 20


@dataclass(frozen=True)
class Clip:
    """One file's content: its kind, a key of ``_KINDS`` or ``noise``, and its tones."""

    kind: str
    pair: Pair
    path: Path


def make(clips: Sequence[Clip], rng: random.Random) -> None:
    """Write all clips; one FFmpeg makes twenty, since most of its time is its start."""
    for clip in clips:
        if clip.kind == "noise":
            clip.path.write_bytes(rng.randbytes(20_000))
    sounds = [clip for clip in clips if clip.kind != "noise"]
    for start in range(0, len(sounds), _BATCH):
        some = sounds[start : start + _BATCH]
        command = [executable(), "-hide_banner", "-loglevel", "error", "-y"]
        command += ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=2:d=1"]
        for clip in some:
            seconds = DAMAGED_SECONDS if clip.kind.startswith("cut") else SECONDS
            low, high = clip.pair
            sound = f"0.3*sin(2*PI*{low}*t)+0.3*sin(2*PI*{high}*t)"
            command += ["-f", "lavfi", "-i", f"aevalsrc='{sound}':s=16000:d={seconds}"]
        for number, clip in enumerate(some, 1):
            suffix, options = _KINDS[clip.kind]
            command += [part.format(sound=f"{number}:a") for part in options]
            command += ["-f", {"m4a": "ipod"}.get(suffix, suffix), str(clip.path)]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
        for clip in some:
            if clip.kind.startswith("cut"):
                whole = clip.path.read_bytes()
                clip.path.write_bytes(whole[: len(whole) * 2 // 5])


def heard(
    paths: Sequence[Path], pairs: Sequence[Pair], folder: Path
) -> list[tuple[Pair | None, float]]:
    """Decode files; return of each its tones, ``None`` for any other sound, and its seconds.

    ``pairs`` are the tones that are expected, which are looked for first.
    """
    found: list[tuple[Pair | None, float]] = []
    for start in range(0, len(paths), _BATCH):
        some = paths[start : start + _BATCH]
        command = [executable(), "-hide_banner", "-loglevel", "error", "-y"]
        for path in some:
            command += ["-i", str(path)]
        for number in range(len(some)):
            command += ["-map", f"{number}:a", "-ac", "1", "-ar", str(_RATE), "-f", "s16le"]
            command.append(str(folder / f"{number}.pcm"))
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        if ended.returncode and len(some) > 1:  # one of them is broken: find out which
            for path, pair in zip(some, pairs[start:], strict=False):
                found += heard([path], [pair], folder)
            continue
        for number in range(len(some)):
            raw = folder / f"{number}.pcm"
            samples = array.array("h", raw.read_bytes() if not ended.returncode else b"")
            found.append((_tones(samples, pairs[start + number]), len(samples) / _RATE))
    return found


def _tones(samples: array.array[int], expected: Pair) -> Pair | None:
    window = samples[_WINDOW]
    if len(window) < _WINDOW.stop - _WINDOW.start:
        return None
    # What is not one of the expected tones bounds every other tone, by Parseval's theorem.
    tones = [_energy(window, frequency) for frequency in expected]
    rest = sum(map(operator.mul, window, window)) - sum(tones)
    if min(tones) >= _MARGIN * rest > 0:
        return expected
    all_tones = sorted((_energy(window, frequency), frequency) for frequency in FREQUENCIES)
    (third, _), (second, one), (_, other) = all_tones[-3:]
    if second < _MARGIN * max(third, 1.0):
        return None
    return min(one, other), max(one, other)


def _energy(window: array.array[int], frequency: int) -> float:
    """Return the energy of one frequency in the window, as that of the samples is counted."""
    cosine, sine = _waves(frequency)
    return 2 * (_dot(window, cosine) ** 2 + _dot(window, sine) ** 2) / len(window)


def _dot(samples: array.array[int], wave: array.array[float]) -> float:
    return float(sum(map(operator.mul, samples, wave)))


@functools.cache
def _waves(frequency: int) -> tuple[array.array[float], array.array[float]]:
    step = 2 * math.pi * frequency / _RATE
    count = _WINDOW.stop - _WINDOW.start
    cosine, sine = (
        array.array("d", (function(step * number) for number in range(count)))
        for function in (math.cos, math.sin)
    )
    return cosine, sine
