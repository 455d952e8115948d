"""Junk around a container is no lost audio; audio behind junk is not left out silently."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared.core.errors import Code
from shared.core.records import Status
from shared.media.formats import junk
from tests.media import clips
from tests.media.containers import CountingSource
from tests.media.rig import RangeSources, Rig

_JUNK = {
    "random": random.Random(3).randbytes(300_000),
    "zeros": bytes(20_000),
    "http": b"HTTP/1.1 200 OK\r\nContent-Type: audio/ogg\r\n\r\n",
}
_OPTIONS = {
    "flac": ("-c:a", "flac"),
    "ogg": ("-c:a", "libvorbis"),
    "opus": ("-c:a", "libopus"),
    "webm": ("-c:a", "libopus"),
    "mkv": ("-c:a", "aac"),
    "ts": ("-c:a", "aac"),
    "m2ts": ("-c:a", "aac", "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
}


@pytest.mark.parametrize("kind", _JUNK)
@pytest.mark.parametrize("extension", _OPTIONS)
def test_junk_before_a_container(extension: str, kind: str, worker: Rig, tmp_path: Path) -> None:
    plain, clip = tmp_path / f"plain.{extension}", tmp_path / f"clip.{extension}"
    clips.run(*clips.speech(4, 48000, 1), *_OPTIONS[extension], plain)
    clip.write_bytes(_JUNK[kind] + plain.read_bytes())
    # Presets and sources in turn: what is found of the junk is the same for both.
    number = list(_JUNK).index(kind) + list(_OPTIONS).index(extension)
    worker.sources = RangeSources if number % 2 else worker.sources

    made = worker.extract(clip, "copy" if number % 2 else "mp3")

    length, decoded = clips.seconds(plain, made.path)
    assert decoded == pytest.approx(length, abs=0.03)
    assert made.audio.duration_s == pytest.approx(length, abs=0.03)


@pytest.mark.parametrize("extension", ["mp3", "aac", "ac3", "latm"])
def test_junk_before_bare_frames_takes_no_time(extension: str, worker: Rig, tmp_path: Path) -> None:
    plain, clip = tmp_path / f"plain.{extension}", tmp_path / f"clip.{extension}"
    codec = ("-c:a", "aac") if extension == "latm" else ()
    clips.run(*clips.speech(4, 48000, 1), *codec, plain)
    clip.write_bytes(_JUNK["random"] + plain.read_bytes())

    for preset in ("mp3", "copy"):
        made = worker.extract(clip, preset)
        assert made.audio.start_offset_s == 0, preset
        assert made.audio.duration_s == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("extension", _OPTIONS)
def test_a_plain_container_has_no_junk_before_it(extension: str, tmp_path: Path) -> None:
    clip = tmp_path / f"clip.{extension}"
    clips.run(*clips.speech(4, 48000, 1), *_OPTIONS[extension], clip)
    demuxer = {"flac": "flac", "webm": "matroska", "mkv": "matroska"}.get(extension, "ogg")
    source = CountingSource(clip)

    assert junk.bytes_before(source, "mpegts" if "ts" in extension else demuxer) == 0
    assert source.bytes_read <= 4096  # of a recording that may be in Drive
    source.close()


@pytest.mark.parametrize("demuxer", ["flac", "ogg", "matroska", "mpegts", "mp3"])
def test_the_start_is_not_looked_for_without_end(demuxer: str, tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(random.Random(9).randbytes(6 << 20) + b"OggS\0\2" + b"fLaC\0\0\0\x22")
    source = CountingSource(path)

    assert junk.bytes_before(source, demuxer) == 0
    assert source.bytes_read <= junk.MAX_BYTES + 4096
    source.close()


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_audio_behind_junk_in_an_ogg_is_not_left_out(
    preset: str, worker: Rig, tmp_path: Path
) -> None:
    plain, between, behind = (tmp_path / f"{name}.opus" for name in ("plain", "between", "behind"))
    clips.run(*clips.speech(4, 48000, 1), "-c:a", "libopus", plain)
    part, noise = plain.read_bytes(), random.Random(5).randbytes(400_000)
    between.write_bytes(part + noise + part)
    behind.write_bytes(part + noise)

    worker.extract(between, preset).ended_as(Status.FAILED, Code.CORRUPT)
    assert worker.extract(behind, preset).audio.duration_s == pytest.approx(4, abs=0.03)
