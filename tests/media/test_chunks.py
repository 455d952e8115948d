"""Pieces of the audio: no larger than their limit, and together the whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.media import clips
from tests.media.rig import Extracted, Rig

Shelf = Callable[[str], Path]
S16 = ("-f", "s16le")


def pieces(made: Extracted) -> list[Path]:
    """Return the chunks, as copied out of the bucket."""
    assert len({chunk.object for chunk in made.recording.chunks}) == len(made.recording.chunks)
    return [made.copied(chunk.object) for chunk in made.recording.chunks]


@pytest.fixture(scope="module")
def pausing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return noise that pauses for 0.4 s, each 1.5 s from the first second on."""
    path = tmp_path_factory.mktemp("pausing") / "pausing.flac"
    noise = "aevalsrc='if(between(mod(t,1.5),1,1.4),0,random(0)-0.5)':s=44100:d=30"
    clips.run("-f", "lavfi", "-i", noise, path)
    return path


@pytest.mark.parametrize(
    ("preset", "limit"),
    [
        *(("mp3", 30_000), ("mp3", 100_000), ("mp3", 10_000_000)),
        *(("whisper", 60_000), ("whisper", 150_000), ("whisper", 10_000_000)),
    ],
)
def test_decoded_one_after_another_they_are_the_whole(
    preset: str, limit: int, pausing: Path, worker: Rig
) -> None:
    made = worker.extract(pausing, preset, chunk_max_mb=limit / 1e6)

    paths = pieces(made)
    assert all(path.stat().st_size <= limit for path in paths)
    assert len(paths) >= made.audio.bytes // limit + 1
    whole, *decoded = clips.outputs([made.path, *paths], *S16)
    assert b"".join(decoded) == whole
    rate = 16000 if preset == "whisper" else 44100
    for chunk, samples in zip(made.recording.chunks, decoded, strict=True):
        assert chunk.end_s - chunk.start_s == pytest.approx(len(samples) / 2 / rate, abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_every_kind_of_mp3(rate: int, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*clips.speech(12, rate, 2), clip)

    made = worker.extract(clip, chunk_max_mb=0.02, audio_bitrate=32_000)

    assert len(made.recording.chunks) > 1
    whole, *decoded = clips.outputs([made.path, *pieces(made)], *S16)
    assert b"".join(decoded) == whole


@pytest.mark.parametrize("name", ["a.m4a", "a.opus", "a.ogg", "a.wav", "a.mp3", "a.mka", "a.flac"])
def test_a_copy_is_cut_between_packets(name: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / name
    codec = ["-c:a", "ac3"] if name == "a.mka" else ["-b:a", "64k"]
    clips.run(*clips.speech(20, 48000, 2), *codec, clip)
    limit = 900_000 if name in ("a.wav", "a.flac") else 50_000

    made = worker.extract(clip, "copy", chunk_max_mb=limit / 1e6)

    paths = pieces(made)
    assert all(path.stat().st_size <= limit for path in paths)
    assert len(paths) > 1
    whole, *parts = packet_hashes(made.path, *paths)
    assert b"".join(parts) == whole


def packet_hashes(*paths: Path) -> list[bytes]:
    """Return of each file the checksums of its packets, without their times."""
    return [
        b"".join(
            b",".join(line.split(b",")[4:6]) + b"\n"
            for line in table.splitlines()
            if not line.startswith(b"#")
        )
        for table in clips.outputs(paths, "-c", "copy", "-f", "framecrc")
    ]


def test_opus(worker: Rig, shelf: Shelf) -> None:
    made = worker.extract(shelf("long.wav"), "opus", chunk_max_mb=0.05, audio_bitrate=64_000)

    paths = pieces(made)
    assert all(path.stat().st_size <= 50_000 for path in paths)
    whole, *parts = packet_hashes(made.path, *paths)
    assert b"".join(parts) == whole


@pytest.mark.parametrize("preset", ["mp3", "whisper", "opus"])
def test_they_are_cut_in_the_pauses(preset: str, pausing: Path, worker: Rig) -> None:
    made = worker.extract(pausing, preset, chunk_max_mb=0.2, audio_bitrate=128_000)

    cuts = [chunk.start_s for chunk in made.recording.chunks[1:]]
    assert cuts
    assert all(1.0 <= cut % 1.5 <= 1.4 for cut in cuts), cuts


def test_their_index_lists_each_chunk(pausing: Path, worker: Rig) -> None:
    made = worker.extract(pausing, chunk_max_mb=0.2)

    index = json.loads(
        made.copied(made.audio.object.replace(".mp3", ".chunks/chunks.json")).read_text()
    )
    assert [row["object"] for row in index["chunks"]] == [c.object for c in made.recording.chunks]
    assert index["chunks"][0]["start_s"] == 0
    assert index["chunks"][-1]["end_s"] == pytest.approx(made.audio.duration_s, abs=0.001)
    for before, after in pairwise(index["chunks"]):
        assert before["end_s"] == after["start_s"]
    for row, path in zip(index["chunks"], pieces(made), strict=True):
        assert row["bytes"] == path.stat().st_size
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
