"""How much of the audio is damaged: what FFmpeg reports, less what is only junk."""

from __future__ import annotations

from shared.core.errors import Code, PermanentError
from shared.media.encoded import tolerance
from shared.media.ffmpeg.log import Log
from shared.media.formats import completeness, frame_gaps
from shared.media.source.inputs import Input
from shared.media.tracks import Probe


def refuse_damaged(input_: Input, found: Probe, log: Log, duration_s: float) -> None:
    """Raise what the log of a whole decoding reports of a track that decoded to this length.

    Nothing decoded, more lost than the tolerance, or a part left out.
    """
    if log.demuxer_gave_up():
        raise PermanentError(
            Code.UNSUPPORTED_CODEC,
            "its format changes on the way in a way that is not supported, so only a part of "
            "the audio could be read",
        )
    counts = log.input_counts()
    if not duration_s:
        if counts is None or not counts.packets:
            raise log.no_packets()
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
