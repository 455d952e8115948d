"""The source's own packets become a file, without encoding them again.

The packets are read once. One FFmpeg writes the file, prints a table of the packets, and decodes
the first of them. Where every packet decodes to the same number of samples, their count is the
length. Where it does not, or the table contradicts the decoder, the track is decoded as a whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.core.errors import Code, PermanentError
from shared.media import packets, presets
from shared.media.damage import refuse_damaged, without_packets
from shared.media.encoded import EncodeContext, Encoded, tolerance
from shared.media.ffmpeg.log import Log
from shared.media.packets import Packets
from shared.media.presets import Recipe
from shared.media.source.inputs import Input, own_file
from shared.media.tracks import Probe

#: A source of no more bytes than this is decoded as a whole: that takes less than starting FFmpeg,
#: and damage anywhere shows in the length.
_SMALL_BYTES = 1 << 20
_NO_CONTAINER = "no file format here can hold its audio as it is"
#: Frames that are decoded to learn how many samples a packet has.
_LOOKED_AT = 256
#: The encoder's delay is no more packets, and no more seconds, than this (Opus: 80 ms; HE-AAC:
#: 3 packets). What else starts before zero was trimmed by an edit list.
_DELAY_PACKETS, _DELAY_S = 4, 0.09
#: How much longer or shorter a copy of joined recordings may play: less than anyone can hear.
_CLOSE_S = 0.04
#: How far the table's length may be from the count of packets times their samples.
_AGREES = 0.002

#: Containers whose stream can change its rate and channels, since each frame describes itself.
_CAN_CHANGE = frozenset({"aac", "ac3", "eac3", "loas", "mp3", "mpeg", "mpegts"})
#: Codecs whose packets decode to different numbers of samples.
_VARIABLE = frozenset({"vorbis", "eac3", "wmav1", "wmav2", "wmapro", "wmavoice", "mp4als"})

#: Failures of a track that may still play: its parameters change, or the container cannot hold its
#: packets. Which of two threads that fail sets FFmpeg's exit status is chance.
_FAILED = frozenset({Code.CORRUPT, Code.UNSUPPORTED_CODEC})

#: Codecs whose containers keep every packet and its time.
_PROVEN = frozenset({"aac", "alac", "flac", "mp3", "opus", "ac3"})


@dataclass(frozen=True)
class _Frames:
    """What decoding gave: the samples of each frame in seconds, and whether it ended by itself."""

    seconds: list[float]
    whole: bool


@dataclass(frozen=True, kw_only=True)
class _Copied:
    table: Packets
    frames: _Frames
    log: Log


def copy(input_: Input, found: Probe, recipe: Recipe, work: EncodeContext) -> Encoded:
    """Copy the chosen track into a container of its own.

    Raises ``PermanentError`` (``unsupported_codec``) for a track that plays, but that no
    container here can hold; else as ``shared.media.encode.encode``.
    """
    everything = (
        found.container in _CAN_CHANGE
        or found.track.codec in _VARIABLE
        or input_.source.size <= _SMALL_BYTES
    )
    try:
        copied = _run(input_, found, recipe, work, decode_all=everything, constant=True)
        if not everything and (
            _length(copied) is None or copied.table.trimmed_inside or _discarded(copied.table)
        ):
            everything = True
            copied = _run(input_, found, recipe, work, decode_all=True, constant=True)
    except PermanentError as error:
        if error.code not in _FAILED:
            raise
        recipe, copied = _with_changes(input_, found, recipe, work, error)
    if copied.table.trimmed_inside or _discarded(copied.table):
        recipe, copied = _with_cuts(input_, found, recipe, work, copied)
    table, log = copied.table, copied.log
    discarded = _discarded(table)
    duration_s = _length(copied) or 0.0
    if copied.frames.whole or log.reports_demuxing_error():
        refuse_damaged(input_, found, log, duration_s, work)
    if not table.count:
        # A track that decodes plays: FFmpeg could not write its packets, or read them alone.
        if duration_s:
            raise _not_copyable(_NO_CONTAINER)
        raise without_packets(input_, found, log, work)
    counts = log.input_counts()
    return Encoded(
        path=work.directory / f"audio.{recipe.extension}",
        recipe=recipe,
        duration_s=duration_s,
        start_offset_s=found.start_offset(table.first_s, log),
        frames=table.count,
        discarded=discarded,
        gapless_s=table.gapless_s,
        source_errors=counts.errors if counts else None,
        keeps_packets=_keeps_packets(recipe, copied, discarded),
    )


def _discarded(table: Packets) -> int:
    """Return how many packets are never played and may be left out of a copy.

    What an encoder needs to start is marked as not played, but every container keeps it.
    """
    return table.discarded - (table.early if -table.begin_s <= _DELAY_S else 0)


def _keeps_packets(recipe: Recipe, copied: _Copied, discarded: int) -> bool:
    """Return whether a difference between source and copy can only be a failure of the copy."""
    if discarded:
        return False  # not every container can hide packets, and an edit list in parts even less
    if recipe.codec_name == "flac" and copied.frames.whole:
        return False  # it may be two in one, whose frames are numbered from zero twice
    return recipe.muxer != "adts" and (recipe.codec_name in _PROVEN or recipe.muxer == "wav")


def _with_changes(
    input_: Input, found: Probe, recipe: Recipe, work: EncodeContext, error: PermanentError
) -> tuple[Recipe, _Copied]:
    """Copy a track after a failure, into a container that can hold changing parameters.

    Raises ``unsupported_codec`` where there is none and the track plays, else ``error``.
    """
    changing = presets.with_changing_parameters(recipe)
    if changing:
        try:
            return changing, _run(input_, found, changing, work, decode_all=True, constant=False)
        except PermanentError as second:
            if second.code not in _FAILED:
                raise
    if _plays(input_, found, work):
        raise _not_copyable(_NO_CONTAINER) from error
    raise error


def _with_cuts(
    input_: Input, found: Probe, recipe: Recipe, work: EncodeContext, copied: _Copied
) -> tuple[Recipe, _Copied]:
    """Return a copy that plays no more than its source, in Matroska if need be.

    Joined recordings and edit lists have samples or packets inside the track that are not played.
    Most containers mark those at the start and the end only, so a copy could last longer.
    Raises ``unsupported_codec`` where Matroska does not help.
    """
    if not copied.frames.whole or _decodes_as_long(recipe, copied, work):
        return recipe, copied
    path, recipe = work.directory / f"audio.{recipe.extension}", presets.in_matroska(recipe)
    path.unlink()
    try:
        copied = _run(input_, found, recipe, work, decode_all=True, constant=False)
    except PermanentError as error:
        if error.code not in _FAILED:
            raise
        raise _not_copyable(_NO_CONTAINER) from error
    if not _decodes_as_long(recipe, copied, work):
        raise _not_copyable(_NO_CONTAINER)
    return recipe, copied


def _decodes_as_long(recipe: Recipe, copied: _Copied, work: EncodeContext) -> bool:
    """Return whether a copy decodes to the length of its source."""
    duration_s = sum(copied.frames.seconds)
    path = work.directory / f"audio.{recipe.extension}"
    with work.job(duration_s) as job:
        output = ["-map", "0", "-f", "framecrc", "pipe:1"]
        process = job.start([*own_file(path, recipe), *output], stdout=True, ours=True)
        length = sum(seconds for _, seconds, _ in packets.rows(process.blocks(), job))
        process.end()
    return abs(length - duration_s) <= _CLOSE_S


def _not_copyable(why: str) -> PermanentError:
    return PermanentError(
        Code.UNSUPPORTED_CODEC, f"{why}, so it cannot be copied: choose another preset than copy"
    )


def _plays(input_: Input, found: Probe, work: EncodeContext) -> bool:
    """Return whether the track decodes, with no more losses than the tolerance."""
    with work.job(found.duration_s) as job:
        output = ["-map", f"0:{found.track.index}", "-f", "framecrc", "pipe:1"]
        process = input_.start(job, found.input_options, output, stdout=True)
        decoded = [duration_s for _, duration_s, _ in packets.rows(process.blocks(), job)]
        try:
            log = process.wait()
        except PermanentError:
            return False
    length, counts = sum(decoded), log.input_counts()
    errors = counts.errors if counts else 0
    return bool(length) and errors * length / len(decoded) <= tolerance(length)


def _run(
    input_: Input,
    found: Probe,
    recipe: Recipe,
    work: EncodeContext,
    *,
    decode_all: bool,
    constant: bool,
) -> _Copied:
    """Copy, and decode the first frames or all.

    With ``constant`` FFmpeg fails where rate or channels change.
    """
    # The filter that closes gaps is a seventh of the work, and most recordings have none. A local
    # file can be read again from the start where one is found.
    if input_.server is None and not decode_all and found.track.codec != "opus":
        try:
            return _one_pass(input_, found, recipe, work, constant=constant, keep_times=True)
        except packets.IrregularTimesError:
            pass
    return _one_pass(input_, found, recipe, work, decode_all=decode_all, constant=constant)


def _one_pass(
    input_: Input,
    found: Probe,
    recipe: Recipe,
    work: EncodeContext,
    *,
    decode_all: bool = False,
    constant: bool = True,
    keep_times: bool = False,
) -> _Copied:
    """Read the source once. With ``keep_times`` the packets keep their times.

    Raises ``IrregularTimesError`` then, as soon as a time should have been changed.
    """
    filters = () if keep_times else ("-bsf:a", packets.without_gaps(found.track.codec))
    path = work.directory / f"audio.{recipe.extension}"
    with work.job(found.duration_s) as job:

        def on_time(done_s: float) -> None:
            job.expect(done_s)
            work.report(done_s, found.duration_s)

        readable, writable = os.pipe()
        with os.fdopen(readable, "rb") as pipe:
            try:
                process = input_.start(
                    job,
                    [*found.input_options, *(("-reinit_filter", "0") if constant else ())],
                    [
                        *filters,
                        # A WAV has no edit list: what it would hide is left out.
                        *(("-copypriorss", "0") if found.track.raw else ()),
                        *presets.output_arguments(recipe, found.track, path),
                        *packets.arguments(found.track.index),
                        *("-map", f"0:{found.track.index}"),
                        *(() if decode_all else ("-frames:a", str(_LOOKED_AT))),
                        *(*presets.GATHERED, "-f", "framecrc", f"pipe:{writable}"),
                    ],
                    in_order=found.in_order,
                    fds=(writable,),
                    stdout=True,
                    # On one processor: handing packets from thread to thread is all the work.
                    slot=None if decode_all else 0,
                    pulse=True,
                )
            finally:
                os.close(writable)
            decoded = packets.FrameReader(pipe)
            try:
                table = packets.read(process.blocks(), job, on_time, regular=keep_times)
            except BaseException:
                process.kill()  # else its second table would be waited for, unread
                raise
            finally:
                seconds = decoded.result()
            log = process.wait()
    whole = decode_all or len(seconds) < _LOOKED_AT
    if whole:
        work.refuse_long(sum(seconds))
    return _Copied(table=table, frames=_Frames(seconds, whole), log=log)


def _length(copied: _Copied) -> float | None:
    """Return the length by the count of packets, ``None`` where that is no proof."""
    table, seconds = copied.table, copied.frames.seconds
    if copied.frames.whole:
        return sum(seconds)
    inner = seconds[2:-1]
    frame_s = sorted(inner)[len(inner) // 2]
    if max(inner) - min(inner) > 0.1 * frame_s or not table.count:
        return None
    delay_s = max(0.0, -table.begin_s)
    if delay_s > max(_DELAY_S, _DELAY_PACKETS * frame_s):
        return None
    short_s = max(0.0, frame_s - table.last_s) if table.last_s else 0.0
    length = table.count * frame_s - delay_s - short_s
    agrees = abs(length - table.duration_s) <= max(2 * frame_s, _AGREES * length)
    return length if agrees else None
