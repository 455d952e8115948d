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
from shared.media.ffmpeg.process import Job, OwnInputError, Process
from shared.media.formats import mp3_frames, mp3_in_wave
from shared.media.packets import Outline
from shared.media.presets import Codec
from shared.media.source.inputs import own_file

_log = logging.getLogger(__name__)

WINDOW_S = 10
EVERY_S = 600
#: Audio of more than this has at least one sample at the rate of the picture.
_SHORTEST_S = 0.001
_HEAD_BYTES = 64
#: Enough for an empty ID3 tag, as FFmpeg writes it, and two Info frames of 1,441 bytes at most.
_INFO_BYTES = 4096
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
    try:
        return _verify(encoded, job)
    except OwnInputError as error:
        if encoded.recipe.codec is not Codec.COPY:
            raise
        # A copied stream can be another one than its container declared, such as Layer II as MP3.
        raise _not_copyable() from error


def _verify(encoded: Encoded, job: Job) -> Verified:
    size = encoded.path.stat().st_size
    decoder = _start(_decoding(encoded), job, slot=0)
    if encoded.recipe.codec is Codec.MP3:
        _check_frames(encoded)  # while FFmpeg decodes
        samples = b"".join(decoder.blocks())
    else:
        # In a process of its own, side by side: to read all packets takes as long as to decode. It
        # prints two lines at its end, so the decoder's output is what shows that something moves.
        reader = _start(_listing(encoded), job, slot=1)
        samples = b"".join(decoder.blocks())
        _check_outline(encoded, packets.outline(reader.blocks(), job), reader.wait())
    _check_decoded(encoded, bool(samples), decoder.wait())
    return Verified(
        bytes=size,
        duration_s=encoded.duration_s,
        bitrate_kbps=round(size * 8 / encoded.duration_s / 1000, 1),
        levels=waveform.measure(samples),
    )


def _start(arguments: list[str], job: Job, slot: int) -> Process:
    # How much may be broken is judged here, not by FFmpeg.
    arguments = ["-max_error_rate", "1", *arguments]
    return job.start(arguments, stdout=True, ours=True, level="warning", slot=slot)


def _decoding(encoded: Encoded) -> list[str]:
    """Return the arguments that decode the windows, and what the picture is measured from.

    The other packets are dropped as soon as they are read, which takes a third of passing them on.
    """
    last = max(0.0, encoded.duration_s - WINDOW_S)
    outside = f"gt(mod(max(pts*tb,0),{EVERY_S}),{WINDOW_S})*lt(pts*tb,{last:.3f})"
    return [
        *("-bsf:a", f"noise=drop='{outside}*{waveform.unmeasured(encoded.duration_s)}'"),
        *own_file(encoded.path, encoded.recipe),
        *waveform.output_arguments(encoded.duration_s),
    ]


def _listing(encoded: Encoded) -> list[str]:
    """Return the arguments that read all packets and print the first and the last one."""
    return [
        *("-bsf:a", packets.numbered()),
        *own_file(encoded.path, encoded.recipe),
        *("-map", "0", "-c", "copy", *presets.GATHERED, "-f", "framecrc", "pipe:1"),
    ]


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
    if is_copy and recipe.muxer == "mp3":
        fewest -= _starts_with_copied_info_frame(encoded)
    raw = recipe.codec_name.startswith("pcm_")  # in packets of any size
    if is_copy and not raw and not fewest <= found.count <= encoded.frames:
        # More of them: a packet of the source was no frame, such as one of a damaged container.
        if not encoded.keeps_packets or found.count > encoded.frames:
            raise _not_copyable()
        raise _failed(f"it has {found.count} packets where {encoded.frames} were copied")
    if not is_copy and (errors := log.errors()):
        _log.warning("FFmpeg reports of audio that was made: %s", errors[-1])
        raise _failed("it is damaged")
    # A copy has the times that it was given, which may differ from the decoder's, or, in formats
    # without times, those that its packets decode to.
    given_s = encoded.duration_s if encoded.gapless_s is None else encoded.gapless_s
    allowed = tolerance(encoded.duration_s)
    if abs(found.span_s - given_s) > allowed:
        if not encoded.keeps_packets and abs(found.span_s - encoded.duration_s) > allowed:
            raise _not_copyable()
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


def _starts_with_copied_info_frame(encoded: Encoded) -> bool:
    """Return whether the first packet of a copy is the source's Info frame, which is no audio.

    mkvmerge keeps it as a packet. Behind the new Info frame, readers skip it.
    """
    with encoded.path.open("rb") as file:
        head = file.read(_INFO_BYTES)
    try:
        at = mp3_frames.id3_bytes(head)
        at += mp3_frames.info_bytes(head[at:])
        return mp3_frames.info_bytes(head[at:]) > 0
    except mp3_frames.FrameError:
        return False


def _skip_info_frame(file: BinaryIO) -> int:
    info = mp3_frames.info_bytes(file.read(_HEAD_BYTES))
    if not info:
        raise _failed("it does not contain its exact length for players")
    file.seek(info)
    return _size(file) - info


def _skip_wave_head(file: BinaryIO) -> int:
    size = mp3_in_wave.audio_bytes(file.read(mp3_in_wave.HEAD_BYTES))
    if mp3_in_wave.HEAD_BYTES + size + len(mp3_in_wave.pad(size)) != _size(file):
        raise _failed("it is not as long as its header declares")
    return size


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while block := file.read(min(size, 1 << 20)):
        size -= len(block)
        yield block


def _check_decoded(encoded: Encoded, decoded: bool, log: Log) -> None:
    """Check what FFmpeg reports of decoding; ``decoded`` is whether that gave any sample."""
    # What is measured has a rate of 8 kHz, at which some samples of another rate are none.
    nothing = not decoded and encoded.duration_s > _SHORTEST_S
    if encoded.recipe.codec is Codec.COPY:
        _check_copy(encoded, nothing, log)
    elif nothing:
        raise _failed("nothing of it can be decoded")
    elif words := log.errors():
        _log.warning("FFmpeg reports of audio that was made: %s", words[-1])
        raise _failed("it cannot be decoded without errors")


def _check_copy(encoded: Encoded, nothing: bool, log: Log) -> None:
    """Judge a copy as its source would be: what cannot be decoded was damaged before."""
    errors = max(0, log.decode_errors - (encoded.source_errors or 0))
    if encoded.recipe.codec_name.startswith("pcm_"):  # only less than a sample is refused
        lost_s = errors / encoded.recipe.sample_rate
    else:
        lost_s = errors * encoded.duration_s / max(1, encoded.frames)
    if not nothing and lost_s <= tolerance(encoded.duration_s):
        return
    if encoded.source_plays:
        raise _not_copyable()
    if nothing:
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
