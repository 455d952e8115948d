"""Recordings whose container and audio disagree end as plain FFmpeg decodes them."""

from __future__ import annotations

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

pytestmark = pytest.mark.slow(150)

#: How far a length may be from that of plain FFmpeg, in seconds.
CLOSE_S = 0.05


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def seconds(path: Path, *options: str) -> float:
    """Return how long plain FFmpeg's WAV of a file is."""
    wav = clips.run(*options, "-i", path, "-map", "0:a:0", "-vn", "-f", "wav", "-")
    rate, block = int.from_bytes(wav[24:28], "little"), int.from_bytes(wav[32:34], "little")
    return (len(wav) - wav.find(b"data") - 8) / block / rate


def compressed(clip: Path, output_format: str, directory: Path) -> float:
    """Compress as the nightly job does, and return the verified length."""
    directory.mkdir()
    sources = RangeSources()
    work = EncodeContext(directory=directory, workers=2)
    with closing(sources.open(sources.describe(clip))) as source:
        with inputs.reachable(source, clip.name) as input_:
            with work.job(None) as job:
                found = probe.probe(input_, job)
            recipe = presets.for_compression(output_format, 16000, 1, 32_000)
            made = encode.encode(input_, found, recipe, work)
        with work.job(made.duration_s) as job:
            return verify.verify(made, job).duration_s


@pytest.mark.parametrize("name", kinds.PLAYS)
def test_recordings_that_play_are_done(
    name: str, worker: Rig, directory: Path, tmp_path: Path
) -> None:
    clip = directory / name
    kinds.PLAYS[name](clip)
    deeper = ("-probesize", "64M", "-analyzeduration", "60M") if name.startswith("late.") else ()
    expected = seconds(clip, *deeper)

    for preset, sources in (
        *(("mp3", LocalSources), ("opus", RangeSources), ("whisper", LocalSources)),
        *(("copy", LocalSources), ("copy", RangeSources)),
    ):
        worker.sources = sources
        made = worker.extract(clip, preset)
        if preset == "copy" and name in kinds.NOT_COPYABLE:
            made.ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)
            continue
        assert made.audio.duration_s == pytest.approx(expected, abs=CLOSE_S), preset
        assert seconds(made.path) == pytest.approx(expected, abs=CLOSE_S), preset
    # Its FLAC is the preset whisper.
    assert compressed(clip, "wav", tmp_path / "wav") == pytest.approx(expected, abs=CLOSE_S)


@pytest.mark.parametrize("sources", [LocalSources, RangeSources])
@pytest.mark.parametrize("name", kinds.FAILS)
def test_broken_recordings_fail_with_their_reason(
    name: str, sources: type[LocalSources], worker: Rig, directory: Path
) -> None:
    clip = directory / f"{sources.__name__}-{name}"
    make, code = kinds.FAILS[name]
    make(clip)
    worker.sources = sources

    for preset in ("mp3", "copy"):
        worker.extract(clip, preset).ended_as(Status.FAILED, code)


def test_too_long_is_decided_by_the_decoded_length(worker: Rig, directory: Path) -> None:
    """Half a minute of silence first: FFmpeg estimates the length from its low bit rate."""
    clip = directory / "starts_silent.aac"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono:d=30"]
    noise = ["-f", "lavfi", "-i", "anoisesrc=d=60:r=44100:a=0.3"]
    joined = ["-filter_complex", "[0][1]concat=n=2:v=0:a=1"]
    clips.run(*silence, *noise, *joined, "-c:a", "aac", "-b:a", "128k", clip)

    for preset in ("mp3", "copy", "whisper"):
        made = worker.extract(clip, preset, max_duration_hours=0.5)
        assert made.audio.duration_s == pytest.approx(90.02, abs=CLOSE_S)
    for preset in ("mp3", "copy", "whisper"):
        made = worker.extract(clip, preset, max_duration_hours=80 / 3600)
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
    picture = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=30,noise=alls=40:allf=t"]
    clips.run(*picture, *clips.speech(30, 48000, 1), "-c:v", "libx264", "-preset", "ultrafast",
              "-b:v", "4M", "-c:a", "aac", "-movflags", "+faststart", clip)  # fmt: skip
    read: list[int] = []

    class Counting(RangeSources):
        def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
            return CountingSource(clip, before_read=lambda _, length: read.append(length))

    worker.sources = Counting

    assert worker.extract(clip, "copy").audio.duration_s == pytest.approx(30, abs=CLOSE_S)
    assert sum(read) < 1.5 * clip.stat().st_size
