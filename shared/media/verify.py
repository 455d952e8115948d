"""Proof that a file which was made is whole, before anyone can see it.

Every frame or packet in structure, the exact length, and windows decoded: the first and
last ten seconds and ten in each ten minutes. Decoding all of it would cost a fifth of
the encode. The file is opened with the one demuxer and the decoders of its recipe.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.core.errors import Code, PermanentError
from shared.media import packets, presets, waveform
from shared.media.encoded import Encoded, tolerance
from shared.media.ffmpeg.log import Log
from shared.media.ffmpeg.process import Job, Process
from shared.media.formats import mp3_frames, mp3_in_wave
from shared.media.packets import Outline
from shared.media.presets import Codec
from shared.media.source.inputs import own_file

_log = logging.getLogger(__name__)

WINDOW_S = 10
EVERY_S = 600
_HEAD_BYTES = 64
_MONO = 3


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of a file that passed; ``levels`` are the columns of its picture."""

    bytes: int
    duration_s: float
    bitrate_kbps: float
    levels: tuple[waveform.LoudnessLevel, ...]


def verify(encoded: Encoded, job: Job) -> Verified:
    """Check a file that was made, and measure its levels on the way.

    Raises ``PermanentError``: ``verify_failed`` with what is wrong, ``corrupt`` for a copy of
    a source that was damaged, ``unsupported_codec`` for one that its container cannot hold.
    """
    size = encoded.path.stat().st_size
    # One process each: FFmpeg reads the inputs of one in step, which takes the time of both.
    windows = _start(_windows(encoded), job)
    picture = _start(waveform.arguments(encoded.path, encoded.recipe, encoded.duration_s), job)
    bare_mp3 = encoded.recipe.codec is Codec.MP3
    table = None if bare_mp3 else _start(_table(encoded), job)
    if table is None:
        _check_frames(encoded)  # while FFmpeg decodes
    else:
        outline = packets.outline(table.blocks(), job)
        _check_outline(encoded, outline, table.wait())
    levels = waveform.measure(picture.blocks())
    decoded_s = sum(seconds for _, seconds, _ in packets.rows(windows.blocks(), job))
    _check_decoded(encoded, decoded_s, windows.wait(), picture.wait())
    return Verified(
        bytes=size,
        duration_s=encoded.duration_s,
        bitrate_kbps=round(size * 8 / encoded.duration_s / 1000, 1),
        levels=levels,
    )


def _start(arguments: list[str], job: Job) -> Process:
    # How much may be broken is judged here, not by FFmpeg.
    return job.start(["-max_error_rate", "1", *arguments], stdout=True, ours=True, level="warning")


def _windows(encoded: Encoded) -> list[str]:
    """Return the arguments that decode the windows and print a table of their frames.

    Packets outside are dropped before the decoder, so that all are read, few decoded.
    """
    last = max(0.0, encoded.duration_s - WINDOW_S)
    outside = f"gt(mod(pts*tb,{EVERY_S}),{WINDOW_S})*lt(pts*tb,{last:.3f})"
    escaped = outside.replace(",", r"\,")
    return [
        *("-bsf:a", f"noise=drop={escaped}"),
        *own_file(encoded.path, encoded.recipe),
        *("-map", "0:a:0", "-af", presets.COUNTED_TIMES, "-f", "framecrc", "pipe:1"),
    ]


def _table(encoded: Encoded) -> list[str]:
    """Return the arguments that print every packet of every stream in the file."""
    arguments = ["-map", "0", "-c", "copy", *presets.GATHERED, "-f", "framecrc", "pipe:1"]
    return [*own_file(encoded.path, encoded.recipe), *arguments]


def _check_outline(encoded: Encoded, found: Outline, log: Log) -> None:
    """Compare what is in the file with its recipe and with what was written."""
    recipe = encoded.recipe
    shape = (found.streams, found.codec, found.sample_rate)
    if shape != (1, recipe.codec_name, recipe.sample_rate):
        if recipe.codec is Codec.COPY and encoded.source_plays:
            raise _not_copyable()
        raise _failed(
            f"it is {found.codec} at {found.sample_rate} Hz where {recipe.codec_name} at "
            f"{recipe.sample_rate} Hz was made"
        )
    is_copy = recipe.codec is Codec.COPY
    # The packets of a copy decide its channels by themselves, and are all there. Other layouts
    # occur only where samples are rewrapped.
    channels = {"mono": 1, "stereo": 2}.get(found.layout, recipe.channels)
    if not is_copy and channels != recipe.channels:
        raise _failed(f"it has {channels} channels where {recipe.channels} were made")
    fewest = encoded.frames - encoded.discarded
    raw = recipe.codec_name.startswith("pcm_")  # in packets of any size
    if is_copy and not raw and not fewest <= found.count <= encoded.frames:
        if encoded.source_errors is not None:
            raise _not_copyable()
        raise _failed(f"it has {found.count} packets where {encoded.frames} were copied")
    if not is_copy and (errors := log.errors()):
        _log.warning("FFmpeg reports of audio that was made: %s", errors[-1])
        raise _failed("it is damaged")
    # A copy keeps the times of its source, which may differ from the decoder's.
    if min(abs(found.span_s - one) for one in encoded.lengths) > tolerance(encoded.duration_s):
        _check_length(encoded, found.span_s)


def _check_length(encoded: Encoded, length_s: float) -> None:
    if abs(length_s - encoded.duration_s) > tolerance(encoded.duration_s):
        raise _failed(
            f"it lasts {length_s:.2f} s where the source lasts {encoded.duration_s:.2f} s"
        )


def _check_frames(encoded: Encoded) -> None:
    first, count = _frames(encoded)
    decoded = count * first.samples - mp3_frames.ENCODER_DELAY
    if decoded < encoded.samples:
        raise _failed(f"{encoded.samples - decoded} samples are missing at its end")
    if count != encoded.frames:
        raise _failed(f"it has {count} frames where {encoded.frames} were made")
    if first.sample_rate != encoded.recipe.sample_rate:
        raise _failed(f"its rate is {first.sample_rate} Hz, not {encoded.recipe.sample_rate}")
    if (first.mode == _MONO) != (encoded.recipe.channels == 1):
        raise _failed(f"it does not have {encoded.recipe.channels} channels")
    _check_length(encoded, encoded.samples / first.sample_rate)


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


def _check_decoded(encoded: Encoded, decoded_s: float, windows: Log, picture: Log) -> None:
    if encoded.recipe.codec is Codec.COPY:
        _check_copy(encoded, decoded_s, windows, picture)
    elif not decoded_s:
        raise _failed("nothing of it can be decoded")
    elif words := windows.errors() or picture.errors():
        _log.warning("FFmpeg reports of audio that was made: %s", words[-1])
        raise _failed("it cannot be decoded without errors")


def _check_copy(encoded: Encoded, decoded_s: float, windows: Log, picture: Log) -> None:
    """Judge a copy as its source would be: what cannot be decoded was damaged before."""
    known = encoded.source_errors or 0
    errors = max(0, windows.decode_errors - known) + max(0, picture.decode_errors - known)
    if encoded.recipe.codec_name.startswith("pcm_"):  # only less than a sample is refused
        lost_s = errors / encoded.recipe.sample_rate
    else:
        lost_s = errors * encoded.duration_s / max(1, encoded.frames)
    if decoded_s and lost_s <= tolerance(encoded.duration_s):
        return
    if encoded.source_plays:
        raise _not_copyable()
    if not decoded_s:
        raise PermanentError(Code.CORRUPT, "nothing of its audio can be decoded")
    raise PermanentError(
        Code.CORRUPT, f"the file is damaged: {lost_s:.1f} s of its audio cannot be decoded"
    )


def _not_copyable() -> PermanentError:
    return PermanentError(
        Code.UNSUPPORTED_CODEC,
        "no file format here can hold its audio as it is, so it cannot be copied: choose "
        "another preset than copy",
    )


def _failed(reason: str) -> PermanentError:
    return PermanentError(
        Code.VERIFY_FAILED, f"the audio that was made did not pass verification: {reason}"
    )
