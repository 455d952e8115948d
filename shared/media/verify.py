"""Proof that a file which was made is whole, before anyone can see it.

Every frame or packet in structure, the exact length, and windows decoded: the first and
last ten seconds and ten in each ten minutes. Decoding all of it would cost a fifth of
the encode.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.core.errors import Code, PermanentError
from shared.media import presets, probe, waveform
from shared.media.encode import Encoded, tolerance
from shared.media.ffmpeg.log import Log
from shared.media.ffmpeg.process import Job, Process
from shared.media.formats import mp3_frames, mp3_in_wave
from shared.media.presets import Codec
from shared.media.source.inputs import own_file

_log = logging.getLogger(__name__)

WINDOW_S = 10
EVERY_S = 600
_HEAD_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of a file that passed; ``levels`` are the columns of its picture."""

    bytes: int
    duration_s: float
    bitrate_kbps: float
    levels: tuple[waveform.Level, ...]


def verify(encoded: Encoded, job: Job) -> Verified:
    """Check a file that was made, and measure its levels on the way.

    Raises ``PermanentError(verify_failed)`` with what is wrong.
    """
    size = encoded.path.stat().st_size
    # Two processes: FFmpeg reads the inputs of one in step, which takes the time of both.
    windows = _start(_windows(encoded), job)
    picture = _start(waveform.arguments(encoded.path, encoded.duration_s), job, stdout=True)
    if encoded.recipe.codec is Codec.MP3:
        _check_frames(encoded)  # while FFmpeg decodes
    levels = waveform.measure(picture.blocks())
    logs = windows.wait(), picture.wait()
    _check_decoded(encoded, *logs)
    _check_length(encoded, logs[0])
    return Verified(
        bytes=size,
        duration_s=encoded.duration_s,
        bitrate_kbps=round(size * 8 / encoded.duration_s / 1000, 1),
        levels=levels,
    )


def _start(arguments: list[str], job: Job, *, stdout: bool = False) -> Process:
    # How much may be broken is for us to judge.
    return job.start(["-max_error_rate", "1", *arguments], stdout=stdout, ours=True, level="info")


def _windows(encoded: Encoded) -> list[str]:
    """Return the arguments that decode the windows and throw the sound away.

    Packets outside are dropped before the decoder, so that all are read, few decoded.
    """
    last = max(0.0, encoded.duration_s + encoded.start_offset_s - WINDOW_S)
    outside = f"gt(mod(pts*tb,{EVERY_S}),{WINDOW_S})*lt(pts*tb,{last:.3f})"
    escaped = outside.replace(",", r"\,")
    return [
        *("-bsf:a", f"noise=drop={escaped}"),
        *own_file(encoded.path),
        *("-map", "0:a:0", "-af", presets.COUNTED_TIMES, "-f", "null", "-"),
    ]


def _check_frames(encoded: Encoded) -> None:
    first, count = _frames(encoded)
    decoded = count * first.samples - mp3_frames.ENCODER_DELAY
    if decoded < encoded.samples:
        raise _failed(f"{encoded.samples - decoded} samples are missing at its end")
    if count != encoded.frames:
        raise _failed(f"it has {count} frames where {encoded.frames} were made")
    if first.sample_rate != encoded.recipe.sample_rate:
        raise _failed(f"its rate is {first.sample_rate} Hz, not {encoded.recipe.sample_rate}")
    length = encoded.samples / first.sample_rate
    if abs(length - encoded.duration_s) > tolerance(encoded.duration_s):
        raise _failed(f"it lasts {length:.2f} s where the source lasts {encoded.duration_s:.2f} s")


def _frames(encoded: Encoded) -> tuple[mp3_frames.Header, int]:
    """Return the first header after the file's head, and how many frames follow."""
    with encoded.path.open("rb") as file:
        try:
            in_wave = encoded.recipe.muxer == "wav"
            size = _skip_wave_head(file) if in_wave else _skip_info_frame(file)
            return mp3_frames.count_frames(_blocks(file, size))
        except mp3_frames.FrameError as error:
            raise _failed(str(error)) from error


def _skip_info_frame(file: BinaryIO) -> int:
    info = mp3_frames.info_bytes(file.read(_HEAD_BYTES))
    if not info:
        raise _failed("nothing in it tells players its exact length")
    file.seek(info)
    return _size(file) - info


def _skip_wave_head(file: BinaryIO) -> int:
    size = mp3_in_wave.audio_bytes(file.read(mp3_in_wave.HEAD_BYTES))
    if mp3_in_wave.HEAD_BYTES + size + len(mp3_in_wave.pad(size)) != _size(file):
        raise _failed("it is not as long as its head says")
    return size


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while block := file.read(min(size, 1 << 20)):
        size -= len(block)
        yield block


def _check_decoded(encoded: Encoded, windows: Log, picture: Log) -> None:
    if encoded.recipe.codec is Codec.COPY:
        _check_copy(encoded, windows, picture)
    elif not windows.written_kib(0):
        raise _failed("nothing of it can be decoded")
    elif words := windows.errors() or picture.errors():
        _log.warning("FFmpeg says of audio that was made: %s", words[-1])
        raise _failed("it cannot be decoded without errors")


def _check_copy(encoded: Encoded, windows: Log, picture: Log) -> None:
    """Judge a copy as its source would be: what cannot be decoded was broken before."""
    if not windows.written_kib(0):
        raise PermanentError(Code.CORRUPT, "nothing of its audio can be decoded")
    errors = windows.decode_errors + picture.decode_errors
    lost_s = errors * encoded.duration_s / max(1, encoded.frames)
    if lost_s > tolerance(encoded.duration_s):
        raise PermanentError(
            Code.CORRUPT, f"the file is damaged: {lost_s:.1f} s of its audio cannot be decoded"
        )


def _check_length(encoded: Encoded, log: Log) -> None:
    length = probe.parse(log).duration_s or 0.0
    # Containers with times keep the gaps of a copied stream, those without lose them.
    expected = (encoded.duration_s, encoded.span_s or encoded.duration_s)
    if min(abs(length - one) for one in expected) > tolerance(encoded.duration_s):
        raise _failed(f"it lasts {length:.2f} s where the source lasts {encoded.duration_s:.2f} s")


def _failed(reason: str) -> PermanentError:
    return PermanentError(
        Code.VERIFY_FAILED, f"the audio that was made did not pass verification: {reason}"
    )
