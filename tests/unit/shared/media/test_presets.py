from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.media import presets
from shared.media.formats.mp3_rates import MP3_RATES
from shared.media.tracks import AudioTrack, Probe
from tests.paths import TERRAFORM


def track(**changes: object) -> AudioTrack:
    values = {
        "index": 1,
        "codec": "aac",
        "sample_rate": 48000,
        "channels": 2,
        "default": True,
    }
    return AudioTrack(**{**values, **changes})  # type: ignore[arg-type]


BITEXACT = ["-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact",
            "-flags:a", "+bitexact"]  # fmt: skip
GATHERED = ["-flush_packets", "0", "-thread_queue_size", "256"]


@pytest.mark.parametrize(
    ("preset", "arguments"),
    [
        ("copy", ["-c:a", "copy", *BITEXACT, *GATHERED, "-movflags", "+faststart", "-f", "ipod"]),
        (
            "opus",
            [
                "-ar",
                "48000",
                "-ac",
                "2",
                "-c:a",
                "libopus",
                "-b:a",
                "64000",
                *BITEXACT,
                *GATHERED,
                "-f",
                "opus",
            ],
        ),
        (
            "whisper",
            [
                "-ar",
                "16000",
                "-ac",
                "1",
                "-c:a",
                "flac",
                "-sample_fmt",
                "s16",
                *BITEXACT,
                *GATHERED,
                "-f",
                "flac",
            ],
        ),
    ],
)
def test_the_arguments_of_ffmpeg(preset: str, arguments: list[str]) -> None:
    recipe = presets.for_preset(preset, track(), 64_000)

    told = presets.output_arguments(recipe, track(), Path("/dir/audio"))

    assert told == ["-map", "0:1", *arguments, "file:/dir/audio"]


def test_the_arguments_of_an_mp3_encoder() -> None:
    recipe = presets.for_preset("mp3", track(channels=6, sample_rate=96000), 128_000)

    assert (recipe.sample_rate, recipe.channels) == (48000, 2)
    assert presets.mp3_encoder_arguments(recipe, "f32le") == [
        *("-f", "f32le", "-sample_rate", "768000", "-ch_layout", "stereo"),
        *("-blocksize", "1048576", "-i", "pipe:0", "-af", "asetrate=48000"),
        *("-c:a", "libmp3lame", "-b:a", "128000", "-reservoir", "0"),
        *("-write_xing", "0", "-id3v2_version", "0", *GATHERED, "-f", "mp3", "pipe:1"),
    ]


def probed(container: str, codec: str) -> Probe:
    return Probe(container=container, duration_s=1, start_s=0, tracks=(track(codec=codec),))


@pytest.mark.parametrize("codec", ["s16le", "s24le", "s24be", "f32le", "u8", "mulaw"])
@pytest.mark.parametrize("container", ["wav", "w64"])
def test_raw_samples_take_the_size_of_their_packets(container: str, codec: str) -> None:
    assert probed(container, f"pcm_{codec}").input_options == ("-max_size", "65536")


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "adpcm_ms"), ("wav", "mp3"), ("mov,mp4,m4a,3gp,3g2,mj2", "pcm_s16le")],
)
def test_nothing_else_does(container: str, codec: str) -> None:
    assert probed(container, codec).input_options == ()


@pytest.mark.parametrize(
    ("codec", "extension"),
    [
        *[("aac", "m4a"), ("alac", "m4a"), ("opus", "opus"), ("mp3", "mp3"), ("vorbis", "ogg")],
        *[("flac", "flac"), ("pcm_s16le", "wav"), ("pcm_s24le", "wav"), ("pcm_f32le", "wav")],
        *[("pcm_u8", "wav"), ("pcm_s16be", "mka"), ("pcm_mulaw", "mka"), ("ac3", "mka")],
        *[("pcm_s24le_planar", "wav"), ("truehd", "mka"), ("wmav2", "mka")],
        *[("pcm_f32be", "wav"), ("pcm_s8", "wav"), ("adpcm_ima_qt", "mov"), ("amr_nb", "amr")],
    ],
)
def test_where_a_copy_goes(codec: str, extension: str) -> None:
    assert presets.for_preset("copy", track(codec=codec), 0).extension == extension


@pytest.mark.parametrize(
    ("output", "muxer", "extension", "codec"),
    [
        ("wav", "wav", "wav", "mp3"),
        ("mp3", "mp3", "mp3", "mp3"),
        ("opus", "opus", "opus", "opus"),
        ("flac", "flac", "flac", "flac"),
        ("pcm", "wav", "wav", "pcm_s16le"),
    ],
)
def test_the_nightly_formats(output: str, muxer: str, extension: str, codec: str) -> None:
    recipe = presets.for_compression(output, 16000, 1, 32_000)

    assert (recipe.muxer, recipe.extension, recipe.codec_name) == (muxer, extension, codec)
    assert recipe.channels == 1


@given(st.integers(1, 1_000_000))
def test_the_rate_of_an_mp3_is_the_nearest(rate: int) -> None:
    chosen = presets.nearest_mp3_rate(rate)

    assert chosen in MP3_RATES
    assert all(abs(chosen - rate) <= abs(one - rate) for one in MP3_RATES)


@given(st.integers(8_000, 510_000), st.integers(1, 8))
def test_opus_gets_no_more_bits_than_it_takes(bitrate: int, channels: int) -> None:
    recipe = presets.for_preset("opus", track(channels=channels), bitrate)

    assert recipe.bitrate is not None
    assert recipe.bitrate <= min(bitrate, 256_000 * recipe.channels)


def test_terraform_allows_every_preset() -> None:
    *names, last = presets.PRESETS
    words = f"{', '.join(names)} or {last}"

    variables = re.split(
        r"^(?=variable )", (TERRAFORM / "settings.tf").read_text(), flags=re.MULTILINE
    )

    [one] = [block for block in variables if block.startswith('variable "audio_preset"')]
    allowed = re.findall(r"contains\((\[.*?\]), var.audio_preset\)", one, re.DOTALL)
    assert [json.loads(names) for names in allowed] == [[*presets.PRESETS]]
    assert one.count(words) == 2  # its description, and the message of its validation


def test_the_presets_with_a_bit_rate_are_those_that_use_it() -> None:
    for name in presets.PRESETS:
        rates = {presets.for_preset(name, track(), rate).bitrate for rate in (64_000, 96_000)}
        assert (len(rates) == 2) == (name in presets.WITH_BITRATE), name
