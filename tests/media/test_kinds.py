"""Recordings whose container and audio disagree end as plain FFmpeg decodes them."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import ByteSource
from shared.core.records import Status
from shared.media import encode, presets, probe, verify
from shared.media.encode import EncodeContext
from shared.media.source import inputs
from shared.tracking.lease import Outcome
from tests.media import clips, kinds
from tests.media.containers import CountingSource
from tests.media.rig import RangeSources, Rig

pytestmark = pytest.mark.slow(80)

#: Every kind with every preset that decodes.
ALL = os.environ.get("KINDS") == "all"
#: The presets that decode, and the nightly WAV: at the recording's rate, and at 16 kHz.
_AT_ITS_RATE, _AT_16_KHZ = ("mp3", "opus"), ("whisper", "wav")

#: How far a length may be from that of plain FFmpeg, in seconds.
CLOSE_S = 0.05


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def compressed(
    clip: Path, output_format: str, origin: type[LocalSources], directory: Path
) -> float:
    """Compress as the nightly job does, and return the verified length."""
    directory.mkdir()
    sources = origin()
    work = EncodeContext(directory=directory, workers=2)
    with closing(sources.open(sources.describe(clip))) as source:
        with inputs.reachable(source, clip.name) as input_:
            with work.job(None) as job:
                found = probe.probe(input_, job)
            recipe = presets.for_compression(output_format, 16000, 1, 32_000)
            made = encode.encode(input_, found, recipe, work)
        with work.job(made.duration_s) as job:
            return verify.verify(made, job).duration_s


def decoding(name: str) -> list[tuple[str, type[LocalSources]]]:
    """Return with which presets a kind is decoded, and where from.

    One of each rate in turn, one of them by range, and all where the resampler or an encoder
    matters. KINDS=all is for all.
    """
    number = list(kinds.PLAYS).index(name)
    if ALL or name in kinds.RESAMPLED:
        taken: tuple[str, ...] = (*_AT_ITS_RATE, *_AT_16_KHZ)
    else:
        taken = (_AT_ITS_RATE[number % 2], _AT_16_KHZ[number // 2 % 2])
    sources = (LocalSources, RangeSources)
    return [(preset, sources[(number // 4 + place) % 2]) for place, preset in enumerate(taken)]


@pytest.mark.parametrize("name", kinds.PLAYS)
def test_recordings_that_play_are_done(
    name: str, worker: Rig, directory: Path, tmp_path: Path
) -> None:
    clip = directory / name
    kinds.PLAYS[name](clip)
    deeper = ("-probesize", "64M", "-analyzeduration", "60M") if name.startswith("late.") else ()
    lengths: dict[str, float] = {}
    files: dict[str, Path] = {}

    for preset, sources in decoding(name):
        if preset == "wav":
            lengths[preset] = compressed(clip, "wav", sources, tmp_path / "wav")
            continue
        worker.sources = sources
        made = worker.extract(clip, preset)
        lengths[preset], files[preset] = made.audio.duration_s, made.path
    worker.sources = RangeSources
    copied = worker.extract(clip, "copy")
    if name in kinds.NOT_COPYABLE:
        copied.ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)
    else:
        lengths["copy"], files["copy"] = copied.audio.duration_s, copied.path

    expected, *decoded = clips.seconds((*deeper, clip), *files.values())
    assert lengths == pytest.approx(dict.fromkeys(lengths, expected), abs=CLOSE_S)
    made_s = dict(zip(files, decoded, strict=True))
    assert made_s == pytest.approx(dict.fromkeys(files, expected), abs=CLOSE_S)


@pytest.mark.parametrize("name", kinds.FAILS)
def test_broken_recordings_fail_with_their_reason(name: str, worker: Rig, directory: Path) -> None:
    clip = directory / name
    make, code = kinds.FAILS[name]
    make(clip)

    for preset, sources in (("mp3", LocalSources), ("copy", RangeSources)):
        worker.sources = sources
        worker.extract(clip, preset).ended_as(Status.FAILED, code)


def test_too_long_is_decided_by_the_decoded_length(worker: Rig, directory: Path) -> None:
    """FFmpeg estimates the length from the low bit rate of the silence: eleven minutes."""
    clip = directory / "starts_silent.aac"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono:d=10"]
    noise = ["-f", "lavfi", "-i", "anoisesrc=d=20:r=44100:a=0.3"]
    joined = ["-filter_complex", "[0][1]concat=n=2:v=0:a=1"]
    clips.run(*silence, *noise, *joined, "-c:a", "aac", "-b:a", "128k", clip)

    for preset in ("mp3", "copy", "whisper"):
        made = worker.extract(clip, preset, max_duration_hours=0.1)
        assert made.audio.duration_s == pytest.approx(30.02, abs=CLOSE_S)
        made = worker.extract(clip, preset, max_duration_hours=28 / 3600)
        made.ended_as(Status.FAILED, Code.TOO_LONG)


def test_a_copy_cannot_carry_another_format(worker: Rig, tmp_path: Path) -> None:
    """A Matroska whose MP3 track contains a transport stream is not published as an MP3."""
    inner, clip = tmp_path / "inner.ts", tmp_path / "a.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=9"]
    clips.run(*picture, *clips.speech(9, 48000, 1), "-c:v", "mpeg2video", "-c:a", "mp2", inner)
    # Its bytes become the samples of a track, whose codec is then renamed.
    clips.run("-f", "s16le", "-ar", "48000", "-i", inner, "-c:a", "pcm_s16le", clip)
    renamed = clip.read_bytes().replace(b"A_PCM/INT/LIT", b"A_MPEG/L3\0\0\0\0")
    clip.write_bytes(renamed)

    made = worker.extract(clip, "copy")

    assert made.result.outcome is not Outcome.DONE


def test_the_source_of_a_copy_is_read_once(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=30,noise=alls=40:allf=t"]
    clips.run(*picture, *clips.speech(30, 48000, 1), "-c:v", "libx264", "-preset", "ultrafast",
              "-b:v", "4M", "-c:a", "aac", "-movflags", "+faststart", clip)  # fmt: skip
    read: list[int] = []

    class Counting(RangeSources):
        def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
            return CountingSource(clip, before_read=lambda _, length: read.append(length))

    worker.sources = Counting

    assert worker.extract(clip, "copy").audio.duration_s == pytest.approx(30, abs=CLOSE_S)
    assert sum(read) < 1.5 * clip.stat().st_size
