"""Runs any work on a recording under a lease, and ends the claim for every kind of error.

The lease is renewed while the work runs, a worker that lost it writes nothing, and no
exception leaves a recording in a state that the requeue does not recover.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from shared.core.errors import (
    CancelledError,
    Code,
    ConfigurationError,
    LeaseLostError,
    PermanentError,
    is_transient,
)
from shared.core.message import SourceFile
from shared.core.ports import OnProgress
from shared.core.records import Recording, Status
from shared.runtime.interrupts import run_interruptible
from shared.tracking.claim import Claim
from shared.tracking.leased_document import Heartbeat
from shared.tracking.tracker import ClaimRefusal, Tracker

log = logging.getLogger(__name__)


class Outcome(Enum):
    """How a delivery ended; decides how the queue is answered."""

    DONE = auto()
    SKIPPED = auto()
    FAILED = auto()
    DUPLICATE = auto()  # it had ended already
    BUSY = auto()  # another worker is processing it
    LOST = auto()  # another worker took it over meanwhile
    HANDED_OVER = auto()  # it takes longer than a push may: the job does it
    RETRY = auto()  # a transient error: deliver it again
    CANCELLED = auto()  # the process was asked to stop: deliver it again

    @property
    def acknowledges(self) -> bool:
        """Whether the message is no longer needed."""
        return self not in (Outcome.RETRY, Outcome.CANCELLED)

    @property
    def ends(self) -> bool:
        """Whether the recording has a final status now, which was logged."""
        return self in (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED)


_REFUSED = {
    ClaimRefusal.FINISHED: Outcome.DUPLICATE,
    ClaimRefusal.BUSY: Outcome.BUSY,
    ClaimRefusal.JOB: Outcome.HANDED_OVER,
}
_ENDED = {
    Status.DONE: Outcome.DONE,
    Status.SKIPPED: Outcome.SKIPPED,
    Status.FAILED: Outcome.FAILED,
    Status.QUEUED: Outcome.RETRY,
}


@dataclass(frozen=True)
class Result:
    """How a delivery ended, and the recording as it was left."""

    outcome: Outcome
    recording: Recording | None = None
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How one run is done, apart from the recording itself.

    Args:
        published_at: When the message was published; decides whether ``force`` is newer
            than the result that it asks to replace.
        runner: What works: ``push``, ``job`` or ``cli``; kept in the document.
        cancelled: Returns whether the process was asked to stop.
        limit_s: How long the work may take here, in seconds, before the job continues it.
        on_progress: Called with the fraction done.
    """

    published_at: datetime | None = None
    runner: str = "push"
    cancelled: Callable[[], bool] = lambda: False
    limit_s: float | None = None
    on_progress: OnProgress = lambda _: None


#: How long work may take to notice a request to stop; one of its calls may wait for an answer
#: that never comes. Then the recording is released without it, since Cloud Run kills the
#: process 10 s after SIGTERM.
STOP_GRACE_S = 3.0

#: How long the work may take to end after that, its connections closed, before the delivery is
#: answered without it.
_ABANDON_AFTER_S = 0.5


class WorkControl:
    """What limits the work: the lease, a request to stop, a time limit."""

    def __init__(self, claim: Claim, options: RunOptions) -> None:
        self._claim = claim
        self._cancelled = options.cancelled
        self._on_progress = options.on_progress
        limit_s = options.limit_s
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._stop_by: float | None = None
        self._interrupted = False
        self._released_at: float | None = None
        self._on_release: list[Callable[[], object]] = []
        self.heartbeat = Heartbeat(
            claim.update, claim.lease.leased.duration, self._release_when_overdue
        )

    @property
    def released(self) -> bool:
        """Whether the recording was released because the work did not stop when asked to."""
        return self._released_at is not None

    @property
    def abandoned(self) -> bool:
        """Whether the work is no longer waited for."""
        released_at = self._released_at
        return released_at is not None and time.monotonic() > released_at + _ABANDON_AFTER_S

    def on_release(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the work does not stop: it ends a call that waits forever."""
        self._on_release.append(close)

    @property
    def out_of_time(self) -> bool:
        """Whether the work has exceeded its time limit."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def should_stop(self) -> bool:
        """Return whether the work must stop now."""
        lost = self.heartbeat.lost is not None
        return self._interrupted or lost or self.out_of_time or self._cancelled()

    def interrupt(self) -> None:
        """Ask the work to stop now."""
        self._interrupted = True

    def renew(self) -> None:
        """Renew the lease; called just before each write that others can see.

        Raises ``LeaseLostError`` or ``CancelledError`` when the work must stop now.
        """
        if self.heartbeat.lost:
            raise self.heartbeat.lost
        if self.should_stop():
            raise CancelledError("stopped on request")
        self._claim.update()

    def progress(self, fraction: float) -> None:
        """Note the fraction done; the next heartbeat writes it."""
        self._claim.note_progress(fraction)
        self._on_progress(fraction)

    def _release_when_overdue(self) -> None:
        """Release the recording when the work was asked to stop and did not."""
        if not self._cancelled():
            return
        self._stop_by = self._stop_by or time.monotonic() + STOP_GRACE_S
        if time.monotonic() >= self._stop_by:
            self._claim.release()
            self._released_at = time.monotonic()
            for close in self._on_release:
                with suppress(Exception):
                    close()
            raise LeaseLostError("released on request")


#: Does the work and returns the fields of the DONE document.
WorkFunction = Callable[[Claim, WorkControl], dict[str, Any]]


def run(
    tracker: Tracker,
    item: SourceFile,
    work: WorkFunction,
    options: RunOptions = RunOptions(),
) -> Result:
    """Claim a recording, do its work, and end the claim by what the work returned or raised.

    Raises only what the tracker met while claiming. A ``KeyboardInterrupt`` is raised
    after the recording was released.
    """
    claim = tracker.claim(item, published_at=options.published_at, runner=options.runner)
    if isinstance(claim, ClaimRefusal):
        return Result(_REFUSED[claim], tracker.get(item.key))
    control = WorkControl(claim, options)
    try:
        control.heartbeat.start()
        try:
            fields = run_interruptible(
                lambda: work(claim, control),
                control.interrupt,
                STOP_GRACE_S,
                abandon=lambda: control.abandoned,
            )
        finally:
            control.heartbeat.stop()
        recording = claim.finish(Status.DONE, **fields)
    except Exception as error:
        try:
            return _end(claim, control, error)
        except LeaseLostError as lost:
            return Result(Outcome.LOST, error=lost)
        except Exception as second:
            # The tracker cannot be reached: the lease expires, and the requeue recovers.
            log.warning("could not end the claim: %s", second, exc_info=second)
            return Result(Outcome.RETRY, claim.recording, error)
    except BaseException:
        with suppress(Exception):  # the requeue recovers what cannot be released now
            claim.release()
        raise
    return Result(Outcome.DONE, recording)


def _end(claim: Claim, control: WorkControl, error: Exception) -> Result:
    """End the claim after ``error``."""
    if control.released:
        return Result(Outcome.CANCELLED, claim.recording, error)
    if control.heartbeat.lost or isinstance(error, LeaseLostError):
        return Result(Outcome.LOST, error=control.heartbeat.lost or error)
    # A first timeout is retried: the process itself may have been frozen, or without CPU.
    earlier = claim.recording.error
    is_first_timeout = getattr(error, "code", None) is Code.TIMEOUT and (
        earlier is None or earlier.code != Code.TIMEOUT
    )
    if isinstance(error, PermanentError) and not is_first_timeout:
        recording = claim.fail(error)
        return Result(_ENDED[recording.status], recording, error)
    if isinstance(error, CancelledError):
        if control.out_of_time:
            return Result(Outcome.HANDED_OVER, claim.release(runner="job"), error)
        return Result(Outcome.CANCELLED, claim.release(), error)
    if isinstance(error, ConfigurationError):  # its message names the fix
        log.error("%s", error, extra=claim.recording.log_context())
    elif not is_transient(error) and not is_first_timeout:
        log.error("unexpected: %s", error, exc_info=error, extra=claim.recording.log_context())
    recording = claim.release(error)
    return Result(_ENDED[recording.status], recording, error)
