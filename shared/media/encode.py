"""One audio track becomes one file, by the recipe that the preset gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.core.errors import Code, PermanentError
from shared.core.ports import OnProgress
from shared.media import packets, presets
from shared.media.ffmpeg.log import InputCounts, Log
from shared.media.ffmpeg.process import Job, Limits, Process
from shared.media.formats import mp3_frames, mp3_in_wave
from shared.media.formats.declared import declared
from shared.media.parallel_mp3 import NotConvergedError, ParallelEncoder
from shared.media.presets import Codec, Recipe
from shared.media.probe import AudioTrack, Probe
from shared.media.source.inputs import Input

#: Audio may be off by half a second or a thousandth, whichever is more.
TOLERANCE_S = 0.5
TOLERANCE_SHARE = 0.001


def tolerance(duration_s: float) -> float:
    """Return how many seconds may be missing of audio that lasts ``duration_s``."""
    return max(TOLERANCE_S, TOLERANCE_SHARE * duration_s)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A file that was made, not verified yet.

    ``duration_s`` is that of the source's track: decoded samples by its rate.
    ``samples`` per channel went into the encoder at the recipe's rate, ``frames`` came
    out of it or were copied; ``span_s`` is how long a copied stream lasts with its gaps.
    """

    path: Path
    recipe: Recipe
    duration_s: float
    start_offset_s: float
    samples: int = 0
    frames: int = 0
    span_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class EncodeContext:
    """What an encoding needs to know beside its input and recipe; durations in seconds."""

    directory: Path
    workers: int = 1
    max_duration_s: float = 12 * 3600
    stall_s: float = 60.0
    cancelled: Callable[[], bool] = lambda: False
    on_progress: OnProgress = lambda _: None

    def job(self, duration_s: float | None) -> Job:
        """Return the context of the processes that handle audio of this length."""
        wall_s = Limits.for_duration(duration_s, self.max_duration_s).wall_s
        return Job(Limits(wall_s=wall_s, stall_s=self.stall_s), self.cancelled)


def encode(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    """Write the chosen track of ``input_`` into ``work.directory``.

    Raises ``PermanentError`` for what is wrong with the source (``no_audio``,
    ``corrupt``, ``truncated``, ``too_long``, ``timeout`` …), a transient error for what
    is not its fault, ``CancelledError`` when asked to stop.
    """
    _refuse_long(found.duration_s or 0.0, work)
    with input_.blamed():
        encoded = _by_codec(input_, found, recipe, work)
    _refuse_long(encoded.duration_s, work)
    _refuse_truncated(input_, found.track, encoded.duration_s)
    return encoded


def _by_codec(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    if recipe.codec is Codec.COPY:
        return _copy(input_, found, recipe, work)
    if recipe.codec is not Codec.MP3:
        return _one_process(input_, found, recipe, work)
    try:
        return _mp3(input_, found, recipe, work, work.workers)
    except NotConvergedError:
        # Never seen of real sound; one encoder has no seams to disagree at.
        return _mp3(input_, found, recipe, work, 1)


def _refuse_long(duration_s: float, work: EncodeContext) -> None:
    if duration_s > work.max_duration_s:
        hours = work.max_duration_s / 3600
        raise PermanentError(
            Code.TOO_LONG,
            f"it lasts {duration_s / 3600:.1f} hours, more than the {hours:g} that are allowed "
            "(MAX_DURATION_HOURS)",
        )


def _refuse_truncated(input_: Input, track: AudioTrack, duration_s: float) -> None:
    says = declared(input_.source, track.index)
    # A container's own length is trusted only where the file is visibly shorter than it
    # says; a count of samples is always.
    if says.audio_duration_s is None or not (says.ends_early or says.counted):
        return
    missing = says.audio_duration_s - duration_s
    if missing > tolerance(says.audio_duration_s):
        raise PermanentError(
            Code.TRUNCATED,
            f"the file ends early: {missing:.1f} s of its {says.audio_duration_s:.1f} s of audio "
            "are missing; it may not have been uploaded whole",
        )


# MP3: a reader that decodes, encoders side by side, one file of joined frames.


def _mp3(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext, workers: int) -> Encoded:
    path = work.directory / f"audio.{recipe.extension}"
    track, total = found.track, (found.duration_s or 0.0) * recipe.sample_rate
    sample_format = presets.raw_sample_format(track)

    def on_samples(samples: int) -> None:
        _refuse_long(samples / recipe.sample_rate, work)
        if total:
            work.on_progress(min(1.0, samples / total))

    with work.job(found.duration_s) as job, path.open("wb") as file:
        arguments = presets.pcm_arguments(recipe, track, sample_format)
        # The encoders take the first processors, the reader the next one.
        reader = _start_reader(input_, found, arguments, job, slot=workers)
        encoder = ParallelEncoder(job, recipe, sample_format, workers, on_samples)
        writer = _Mp3Writer(file, recipe.muxer)
        with reader.first_frame:
            encoder.run(reader.process.stdout, writer)
            log = reader.process.wait()
            start_offset_s = reader.start_offset(found)
        duration_s = _duration(log, track)
        writer.finish(encoder.samples)
    return Encoded(
        path=path,
        recipe=recipe,
        duration_s=duration_s,
        start_offset_s=start_offset_s,
        samples=encoder.samples,
        frames=writer.frames,
    )


class _Mp3Writer:
    """Writes frames behind room for what only the end can fill: an Info frame or a WAV's head."""

    def __init__(self, file: BinaryIO, muxer: str) -> None:
        self._file = file
        self._in_wave = muxer == "wav"
        self._first: mp3_frames.Header | None = None
        self._bytes = 0
        self.frames = 0

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self._first is None:
            self._first = mp3_frames.Header.parse(data)
            room = mp3_in_wave.HEAD_BYTES if self._in_wave else mp3_frames.info_size(self._first)
            self._file.write(bytes(room))
        self._file.write(data)
        self._bytes += len(data)
        self.frames += len(mp3_frames.frame_starts(data)) - 1

    def finish(self, samples: int) -> None:
        if self._first is None:
            return
        if self._in_wave:
            self._file.write(mp3_in_wave.pad(self._bytes))
            head = mp3_in_wave.head(self._first, self.frames, self._bytes)
        else:
            head = mp3_frames.info_frame(self._first, self.frames, self._bytes, samples)
        self._file.seek(0)
        self._file.write(head)
        self._file.flush()


# One FFmpeg process: everything but MP3.


def _one_process(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    path = work.directory / f"audio.{recipe.extension}"
    track = found.track
    # A second over the limit is enough to tell that it is too long.
    arguments = ["-t", f"{work.max_duration_s + 1:.0f}"]
    # A late start and gaps are not filled, as in the MP3.
    arguments += ["-af", presets.COUNTED_TIMES]
    arguments += presets.output_arguments(recipe, track, path)
    with work.job(found.duration_s) as job:
        arguments += ["-progress", "pipe:1", "-stats_period", "0.5"]
        reader = _start_reader(input_, found, arguments, job)
        with reader.first_frame:
            _follow(reader.process, job, found, work)
            log = reader.process.wait()
            start_offset_s = reader.start_offset(found)
    return Encoded(
        path=path,
        recipe=recipe,
        duration_s=_duration(log, track),
        start_offset_s=start_offset_s,
    )


def _copy(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    path = work.directory / f"audio.{recipe.extension}"
    track = found.track
    table = packets.arguments(track.index)
    with work.job(found.duration_s) as job:
        # A late start is recorded, not kept; what lies before zero is the encoder's delay.
        output = ["-bsf:a", "setts=ts=TS-max(STARTPTS\\,0)"]
        output += presets.output_arguments(recipe, track, path)
        # On one processor: handing packets from thread to thread is all the work there is.
        process = input_.start(
            job, [], [*output, *table], in_order=found.in_order, stdout=True, slot=0, pulse=True
        )
        copied = packets.read(process.blocks(), job, _reporter(found, work))
        log = process.wait()
    if not copied.count:
        raise _empty(log)
    if copied.duration_s <= 0:
        raise PermanentError(Code.CORRUPT, "the file is damaged: its times make no sense")
    return Encoded(
        path=path,
        recipe=recipe,
        duration_s=copied.duration_s,
        start_offset_s=_offset(copied.first_s, log, found),
        frames=copied.count,
        span_s=copied.span_s,
    )


def _reporter(found: Probe, work: EncodeContext) -> OnProgress:
    def report(done_s: float) -> None:
        _refuse_long(done_s, work)
        if found.duration_s:
            work.on_progress(min(1.0, max(0.0, done_s / found.duration_s)))

    return report


def _follow(process: Process, job: Job, found: Probe, work: EncodeContext) -> None:
    """Read ``-progress`` until the end; a line that changes is a sign of life."""
    report, last, rest = _reporter(found, work), b"", b""
    for block in process.blocks():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            name, _, value = line.partition(b"=")
            if name == b"out_time_us" and value != last and value.lstrip(b"-").isdigit():
                last = value
                job.touch()
                report(int(value) / 1e6)


# What the reader says of the source.


@dataclass(frozen=True)
class _Reader:
    """A process that decodes the source, and its side output: the first decoded frame."""

    process: Process
    first_frame: BinaryIO

    def start_offset(self, found: Probe) -> float:
        first_s = packets.first_time(self.first_frame.read())
        return _offset(first_s or 0.0, self.process.log, found)


def _start_reader(
    input_: Input, found: Probe, arguments: list[str], job: Job, slot: int | None = None
) -> _Reader:
    readable, writable = os.pipe()
    first_frame = packets.first_frame_arguments(found.track.index, writable)
    try:
        process = input_.start(
            job,
            presets.demuxer_arguments(found),
            [*arguments, *first_frame],
            in_order=found.in_order,
            fds=(writable,),
            stdout=True,
            slot=slot,
        )
    except BaseException:
        os.close(readable)
        raise
    finally:
        os.close(writable)
    return _Reader(process, os.fdopen(readable, "rb"))


def _offset(first_s: float, log: Log, found: Probe) -> float:
    """Return how much later than the recording its audio starts, in seconds.

    ``first_s`` is the first frame's time as FFmpeg hands it on: since the recording's start,
    or (MPEG-TS) since that of the streams in use.
    """
    first_s += log.start_correction_s()
    if found.starts_at_zero:
        first_s += max(0.0, found.start_s)
    return max(0.0, round(first_s, 3))


def _empty(log: Log) -> PermanentError:
    if log.says("Skipped opening external track"):
        return PermanentError(
            Code.NOT_A_RECORDING, "its sound lies in another file, and those are never opened"
        )
    return PermanentError(Code.NO_AUDIO, "its audio track is empty")


def _duration(log: Log, track: AudioTrack) -> float:
    """Return decoded samples by rate; raises when nothing or too little could be decoded."""
    counts = log.input_counts()
    if counts is None or not counts.packets:
        raise _empty(log)
    if not counts.samples:
        raise PermanentError(Code.CORRUPT, "nothing of its audio can be decoded")
    duration_s = counts.samples / track.sample_rate
    lost_s = _lost(counts, duration_s, track)
    if lost_s > tolerance(duration_s):
        raise PermanentError(
            Code.CORRUPT, f"the file is damaged: {lost_s:.1f} s of its audio cannot be decoded"
        )
    return duration_s


def _lost(counts: InputCounts, duration_s: float, track: AudioTrack) -> float:
    """Return how many seconds the packets would last that the decoder refused."""
    if track.raw:  # only what is less than a sample is refused
        return counts.errors / track.sample_rate
    return counts.errors * duration_s / max(1, counts.frames)
