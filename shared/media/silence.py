"""Detects audio without sound."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shared.media.ffmpeg.process import Job
from shared.media.presets import Recipe
from shared.media.source.inputs import own_file
from shared.media.waveform import LoudnessLevel

#: The loudest sample of silent audio, in dB below full scale, and as a fraction of it.
THRESHOLD_DB = -60.0
_THRESHOLD = 10 ** (THRESHOLD_DB / 20)

# What the filter volumedetect prints at the end (FFmpeg, "Filters", volumedetect).
_MAX_VOLUME = re.compile(r"max_volume: (-?[\d.]+|-inf) dB")


def is_silent(path: Path, recipe: Recipe, levels: Iterable[LoudnessLevel], job: Job) -> bool:
    """Return whether no sample of our audio file is above -60 dBFS.

    ``levels`` come from samples of the audio; only if all of them are quiet is the whole
    file decoded.
    """
    if any(level.peak > _THRESHOLD for level in levels):
        return False
    process = job.start(
        [*own_file(path, recipe), "-map", "0:a:0", "-af", "volumedetect", "-f", "null", "-"],
        ours=True,
        level="info",
    )
    found = [
        match[1] for text in process.wait().texts("info") if (match := _MAX_VOLUME.search(text))
    ]
    return bool(found) and all(float(one) <= THRESHOLD_DB for one in found)
