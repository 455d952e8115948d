"""A file as a probe found it: its container, its audio tracks, and the track to extract."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.media.ffmpeg.log import Log
from shared.media.source.inputs import CODECS

#: Rates of sound in Hz, from slow telephony to DSD512 counted in bytes. A declared rate of 1 Hz
#: would make a day of sound out of 86 kilobytes.
RATES = range(1000, 3_000_001)
#: As many channels as ambisonics of the seventh order has.
MOST_CHANNELS = 64

#: The codec of a track whose rate or channels FFmpeg did not find out.
UNDESCRIBED = "undescribed"

#: Demuxers whose clock may jump. FFmpeg corrects the start time of these only (AVFMT_TS_DISCONT in
#: ``correct_input_start_times``, fftools/ffmpeg_opt.c).
_CLOCK_JUMPS = frozenset({"mpeg", "mpegts", "nut", "ogg", "wtv"})

#: Demuxers of bare frames, which have no clock: FFmpeg counts the time of junk before them too.
_NO_CLOCK = frozenset({"aac", "ac3", "dts", "eac3", "flac", "loas", "mlp", "mp3", "truehd"})

_RAW = re.compile(r"pcm_(?:[suf]\d+(?:le|be)?|alaw|mulaw)")


@dataclass(frozen=True, kw_only=True)
class AudioTrack:
    """One audio track. ``index`` counts all streams of the file, ``sample_rate`` is in Hz.

    ``codec`` is FFmpeg's name of the codec, ``none`` for one that it does not know. ``assumed`` is
    whether rate and channels are what the format declares of every track.
    """

    index: int
    codec: str
    sample_rate: int
    channels: int
    default: bool = False
    assumed: bool = False

    @property
    def decodable(self) -> bool:
        """Whether FFmpeg may decode it, and found out a rate and channels that sound can have."""
        return self.has_decoder and self.sample_rate in RATES and 0 < self.channels <= MOST_CHANNELS

    @property
    def described(self) -> bool:
        """Whether FFmpeg found out its rate and channels."""
        return bool(self.sample_rate and self.channels)

    @property
    def has_decoder(self) -> bool:
        """Whether its decoder is on the white list, or may be."""
        return self.codec in CODECS or self.codec == UNDESCRIBED

    @property
    def raw(self) -> bool:
        """Whether its packets are samples one after the other, whatever their size."""
        return bool(_RAW.fullmatch(self.codec))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a file is.

    ``container`` is FFmpeg's name of the demuxer. ``duration_s`` is what the container declares:
    good enough for progress, never for a decision. ``start_s`` is how much later than the recording
    the time begins that FFmpeg counts from. ``created_at`` is the container's creation time in UTC,
    as unreliable, for names.
    ``opened_with`` are the options that it took to find the audio, which each further process
    needs as well.
    """

    container: str
    duration_s: float | None
    start_s: float
    tracks: tuple[AudioTrack, ...]
    opened_with: tuple[str, ...] = ()
    created_at: datetime | None = None

    def start_offset(self, first_s: float, log: Log) -> float:
        """Return how much later than the recording its audio starts, in seconds.

        ``first_s`` is the first frame's time in the output of the process with this ``log``.
        """
        if self.container in _NO_CLOCK:
            return 0.0
        if self.container in _CLOCK_JUMPS:
            first_s += log.start_correction_s()
        return max(0.0, round(first_s + self.start_s, 3))

    @property
    def in_order(self) -> bool:
        """Whether it is a header and raw samples, so that reading it needs no seeking."""
        return self.container in ("wav", "w64") and self.track.raw

    @property
    def input_options(self) -> Sequence[str]:
        """The options before the input of every process that reads this file."""
        # A WAV is cut into packets of a few kilobytes, which cost more to pass from thread to
        # thread than to decode: half of the reader's time. Packets of 64 KiB cost nothing.
        large_packets = ("-max_size", str(1 << 16)) if self.in_order else ()
        return (*self.opened_with, *large_packets)

    @property
    def track(self) -> AudioTrack:
        """The track to take: flagged default, else most channels, else first.

        A track without a decoder is taken only when there is no other; ``probe`` has raised
        for a file without a usable track.
        """
        return max(
            self.tracks, key=lambda one: (one.decodable, one.default, one.channels, -one.index)
        )
