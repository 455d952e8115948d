"""Recordings that the tests make for themselves, and what plain FFmpeg makes of them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from shared.media.ffmpeg import executable

#: Speech-like: two voices that pause, over a floor of noise. Silence between words is
#: where an MP3 encoder remembers longest.
SPEECH = (
    "aevalsrc='0.3*sin(2*PI*(120+30*sin(2*PI*0.7*t))*t)*gt(sin(2*PI*0.31*t),-0.2)"
    "|0.3*sin(2*PI*(180+20*sin(2*PI*0.5*t))*t)*gt(sin(2*PI*0.23*t),0.1)':s={rate}:d={seconds}"
)


def run(*arguments: str | Path, stdin: bytes | None = None) -> bytes:
    """Run FFmpeg as anyone would, and return what it writes to standard output."""
    command = [executable(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def speech(seconds: float, rate: int, channels: int) -> list[str]:
    """Return the input arguments of a speech-like sound."""
    layout = "mono" if channels == 1 else "stereo"
    source = SPEECH.format(rate=rate, seconds=seconds)
    return ["-f", "lavfi", "-i", f"{source},aformat=channel_layouts={layout}"]


def decoded_md5(path: Path, *options: str) -> str:
    """Return the MD5 of all decoded samples."""
    return hashlib.md5(run("-i", path, *options, "-f", "f32le", "-")).hexdigest()


def decoded_samples(path: Path) -> int:
    """Return how many samples a channel decodes to."""
    return len(run("-i", path, "-ac", "1", "-f", "s16le", "-")) // 2
