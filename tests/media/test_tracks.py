"""Which track is taken, when it starts, and wrong claims of its container."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import pytest

from shared.adapters.local.sources import LocalSources
from shared.core.errors import Code
from shared.core.records import Audio, Status
from tests.media import clips, kinds
from tests.media.rig import RangeSources, Rig

SINE = "sine=frequency={hz}:sample_rate=48000:duration={s}"


_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0")


def picture(seconds: float) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=5:d={seconds}"]


def tones(path: Path, *tracks: tuple[int, int, str], video: bool = True) -> Path:
    """Write a file with a track for each (frequency, channels, disposition)."""
    inputs, maps = [], []
    for index, (hz, channels, disposition) in enumerate(tracks):
        inputs += ["-f", "lavfi", "-i", SINE.format(hz=hz, s=2)]
        maps += ["-map", str(index), f"-ac:a:{index}", str(channels)]
        maps += [f"-disposition:a:{index}", disposition]
    shown = picture(2) if video else []
    maps += ["-map", str(len(tracks)), *_H264] if video else []
    # Without this, FFmpeg marks Matroska's first track as the default.
    passed = ["-default_mode", "passthrough"] if path.suffix == ".mkv" else []
    clips.run(*inputs, *shown, *maps, "-c:a", "aac", *passed, path)
    return path


def frequency(path: Path) -> float:
    """Return the frequency of a tone in Hz, by its zero crossings."""
    data = clips.run("-i", path, "-ac", "1", "-ar", "48000", "-f", "s16le", "-")
    samples = struct.unpack(f"<{len(data) // 2}h", data)[12_000:60_000]
    rising = sum(a < 0 <= b for a, b in pairwise(samples))
    return float(rising)


@pytest.mark.parametrize(
    ("tracks", "taken"),
    [
        ([(300, 1, "0"), (500, 1, "default")], 500),
        ([(300, 2, "0"), (500, 1, "default")], 500),
        ([(300, 1, "0"), (500, 2, "0"), (700, 2, "0")], 500),
        ([(300, 2, "0"), (500, 2, "0")], 300),
        ([(300, 1, "default"), (500, 2, "default")], 500),
    ],
)
# The track is chosen before the preset matters: each container meets one, MP4 also a copy.
@pytest.mark.parametrize(
    ("extension", "preset"), [("mp4", "mp3"), ("mp4", "copy"), ("mkv", "copy")]
)
def test_the_default_track_else_the_widest_else_the_first(
    tracks: list[tuple[int, int, str]],
    taken: int,
    extension: str,
    preset: str,
    worker: Rig,
    tmp_path: Path,
) -> None:
    clip = tones(tmp_path / f"clip.{extension}", *tracks)
    if extension == "mp4" and all(disposition == "0" for *_, disposition in tracks):
        no_track_enabled(clip)

    assert frequency(worker.extract(clip, preset).path) == pytest.approx(taken, abs=2)


def no_track_enabled(path: Path) -> None:
    """Take the flag off that FFmpeg gives one track of an MP4 in any case."""
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"tkhd", at + 1)) >= 0:
        data[at + 7] &= ~1
    path.write_bytes(data)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts", "mov", "webm"])
def test_a_late_start_is_recorded_and_not_filled(
    extension: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / f"late.{extension}"
    codecs = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"]
    if extension != "webm":
        codecs = [*_H264, "-c:a", "aac"]
    sound = ["-itsoffset", "1.7", *clips.speech(4, 48000, 2)]
    clips.run(*picture(6), *sound, "-map", "0", "-map", "1", *codecs, clip)
    found: dict[str, Audio] = {}
    files: dict[str, Path] = {}

    for preset, sources in (
        *(("mp3", RangeSources), ("copy", LocalSources)),
        *(("opus", RangeSources), ("whisper", LocalSources)),
    ):
        worker.sources = sources
        made = worker.extract(clip, preset)
        found[preset], files[preset] = made.audio, made.path

    length, *decoded = clips.seconds(clip, *files.values())
    for (preset, audio), made_s in zip(found.items(), decoded, strict=True):
        # An encoder's own delay is part of what its track starts with.
        assert audio.start_offset_s == pytest.approx(1.7, abs=0.03), preset
        assert audio.duration_s == pytest.approx(length, abs=0.03), preset
        assert made_s == pytest.approx(length, abs=0.03), preset


_SINCE_BOOT = ("-output_ts_offset", "100000")
_PICTURES = {
    "webm": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "asf": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "ogg": ("-c:v", "libtheora", "-c:a", "libvorbis"),
}


@pytest.mark.parametrize("late_s", [0, 1.7])
@pytest.mark.parametrize("extension", ["mkv", "webm", "live.webm", "ts", "asf", "ogg", "flv"])
def test_a_clock_since_boot_counts_from_its_first_packet(
    extension: str, late_s: float, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / f"boot.{extension}"
    codecs = _PICTURES.get(clip.suffix[1:], (*_H264, "-c:a", "aac"))
    live = ["-live", "1"] if extension.startswith("live") else []
    sound = ["-itsoffset", str(late_s), *clips.speech(4, 48000, 2)]
    clips.run(*picture(6), *sound, "-map", "0", "-map", "1", *codecs, *live, *_SINCE_BOOT, clip)

    # Without a late start, a copy is tested below.
    for preset in ("mp3", "copy") if late_s else ("mp3",):
        made = worker.extract(clip, preset)
        # The first packet of WMA decodes to nothing.
        assert made.audio.start_offset_s == pytest.approx(late_s, abs=0.09), preset
        assert made.audio.duration_s == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("extension", ["mkv", "webm", "live.webm", "ts", "wma", "ogg", "flv"])
def test_a_clock_since_boot_without_a_picture(extension: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / f"boot.{extension}"
    codec = {"webm": "libopus", "wma": "wmav2", "ogg": "libvorbis"}.get(clip.suffix[1:], "aac")
    live = ["-live", "1"] if extension.startswith("live") else []
    clips.run(*clips.speech(4, 48000, 2), "-c:a", codec, *live, *_SINCE_BOOT, clip)

    for preset in ("mp3", "copy"):
        made = worker.extract(clip, preset, max_duration_hours=1)
        assert made.audio.start_offset_s == pytest.approx(0, abs=0.09), preset


@pytest.mark.parametrize("late_s", [0, 1.7])
@pytest.mark.parametrize("offset_s", [0, 100_000])
def test_a_cut_file_is_measured_from_its_first_packet(
    offset_s: int, late_s: float, worker: Rig, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    sound = ["-itsoffset", str(late_s), *clips.speech(8 - late_s, 48000, 2)]
    options = [*_H264, "-c:a", "aac", "-output_ts_offset", str(offset_s)]
    clips.run(*picture(8), *sound, "-map", "0", "-map", "1", *options, whole)
    data = whole.read_bytes()

    cut.write_bytes(data[: len(data) * 98 // 100])
    assert worker.extract(cut).audio.start_offset_s == pytest.approx(late_s, abs=0.03)
    cut.write_bytes(data[: len(data) * 60 // 100])
    worker.extract(cut).ended_as(Status.FAILED, Code.TRUNCATED)


def test_a_late_aac_in_an_flv_keeps_its_rate(worker: Rig, tmp_path: Path) -> None:
    """An FLV declares each AAC as 44.1 kHz in stereo; its audio may start behind the first look."""
    clip = tmp_path / "late.flv"
    noisy = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=20,noise=alls=60:allf=t"]
    late = ["-itsoffset", "14", *clips.speech(5, 48000, 1)]
    codecs = [*_H264, "-b:v", "4M", "-c:a", "aac"]
    clips.run(*noisy, *late, "-map", "0", "-map", "1", *codecs, clip)

    for preset in ("mp3", "copy"):
        made = worker.extract(clip, preset)
        assert made.audio.duration_s == pytest.approx(5, abs=0.05)
        assert made.audio.start_offset_s == pytest.approx(14, abs=0.05)
        assert ", 48000 Hz, mono," in clips.log(made.path)


def patched(path: Path, box: bytes, seconds: float) -> None:
    """Add seconds to the duration in a box of an MP4."""
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(box, at + 1)) >= 0:
        assert data[at + 4] == 0, "version 1 has longer numbers"
        field = at + (24 if box == b"tkhd" else 20)
        scale = 1000 if box == b"tkhd" else int.from_bytes(data[at + 16 : at + 20], "big")
        value = int.from_bytes(data[field : field + 4], "big") + round(seconds * scale)
        data[field : field + 4] = max(1, value).to_bytes(4, "big")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("boxes", "seconds", "preset"),
    # Each box with each preset and with each error.
    [
        *(([b"mvhd"], -3, "mp3"), ([b"mvhd"], 5, "copy")),
        *(([b"tkhd"], 5, "mp3"), ([b"tkhd"], -3, "copy")),
        *(([b"mdhd"], -3, "mp3"), ([b"mdhd"], 5, "copy")),
        *(([b"mvhd", b"tkhd", b"mdhd"], 5, "mp3"), ([b"mvhd", b"tkhd", b"mdhd"], -3, "copy")),
    ],
)
def test_a_wrong_length_in_an_mp4_does_not_fail_it(
    boxes: list[bytes], seconds: int, preset: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clips.run(*clips.speech(6, 44100, 2), "-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=6",
              "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", clip)  # fmt: skip
    for box in boxes:
        patched(clip, box, seconds)

    made = worker.extract(clip, preset)

    assert made.audio.duration_s == pytest.approx(6, abs=0.05)
    assert clips.decoded_samples(made.path) / 44100 == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
@pytest.mark.parametrize("seconds", [-3.0, 5.0])
def test_a_wrong_length_in_a_matroska_file_does_not_fail_it(
    seconds: float, preset: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mkv"
    clips.run(*clips.speech(6, 48000, 1), "-c:a", "libopus", clip)
    data = clip.read_bytes()
    at = data.find(b"\x44\x89\x88")  # Duration, 8 bytes
    duration = struct.unpack(">d", data[at + 3 : at + 11])[0] + seconds * 1000
    clip.write_bytes(data[: at + 3] + struct.pack(">d", duration) + data[at + 11 :])

    made = worker.extract(clip, preset)

    assert made.audio.duration_s == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "ts"])
def test_gaps_in_the_timestamps_are_not_filled(extension: str, worker: Rig, tmp_path: Path) -> None:
    plain, clip = tmp_path / "plain.mp4", tmp_path / f"gaps.{extension}"
    clips.run(*clips.speech(6, 48000, 2), "-c:a", "aac", plain)
    gaps = "setts=ts='TS+if(gt(N,60),3/TB,0)+if(gt(N,160),5/TB,0)'"
    clips.run("-i", plain, "-c", "copy", "-bsf:a", gaps, clip)

    made = {name: worker.extract(clip, name) for name in ("mp3", "copy", "opus", "whisper")}

    for name, one in made.items():
        assert one.audio.duration_s == pytest.approx(6, abs=0.05), name
    decoded = clips.seconds(clip, *(one.path for one in made.values()))
    assert decoded == pytest.approx([6] * 5, abs=0.05)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_a_clock_that_is_a_day_old(preset: str, worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "clip.ts"
    clips.run(*clips.speech(4, 48000, 2), "-c:a", "aac", "-output_ts_offset", "80000", clip)

    made = worker.extract(clip, preset, max_duration_hours=1)

    assert made.audio.duration_s == pytest.approx(4, abs=0.05)
    assert made.audio.start_offset_s == 0


@pytest.mark.parametrize("trim", [("-ss", "1.3"), ("-t", "3.1"), ("-ss", "1.3", "-t", "2.2")])
def test_an_edit_list_is_obeyed_as_plain_ffmpeg_does(
    trim: tuple[str, ...], worker: Rig, tmp_path: Path
) -> None:
    plain, clip, whole = tmp_path / "plain.mp4", tmp_path / "edited.mp4", tmp_path / "whole.mp3"
    clips.run(*clips.speech(6, 44100, 2), "-c:a", "aac", plain)
    clips.run(*trim, "-i", plain, "-c", "copy", clip)
    clips.run("-i", clip, "-b:a", "128k", "-reservoir", "0", whole)

    made = worker.extract(clip)

    decoded, expected = clips.decoded_md5s(made.path, whole)
    assert decoded == expected
    assert made.audio.duration_s == pytest.approx(clips.decoded_samples(clip) / 44100, abs=0.001)


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_an_empty_default_track_does_not_hide_one_with_audio(
    preset: str, worker: Rig, tmp_path: Path
) -> None:
    clip = tmp_path / "empty_default.mkv"
    kinds.empty_default(clip)

    assert worker.extract(clip, preset).audio.duration_s == pytest.approx(kinds.SECONDS, abs=0.05)
