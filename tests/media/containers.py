"""Short clips in every container that the bundled FFmpeg can write, and a source to read them."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg

from tests.media import clips

FFMPEG: str = imageio_ffmpeg.get_ffmpeg_exe()

_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "20")
_FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov")
_AUDIO_ONLY = ("-vn",)

#: File name → FFmpeg's options to write it from a test picture and noise.
CONTAINERS: dict[str, tuple[str, ...]] = {
    "last.mp4": (*_H264, "-c:a", "aac"),
    "first.mp4": (*_H264, "-c:a", "aac", "-movflags", "+faststart"),
    "fragmented.mp4": (*_H264, "-c:a", "aac", *_FRAGMENTED),
    "a.mov": (*_H264, "-c:a", "pcm_s16le"),
    "a.m4a": (*_AUDIO_ONLY, "-c:a", "aac"),
    "a.3gp": (*_H264, "-c:a", "aac"),
    "a.mkv": (*_H264, "-c:a", "aac"),
    "live.mkv": (*_H264, "-c:a", "libopus", "-f", "matroska", "-live", "1"),
    "a.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "a.wav": _AUDIO_ONLY,
    "a.w64": _AUDIO_ONLY,
    "rf64.wav": (*_AUDIO_ONLY, "-rf64", "always"),
    "a.aiff": _AUDIO_ONLY,
    "a.caf": _AUDIO_ONLY,
    "a.au": _AUDIO_ONLY,
    "a.flac": _AUDIO_ONLY,
    "a.mp3": (*_AUDIO_ONLY, "-metadata", "title=Größe"),
    "bare.mp3": (*_AUDIO_ONLY, "-write_xing", "0", "-id3v2_version", "0"),
    "a.aac": (*_AUDIO_ONLY, "-c:a", "aac"),
    "a.ogg": (*_AUDIO_ONLY, "-c:a", "libvorbis"),
    "a.opus": (*_AUDIO_ONLY, "-c:a", "libopus"),
    "a.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "a.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "a.wma": (*_AUDIO_ONLY, "-c:a", "wmav2"),
    "a.ts": (*_H264, "-c:a", "aac"),
    "a.mpg": ("-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2"),
    "a.flv": ("-c:v", "flv", "-c:a", "aac"),
    "a.amr": (*_AUDIO_ONLY, "-c:a", "libopencore_amrnb", "-ar", "8000", "-ac", "1"),
    "a.ac3": _AUDIO_ONLY,
    "a.nut": ("-c:v", "mpeg4", "-c:a", "mp2"),
}


def ffmpeg(*args: str | Path) -> bytes:
    """Run FFmpeg with an empty environment; returns what it wrote to standard output."""
    command = [FFMPEG, "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *map(str, args)]
    done = subprocess.run(command, capture_output=True, check=False, env={}, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def make_clip(path: Path, *options: str, seconds: float = 6) -> Path:
    """Write a clip with picture and noise; the extension chooses the container."""
    picture = f"testsrc2=s=640x360:r=10:d={seconds},noise=alls=40:allf=t"
    # Noise from a fixed seed, so that no two stretches of the audio are alike.
    sound = f"anoisesrc=d={seconds}:a=0.3:r=44100:seed=7"
    clips.run("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *options, path)
    return path


def make_container(directory: Path, name: str, *, seconds: float = 6) -> Path:
    """Write the clip that ``CONTAINERS`` calls ``name``."""
    return make_clip(directory / name, *CONTAINERS[name], seconds=seconds)


class CountingSource:
    """A ``ByteSource`` over a file that counts, and can be slow or fail."""

    local_path = None

    def __init__(
        self,
        path: Path,
        *,
        latency_s: float = 0,
        before_read: Callable[[int, int], None] | None = None,
    ) -> None:
        self._file = path.open("rb")
        self._latency_s = latency_s
        self._before_read = before_read
        self._lock = threading.Lock()
        self.size = path.stat().st_size
        self.reads: list[tuple[int, int]] = []

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.reads)

    def read(self, offset: int, length: int) -> bytes:
        if self._before_read:
            self._before_read(offset, length)
        if self._latency_s:
            time.sleep(self._latency_s)
        data = os.pread(self._file.fileno(), length, offset)
        with self._lock:
            self.reads.append((offset, len(data)))
        return data

    def check_unchanged(self) -> None:
        """Nothing here ever changes."""

    def close(self) -> None:
        self._file.close()
