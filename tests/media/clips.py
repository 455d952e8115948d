"""Recordings that the tests make for themselves, and what plain FFmpeg makes of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shared.media.ffmpeg.executable import executable
from tests.paths import ROOT

#: Made files, from one run of the tests to the next. `pytest --cache-clear` empties it.
CACHE = ROOT / ".pytest_cache" / "d" / "clips"

#: Speech-like: two voices that pause, over a floor of noise. Silence between words is
#: where an MP3 encoder remembers longest.
SPEECH = (
    "aevalsrc='0.3*sin(2*PI*(120+30*sin(2*PI*0.7*t))*t)*gt(sin(2*PI*0.31*t),-0.2)"
    "|0.3*sin(2*PI*(180+20*sin(2*PI*0.5*t))*t)*gt(sin(2*PI*0.23*t),0.1)':s={rate}:d={seconds}"
)


def run(*arguments: str | Path, stdin: bytes | None = None) -> bytes:
    """Run FFmpeg as anyone would, and return what it writes to standard output.

    A file that the same FFmpeg has made from the same arguments and inputs is copied instead.
    """
    output = str(arguments[-1]).removeprefix("file:")  # FFmpeg's protocol, not part of the path
    if output == "-" or stdin is not None:
        return _run(*arguments, stdin=stdin)
    kept = CACHE / f"{_recipe(arguments)}{Path(output).suffix}"
    if not kept.exists():
        _make(kept, arguments)
    shutil.copyfile(kept, output)
    return b""


def _run(*arguments: str | Path, stdin: bytes | None = None) -> bytes:
    command = [executable(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def log(path: Path) -> str:
    """Return what FFmpeg prints of a file, with the levels of its lines."""
    command = [executable(), "-hide_banner", "-loglevel", "level+verbose", "-i", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


def _recipe(arguments: tuple[str | Path, ...]) -> str:
    """Return a digest of FFmpeg, its arguments without the output's name, and its inputs."""
    program = Path(executable())
    digest = hashlib.sha256(f"{program.name} {program.stat().st_size}".encode())
    for argument in arguments[:-1]:
        is_input = os.path.isfile(argument)  # noqa: PTH113  # Path raises for a filter of 300 letters
        digest.update(Path(argument).read_bytes() if is_input else str(argument).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _make(kept: Path, arguments: tuple[str | Path, ...]) -> None:
    """Make a file under another name first: other workers may make it at the same time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        made = Path(folder, kept.name)
        _run(*arguments[:-1], made)
        made.replace(kept)


def speech(seconds: float, rate: int, channels: int) -> list[str]:
    """Return the input arguments of a speech-like sound; a file, since FFmpeg computes slowly."""
    layout = "mono" if channels == 1 else "stereo"
    source = f"{SPEECH.format(rate=rate, seconds=seconds)},aformat=channel_layouts={layout}"
    arguments = ("-f", "lavfi", "-i", source, "-c:a", "pcm_f32le", "-bitexact", "x.wav")
    kept = CACHE / f"{_recipe(arguments)}.wav"
    if not kept.exists():
        _make(kept, arguments)
    return ["-i", str(kept)]


def outputs(files: Sequence[Path | tuple[str | Path, ...]], *options: str) -> list[bytes]:
    """Return what FFmpeg writes of each file with these options, in one run for all of them.

    A file may be a tuple: options for reading it, and the path.
    """
    with tempfile.TemporaryDirectory() as directory:
        arguments: list[str | Path] = []
        for file in files:
            *how, path = file if isinstance(file, tuple) else (file,)
            arguments += [*how, "-i", path]
        made = [Path(directory, str(number)) for number in range(len(files))]
        for number, path in enumerate(made):
            arguments += ["-map", f"{number}:a:0", *options, path]
        _run(*arguments)
        return [path.read_bytes() for path in made]


def seconds(*files: Path | tuple[str | Path, ...]) -> list[float]:
    """Return how long plain FFmpeg's WAVs of files are."""
    found = []
    for wav in outputs(files, "-vn", "-f", "wav"):
        rate, block = int.from_bytes(wav[24:28], "little"), int.from_bytes(wav[32:34], "little")
        found.append((len(wav) - wav.find(b"data") - 8) / block / rate)
    return found


def decoded_md5s(*paths: Path) -> list[str]:
    """Return the MD5s of all decoded samples of files."""
    return [hashlib.md5(data).hexdigest() for data in outputs(paths, "-f", "f32le")]


def decoded_samples(path: Path) -> int:
    """Return how many samples a channel decodes to."""
    return len(run("-i", path, "-ac", "1", "-f", "s16le", "-")) // 2


_VIDEO = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d={seconds}")
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
_VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")

#: File name → rate, layout, and FFmpeg's options to write it; with a picture where its
#: options say how to encode one.
CLIPS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "last.mp4": (44100, "stereo", (*_H264, "-c:a", "aac")),
    "first.mp4": (48000, "stereo", (*_H264, "-c:a", "aac", "-movflags", "+faststart")),
    "fragmented.mp4": (
        48000,
        "mono",
        (*_H264, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    ),
    "mono16.mp4": (16000, "mono", (*_H264, "-c:a", "aac")),
    "stereo16.m4a": (16000, "stereo", ("-c:a", "aac")),
    "mono48.m4a": (48000, "mono", ("-c:a", "aac")),
    "surround.mp4": (48000, "5.1", (*_H264, "-c:a", "aac")),
    "surround44.mkv": (44100, "5.1", ("-c:a", "aac")),
    "surround16.m4a": (16000, "5.1", ("-c:a", "aac")),
    "opus.webm": (48000, "stereo", (*_VP8, "-c:a", "libopus")),
    "vorbis.webm": (44100, "stereo", (*_VP8, "-c:a", "libvorbis")),
    "live.webm": (48000, "mono", ("-c:a", "libopus", "-f", "webm", "-live", "1")),
    "aac.mkv": (44100, "stereo", (*_H264, "-c:a", "aac")),
    "flac.mkv": (48000, "stereo", ("-c:a", "flac")),
    "mp3.mkv": (44100, "stereo", ("-c:a", "libmp3lame")),
    "pcm.mkv": (48000, "stereo", ("-c:a", "pcm_s16le")),
    "ac3.mkv": (48000, "stereo", ("-c:a", "ac3")),
    "pcm.mov": (48000, "stereo", (*_H264, "-c:a", "pcm_s16le")),
    "big-endian.mov": (48000, "stereo", ("-c:a", "pcm_s16be")),
    "alac.mov": (44100, "stereo", (*_H264, "-c:a", "alac")),
    "alac.m4a": (44100, "mono", ("-c:a", "alac")),
    "opus.mp4": (48000, "stereo", ("-c:a", "libopus")),
    "flac.mp4": (44100, "stereo", ("-c:a", "flac")),
    "a.ts": (48000, "stereo", (*_H264, "-c:a", "aac")),
    "a.wav": (44100, "stereo", ()),
    "u8.wav": (8000, "mono", ("-c:a", "pcm_u8")),
    "s24.wav": (48000, "stereo", ("-c:a", "pcm_s24le")),
    "float.wav": (44100, "mono", ("-c:a", "pcm_f32le")),
    "law.wav": (8000, "mono", ("-c:a", "pcm_mulaw")),
    "a.mp3": (44100, "stereo", ("-c:a", "libmp3lame")),
    "low.mp3": (16000, "mono", ("-c:a", "libmp3lame")),
    "a.opus": (48000, "mono", ("-c:a", "libopus")),
    "a.ogg": (44100, "stereo", ("-c:a", "libvorbis")),
    "a.flac": (48000, "stereo", ()),
    "a.aac": (44100, "stereo", ("-c:a", "aac")),
    "a.aiff": (44100, "stereo", ()),
    "a.avi": (44100, "stereo", ("-c:v", "mpeg4", "-c:a", "libmp3lame")),
    "a.flv": (44100, "stereo", ("-c:v", "flv", "-c:a", "aac")),
    "a.wma": (44100, "stereo", ("-c:a", "wmav2")),
    "8k.wav": (8000, "mono", ()),
    "11k.wav": (11025, "stereo", ()),
    "22k.wav": (22050, "stereo", ()),
    "32k.m4a": (32000, "stereo", ("-c:a", "aac")),
    "64k.wav": (64000, "stereo", ()),
    "88k.flac": (88200, "stereo", ()),
    "96k.flac": (96000, "stereo", ()),
    "96k.m4a": (96000, "stereo", ("-c:a", "aac")),
    "eight.wav": (48000, "7.1", ()),
    "eight.mkv": (48000, "7.1", ("-c:a", "flac")),
    "eight.opus": (48000, "7.1", ("-c:a", "libopus")),
    "long.wav": (48000, "stereo", ()),
    "tenth.m4a": (44100, "mono", ("-c:a", "aac")),
    "tenth.wav": (48000, "stereo", ()),
    "tenth.opus": (48000, "mono", ("-c:a", "libopus")),
    "tenth.mp3": (44100, "stereo", ("-c:a", "libmp3lame")),
}

SECONDS = 4.0


def length_s(name: str) -> float:
    """Return how long a clip is: a tenth lasts 0.1 s, a long one 20 s."""
    return {"tenth": 0.1, "long": 20.0}.get(name.partition(".")[0], SECONDS)


def make(name: str, path: Path) -> None:
    """Write the clip that ``CLIPS`` calls ``name``."""
    rate, layout, options = CLIPS[name]
    sound = speech(length_s(name), rate, 1 if layout == "mono" else 2)
    picture = [part.format(seconds=length_s(name)) for part in _VIDEO] if "-c:v" in options else []
    # Speech in front, and the other channels of a surround sound made from it.
    run(*sound, *picture, "-af", f"aformat=channel_layouts={layout}", *options, path)
