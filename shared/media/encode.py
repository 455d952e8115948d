"""One audio track becomes one file, by the recipe that the preset gives.

The track is decoded once, to raw samples at the recipe's rate and channels. Their number is the
length of the audio: no container and no log line overrules it. The samples go to several MP3
encoders side by side, or to one encoder of another format. Copies are made in ``copy``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shared.core.errors import Code, PermanentError, PipelineError
from shared.media import copy, packets, presets, sample_format
from shared.media.damage import refuse_damaged
from shared.media.encoded import EncodeContext, Encoded, tolerance
from shared.media.ffmpeg.log import Log
from shared.media.ffmpeg.pipes import write_all
from shared.media.ffmpeg.process import Job, OwnInputError, Process
from shared.media.formats import completeness, mp3_frames, mp3_in_wave
from shared.media.parallel_mp3 import NotConvergedError, ParallelEncoder
from shared.media.presets import Codec, Recipe
from shared.media.sample_format import SampleFormat
from shared.media.source.inputs import Input
from shared.media.tracks import Probe

__all__ = ["EncodeContext", "Encoded", "encode", "tolerance"]


class ParametersChangedError(PipelineError):
    """The decoder stopped, perhaps because rate or channels changed on the way."""


def encode(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    """Write the chosen track of ``input_`` into ``work.directory``.

    Raises ``PermanentError`` for what is wrong with the source (``no_audio``,
    ``corrupt``, ``truncated``, ``too_long``, ``timeout`` …), a transient error for what
    is not its fault, ``CancelledError`` when asked to stop.
    """
    with input_.translate_errors():
        if recipe.codec is Codec.COPY:
            encoded = copy.copy(input_, found, recipe, work)
        else:
            encoded = _decode_and_encode(input_, found, recipe, work)
    work.refuse_long(encoded.duration_s)
    _refuse_truncated(input_, encoded)
    return encoded


def _decode_and_encode(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    workers, gathered, clipped = work.workers, True, False
    while True:
        try:
            return _one_pass(
                input_, found, recipe, work, workers=workers, gathered=gathered, clipped=clipped
            )
        except NotConvergedError:
            # Never seen with real audio; one encoder has no seams to disagree at.
            workers = 1
        except ParametersChangedError:
            gathered = False
        except OwnInputError:
            # LAME refuses floats far beyond full scale and those that are no numbers
            # (libavcodec/libmp3lame.c): integers are left to try.
            if clipped or recipe.codec is not Codec.MP3:
                raise
            clipped = True


def _refuse_truncated(input_: Input, encoded: Encoded) -> None:
    """Raise ``truncated`` when bytes are missing at the end, and with them audio.

    The declared length only shows how much is missing of a file that visibly ends early.
    """
    seen = completeness.examine(input_.source)
    if not seen.ends_early:
        return
    expected = max(0.0, (seen.duration_s or 0.0) - encoded.start_offset_s)
    expected = expected or encoded.duration_s * seen.declared_share
    missing = expected - encoded.duration_s
    if missing > tolerance(expected):
        raise PermanentError(
            Code.TRUNCATED,
            f"the file ends early: {missing:.1f} s of its {expected:.1f} s of audio "
            "are missing; it may not have been uploaded whole",
        )


def _one_pass(
    input_: Input,
    found: Probe,
    recipe: Recipe,
    work: EncodeContext,
    *,
    workers: int,
    gathered: bool,
    clipped: bool,
) -> Encoded:
    """Decode the track once into the encoders.

    Raises ``ParametersChangedError`` when a ``gathered`` pass fails: collected samples would
    be lost where rate or channels change, so FFmpeg is asked to stop there instead.
    ``clipped`` makes integers of floats.
    """
    path = work.directory / f"audio.{recipe.extension}"

    with work.job(found.duration_s) as job:
        format_ = "s32le" if clipped else _sample_format(input_, found, recipe, job)

        def on_samples(samples: int) -> None:
            done_s = samples / recipe.sample_rate
            work.refuse_long(done_s)
            job.expect(done_s)
            work.report(done_s, found.duration_s)

        arguments = presets.pcm_arguments(recipe, found.track, format_, gathered=gathered)
        # The encoders take the first processors, the reader the next one.
        options = ["-reinit_filter", "0"] if gathered else []
        with _reader(input_, found, options, arguments, job, slot=workers) as reader:
            if recipe.codec is Codec.MP3:
                with path.open("wb") as file:
                    encoder = ParallelEncoder(
                        job, recipe, format_, workers, on_samples, found.duration_s
                    )
                    writer = _Mp3Writer(file, recipe.muxer)
                    encoder.run(reader.process.stdout, writer)
                    writer.finish(encoder.samples)
                samples, frames = encoder.samples, writer.frames
            else:
                samples = _to_encoder(reader.process, recipe, format_, job, path, on_samples)
                frames = 0
            log = _finished(reader.process, gathered=gathered)
            first_s = packets.first_time(reader.first_frame.read()) or 0.0
            start_offset_s = found.start_offset(first_s, log)
    duration_s = samples / recipe.sample_rate
    refuse_damaged(input_, found, log, duration_s, work)
    return Encoded(
        path=path,
        recipe=recipe,
        duration_s=duration_s,
        start_offset_s=start_offset_s,
        samples=samples,
        frames=frames,
    )


def _sample_format(input_: Input, found: Probe, recipe: Recipe, job: Job) -> SampleFormat:
    if recipe.codec is Codec.FLAC:
        return "s16le"
    if recipe.codec is Codec.PCM:
        for name in sample_format.BYTES:
            if recipe.codec_name == f"pcm_{name}":
                return name
        raise ValueError(f"no raw format for {recipe.codec_name}")
    raw = sample_format.of_track(input_, found, job)
    # libopus takes 16 bits or floats.
    return "f32le" if recipe.codec is Codec.OPUS and raw == "s32le" else raw


def _finished(reader: Process, *, gathered: bool) -> Log:
    try:
        return reader.wait()
    except PermanentError as error:
        if gathered and error.code is not Code.TIMEOUT:
            raise ParametersChangedError(str(error)) from error
        raise


@dataclass(frozen=True)
class _Reader:
    """A process that decodes the source, and its side output: the first decoded frame."""

    process: Process
    first_frame: BinaryIO


@contextmanager
def _reader(
    input_: Input, found: Probe, options: list[str], arguments: list[str], job: Job, slot: int
) -> Iterator[_Reader]:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as first_frame:
        try:
            process = input_.start(
                job,
                [*found.input_options, *options],
                [*arguments, *packets.first_frame_arguments(found.track.index, writable)],
                in_order=found.in_order,
                fds=(writable,),
                stdout=True,
                slot=slot,
            )
        finally:
            os.close(writable)
        yield _Reader(process, first_frame)


def _to_encoder(
    reader: Process,
    recipe: Recipe,
    format_: SampleFormat,
    job: Job,
    path: Path,
    on_samples: Callable[[int], None],
) -> int:
    """Pass the reader's samples to one encoder; return how many there were per channel."""
    arguments = presets.raw_input_arguments(recipe, format_)
    arguments += [*presets.codec_arguments(recipe), f"file:{path}"]
    encoder = job.start(arguments, stdin=True, ours=True, slot=0)
    frame_bytes, total = recipe.channels * sample_format.BYTES[format_], 0
    try:
        for block in reader.blocks():
            write_all(encoder.stdin, block)
            total += len(block)
            on_samples(total // frame_bytes)
    except BrokenPipeError:
        encoder.wait()  # raises what the encoder met
        raise
    encoder.close_stdin()
    if total < frame_bytes:
        encoder.end()  # it has nothing to encode; the fault is the source's
        return 0
    encoder.wait()
    return total // frame_bytes


class _Mp3Writer:
    """Writes frames after room for the header, which is known only at the end.

    The header is an Info frame or the head of a WAV.
    """

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
