"""Finds out what is in a file: its container and its audio tracks.

The bundle has no ffprobe, and FFmpeg's log cannot be parsed safely: a title or a language can
contain a line break and pose as a stream. So FFmpeg describes the file in two outputs with a
grammar. The graph of its work (``-print_graphs_format json``) names the demuxer, every stream
and the source of each output stream; the header of the ``framehash`` muxer names codec, rate
and layout of the audio. Only the length for the progress bar comes from the log.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from shared.core.errors import Code, PermanentError
from shared.media.damage import container_is_damaged
from shared.media.ffmpeg.log import Log
from shared.media.ffmpeg.pipes import Collector
from shared.media.ffmpeg.process import Job
from shared.media.formats import completeness, junk, matroska, mp4_boxes
from shared.media.formats.sniff import refuse_non_recording
from shared.media.source.inputs import MAX_TRACKS, Input
from shared.media.tracks import MOST_CHANNELS, RATES, UNDESCRIBED, AudioTrack, Probe

#: Bytes that are examined to refuse other files than recordings.
HEAD_BYTES = 4096

#: How far FFmpeg looks for streams and their parameters: first as it does by itself, then
#: further, for audio that starts late. The second look is bounded in bytes and time.
_DEEPER = ("-probesize", str(96 << 20), "-analyzeduration", "600000000")

#: Endings of sound without a header: nothing in such a file names its rate or codec.
_HEADERLESS = re.compile(
    r"\.(sln\d*|g722|g723|g723_1|tco|rco|g726|g729|gsm|pcm|raw|ul|ulaw|al|alaw|vox|sw|uw|sb|ub"
    r"|[suf]\d{1,2}(le|be)?|adpcm|aptx|aptxhd|sbc|dfpwm|302)",
    re.IGNORECASE,
)

#: Demuxers that find their frames or pages behind junk, by the ending of a name.
_RESYNCING = {
    ".mp3": "mp3",
    ".mp2": "mp3",
    ".aac": "aac",
    ".ac3": "ac3",
    ".eac3": "eac3",
    ".latm": "loas",
    ".loas": "loas",
    ".flac": "flac",
    **dict.fromkeys((".ogg", ".oga", ".ogv", ".opus", ".spx"), "ogg"),
    **dict.fromkeys((".ts", ".m2t", ".m2ts", ".mts"), "mpegts"),
    **dict.fromkeys((".mpg", ".mpeg", ".vob"), "mpeg"),
    **dict.fromkeys((".mkv", ".mka", ".webm", ".weba"), "matroska"),
}

#: The most bytes of FFmpeg's description of a file, which has some hundred for each track.
_DESCRIPTION_BYTES = 4 << 20

#: Streams that FFmpeg understood and that are no audio. A transport stream describes what
#: FFmpeg does not know as data without a codec; elsewhere such data is a timecode or the like.
_NO_AUDIO_TYPES = frozenset({"video", "subtitle", "attachment", "data"})
_NO_CODEC = frozenset({"none", "unknown", "unknown_codec", "Unknown", "binary data"})

#: The exit status of FFmpeg that has opened its input and has no output to write (EPERM).
_OPENED = 1

_CREATION_TIME = re.compile(r"^ +creation_time +: (\d{4}-\d\d-\d\dT[\d:.]+Z)$")
_DURATION = re.compile(
    r"^  Duration: (?:N/A|(?P<h>\d{1,6}):(?P<m>\d\d):(?P<s>\d\d\.\d\d))"
    r"(?:, start: (?P<start>-?\d{1,12}\.\d{1,6}))?"
)
_HEADER_LINE = re.compile(r"#(extradata|codec_id|sample_rate|channel_layout_name) (\d+): (.*)")
_HEADER_END = b"#stream#"

_PARENTHESES = re.compile(r" ?\([^()]*\)")
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
class _Look:
    """One description of a file: FFmpeg's log, its graph, and the framehash header."""

    log: Log
    graph: dict[str, Any]
    header: dict[int, dict[str, str]]

    @property
    def opened(self) -> bool:
        return bool(self.graph.get("inputfiles"))

    @property
    def demuxer(self) -> str:
        return str(self.graph["inputfiles"][0]["demuxer_name"])

    @property
    def streams(self) -> list[dict[str, str]]:
        return list(self.graph["inputfiles"][0].get("inputstreams", [])) if self.opened else []

    @property
    def audio(self) -> list[int]:
        return [
            int(one["index"]) for one in self.streams if one.get("media_type", "unknown") == "audio"
        ]

    @property
    def defaults(self) -> set[int]:
        """Indexes of audio streams that were mapped twice: as audio and as default audio."""
        links = self.graph.get("streamlinks", [])
        sources = [int(one["source_stream_id"].rpartition("_")[2]) for one in links]
        return {index for index in sources if sources.count(index) > 1}


def probe(input_: Input, job: Job) -> Probe:
    """Describe a file.

    Raises ``PermanentError``: ``not_a_recording`` and ``corrupt`` for other files than recordings,
    ``truncated`` for one that ends before its index, ``no_audio`` only when there are streams
    and FFmpeg understood every one, ``unsupported_codec`` for audio without a decoder.
    """
    refuse_non_recording(input_.source.read(0, HEAD_BYTES))
    with input_.translate_errors():
        found, look = _probe(input_, job, ())
        if found is None or not found.track.decodable or found.track.assumed:
            second, look = _probe(input_, job, _DEEPER)
            found = second or found
    if found is None:
        raise _without_audio(input_, job, look)
    if not found.track.has_decoder:
        raise PermanentError(
            Code.UNSUPPORTED_CODEC, "its audio is in a format that has no decoder here"
        )
    if not found.track.described:
        raise _undescribed(input_, job, found, look)
    if not found.track.decodable:
        raise PermanentError(
            Code.UNSUPPORTED_CODEC,
            f"its audio has {found.track.channels} channels at {found.track.sample_rate} Hz; "
            f"up to {MOST_CHANNELS} at {RATES[0]} to {RATES[-1]} Hz are supported",
        )
    return found


def _probe(input_: Input, job: Job, options: tuple[str, ...]) -> tuple[Probe | None, _Look]:
    demuxer = _RESYNCING.get(PurePath(input_.name).suffix.lower())
    if demuxer and (junk_bytes := junk.bytes_before(input_.source, demuxer)):
        options = (*options, "-f", demuxer, "-skip_initial_bytes", str(junk_bytes))
    look = _look(input_, job, "0:a", options)
    if not look.opened and demuxer and "-f" not in options:
        # Junk hides the frames from FFmpeg, which sees no name of a local file.
        options = (*options, "-f", demuxer)
        look = _look(input_, job, "0:a", options)
    if not look.opened:  # FFmpeg draws no graph where nothing could be mapped
        look = _look(input_, job, "0", options)
    if len(look.streams) > MAX_TRACKS or (
        not look.opened and mp4_boxes.has_more_tracks_than(input_.source, MAX_TRACKS)
    ):
        # The demuxer of MP4 fails, others go on without the rest (libavformat/utils.c).
        raise PermanentError(
            Code.NOT_A_RECORDING, f"it has more than {MAX_TRACKS} tracks, more than any recording"
        )
    if not look.opened:
        raise _unreadable(input_, job)
    headers = dict(zip(look.audio, look.header.values(), strict=False))
    if look.audio and not look.header:
        # One track without parameters hides those of all others: describe each by itself.
        for index in look.audio if len(look.audio) > 1 else ():
            alone = _look(input_, job, f"0:{index}", options)
            headers[index] = alone.header.get(0, {})
    duration_s, start_s = _times(look.log)
    tracks = tuple(
        _track(stream, headers.get(int(stream["index"]), {}), look.defaults, look.demuxer)
        for stream in look.streams
        if stream.get("media_type", "unknown") == "audio"
    )
    if not tracks:
        return None, look
    return Probe(
        container=look.demuxer,
        duration_s=duration_s,
        start_s=_late_s(look.demuxer, start_s, input_),
        tracks=tracks,
        opened_with=options,
        created_at=_created_at(look.log),
    ), look


def _look(input_: Input, job: Job, mapped: str, options: tuple[str, ...]) -> _Look:
    """Start to copy the audio into a table, and stop as soon as its header is there.

    The streams' packets are not waited for: a second track may start after an hour.
    """
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as graph_pipe:
        try:
            process = input_.start(
                job,
                [
                    *("-print_graphs_format", "json", "-print_graphs_file", f"pipe:{writable}"),
                    *options,
                ],
                [
                    *("-map", mapped, "-map", "0:a:disp:default?", "-copy_unknown"),
                    *("-c", "copy", "-t", "0"),
                    *("-f", "framehash", "-hash", "adler32", "pipe:1"),
                ],
                fds=(writable,),
                stdout=True,
            )
        finally:
            os.close(writable)
        collected = Collector(graph_pipe, _DESCRIPTION_BYTES)
        text = b""
        try:
            for block in process.blocks():
                if _HEADER_END not in text and len(text) <= _DESCRIPTION_BYTES:
                    text += block
                    if _HEADER_END in text:
                        process.interrupt()
        except BaseException:
            process.kill()
            raise
        finally:
            graph = collected.result()
        log = process.end()
    job.check()
    if max(len(text), len(graph)) > _DESCRIPTION_BYTES:
        raise PermanentError(
            Code.NOT_A_RECORDING, "the description of its tracks is longer than any recording's"
        )
    return _Look(log=log, graph=_parsed(graph), header=_header(text.decode("utf-8", "replace")))


def _parsed(graph: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(graph.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return {}  # FFmpeg ended before it had opened the file
    return parsed if isinstance(parsed, dict) else {}


def _header(text: str) -> dict[int, dict[str, str]]:
    """Return what a framehash header states of each output stream."""
    streams: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        if match := _HEADER_LINE.fullmatch(line):
            streams.setdefault(int(match[2]), {})[match[1]] = match[3]
    return streams


def _track(
    stream: dict[str, str], header: dict[str, str], defaults: set[int], demuxer: str
) -> AudioTrack:
    known = stream.get("name", "none") not in _NO_CODEC
    return AudioTrack(
        index=int(stream["index"]),
        codec=header.get("codec_id", UNDESCRIBED if known else "none"),
        sample_rate=int(header.get("sample_rate", 0)),
        channels=_channels(header.get("channel_layout_name", "")),
        default=int(stream["index"]) in defaults,
        # An FLV declares every AAC as 44.1 kHz in stereo (Adobe, Video File Format 10.1, E.4.2.1);
        # the truth comes with the configuration, before the first packet.
        assumed=demuxer == "flv" and header.get("codec_id") == "aac" and "extradata" not in header,
    )


def _channels(layout: str) -> int:
    """Return how many channels a layout's name stands for, 0 for none."""
    layout = _PARENTHESES.sub("", layout)
    if match := re.fullmatch(r"(\d{1,3}) channels?", layout):
        return int(match[1])
    if match := re.match(r"ambisonic (\d{1,2})", layout):
        return (int(match[1]) + 1) ** 2
    if re.fullmatch(r"\d+(\.\d+)+", layout):
        return sum(map(int, layout.split(".")))
    return _LAYOUTS.get(layout, 2 if layout else 0)


def _times(log: Log) -> tuple[float | None, float]:
    """Return the container's length and start in seconds, for progress and wording only."""
    match = _DURATION.match(log.duration_line() or "")
    if match is None:
        return None, 0.0
    length = match["h"] and int(match["h"]) * 3600 + int(match["m"]) * 60 + float(match["s"])
    return length or None, float(match["start"] or 0)


def _late_s(demuxer: str, start_s: float, input_: Input) -> float:
    """Return how much later than the recording the time begins that FFmpeg counts from.

    FFmpeg counts from ``start_s``, the earliest packet, but of Matroska it leaves out pictures
    that it may not decode. An MP4 is played from zero, and its edit list may begin with nothing.
    """
    if demuxer.startswith("mov"):
        return max(0.0, start_s)
    if demuxer.startswith("matroska"):
        first_s = matroska.first_time_s(input_.source)
        return 0.0 if first_s is None else max(0.0, start_s - first_s)
    return 0.0


def _created_at(log: Log) -> datetime | None:
    """Return the first creation time that FFmpeg prints, an ISO 8601 time in UTC, if any."""
    match = next(filter(None, map(_CREATION_TIME.match, log.texts("info"))), None)
    try:
        return datetime.fromisoformat(match[1]).astimezone(UTC) if match else None
    except (ValueError, OverflowError):
        return None


def _unreadable(input_: Input, job: Job) -> PermanentError | Exception:
    """Return why FFmpeg could not open a file."""
    if completeness.examine(input_.source).ends_early:
        return PermanentError(
            Code.TRUNCATED,
            "the file ends before the index that is needed to read it; it may not have been "
            "uploaded whole, or its recorder stopped early",
        )
    suffix = PurePath(input_.name).suffix
    if _HEADERLESS.fullmatch(suffix):
        return PermanentError(
            Code.UNSUPPORTED_CODEC,
            f"{suffix} files have no header, so their sample rate and format are unknown; "
            "convert it to WAV",
        )
    process = input_.start(job, (), ())
    process.end()
    if process.log.status != _OPENED:
        return process.log.error()
    if mp4_boxes.has_index(input_.source):
        return PermanentError(Code.NO_AUDIO, "there is no audio track in it")
    return PermanentError(Code.CORRUPT, "the file has no index, so its content cannot be read")


def _without_audio(input_: Input, job: Job, look: _Look) -> PermanentError:
    """Return the error of a file without an audio track."""
    if container_is_damaged(input_, (), look.log, job):
        return PermanentError(
            Code.CORRUPT, "the file is damaged, and there is no audio track in it"
        )
    if not look.streams:
        return PermanentError(
            Code.CORRUPT, "the file has no index of its tracks, so nothing in it can be read"
        )
    if not all(map(_understood, _with_demuxer(look))):
        return PermanentError(
            Code.UNSUPPORTED_CODEC, "it has tracks of a kind that is unknown here, and no audio"
        )
    return PermanentError(Code.NO_AUDIO, "there is no audio track in it")


def _with_demuxer(look: _Look) -> Iterable[tuple[str, str, str]]:
    return (
        (look.demuxer, one.get("media_type", "unknown"), one.get("name", "none"))
        for one in look.streams
    )


def _understood(stream: tuple[str, str, str]) -> bool:
    demuxer, media_type, codec = stream
    if demuxer in ("mpegts", "mpeg") and media_type != "video" and codec in _NO_CODEC:
        return False
    return media_type in _NO_AUDIO_TYPES


def _undescribed(input_: Input, job: Job, found: Probe, look: _Look) -> Exception:
    """Return the error of a track without rate or channels: no decoder, or no packets."""
    if container_is_damaged(input_, (), look.log, job):
        return PermanentError(Code.CORRUPT, "the file is damaged, and its audio track is empty")
    one_frame = ["-map", f"0:{found.track.index}", "-frames:a", "1", "-f", "framecrc", "pipe:1"]
    process = input_.start(job, found.input_options, one_frame, stdout=True)
    for _ in process.blocks():
        pass
    log = process.end()
    error, counts = log.error(), log.input_counts()
    if isinstance(error, PermanentError) and error.code is Code.UNSUPPORTED_CODEC:
        return error
    if counts and counts.packets:
        return PermanentError(
            Code.UNSUPPORTED_CODEC, "its audio is in a format that is not recognised"
        )
    return PermanentError(Code.NO_AUDIO, "its audio track is empty")
