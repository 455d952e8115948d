"""What is made of a recording: the presets, as data and as arguments to FFmpeg.

Pure functions, so that tests compare argument lists and nothing is started.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from shared.media.probe import AudioTrack, Probe

#: Sample rates that MP3 has, in Hz: MPEG-1, MPEG-2 and MPEG-2.5.
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

#: MP3 has mono and stereo; Opus could have more, but players of a meeting would not.
MAX_CHANNELS = 2

#: What libopus takes for one channel, in bits a second; more is an error to it.
OPUS_MAX_CHANNEL_BITRATE = 256_000

#: Without this, FFmpeg makes a write of each packet, a few hundred bytes: a tenth of the time.
GATHERED = ("-flush_packets", "0")

#: A filter that sets times by counting samples: gaps and late starts do not count.
COUNTED_TIMES = "asetpts=N/SR/TB"

#: Without this, FFmpeg writes its version and the source's tags into the file, and the
#: same recording would give other bytes after an upgrade.
_REPRODUCIBLE = (
    "-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact",
)  # fmt: skip


class Codec(StrEnum):
    """How the audio is written."""

    MP3 = "mp3"
    COPY = "copy"  # the source's own packets
    OPUS = "opus"
    FLAC = "flac"
    PCM = "pcm"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to write audio. Rates in Hz, ``bitrate`` in bits a second.

    ``muxer`` is FFmpeg's name of the container, ``codec_name`` what documents call it.
    """

    preset: str
    codec: Codec
    codec_name: str
    muxer: str
    extension: str
    content_type: str
    sample_rate: int
    channels: int
    bitrate: int | None = None


#: Where a stream goes that is copied: codec → (muxer, extension, content type).
_COPY = {
    "aac": ("ipod", "m4a", "audio/mp4"),
    "alac": ("ipod", "m4a", "audio/mp4"),
    "opus": ("opus", "opus", "audio/ogg"),
    "mp3": ("mp3", "mp3", "audio/mpeg"),
    "vorbis": ("ogg", "ogg", "audio/ogg"),
    "flac": ("flac", "flac", "audio/flac"),
}
_COPY_OTHER = ("matroska", "mka", "audio/x-matroska")
_WAV = ("wav", "wav", "audio/wav")


def for_preset(preset: str, track: AudioTrack, bitrate: int) -> Recipe:
    """Return how ``AUDIO_PRESET`` writes this track; ``bitrate`` is for mp3 and opus."""
    if preset == "copy":
        return _copy(track)
    if preset == "whisper":
        return _flac("whisper", 16000, 1)
    channels = min(track.channels, MAX_CHANNELS)
    if preset == "opus":
        return _opus("opus", channels, bitrate)
    return _mp3("mp3", nearest_mp3_rate(track.sample_rate), channels, bitrate)


def for_compression(output_format: str, sample_rate: int, channels: int, bitrate: int) -> Recipe:
    """Return how the nightly job writes ``OUTPUT_FORMAT``."""
    name = f"compress-{output_format}"
    if output_format == "opus":
        return _opus(name, channels, bitrate)
    if output_format == "flac":
        return _flac(name, sample_rate, channels)
    if output_format == "pcm":
        return _recipe(name, Codec.PCM, "pcm_s16le", _WAV, sample_rate, channels)
    recipe = _mp3(name, nearest_mp3_rate(sample_rate), channels, bitrate)
    if output_format == "mp3":
        return recipe
    return _recipe(name, Codec.MP3, "mp3", _WAV, recipe.sample_rate, channels, bitrate)


def nearest_mp3_rate(rate: int) -> int:
    """Return the rate that MP3 has nearest to ``rate``, the higher of two as near."""
    return min(MP3_RATES, key=lambda one: (abs(one - rate), -one))


def _recipe(
    preset: str,
    codec: Codec,
    codec_name: str,
    container: tuple[str, str, str],
    sample_rate: int,
    channels: int,
    bitrate: int | None = None,
) -> Recipe:
    muxer, extension, content_type = container
    return Recipe(
        preset=preset,
        codec=codec,
        codec_name=codec_name,
        muxer=muxer,
        extension=extension,
        content_type=content_type,
        sample_rate=sample_rate,
        channels=channels,
        bitrate=bitrate,
    )


def _mp3(preset: str, rate: int, channels: int, bitrate: int) -> Recipe:
    return _recipe(
        preset, Codec.MP3, "mp3", _COPY["mp3"], rate, min(channels, MAX_CHANNELS), bitrate
    )


def _opus(preset: str, channels: int, bitrate: int) -> Recipe:
    # Opus has one rate; the decoder's is 48 kHz whatever went in (RFC 7845, section 4).
    most = OPUS_MAX_CHANNEL_BITRATE * channels
    return _recipe(preset, Codec.OPUS, "opus", _COPY["opus"], 48000, channels, min(bitrate, most))


def _flac(preset: str, rate: int, channels: int) -> Recipe:
    return _recipe(preset, Codec.FLAC, "flac", _COPY["flac"], rate, channels)


def _copy(track: AudioTrack) -> Recipe:
    plain_pcm = re.fullmatch(r"pcm_(?:[sf]\d+le|u8)", track.codec)
    container = _WAV if plain_pcm else _COPY.get(track.codec, _COPY_OTHER)
    return _recipe("copy", Codec.COPY, track.codec, container, track.sample_rate, track.channels)


def output_arguments(recipe: Recipe, track: AudioTrack, path: Path) -> list[str]:
    """Return the arguments that write ``track`` of the first input to ``path``."""
    return ["-map", f"0:{track.index}", *codec_arguments(recipe), f"file:{path}"]


def codec_arguments(recipe: Recipe) -> list[str]:
    """Return the arguments that encode and mux, for any output."""
    return [*_encoder(recipe), *_REPRODUCIBLE, *GATHERED, *_muxer(recipe)]


def demuxer_arguments(found: Probe) -> list[str]:
    """Return what makes reading a file cheaper; the samples are the same.

    A WAV is cut into packets of a few kilobytes, which cost more to hand from thread to
    thread than to decode: half of the reader's time. One of 64 KiB is read in one go.
    """
    return ["-max_size", str(1 << 16)] if found.in_order else []


def pcm_arguments(recipe: Recipe, track: AudioTrack, sample_format: str) -> list[str]:
    """Return the arguments that decode ``track`` to standard output as raw samples.

    At the recipe's rate and channels, converted in one go, so that the conversion has no
    seams. Frames are gathered: small ones cost more to hand over than to decode.
    """
    return [
        *("-map", f"0:{track.index}", "-af", "asetnsamples=n=16384:p=0"),
        *("-ar", str(recipe.sample_rate), "-ac", str(recipe.channels)),
        *("-c:a", f"pcm_{sample_format}", "-f", sample_format),
        *("-blocksize", str(1 << 20), "pipe:1"),
    ]


def mp3_encoder_arguments(recipe: Recipe, sample_format: str) -> list[str]:
    """Return the arguments of an encoder of raw samples to bare MP3 frames.

    The bit reservoir is off: frames then do not borrow bits of one another, and those of
    encoders side by side can be joined.
    """
    rate = recipe.sample_rate
    return [
        # FFmpeg cuts raw samples into packets of a tenth of a second, whose way from thread
        # to thread is an eighth of an encoder's time. With a rate that is 16 times too high
        # they are longer; the filter puts it right, and the frames are the same.
        *("-f", sample_format, "-sample_rate", str(16 * rate)),
        *("-ch_layout", "mono" if recipe.channels == 1 else "stereo"),
        *("-blocksize", str(1 << 20), "-i", "pipe:0", "-af", f"asetrate={rate}"),
        *("-c:a", "libmp3lame", "-b:a", str(recipe.bitrate), "-reservoir", "0"),
        *("-write_xing", "0", "-id3v2_version", "0", *GATHERED, "-f", "mp3", "pipe:1"),
    ]


def raw_sample_format(track: AudioTrack) -> str:
    """Return the raw format that hands an encoder what it would get from the decoder itself."""
    return {"u8": "s16le", "s16": "s16le", "s32": "s32le"}.get(track.sample_format, "f32le")


def _encoder(recipe: Recipe) -> list[str]:
    if recipe.codec is Codec.COPY:
        return ["-c:a", "copy"]
    shape = ["-ar", str(recipe.sample_rate), "-ac", str(recipe.channels)]
    if recipe.codec is Codec.OPUS:
        return [*shape, "-c:a", "libopus", "-b:a", str(recipe.bitrate)]
    if recipe.codec is Codec.FLAC:
        return [*shape, "-c:a", "flac", "-sample_fmt", "s16"]
    return [*shape, "-c:a", "pcm_s16le"]


def _muxer(recipe: Recipe) -> list[str]:
    # The index goes first, so that a browser can start before it has the whole file.
    options = {"ipod": ["-movflags", "+faststart"], "wav": ["-rf64", "auto"]}
    return [*options.get(recipe.muxer, []), "-f", recipe.muxer]
