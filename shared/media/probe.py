"""What is in a file: its container, its audio tracks, and the one to take.

Read from FFmpeg's own description of its input, since the bundle has no ffprobe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.core.errors import Code, PermanentError
from shared.media.ffmpeg.log import OPENED, Log
from shared.media.ffmpeg.process import Job
from shared.media.formats.declared import declared
from shared.media.formats.sniff import refuse_non_recording
from shared.media.source.inputs import Input

#: Bytes that are looked at to refuse what is no recording.
HEAD_BYTES = 4096

_INPUT = re.compile(r"^Input #0, (?P<container>.+?), from '")
_DURATION = re.compile(
    r"^  Duration: (?:N/A|(?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d(?:\.\d+)?))"
    r"(?:, start: (?P<start>-?[\d.]+))?"
)
_STREAM = re.compile(
    r"^  Stream #0:(?P<index>\d+)(?:\[0x[0-9a-f]+\])?(?:\((?P<language>[^)]*)\))?: "
    r"(?P<kind>\w+): (?P<rest>.*)$"
)
_PARENTHESES = re.compile(r" ?\([^()]*\)")
_RAW = re.compile(r"pcm_(?:[suf]\d+(?:le|be)?|alaw|mulaw)")
_FORMATS = ("u8", "s16", "s32", "s64", "flt", "dbl")
_LAYOUTS = {
    "mono": 1,
    "stereo": 2,
    "downmix": 2,
    "binaural": 2,
    "quad": 4,
    "hexagonal": 6,
    "octagonal": 8,
    "cube": 8,
    "hexadecagonal": 16,
}


@dataclass(frozen=True, kw_only=True)
class AudioTrack:
    """One audio track. ``index`` counts all streams of the file, ``sample_rate`` is in Hz.

    ``sample_format`` is the decoder's: ``s16``, ``s32``, ``flt`` …; ``codec`` is ``none``
    for a track without a decoder, ``refused`` a decoder that is not on the white list.
    """

    index: int
    codec: str
    sample_rate: int
    channels: int
    sample_format: str
    bitrate_kbps: int | None
    default: bool
    refused: bool = False

    @property
    def decodable(self) -> bool:
        """Whether FFmpeg has a decoder for it and found out its rate and channels."""
        return self.has_decoder and bool(self.sample_rate and self.channels)

    @property
    def has_decoder(self) -> bool:
        """Whether FFmpeg has a decoder for it that it may use."""
        return not self.refused and self.codec not in ("none", "unknown")

    @property
    def raw(self) -> bool:
        """Whether its packets are samples one after the other, whatever their size."""
        return bool(_RAW.fullmatch(self.codec))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a file is. ``duration_s`` is the container's word, which may be seconds off.

    ``damaged`` says that the container's own structure is broken somewhere.
    """

    container: str
    duration_s: float | None
    start_s: float
    tracks: tuple[AudioTrack, ...]
    damaged: bool = False

    @property
    def starts_at_zero(self) -> bool:
        """Whether its clock is played from zero: an MP4's, and a Matroska's that is no live one.

        ``start_s`` does not tell: it leaves out pictures whose codec is not on the white list.
        """
        return self.container.startswith("mov") or (
            self.container.startswith("matroska") and self.duration_s is not None
        )

    @property
    def in_order(self) -> bool:
        """Whether it is a header and raw samples, so that nothing in it is sought."""
        return self.container in ("wav", "w64") and self.track.raw

    @property
    def track(self) -> AudioTrack:
        """The track to take: flagged default, else most channels, else first.

        A track without a decoder is taken only when there is no other.
        Raises ``PermanentError`` (``no_audio``, ``unsupported_codec``, ``corrupt``).
        """
        if not self.tracks:
            raise self._without("there is no audio track in it")
        track = max(
            self.tracks, key=lambda one: (one.decodable, one.default, one.channels, -one.index)
        )
        if track.has_decoder and not track.decodable:
            raise self._without("its audio track is empty")
        if not track.decodable:
            raise PermanentError(
                Code.UNSUPPORTED_CODEC, "its audio is in a format that has no decoder here"
            )
        return track

    def _without(self, what: str) -> PermanentError:
        """Return the error of a file without audio; a damaged one may have lost it."""
        if self.damaged:
            return PermanentError(Code.CORRUPT, f"the file is damaged, and {what}")
        return PermanentError(Code.NO_AUDIO, what)


def probe(input_: Input, job: Job) -> Probe:
    """Describe a file.

    Raises ``PermanentError`` (``not_a_recording``, ``corrupt``) for what is no recording.
    """
    refuse_non_recording(input_.source.read(0, HEAD_BYTES))
    with input_.blamed():
        return parse(_described(input_, job))


def _described(input_: Input, job: Job) -> Log:
    process = input_.start(job, [], [])
    try:
        return process.wait(expected=OPENED)
    except PermanentError:
        job.check()
        input_.check()
        _refuse_cut(input_)
        raise


def _refuse_cut(input_: Input) -> None:
    """Say why a file cannot be opened that is visibly shorter than its own structure."""
    if declared(input_.source).ends_early:
        raise PermanentError(
            Code.TRUNCATED,
            "the file ends before the index that is needed to read it; it may not have been "
            "uploaded whole, or its recorder stopped early",
        )


def parse(log: Log) -> Probe:
    """Read FFmpeg's description of its first input."""
    container, duration, start, tracks = "", None, 0.0, []
    refused = log.refused_codecs()
    for text in log.texts("info"):
        if match := _INPUT.match(text):
            container = match["container"]
        elif match := _DURATION.match(text):
            duration = _seconds(match)
            start = float(match["start"] or 0)
        elif (match := _STREAM.match(text)) and match["kind"] == "Audio":
            tracks.append(_track(int(match["index"]), match["rest"], refused))
    return Probe(
        container=container,
        duration_s=duration,
        start_s=start,
        tracks=tuple(tracks),
        damaged=log.container_is_damaged(),
    )


def _seconds(match: re.Match[str]) -> float | None:
    if match["h"] is None:
        return None
    return int(match["h"]) * 3600 + int(match["m"]) * 60 + float(match["s"])


def _track(index: int, rest: str, refused: set[str]) -> AudioTrack:
    plain = re.sub(r"\s+", " ", _PARENTHESES.sub("", _PARENTHESES.sub("", rest)))
    codec, *parts = [part.strip() for part in plain.split(",")]
    return AudioTrack(
        index=index,
        codec=(name := codec.split(" ")[0]),
        refused=name in refused,
        sample_rate=_number(parts, r"(\d+) Hz") or 0,
        channels=next((n for n in map(_channels, parts) if n), 0),
        sample_format=next((p.removesuffix("p") for p in parts if _is_format(p)), "flt"),
        bitrate_kbps=_number(parts, r"(\d+) kb/s"),
        default="(default)" in rest,
    )


def _number(parts: list[str], pattern: str) -> int | None:
    matches = (re.fullmatch(pattern, part) for part in parts)
    return next((int(match[1]) for match in matches if match), None)


def _is_format(part: str) -> bool:
    return part.removesuffix("p") in _FORMATS


def _channels(layout: str) -> int:
    """Return how many channels a layout's name stands for, 0 for what is none."""
    if match := re.fullmatch(r"(\d+) channels", layout):
        return int(match[1])
    if match := re.fullmatch(r"ambisonic (\d+)", layout):
        return (int(match[1]) + 1) ** 2
    if re.fullmatch(r"\d+(\.\d+)+", layout):
        return sum(map(int, layout.split(".")))
    return _LAYOUTS.get(layout, 0)
