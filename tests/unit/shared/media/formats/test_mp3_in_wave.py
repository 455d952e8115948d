"""The head of a WAV with an MP3 payload, compared with FFmpeg's own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.media import probe
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.process import Job
from shared.media.formats import mp3_frames, mp3_in_wave
from shared.media.source import inputs
from shared.media.tracks import Probe
from tests.media import clips


def frames(path: Path, rate: int, channels: int, bitrate: str) -> bytes:
    clips.run(
        *("-f", "lavfi", "-i", f"sine=440:d=3.3:r={rate}", "-ac", str(channels)),
        *("-b:a", bitrate, "-c:a", "libmp3lame", "-reservoir", "0"),
        *("-write_xing", "0", "-id3v2_version", "0", path),
    )
    return path.read_bytes()


def wave_of(data: bytes) -> bytes:
    count = len(mp3_frames.frame_starts(data)) - 1
    head = mp3_in_wave.head(mp3_frames.Header.parse(data), count, len(data))
    return head + data + mp3_in_wave.pad(len(data))


def probed(path: Path) -> Probe:
    sources = LocalSources()
    source = sources.open(sources.describe(path))
    with closing(source), inputs.reachable(source) as input_, Job(Limits()) as job:
        return probe.probe(input_, job)


@pytest.mark.parametrize(
    ("rate", "channels", "bitrate"),
    [
        (8000, 1, "16k"),
        (11025, 1, "24k"),
        (16000, 1, "32k"),
        (22050, 2, "64k"),  # an odd number of bytes
        (44100, 2, "128k"),
        (48000, 2, "320k"),
    ],
)
def test_the_bytes_are_those_that_ffmpeg_writes(
    rate: int, channels: int, bitrate: str, tmp_path: Path
) -> None:
    data = frames(tmp_path / "a.mp3", rate, channels, bitrate)
    clips.run(
        *("-i", tmp_path / "a.mp3", "-c", "copy", "-fflags", "+bitexact"),
        *("-map_metadata", "-1", "-rf64", "auto", tmp_path / "a.wav"),
    )

    made = wave_of(data)

    assert made == (tmp_path / "a.wav").read_bytes()
    assert mp3_in_wave.audio_bytes(made[: mp3_in_wave.HEAD_BYTES]) == len(data)


def test_over_4_gib_the_sizes_come_first(tmp_path: Path) -> None:
    data = frames(tmp_path / "a.mp3", 48000, 2, "320k")
    first, size = mp3_frames.Header.parse(data), 5 << 30
    head = mp3_in_wave.head(first, size // first.size, size)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(head + data)
        file.truncate(len(head) + size)

    described = probed(path)

    assert head[:16] == b"RF64\xff\xff\xff\xffWAVEds64"
    assert mp3_in_wave.audio_bytes(head) == size
    assert described.container == "wav"
    assert described.duration_s == pytest.approx(size / 40_000, abs=1)


@pytest.mark.parametrize(
    "head",
    [b"", b"RIFF", bytes(mp3_in_wave.HEAD_BYTES), b"RIFF" + bytes(200)[: mp3_in_wave.HEAD_BYTES]],
)
def test_another_head_is_refused(head: bytes) -> None:
    with pytest.raises(mp3_frames.FrameError):
        mp3_in_wave.audio_bytes(head)
