"""Recordings for benchmarks, made once with the bundled FFmpeg: 720p, with speech-like sound."""

from __future__ import annotations

import subprocess
from pathlib import Path

from shared.media.ffmpeg.executable import executable

_VOICES = (
    "aevalsrc='0.3*sin(2*PI*(120+30*sin(2*PI*0.7*t))*t)*gt(sin(2*PI*0.31*t),-0.2)"
    "|0.3*sin(2*PI*(180+20*sin(2*PI*0.5*t))*t)*gt(sin(2*PI*0.23*t),0.1)':s=48000:d={seconds}"
)
_ROOM = "anoisesrc=color=pink:amplitude=0.05:r=48000:d={seconds}"


def recording(directory: Path, hours: int, extension: str) -> Path:
    """Return a recording of that length, made if it is not there yet (minutes for the first)."""
    path = directory / f"meeting-{hours}h.{extension}"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    if (hours, extension) == (1, "mp4"):
        return _first(directory, path)
    hour = recording(directory, 1, "mp4")
    return _finish(path, "-stream_loop", str(hours - 1), "-i", hour, "-map", "0", "-c", "copy")


def _first(directory: Path, path: Path) -> Path:
    picture = _finish(
        directory / "picture.mp4",
        *("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=60"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1M", "-pix_fmt", "yuv420p"),
    )
    sound = _finish(
        directory / "sound.m4a",
        *("-f", "lavfi", "-i", _VOICES.format(seconds=3600)),
        *("-f", "lavfi", "-i", _ROOM.format(seconds=3600)),
        *("-filter_complex", "amix=inputs=2:normalize=0,aformat=channel_layouts=stereo"),
        *("-c:a", "aac", "-b:a", "128k"),
    )
    inputs = ("-stream_loop", "59", "-i", picture, "-i", sound)
    return _finish(path, *inputs, "-map", "0:v", "-map", "1:a", "-c", "copy")


def _finish(path: Path, *arguments: str | Path) -> Path:
    """Make a file under another name first, so that one that is there is whole."""
    if not path.exists():
        half = path.with_name(f"half.{path.name}")
        plain(*arguments, half)
        half.rename(path)
    return path


def plain(*arguments: str | Path) -> None:
    """Run FFmpeg as a user would."""
    subprocess.run(plain_command(*arguments), check=True)


def plain_command(*arguments: str | Path) -> list[str]:
    """Return the command line of a plain FFmpeg."""
    options = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    return [executable(), *options, *map(str, arguments)]
