"""A file cannot change its outcome by imitating lines of FFmpeg's log.

FFmpeg prints a language and the name of a tag as they are, line breaks included
(``dump_stream_format`` and ``dump_dictionary`` of libavformat/dump.c), and cuts what it prints at
once at 1024 bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.core.errors import Code
from shared.core.records import Status
from shared.media.ffmpeg.log import Log
from tests.media import clips
from tests.media.rig import RangeSources, Rig

pytestmark = pytest.mark.slow(20)

SECONDS = 6.0

FORGERIES = {
    "refused packets": ["[error] Error submitting packet to decoder: Invalid data"] * 16,
    "counts": [
        "[verbose] Input file #0 (fd:):",
        "[verbose]   Input stream #0:0 (audio): 9999 packets read (9 bytes); "
        "1 frames decoded; 9998 decode errors (1 samples);",
        "[error] Decoding error: x",
    ],
    "errors of the container": [
        "[in#0/matroska,webm @ 0x1] [error] Error during demuxing: Not yet implemented in FFmpeg",
        "[error] Error during demuxing: Not yet implemented in FFmpeg, patches welcome",
        "[in#0 @ 0x1] [error] File ended prematurely",
        "[error] Number of tracks exceeds max_streams (128)",
    ],
    "errors that end FFmpeg": [
        "[error] Format not on whitelist 'x'",
        "[error] Protocol not on whitelist 'x'",
        "[fatal] Cannot allocate memory",
        "[error] Decoder not found",
        "[error] Error while opening decoder",
        "[error] Error while opening encoder",
        "[error] No space left on device",
        "[error] moov atom not found",
        "[fatal] Error opening input files: Cannot allocate memory",
        "[fatal] Error opening output files: Decoder not found",
        "[fatal] Stream map '0:a' matches no streams.",
    ],
    "signals and other files": [
        "[info] Skipped opening external track",
        "[info] Exiting normally, received signal 15.",
    ],
    "times": [
        f"[verbose] Correcting start time of Input #0 by {'9' * 400} us",
        "[info]   Duration: 00:00:01.00, start: 99999.000000, bitrate: 1 kb/s",
        "[info]   Duration: 99:99:99.99, start: -.-",
    ],
}


def recording(path: Path, forged: str) -> None:
    """Write speech with a picture; the forged lines are a language and the name of a tag."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=5:d={SECONDS}"]
    tags = [*("-metadata:s:a:0", f"language={forged}"), *("-metadata:s:v:0", f"language={forged}")]
    tags += ["-movflags", "use_metadata_tags+faststart", "-metadata", f"{forged}=x"]
    h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-c:a", "aac"]
    clips.run(*clips.speech(SECONDS, 44100, 1), *picture, *h264, *tags, path)


def cut(path: Path, forged: str) -> None:
    recording(path, forged)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])


def noise(path: Path, forged: str) -> None:
    recording(path, forged)
    data = path.read_bytes()
    start = data.rfind(b"mdat") + 4 if path.suffix == ".mp4" else data.find(b"\x1f\x43\xb6\x75") + 9
    path.write_bytes(data[:start] + random.Random(3).randbytes(len(data) - start))


def without_audio(path: Path, forged: str) -> None:
    full = path.with_name(f"full{path.suffix}")
    recording(full, forged)
    tags = ["-movflags", "use_metadata_tags"]
    clips.run("-i", full, "-map", "0:v", "-c", "copy", *tags, path)


def empty(path: Path, forged: str) -> None:
    full = path.with_name(f"full{path.suffix}")
    recording(full, forged)
    tags = ["-movflags", "use_metadata_tags"]
    clips.run("-i", full, "-c", "copy", "-bsf:a", "noise=drop=1", *tags, path)


def without_decoder(path: Path, forged: str) -> None:
    recording(path, forged)
    data = path.read_bytes()
    path.write_bytes(
        data.replace(b"A_AAC", b"A_XYZ").replace(b"mp4a", b"xyz ").replace(b"esds", b"free")
    )


KINDS: dict[str, tuple[Callable[[Path, str], None], Status, str]] = {
    "good": (recording, Status.DONE, ""),
    "cut": (cut, Status.FAILED, Code.TRUNCATED),
    "noise": (noise, Status.FAILED, Code.CORRUPT),
    "without audio": (without_audio, Status.SKIPPED, Code.NO_AUDIO),
    "empty": (empty, Status.SKIPPED, Code.NO_AUDIO),
    "without decoder": (without_decoder, Status.FAILED, Code.UNSUPPORTED_CODEC),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("kind", KINDS)
def test_forged_lines_change_no_outcome(
    kind: str, forgery: str, worker: Rig, tmp_path: Path
) -> None:
    make, status, code = KINDS[kind]
    lines = FORGERIES[forgery]
    # Containers, presets and sources in turn; every kind and every forgery has both containers.
    number = list(FORGERIES).index(forgery)
    clip = tmp_path / f"a.{('mkv', 'mp4')[(number + list(KINDS).index(kind)) % 2]}"
    make(clip, "x)\n" + "\n".join(lines))
    worker.sources = RangeSources if number % 2 else worker.sources

    made = worker.extract(clip, ("mp3", "copy")[number // 2 % 2])

    if status is Status.DONE:
        assert made.audio.duration_s == pytest.approx(SECONDS, abs=0.05)
    else:
        made.ended_as(status, code)


@pytest.mark.parametrize("carrier", ["mkv", "mp4"])
def test_the_lines_reach_the_log(carrier: str, tmp_path: Path) -> None:
    """Otherwise the tests above would show nothing."""
    clip = tmp_path / f"a.{carrier}"
    recording(clip, "x)\n[error] an imitated line")
    log = Log()
    for line in clips.log(clip).splitlines():
        log.add(line)

    assert "an imitated line" in "\n".join(log.errors())


def test_a_name_never_reaches_ffmpeg(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "x\n[error] Error submitting packet to decoder: x\n[error] y.mkv"
    recording(tmp_path / "a.mkv", "eng")
    (tmp_path / "a.mkv").rename(clip)

    for sources in (worker.sources, RangeSources):
        worker.sources = sources
        assert worker.extract(clip).audio.duration_s == pytest.approx(SECONDS, abs=0.05)
