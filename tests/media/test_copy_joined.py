"""A copy of joined recordings plays as long as its source, or does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.core.errors import Code
from shared.core.records import Status
from shared.media import copy
from tests.media import clips
from tests.media.rig import RangeSources, Rig

_LIVE = ("-f", "webm", "-live", "1")
_FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov")


def joined(path: Path, times: int, *options: str, seconds: float = 1.01) -> Path:
    """Write the same recording several times after one another."""
    one = path.with_name(f"one-{path.name}")
    clips.run(*clips.speech(seconds, 48000, 1), *options, one)
    path.write_bytes(times * one.read_bytes())
    return path


@pytest.mark.parametrize(
    ("name", "options", "extension"),
    [
        # What Opus would play longer is less than anyone can hear.
        ("two.webm", ("-c:a", "libopus", *_LIVE), "opus"),
        ("twelve.mkv", ("-c:a", "libmp3lame", "-f", "matroska", "-live", "1"), "mka"),
        ("twelve.webm", ("-c:a", "libvorbis", *_LIVE), "mka"),
        ("twelve.ogg", ("-c:a", "libvorbis"), "ogg"),
        ("twelve.opus", ("-c:a", "libopus"), "opus"),
    ],
)
@pytest.mark.parametrize("small", [True, False])
def test_ends_that_are_cut_off_stay_cut_off(
    name: str,
    options: tuple[str, ...],
    extension: str,
    small: bool,
    worker: Rig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not small:  # then the count of packets is the length, if it can be
        monkeypatch.setattr(copy, "_SMALL_BYTES", 0)
        worker.sources = RangeSources
    clip = joined(tmp_path / name, 12 if name.startswith("twelve") else 2, *options)

    made = worker.extract(clip, "copy")

    length, decoded = clips.seconds(clip, made.path)

    assert made.path.suffix == f".{extension}"
    assert made.audio.duration_s == pytest.approx(length, abs=0.02)
    assert decoded == pytest.approx(length, abs=0.05)


def test_packets_that_are_not_played_do_not_come_back(worker: Rig, tmp_path: Path) -> None:
    """FFmpeg plays one of the three; no container but MP4 could hide the packets of the others."""
    clip = joined(tmp_path / "three.mp4", 3, "-c:a", "flac", *_FRAGMENTED)
    assert clips.decoded_samples(clip) / 48000 == pytest.approx(1.01, abs=0.05)

    worker.extract(clip, "copy").ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)
    assert worker.extract(clip).audio.duration_s == pytest.approx(1.01, abs=0.05)


def test_packets_of_a_damaged_container_cannot_be_copied(worker: Rig, tmp_path: Path) -> None:
    """A joined NUT is damaged where its parts meet, and the reader of MP3 finds other frames."""
    one, two = tmp_path / "one.nut", tmp_path / "two.nut"
    clips.run(*clips.speech(4, 44100, 1), "-c:a", "libmp3lame", one)
    clips.run(*clips.speech(4, 48000, 2), "-c:a", "libmp3lame", two)
    clip = tmp_path / "joined.nut"
    clip.write_bytes(one.read_bytes() + two.read_bytes())

    worker.extract(clip, "copy").ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)
    assert worker.extract(clip).audio.duration_s == pytest.approx(8, abs=0.1)
