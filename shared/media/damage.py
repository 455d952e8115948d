"""How much of the audio is damaged: what FFmpeg reports, less what is only junk."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.errors import Code, PermanentError
from shared.media.encoded import EncodeContext, tolerance
from shared.media.ffmpeg.log import PATCHWELCOME, Log
from shared.media.ffmpeg.process import Job
from shared.media.formats import completeness, frame_gaps, junk, mp4_boxes
from shared.media.source.inputs import Input
from shared.media.tracks import Probe

#: Half of a damaged file is more than this; smaller ones may be headers.
_EMPTY_BYTES = 32 << 10


def refuse_damaged(
    input_: Input, found: Probe, log: Log, duration_s: float, work: EncodeContext
) -> None:
    """Raise what the log of a whole decoding reports of a track that decoded to this length.

    Nothing decoded, more lost than the tolerance, or a part left out.
    """
    if log.reports_demuxing_error():
        with work.job(found.duration_s) as job:
            status = _demuxed(input_, found.input_options, job).status
        if status == PATCHWELCOME:
            raise PermanentError(
                Code.UNSUPPORTED_CODEC,
                "its format changes on the way in a way that is not supported, so only a part "
                "of the audio could be read",
            )
        if status and found.container == "ogg" and junk.ends_as_ogg(input_.source):
            raise PermanentError(
                Code.CORRUPT,
                f"the file is damaged: only its first {duration_s:.1f} s of audio can be read",
            )
    counts = log.input_counts()
    if not duration_s:
        if counts is None or not counts.packets:
            raise without_packets(input_, found, log, work)
        if not counts.errors:  # an edit list that plays nothing
            raise PermanentError(Code.NO_AUDIO, "its audio track has no samples to play")
        raise PermanentError(Code.CORRUPT, "nothing of its audio can be decoded")
    errors = counts.errors if counts else 0
    if errors and completeness.examine(input_.source).ends_early:
        errors -= 1  # the packet that the end of the file cuts is missing, not damaged
    if not counts or not errors:
        return
    if found.track.raw:  # only less than a sample is refused
        lost_s = errors / found.track.sample_rate
    else:
        lost_s = errors * duration_s / max(1, counts.frames)
    if lost_s > tolerance(duration_s):
        # In a stream of bare frames, junk between them is refused as well.
        lost_s = min(lost_s, frame_gaps.damaged_share(input_.source, found.container) * duration_s)
    if lost_s > tolerance(duration_s):
        raise PermanentError(
            Code.CORRUPT, f"the file is damaged: {lost_s:.1f} s of its audio cannot be decoded"
        )


def container_is_damaged(input_: Input, options: Sequence[str], log: Log, job: Job) -> bool:
    """Return whether the container is damaged, where ``log`` reports that.

    A file can imitate the report, so the container is read again as a whole. A damaged one ends
    with an error, or most of it is in no packet.
    """
    if not log.reports_container_error():
        return False
    demuxed, size = _demuxed(input_, options, job), input_.source.size
    return bool(demuxed.status) or demuxed.bytes_read() < size // 2 > _EMPTY_BYTES


def _demuxed(input_: Input, options: Sequence[str], job: Job) -> Log:
    """Read the whole container, and return the log.

    FFmpeg ends with success after a demuxer's error, unless it is asked to exit on errors. Nothing
    is decoded, so there are no others.
    """
    everything = ["-map", "0", "-c", "copy", "-copy_unknown", "-f", "null", "-"]
    return input_.start(job, ["-xerror", *options], everything, pulse=True).end()


def without_packets(input_: Input, found: Probe, log: Log, work: EncodeContext) -> PermanentError:
    """Return the error of a track without a packet, after a process with this log."""
    if mp4_boxes.names_other_files(input_.source):
        return PermanentError(
            Code.NOT_A_RECORDING, "its audio is in another file, and those are never opened"
        )
    with work.job(found.duration_s) as job:
        if container_is_damaged(input_, found.input_options, log, job):
            return PermanentError(
                Code.CORRUPT, "the file is damaged: none of its audio can be found in it"
            )
    return PermanentError(Code.NO_AUDIO, "its audio track is empty")
