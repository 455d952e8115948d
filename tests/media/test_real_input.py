"""Every kind of recording that people have, through the whole worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.media import presets
from tests.media import clips
from tests.media.rig import Extracted, RangeSources, Rig, stream_hashes

Shelf = Callable[[str], Path]

#: What a copied stream is put into: the codecs are those that ``clips.CLIPS`` writes.
COPIES = {
    "last.mp4": ("aac", "m4a", "audio/mp4"),
    "fragmented.mp4": ("aac", "m4a", "audio/mp4"),
    "surround.mp4": ("aac", "m4a", "audio/mp4"),
    "aac.mkv": ("aac", "m4a", "audio/mp4"),
    "a.flv": ("aac", "m4a", "audio/mp4"),
    "tenth.m4a": ("aac", "m4a", "audio/mp4"),
    "alac.mov": ("alac", "m4a", "audio/mp4"),
    "alac.m4a": ("alac", "m4a", "audio/mp4"),
    "opus.webm": ("opus", "opus", "audio/ogg"),
    "live.webm": ("opus", "opus", "audio/ogg"),
    "opus.mp4": ("opus", "opus", "audio/ogg"),
    "eight.opus": ("opus", "opus", "audio/ogg"),
    "mp3.mkv": ("mp3", "mp3", "audio/mpeg"),
    "a.mp3": ("mp3", "mp3", "audio/mpeg"),
    "low.mp3": ("mp3", "mp3", "audio/mpeg"),
    "a.avi": ("mp3", "mp3", "audio/mpeg"),
    "vorbis.webm": ("vorbis", "ogg", "audio/ogg"),
    "a.ogg": ("vorbis", "ogg", "audio/ogg"),
    "a.flac": ("flac", "flac", "audio/flac"),
    "flac.mkv": ("flac", "flac", "audio/flac"),
    "flac.mp4": ("flac", "flac", "audio/flac"),
    "96k.flac": ("flac", "flac", "audio/flac"),
    "pcm.mov": ("pcm_s16le", "wav", "audio/wav"),
    "pcm.mkv": ("pcm_s16le", "wav", "audio/wav"),
    "u8.wav": ("pcm_u8", "wav", "audio/wav"),
    "s24.wav": ("pcm_s24le", "wav", "audio/wav"),
    "float.wav": ("pcm_f32le", "wav", "audio/wav"),
    "eight.wav": ("pcm_s16le", "wav", "audio/wav"),
    "big-endian.mov": ("pcm_s16be", "mka", "audio/x-matroska"),
    "law.wav": ("pcm_mulaw", "mka", "audio/x-matroska"),
    "ac3.mkv": ("ac3", "mka", "audio/x-matroska"),
    "a.wma": ("wmav2", "mka", "audio/x-matroska"),
}

#: Raw AAC loses the headers of its packets in an MP4: the same sound in other packets.
REPACKED = {"a.aac", "a.ts"}

#: One of each kind, for what does not need all of them.
SOME = ["last.mp4", "fragmented.mp4", "surround.mp4", "opus.webm", "aac.mkv", "pcm.mov", "96k.flac"]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def one_pass(path: Path, out: Path, rate: int, channels: int) -> int:
    """Encode with plain FFmpeg, and return how many samples the source decodes to."""
    raw = clips.run(
        *("-i", path, "-map", "0:a:0", "-c:a", "libmp3lame", "-b:a", "128k", "-ar", str(rate)),
        *("-ac", str(channels), "-reservoir", "0", out),
        *("-map", "0:a:0", "-ac", "1", "-f", "s16le", "-"),
    )
    return len(raw) // 2


def stored_as(made: Extracted, codec: str, extension: str, content_type: str) -> None:
    assert made.audio.codec == codec
    assert made.audio.object.endswith(f"_audio.{extension}")
    stored = made.storage.stat(made.audio.object)
    assert stored is not None
    assert stored.content_type == content_type


@pytest.mark.parametrize("name", clips.CLIPS)
def test_mp3_equals_one_pass_of_plain_ffmpeg(
    name: str, shelf: Shelf, worker: Rig, tmp_path: Path
) -> None:
    clip = shelf(name)
    rate, layout, _ = clips.CLIPS[name]
    before = md5(clip)

    made = worker.extract(clip)

    stored_as(made, "mp3", "mp3", "audio/mpeg")
    whole, channels = tmp_path / "whole.mp3", 1 if layout == "mono" else 2
    samples = one_pass(clip, whole, presets.nearest_mp3_rate(rate), channels)
    assert made.audio.duration_s == pytest.approx(samples / rate, abs=0.001)
    decoded, expected = clips.decoded_md5s(made.path, whole)
    assert decoded == expected
    assert made.path.stat().st_size == pytest.approx(whole.stat().st_size, abs=1500)
    assert md5(clip) == before
    if name != "a.wma":  # its decoder gives no samples for the first two packets
        assert made.audio.start_offset_s == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(
    ("name", "served"),
    # By range, and some from disk: so short a clip is read in the same way.
    [*((name, True) for name in sorted({*COPIES, *REPACKED})), *((name, False) for name in SOME)],
)
def test_a_copy_has_the_source_s_own_packets(
    name: str, served: bool, shelf: Shelf, worker: Rig
) -> None:
    clip = shelf(name)
    worker.sources = RangeSources if served else worker.sources

    made = worker.extract(clip, "copy")

    stored_as(made, *COPIES.get(name, ("aac", "m4a", "audio/mp4")))
    if name in REPACKED:
        decoded, expected = clips.decoded_md5s(made.path, clip)
        assert decoded == expected
    else:
        assert len(set(stream_hashes(made.path, clip))) == 1
    assert made.audio.duration_s == pytest.approx(clips.length_s(name), abs=0.15)


@pytest.mark.parametrize("name", [*SOME, "tenth.wav", "eight.mkv", "8k.wav", "a.ts"])
def test_whisper_is_mono_flac_at_16_khz(name: str, shelf: Shelf, worker: Rig) -> None:
    clip = shelf(name)

    made = worker.extract(clip, "whisper")

    stored_as(made, "flac", "flac", "audio/flac")
    expected = clips.run(
        "-i", clip, "-map", "0:a:0", "-ar", "16000", "-ac", "1", "-f", "s16le", "-"
    )
    assert clips.run("-i", made.path, "-f", "s16le", "-") == expected
    assert made.audio.duration_s == pytest.approx(len(expected) / 32000, abs=0.001)


@pytest.mark.parametrize("name", [*SOME, "tenth.opus", "eight.mkv", "8k.wav", "a.ts"])
def test_opus(name: str, shelf: Shelf, worker: Rig) -> None:
    clip = shelf(name)

    made = worker.extract(clip, "opus", audio_bitrate=64_000)

    stored_as(made, "opus", "opus", "audio/ogg")
    length = clips.decoded_samples(clip) / clips.CLIPS[name][0]
    assert clips.decoded_samples(made.path) / 48000 == pytest.approx(length, abs=0.001)
    assert made.audio.duration_s == pytest.approx(length, abs=0.001)


@pytest.mark.parametrize("preset", ["mp3", "opus"])
@pytest.mark.parametrize("bitrate", [8_000, 512_000])
def test_a_bit_rate_beyond_the_formats_limits_is_clamped(
    preset: str, bitrate: int, shelf: Shelf, worker: Rig
) -> None:
    for name in ("8k.wav", "mono48.m4a", "a.wav"):
        assert worker.extract(shelf(name), preset, audio_bitrate=bitrate).audio.bytes


@pytest.mark.parametrize("name", [*SOME, "live.webm", "a.ts", "a.wav", "a.mp3"])
def test_a_source_without_a_path_gives_the_same_bytes(name: str, shelf: Shelf, worker: Rig) -> None:
    local = worker.extract(shelf(name))
    worker.sources = RangeSources

    served = worker.extract(shelf(name))

    assert served.path.read_bytes() == local.path.read_bytes()
    assert served.audio == local.audio
