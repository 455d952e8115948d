from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.local.sources import LocalSources
from shared.media import encode, parallel_mp3, presets, probe
from shared.media.encode import EncodeContext, Encoded
from shared.media.ffmpeg.process import Job, Process
from shared.media.formats import mp3_frames
from shared.media.source import inputs
from tests.media import clips


def extract(
    path: Path,
    directory: Path,
    workers: int,
    bitrate: int = 128_000,
    declared_s: float | None = None,
) -> Encoded:
    """Encode a clip, as one that declares another length where ``declared_s`` is given."""
    directory.mkdir()
    sources = LocalSources()
    work = EncodeContext(directory=directory, workers=workers)
    source = sources.open(sources.describe(path))
    with inputs.reachable(source) as input_:
        with work.job(None) as job:
            found = probe.probe(input_, job)
        if declared_s is not None:
            found = replace(found, duration_s=declared_s)
        return encode.encode(input_, found, presets.for_preset("mp3", found.track, bitrate), work)


def one_pass(path: Path, out: Path, bitrate: int = 128_000) -> Path:
    clips.run("-i", path, "-map", "0:a:0", *lame(bitrate), out)
    return out


def lame(bitrate: int) -> tuple[str, ...]:
    return ("-c:a", "libmp3lame", "-b:a", str(bitrate), "-reservoir", "0")


def same_sound(made: Path, whole: Path) -> bool:
    """Return whether two files decode to the same bits."""
    first, second = clips.decoded_md5s(made, whole)
    return first == second


@pytest.fixture
def many_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every few seconds, so that a short clip has many seams."""
    monkeypatch.setattr(parallel_mp3, "SEGMENT_BLOCKS", 4)


@pytest.mark.usefixtures("many_seams")
@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1)])
def test_segments_decode_to_the_bits_of_one_pass(tmp_path: Path, rate: int, channels: int) -> None:
    clip = tmp_path / "clip.mp4"
    clips.run(*clips.speech(20, rate, channels), "-c:a", "aac", "-b:a", "96k", clip)

    made = extract(clip, tmp_path / "out", workers=2)

    whole = one_pass(clip, tmp_path / "whole.mp3")
    assert same_sound(made.path, whole)
    assert clips.decoded_samples(made.path) == clips.decoded_samples(clip)


@pytest.mark.usefixtures("many_seams")
@pytest.mark.parametrize(
    ("rate", "bitrates"),
    # At 44.1 kHz frames of one bit rate differ in length by a byte.
    [(44100, (32, 40, 64, 96, 112, 160, 192, 256, 320)), (48000, (32, 112, 320))],
)
def test_any_constant_bit_rate(tmp_path: Path, rate: int, bitrates: Sequence[int]) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*clips.speech(11, rate, 2), clip)

    made = {
        bitrate: extract(clip, tmp_path / str(bitrate), workers=3, bitrate=bitrate * 1000).path
        for bitrate in bitrates
    }

    # FFmpeg encodes all of them in one run, and decodes them in another.
    whole = {bitrate: tmp_path / f"{bitrate}.mp3" for bitrate in bitrates}
    outputs: list[str | Path] = []
    for bitrate, path in whole.items():
        outputs += [*lame(bitrate * 1000), path]
    clips.run("-i", clip, *outputs, "-f", "null", "-")
    decoded = iter(clips.decoded_md5s(*made.values(), *whole.values()))
    found = dict(zip(made, decoded, strict=False))
    assert found == dict(zip(whole, decoded, strict=True))


@pytest.mark.usefixtures("many_seams")
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000])
def test_lower_rates(tmp_path: Path, rate: int) -> None:
    clip = tmp_path / "clip.wav"
    frames = parallel_mp3.SEGMENT_BLOCKS * parallel_mp3.BLOCK_FRAMES
    segment_s = frames * mp3_frames.samples_per_frame(rate) / rate
    clips.run(*clips.speech(round(3.3 * segment_s), rate, 1), clip)

    made = extract(clip, tmp_path / "out", workers=2, bitrate=32_000)

    assert same_sound(made.path, one_pass(clip, tmp_path / "whole.mp3", 32_000))


@pytest.mark.usefixtures("many_seams")
@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_f64le"])
def test_samples_of_every_kind_reach_the_encoder_unrounded(tmp_path: Path, codec: str) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*clips.speech(12, 44100, 1), "-c:a", codec, clip)

    made = extract(clip, tmp_path / "out", workers=2)

    whole = one_pass(clip, tmp_path / "whole.mp3")
    assert same_sound(made.path, whole)


@pytest.mark.usefixtures("many_seams")
@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_gaps_in_the_timestamps_do_not_matter(tmp_path: Path, extension: str) -> None:
    clip = tmp_path / f"gaps.{extension}"
    gaps = "setts=pts='PTS+if(gt(N,200),48000*3,0)+if(gt(N,700),48000*5,0)':dts='PTS'"
    clips.run(*clips.speech(20, 48000, 1), "-c:a", "aac", tmp_path / "plain.mp4")
    clips.run("-i", tmp_path / "plain.mp4", "-c", "copy", "-bsf:a", gaps, clip)

    made = extract(clip, tmp_path / "out", workers=2)

    whole = one_pass(clip, tmp_path / "whole.mp3")
    assert same_sound(made.path, whole)
    assert made.duration_s == pytest.approx(20, abs=0.1)


@pytest.mark.usefixtures("many_seams")
def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    clip = tmp_path / "clip.webm"
    clips.run(*clips.speech(25, 48000, 1), "-c:a", "libopus", clip)

    made = [extract(clip, tmp_path / f"out{n}", workers=n).path.read_bytes() for n in (1, 2, 3, 5)]

    assert len(set(made)) == 1


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("minute") / "clip.m4a"
    clips.run(*clips.speech(60, 48000, 1), "-c:a", "aac", path)
    return path


@pytest.fixture(scope="module")
def by_one_worker(minute: Path) -> bytes:
    return extract(minute, minute.with_name("alone"), workers=1).path.read_bytes()


@pytest.mark.parametrize("declared_s", [0.0, 20.0, 60.0, 36_000.0])
def test_bytes_do_not_depend_on_the_declared_length(
    declared_s: float,
    minute: Path,
    by_one_worker: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[int] = []
    trimmed = parallel_mp3._trimmed

    def counting(data: bytes, segment: parallel_mp3._Segment) -> tuple[bytes, bytes, bytes]:
        encoded.append(segment.index)
        return trimmed(data, segment)

    monkeypatch.setattr(parallel_mp3, "_trimmed", counting)
    made = extract(minute, tmp_path / "out", workers=2, declared_s=declared_s)

    assert made.path.read_bytes() == by_one_worker
    # 51 blocks: 25, 13, 12 and the rest where the length is right; 12, 12 and the rest where it is
    # too short; all at once where it is unknown or ten hours.
    assert len(encoded) == {0.0: 1, 20.0: 3, 60.0: 4, 36_000.0: 1}[declared_s]


@pytest.mark.usefixtures("many_seams")
def test_each_worker_starts_one_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "clip.wav"
    # So many segments that each worker gets one, however fast another one is.
    clips.run(*clips.speech(60, 44100, 1), clip)
    slots: list[int | None] = []
    start = Job.start

    def counting(job: Job, arguments: Sequence[str], **options: Any) -> Process:
        if "libmp3lame" in arguments:
            slots.append(options["slot"])
        return start(job, arguments, **options)

    monkeypatch.setattr(Job, "start", counting)
    extract(clip, tmp_path / "out", workers=3)

    assert sorted(map(str, slots)) == ["0", "1", "2"]


@pytest.mark.usefixtures("many_seams")
def test_encoders_that_disagree_at_a_seam_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.wav"
    clips.run(*clips.speech(20, 44100, 1), clip)
    alone = extract(clip, tmp_path / "alone", workers=1).path.read_bytes()
    monkeypatch.setattr(parallel_mp3, "LEAD_BLOCKS", 0)  # nothing to forget by
    monkeypatch.setattr(parallel_mp3, "AGREEING_FRAMES", 4)
    trimmed = parallel_mp3._trimmed

    def disagreeing(data: bytes, segment: parallel_mp3._Segment) -> tuple[bytes, bytes, bytes]:
        kept, _, last = trimmed(data, segment)
        return kept, b"another", last

    monkeypatch.setattr(parallel_mp3, "_trimmed", disagreeing)
    assert extract(clip, tmp_path / "out", workers=2).path.read_bytes() == alone


def test_a_tenth_of_a_second(tmp_path: Path) -> None:
    clip = tmp_path / "clip.m4a"
    clips.run(*clips.speech(0.1, 44100, 1), "-c:a", "aac", clip)

    made = extract(clip, tmp_path / "out", workers=2)

    assert clips.decoded_samples(made.path) == 4410
    assert mp3_frames.count_frames(iter([made.path.read_bytes()]))[1] > 3
