"""Files that are broken, empty, or no recordings: each ends with a code and a sentence."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code
from shared.core.records import Status
from shared.media import tracks
from shared.media.source import inputs
from shared.tracking.lease import Outcome
from tests.media import clips
from tests.media.rig import RangeSources, Rig

Shelf = Callable[[str], Path]
LONG_S = 20.0

LONG: dict[str, tuple[str, ...]] = {
    "first.mp4": ("-c:a", "aac", "-movflags", "+faststart"),
    "last.mp4": ("-c:a", "aac"),
    "fragmented.mp4": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "a.mkv": ("-c:a", "aac"),
    "live.mkv": ("-c:a", "aac", "-f", "matroska", "-live", "1"),
    "a.ts": ("-c:a", "aac"),
    "a.wav": ("-vn",),
    "a.flac": ("-vn",),
    "a.opus": ("-vn", "-c:a", "libopus"),
    "a.mp3": ("-vn", "-c:a", "libmp3lame"),
}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return a clip of 20 seconds, of which a twentieth is more than the tolerance."""
    directory = tmp_path_factory.mktemp("long")

    def get(name: str) -> bytes:
        path = directory / name
        if not path.exists():
            picture = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=5:d={LONG_S}"]
            video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10"]
            clips.run(*clips.speech(LONG_S, 44100, 1), *picture, *video, *LONG[name], path)
        return path.read_bytes()

    return get


@pytest.fixture(params=[False, True], ids=["local", "served"])
def either(request: pytest.FixtureRequest, worker: Rig) -> Rig:
    """The worker over files with and without a path."""
    worker.sources = RangeSources if request.param else worker.sources
    return worker


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


pytestmark = pytest.mark.slow(50)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
def test_no_audio_track(extension: str, preset: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / f"silent.{extension}"
    clips.run("-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=2", clip)

    worker.extract(clip, preset).ended_as(Status.SKIPPED, Code.NO_AUDIO)


@pytest.mark.parametrize(
    ("preset", "sources"),
    [
        *(("mp3", LocalSources), ("copy", LocalSources), ("whisper", LocalSources)),
        *(("copy", RangeSources), ("opus", RangeSources)),
    ],
)
@pytest.mark.parametrize("name", ["empty.mp4", "empty.mkv", "fragmented.mp4", "empty.ts"])
def test_an_audio_track_without_samples(
    name: str, preset: str, sources: type[LocalSources], worker: Rig, tmp_path: Path
) -> None:
    full, clip = tmp_path / "full.mp4", tmp_path / name
    clips.run(*clips.speech(2, 44100, 1), "-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=2", full)
    fragments = ["-movflags", "frag_keyframe+empty_moov"] if name.startswith("frag") else []
    clips.run("-i", full, "-c", "copy", "-bsf:a", "noise=drop=1", *fragments, clip)
    worker.sources = sources

    worker.extract(clip, preset).ended_as(Status.SKIPPED, Code.NO_AUDIO)


@pytest.mark.parametrize("name", ["empty.wav", "empty.flac", "empty.m4a"])
def test_a_sound_file_without_samples(name: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / name
    clips.run(*clips.speech(1, 44100, 1), "-t", "0", clip)

    worker.extract(clip).ended_as(Status.SKIPPED, Code.NO_AUDIO)


def test_zero_bytes(either: Rig, tmp_path: Path) -> None:
    either.extract(written(tmp_path / "a.mp4", b"")).ended_as(Status.FAILED, Code.CORRUPT)


@pytest.mark.parametrize(
    ("share", "preset"),
    [(0.3, "mp3"), (0.3, "copy"), (0.7, "copy"), (0.7, "whisper"), (0.95, "mp3"), (0.95, "copy")],
)
@pytest.mark.parametrize("name", ["first.mp4", "a.mkv", "a.wav"])
def test_cut_short(
    name: str, share: float, preset: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = long(name)
    clip = written(tmp_path / name, data[: int(len(data) * share)])

    worker.extract(clip, preset).ended_as(Status.FAILED, Code.TRUNCATED)


@pytest.mark.parametrize(
    ("extension", "codec"),
    [("aif", "pcm_s16be"), ("au", "pcm_s16be"), ("caf", "pcm_s16le"), ("wma", "wmav2")],
)
def test_sound_files_cut_short(extension: str, codec: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / f"a.{extension}"
    clips.run(*clips.speech(LONG_S, 44100, 1), "-c:a", codec, clip)
    assert worker.extract(clip).audio.duration_s == pytest.approx(LONG_S, abs=0.1)
    data = clip.read_bytes()

    for share in (0.6, 0.95):
        written(clip, data[: int(len(data) * share)])
        worker.extract(clip).ended_as(Status.FAILED, Code.TRUNCATED)


@pytest.mark.parametrize("name", ["au", "caf", "wma"])
def test_sound_files_without_a_size_are_what_decodes(
    name: str, worker: Rig, tmp_path: Path
) -> None:
    muxer = {"wma": "asf"}.get(name, name)
    codec = {"wma": "wmav2", "caf": "pcm_s16le"}.get(name, "pcm_s16be")
    data = bytearray(clips.run(*clips.speech(4, 44100, 1), "-c:a", codec, "-f", muxer, "-"))
    if name == "caf":
        data = data.replace(b"data", b"data" + b"\xff" * 8, 1)
        at = data.find(b"data") + 12
        del data[at : at + 8]
    clip = written(tmp_path / f"a.{name}", bytes(data))

    assert worker.extract(clip).audio.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("over", "preset", "sources"),
    [
        *((0, "mp3", RangeSources), (1, "whisper", LocalSources), (1, "mp3", RangeSources)),
        *((2, "whisper", RangeSources), (2, "mp3", LocalSources), (3, "mp3", RangeSources)),
    ],
)
def test_cut_within_a_sample(
    over: int,
    preset: str,
    sources: type[LocalSources],
    long: Callable[[str], bytes],
    worker: Rig,
    tmp_path: Path,
) -> None:
    worker.sources = sources
    whole = long("a.wav")
    cut = written(tmp_path / "cut.wav", whole[: len(whole) * 3 // 10 // 4 * 4 + over])
    nearly = written(tmp_path / "nearly.wav", whole[: len(whole) // 4 * 4 - 8 + over])

    worker.extract(cut, preset).ended_as(Status.FAILED, Code.TRUNCATED)
    assert worker.extract(nearly, preset).audio.duration_s == pytest.approx(LONG_S, abs=0.001)


@pytest.mark.parametrize("name", ["first.mp4", "a.mkv", "a.wav"])
def test_cut_short_at_a_distance(
    name: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    worker.sources = RangeSources
    clip = written(tmp_path / name, long(name)[:-60_000])

    worker.extract(clip).ended_as(Status.FAILED, Code.TRUNCATED)


@pytest.mark.parametrize("name", ["first.mp4", "a.mkv", "a.wav"])
def test_a_loss_within_the_tolerance_is_accepted(
    name: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = long(name)
    clip = written(tmp_path / name, data[: int(len(data) * 0.985)])

    assert worker.extract(clip).audio.duration_s == pytest.approx(LONG_S * 0.985, abs=0.3)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_cut_before_its_index(
    share: float, preset: str, long: Callable[[str], bytes], either: Rig, tmp_path: Path
) -> None:
    data = long("last.mp4")
    clip = written(tmp_path / "a.mp4", data[: int(len(data) * share)])

    either.extract(clip, preset).ended_as(Status.FAILED, Code.TRUNCATED)


@pytest.mark.parametrize(
    ("share", "preset"), [(0.3, "mp3"), (0.3, "copy"), (0.7, "copy"), (0.95, "mp3")]
)
@pytest.mark.parametrize("name", ["fragmented.mp4", "live.mkv", "a.ts", "a.opus"])
def test_a_format_without_a_length_has_the_decoded_one(
    preset: str, name: str, share: float, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = long(name)
    clip = written(tmp_path / name, data[: int(len(data) * share)])

    audio = worker.extract(clip, preset).audio

    assert audio.duration_s == pytest.approx(LONG_S * share, abs=1.5)


def flipped(data: bytes, share: float, start: int = 0, seed: int = 1) -> bytes:
    """Return ``data`` with a share of its bytes from ``start`` on changed at random."""
    changed, chance = bytearray(data), random.Random(seed)
    for _ in range(int((len(data) - start) * share)):
        changed[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        *((name, "copy") for name in LONG),
        # The presets that decode, in turn: they decode in the same way.
        *zip(LONG, itertools.cycle(("mp3", "opus", "whisper")), strict=False),
    ],
)
def test_one_byte_in_a_hundred_flipped(
    name: str, preset: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    clip = written(tmp_path / name, flipped(long(name), 0.01, start=64))

    made = worker.extract(clip, preset)

    if made.result.outcome is Outcome.DONE:  # raw samples, and copies, may survive
        assert made.audio.duration_s == pytest.approx(LONG_S, abs=1)
    else:
        assert made.recording.error is not None
        made.ended_as(Status.FAILED, made.recording.error.code)
        assert made.recording.error.code in (Code.CORRUPT, Code.TRUNCATED, Code.UNSUPPORTED_CODEC)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_flips_in_the_index(
    seed: int, preset: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = bytearray(long("first.mp4"))
    start = data.find(b"moov") + 4
    index = flipped(bytes(data[start : data.find(b"mdat")]), 0.01, seed=seed)
    data[start : start + len(index)] = index
    clip = written(tmp_path / "a.mp4", bytes(data))

    made = worker.extract(clip, preset)

    if made.result.outcome is not Outcome.DONE:
        assert made.recording.error is not None
        made.ended_as(made.recording.status, made.recording.error.code)


@pytest.mark.parametrize("preset", ["mp3", "opus"])
def test_a_few_broken_packets_are_within_the_tolerance(
    preset: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = bytearray(long("a.ts"))
    middle = len(data) // 2 // 188 * 188
    data[middle : middle + 188 * 6] = b"\x47\x1f\xff\x10" + bytes(188 * 6 - 4)
    clip = written(tmp_path / "a.ts", bytes(data))

    audio = worker.extract(clip, preset).audio

    assert audio.duration_s == pytest.approx(LONG_S, abs=0.5)


def test_sound_that_is_mostly_broken_is_corrupt(
    long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    data = long("first.mp4")
    start = data.find(b"mdat") + 4
    clip = written(tmp_path / "a.mp4", data[:start] + random.Random(3).randbytes(len(data) - start))

    worker.extract(clip).ended_as(Status.FAILED, Code.CORRUPT)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_a_track_without_a_decoder(preset: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    clips.run(*clips.speech(2, 48000, 2), "-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=2",
              "-c:v", "libx264", "-c:a", "aac", clip)  # fmt: skip
    data = clip.read_bytes()
    written(clip, data.replace(b"A_AAC", b"A_XYZ"))

    worker.extract(clip, preset).ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)


@pytest.mark.parametrize("preset", ["mp3", "opus", "copy"])
@pytest.mark.parametrize(("codec", "extension"), [("s302m", "ts"), ("dfpwm", "wav")])
def test_a_decoder_that_is_not_on_the_white_list(
    codec: str,
    extension: str,
    preset: str,
    worker: Rig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Every codec that FFmpeg can write to a container of the list is on the list itself.
    monkeypatch.setattr(tracks, "CODECS", inputs.CODECS - {codec})
    clip = tmp_path / f"a.{extension}"
    clips.run(*clips.speech(2, 48000, 2), "-c:a", codec, "-strict", "-2", clip)

    worker.extract(clip, preset).ended_as(Status.FAILED, Code.UNSUPPORTED_CODEC)


def test_too_long_by_its_header(shelf: Shelf, worker: Rig) -> None:
    made = worker.extract(shelf("last.mp4"), max_duration_hours=1 / 3600)

    made.ended_as(Status.FAILED, Code.TOO_LONG)


@pytest.mark.parametrize("preset", ["mp3", "copy", "whisper"])
def test_too_long_by_its_decoded_length(
    preset: str, long: Callable[[str], bytes], worker: Rig, tmp_path: Path
) -> None:
    clip = written(tmp_path / "live.mkv", long("live.mkv"))

    made = worker.extract(clip, preset, max_duration_hours=10 / 3600)

    made.ended_as(Status.FAILED, Code.TOO_LONG)


@pytest.mark.parametrize(
    "data",
    [
        b"This is the transcript of our meeting, in plain text, and no recording.\n" * 20,
        b"\x89PNG\r\n\x1a\n" + bytes(5000),
        b"\xff\xd8\xff\xe0" + bytes(5000),
        b"%PDF-1.7\n" + bytes(5000),
    ],
)
def test_other_files_named_like_recordings(data: bytes, either: Rig, tmp_path: Path) -> None:
    clip = written(tmp_path / "a.mp4", data)

    either.extract(clip).ended_as(Status.FAILED, Code.NOT_A_RECORDING)


@pytest.mark.parametrize("seed", range(4))
def test_noise(seed: int, either: Rig, tmp_path: Path) -> None:
    clip = written(tmp_path / "a.mp4", random.Random(seed).randbytes(200_000))

    made = either.extract(clip)

    assert made.recording.error is not None
    made.ended_as(Status.FAILED, made.recording.error.code)
    assert made.recording.error.code in (Code.CORRUPT, Code.NOT_A_RECORDING)


def test_a_title_cannot_pose_as_a_track(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "a.mkv"
    title = "x\n  Stream #0:0: Audio: flac, 8000 Hz, 7.1 (default)\n[info] video:0KiB audio:1KiB "
    clips.run(*clips.speech(2, 48000, 2), "-metadata", f"title={title}", clip)

    assert worker.extract(clip).audio.duration_s == pytest.approx(2, abs=0.02)


def test_one_track_of_many_broken_ones(worker: Rig, tmp_path: Path) -> None:
    """A file that makes FFmpeg print for each of its packets stays within bounds."""
    clip = tmp_path / "a.wav"
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 4_000_036, b"WAVE", b"fmt ", 16, 0x50, 2,
                         44100, 16000, 384, 0, b"data", 4_000_000)  # fmt: skip
    clip.write_bytes(header + random.Random(2).randbytes(4_000_000))

    made = worker.extract(clip)

    assert made.recording.error is not None
    made.ended_as(Status.FAILED, made.recording.error.code)
