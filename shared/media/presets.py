"""The presets: output formats, as data and as arguments to FFmpeg.

Pure functions, so that tests compare argument lists and start nothing. A preset is one entry of
``PRESETS``; settings, command line and tests take their list from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from shared.media.formats.mp3_rates import MP3_RATES

if TYPE_CHECKING:  # settings need the names of the presets, and no media engine
    from shared.media.tracks import AudioTrack

#: MP3 has mono and stereo; Opus could have more, but players of a meeting would not.
MAX_CHANNELS = 2

#: The most that libopus accepts for one channel, in bits a second.
OPUS_MAX_CHANNEL_BITRATE = 256_000

#: Packets pass from FFmpeg's thread that reads to the one that writes. By default each packet of a
#: few hundred bytes is written by itself, and a queue of 8 packets (FFmpeg's source,
#: fftools/ffmpeg_sched.h) makes the threads wake one another for each: nearly half of the processor
#: time of a copy.
GATHERED = ("-flush_packets", "0", "-thread_queue_size", "256")

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


class Container(NamedTuple):
    """A file format: FFmpeg's name of its muxer, extension and content type."""

    muxer: str
    extension: str
    content_type: str


_MP3 = Container("mp3", "mp3", "audio/mpeg")
_M4A = Container("ipod", "m4a", "audio/mp4")
_OPUS = Container("opus", "opus", "audio/ogg")
_OGG = Container("ogg", "ogg", "audio/ogg")
_FLAC = Container("flac", "flac", "audio/flac")
_WAV = Container("wav", "wav", "audio/wav")
_MKA = Container("matroska", "mka", "audio/x-matroska")
_ADTS = Container("adts", "aac", "audio/aac")
_AMR = Container("amr", "amr", "audio/amr")
_CAF = Container("caf", "caf", "audio/x-caf")
_MOV = Container("mov", "mov", "video/quicktime")
_FLV = Container("flv", "flv", "video/x-flv")

#: The demuxers of these, where FFmpeg's names differ from those of the muxers.
_DEMUXERS = {"ipod": "mov", "opus": "ogg", "adts": "aac"}

#: Where a stream is copied to. Whatever is not here goes into Matroska, which can contain most
#: codecs; if it cannot, the copy fails as ``unsupported_codec``.
_COPIES = {
    "aac": _M4A,
    "alac": _M4A,
    "opus": _OPUS,
    "mp3": _MP3,
    "vorbis": _OGG,
    "flac": _FLAC,
    "amr_nb": _AMR,
    "amr_wb": _AMR,
    # Matroska writes these, but cannot restore their block structure, nor CAF that of stereo.
    "adpcm_ima_qt": _MOV,
    "gsm": _CAF,
    "ilbc": _CAF,
    "nellymoser": _FLV,
    "adpcm_swf": _FLV,
}

#: Raw samples that no container here stores as they are, and how WAV stores the same values.
_REWRAPPED = {
    "pcm_f32be": "pcm_f32le",
    "pcm_f64be": "pcm_f64le",
    "pcm_s64be": "pcm_s64le",
    "pcm_s8": "pcm_u8",
    "pcm_s8_planar": "pcm_u8",
    "pcm_s16be_planar": "pcm_s16le",
    "pcm_s16le_planar": "pcm_s16le",
    "pcm_s24le_planar": "pcm_s24le",
    "pcm_s32le_planar": "pcm_s32le",
    "pcm_u16be": "pcm_s16le",
    "pcm_u16le": "pcm_s16le",
    "pcm_u24be": "pcm_s24le",
    "pcm_u24le": "pcm_s24le",
    "pcm_u32be": "pcm_s32le",
    "pcm_u32le": "pcm_s32le",
    "pcm_bluray": "pcm_s24le",
    "pcm_dvd": "pcm_s24le",
    "pcm_vidc": "pcm_s16le",
}

#: Decoders of a codec, where FFmpeg's name of the decoder differs from that of the codec.
_DECODERS = {
    "aac": "aac,aac_fixed",
    "ac3": "ac3,ac3_fixed",
    "adpcm_g722": "g722",
    "adpcm_g726": "g726",
    "adpcm_g726le": "g726le",
    "amr_nb": "amrnb,libopencore_amrnb",
    "amr_wb": "amrwb,libopencore_amrwb",
    "dts": "dca",
    "gsm": "gsm,libgsm",
    "gsm_ms": "gsm_ms,libgsm_ms",
    "mp1": "mp1,mp1float",
    "mp2": "mp2,mp2float",
    "mp3": "mp3,mp3float",
    "mp4als": "als",
    "musepack7": "mpc7",
    "musepack8": "mpc8",
    "opus": "opus,libopus",
    "ra_144": "real_144",
    "ra_288": "real_288",
    "speex": "speex,libspeex",
    "vorbis": "vorbis,libvorbis",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to write audio. Rates in Hz, ``bitrate`` in bits a second.

    ``codec_name`` is FFmpeg's name of the codec, which documents use as well.
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

    @property
    def demuxer(self) -> str:
        """FFmpeg's name of the only demuxer that may read the result."""
        return _DEMUXERS.get(self.muxer, self.muxer)

    @property
    def decoders(self) -> str:
        """FFmpeg's names of the decoders that may read the result, separated by commas."""
        return _DECODERS.get(self.codec_name, self.codec_name)


def mp3(track: AudioTrack, bitrate: int) -> Recipe:
    """MP3 at the source's rate or the nearest that MP3 has."""
    rate, channels = nearest_mp3_rate(track.sample_rate), min(track.channels, MAX_CHANNELS)
    return _mp3("mp3", rate, channels, bitrate)


def opus(track: AudioTrack, bitrate: int) -> Recipe:
    """Opus in Ogg."""
    return _opus("opus", min(track.channels, MAX_CHANNELS), bitrate)


def whisper(_: AudioTrack, __: int) -> Recipe:
    """The input of speech models: mono FLAC at 16 kHz."""
    return _flac("whisper", 16000, 1)


def copy(track: AudioTrack, _: int) -> Recipe:
    """The source's own packets, or for some raw samples the same values in a WAV."""
    codec, name = Codec.COPY, track.codec
    if re.fullmatch(r"pcm_(?:[sf]\d+le|u8)", name):
        container = _WAV
    elif name in _REWRAPPED:
        codec, name, container = Codec.PCM, _REWRAPPED[name], _WAV
    else:
        container = _COPIES.get(name, _MKA)
    return Recipe(
        preset="copy",
        codec=codec,
        codec_name=name,
        **container._asdict(),
        sample_rate=track.sample_rate,
        channels=track.channels,
    )


#: Makes the recipe of one track; the bit rate is for those that have one.
Preset: TypeAlias = Callable[["AudioTrack", int], Recipe]

#: Every preset by its name in ``AUDIO_PRESET``, the default first.
PRESETS: dict[str, Preset] = {"mp3": mp3, "copy": copy, "opus": opus, "whisper": whisper}

#: Those that ``AUDIO_BITRATE`` has an effect on.
WITH_BITRATE = ("mp3", "opus")


def for_preset(preset: str, track: AudioTrack, bitrate: int) -> Recipe:
    """Return how ``AUDIO_PRESET`` writes this track; ``bitrate`` is for mp3 and opus."""
    return PRESETS[preset](track, bitrate)


def compression_preset(output_format: str) -> str:
    """Return the preset that is recorded for audio of the nightly job in ``OUTPUT_FORMAT``."""
    return f"compress-{output_format}"


def for_compression(output_format: str, sample_rate: int, channels: int, bitrate: int) -> Recipe:
    """Return how the nightly job writes ``OUTPUT_FORMAT``."""
    name = compression_preset(output_format)
    if output_format == "opus":
        return _opus(name, channels, bitrate)
    if output_format == "flac":
        return _flac(name, sample_rate, channels)
    if output_format == "pcm":
        return Recipe(
            preset=name,
            codec=Codec.PCM,
            codec_name="pcm_s16le",
            **_WAV._asdict(),
            sample_rate=sample_rate,
            channels=channels,
        )
    container = _MP3 if output_format == "mp3" else _WAV
    return _mp3(name, nearest_mp3_rate(sample_rate), channels, bitrate, container)


def with_changing_parameters(recipe: Recipe) -> Recipe | None:
    """Return a copy's recipe for a stream whose rate or channels change on the way.

    An MP4 has one description for all packets; ADTS frames each have their own. ``None`` where
    no container here can hold such a stream.
    """
    if recipe.codec_name == "aac":
        return replace(recipe, **_ADTS._asdict())
    return recipe if recipe.codec_name in ("mp3", "ac3", "eac3", "dts", "mp2") else None


def in_matroska(recipe: Recipe) -> Recipe:
    """Return a copy's recipe for the one container that cuts samples off any packet."""
    return replace(recipe, **_MKA._asdict())


def nearest_mp3_rate(rate: int) -> int:
    """Return the rate that MP3 has nearest to ``rate``, the higher of two as near."""
    return min(MP3_RATES, key=lambda one: (abs(one - rate), -one))


def _mp3(
    preset: str, rate: int, channels: int, bitrate: int, container: Container = _MP3
) -> Recipe:
    return Recipe(
        preset=preset,
        codec=Codec.MP3,
        codec_name="mp3",
        **container._asdict(),
        sample_rate=rate,
        channels=min(channels, MAX_CHANNELS),
        bitrate=bitrate,
    )


def _opus(preset: str, channels: int, bitrate: int) -> Recipe:
    return Recipe(
        preset=preset,
        codec=Codec.OPUS,
        codec_name="opus",
        **_OPUS._asdict(),
        # Opus has one rate; the decoder's is 48 kHz whatever went in (RFC 7845, section 4).
        sample_rate=48000,
        channels=channels,
        bitrate=min(bitrate, OPUS_MAX_CHANNEL_BITRATE * channels),
    )


def _flac(preset: str, rate: int, channels: int) -> Recipe:
    return Recipe(
        preset=preset,
        codec=Codec.FLAC,
        codec_name="flac",
        **_FLAC._asdict(),
        sample_rate=rate,
        channels=channels,
    )


def output_arguments(recipe: Recipe, track: AudioTrack, path: Path) -> list[str]:
    """Return the arguments that write ``track`` of the first input to ``path``."""
    return ["-map", f"0:{track.index}", *codec_arguments(recipe), f"file:{path}"]


def codec_arguments(recipe: Recipe) -> list[str]:
    """Return the arguments that encode and mux, for any output."""
    shape = ["-ar", str(recipe.sample_rate), "-ac", str(recipe.channels)]
    encoder = {
        Codec.COPY: ["-c:a", "copy"],
        Codec.OPUS: [*shape, "-c:a", "libopus", "-b:a", str(recipe.bitrate)],
        Codec.FLAC: [*shape, "-c:a", "flac", "-sample_fmt", "s16"],
        Codec.PCM: [*shape, "-c:a", recipe.codec_name],
    }
    # The index goes first, so that a browser can start before it has the whole file.
    options = {"ipod": ["-movflags", "+faststart"], "wav": ["-rf64", "auto"]}
    muxer = [*options.get(recipe.muxer, []), "-f", recipe.muxer]
    return [*encoder[recipe.codec], *_REPRODUCIBLE, *GATHERED, *muxer]


def pcm_arguments(
    recipe: Recipe, track: AudioTrack, sample_format: str, *, gathered: bool
) -> list[str]:
    """Return the arguments that decode ``track`` to standard output as raw samples.

    At the recipe's rate and channels, converted in one go, so that the conversion has no
    seams. ``gathered`` collects small frames, which cost more to pass on than to decode;
    whatever has been collected is lost when rate or channels change on the way.
    """
    return [
        *("-map", f"0:{track.index}"),
        *(("-af", "asetnsamples=n=16384:p=0") if gathered else ()),
        *("-ar", str(recipe.sample_rate), "-ac", str(recipe.channels)),
        *("-c:a", f"pcm_{sample_format}", "-f", sample_format),
        *("-blocksize", str(1 << 20), "pipe:1"),
    ]


def raw_input_arguments(recipe: Recipe, sample_format: str) -> list[str]:
    """Return the arguments that read raw samples of the recipe's shape from standard input."""
    return [
        *("-f", sample_format, "-sample_rate", str(recipe.sample_rate)),
        *("-ch_layout", _layout(recipe.channels), "-blocksize", str(1 << 20), "-i", "pipe:0"),
    ]


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")


def mp3_encoder_arguments(recipe: Recipe, sample_format: str) -> list[str]:
    """Return the arguments of an encoder of raw samples to bare MP3 frames.

    The bit reservoir is off: frames then do not borrow bits of one another, and those of
    encoders side by side can be joined.
    """
    rate = recipe.sample_rate
    return [
        # FFmpeg cuts raw samples into packets of a tenth of a second, whose way from thread
        # to thread is an eighth of an encoder's time. With a rate that is 16 times too high
        # they are longer; the filter corrects it, and the frames are the same.
        *("-f", sample_format, "-sample_rate", str(16 * rate)),
        *("-ch_layout", _layout(recipe.channels)),
        *("-blocksize", str(1 << 20), "-i", "pipe:0", "-af", f"asetrate={rate}"),
        *("-c:a", "libmp3lame", "-b:a", str(recipe.bitrate), "-reservoir", "0"),
        *("-write_xing", "0", "-id3v2_version", "0", *GATHERED, "-f", "mp3", "pipe:1"),
    ]
