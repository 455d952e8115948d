"""What encoding and copying share: the file that was made, and the context of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.core.errors import Code, PermanentError
from shared.core.ports import OnProgress
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.process import Job
from shared.media.presets import Recipe

#: Audio may be off by half a second or a thousandth, whichever is more.
TOLERANCE_S = 0.5
TOLERANCE_SHARE = 0.001


def tolerance(duration_s: float) -> float:
    """Return how many seconds may be missing of audio that lasts ``duration_s``."""
    return max(TOLERANCE_S, TOLERANCE_SHARE * duration_s)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A file that was made, not verified yet.

    ``duration_s`` is the length of the source's track as the decoder gives it.
    ``samples`` per channel went into the encoder at the recipe's rate, ``frames`` came
    out of it or were copied.

    The rest is of copies: ``discarded`` counts packets that are never played and that some
    containers leave out, ``gapless_s`` is when the last packet ends by the times that the copy was
    given (``packets.without_gaps``). ``source_errors`` is how many of the
    source's packets could not be decoded, of those tried. ``keeps_packets`` is whether the
    container keeps every packet and its time, so that a difference is a failure of the copy and
    not a limit of the format.
    """

    path: Path
    recipe: Recipe
    duration_s: float
    start_offset_s: float
    samples: int = 0
    frames: int = 0
    discarded: int = 0
    gapless_s: float | None = None
    source_errors: int | None = None
    keeps_packets: bool = True

    @property
    def source_plays(self) -> bool:
        """Whether the source of a copy decodes, so that a copy which does not is at fault."""
        return self.source_errors == 0


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
        """Return the context of the processes that handle audio of about this length."""
        wall_s = Limits.for_duration(duration_s, self.max_duration_s).wall_s
        return Job(Limits(wall_s=wall_s, stall_s=self.stall_s), self.cancelled, self.directory)

    def refuse_long(self, duration_s: float) -> None:
        """Raise ``too_long`` for audio of which this much has been decoded."""
        if duration_s > self.max_duration_s:
            hours = self.max_duration_s / 3600
            raise PermanentError(
                Code.TOO_LONG,
                f"it lasts {duration_s / 3600:.1f} hours, more than the {hours:g} that are "
                "allowed (MAX_DURATION_HOURS)",
            )

    def report(self, done_s: float, expected_s: float | None) -> None:
        """Report the fraction that is done, if the container declares a length."""
        if expected_s:
            self.on_progress(min(1.0, max(0.0, done_s / expected_s)))
