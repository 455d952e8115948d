"""Work under a lease: claim, heartbeat, and one way for every error to end it.

Whatever a worker does with a recording runs in here, so that the promises of the tracker
hold for all of them: a lease is renewed while work goes on, who has lost it writes
nothing, and no exception leaves a recording in a state that nobody heals.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Self

from shared.core.errors import CancelledError, LeaseLostError, PermanentError, is_transient
from shared.core.message import SourceFile
from shared.core.ports import OnProgress
from shared.core.records import Recording, Status
from shared.runtime.interrupts import run_interruptible
from shared.tracking.claim import Claim
from shared.tracking.tracker import ClaimRefusal, Tracker

log = logging.getLogger(__name__)


class Outcome(Enum):
    """How a delivery ended; says what the queue is to be told."""

    DONE = auto()
    SKIPPED = auto()
    FAILED = auto()
    DUPLICATE = auto()  # it had ended already
    BUSY = auto()  # another worker is at it
    LOST = auto()  # another worker took it over meanwhile
    HANDED_OVER = auto()  # it outlasts a push: the job does it
    RETRY = auto()  # a transient error: deliver it again
    CANCELLED = auto()  # we were asked to stop: deliver it again

    @property
    def acknowledges(self) -> bool:
        """Whether the message has served its purpose."""
        return self not in (Outcome.RETRY, Outcome.CANCELLED)

    @property
    def ends(self) -> bool:
        """Whether the recording has ended; ``shared.tracking.endings`` has logged it then."""
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


#: How long work may take to notice that it is to stop: one call may wait for an answer that
#: never comes. Then the recording is given back over its head, since Cloud Run kills the
#: process 10 s after SIGTERM.
STOP_GRACE_S = 3.0
_LOOK_EVERY_S = 0.5


class WorkControl:
    """What holds a worker back: the lease, a request to stop, a limit of time.

    As a context it keeps the lease alive from a thread of its own.
    """

    def __init__(
        self,
        claim: Claim,
        cancelled: Callable[[], bool],
        limit_s: float | None,
        on_progress: OnProgress,
    ) -> None:
        self._claim = claim
        self._cancelled = cancelled
        self._on_progress = on_progress
        self._deadline = None if limit_s is None else time.monotonic() + limit_s
        self._over = threading.Event()
        self._stop_by: float | None = None
        self._interrupted = False
        self.lost: LeaseLostError | None = None
        self.given_back = False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def out_of_time(self) -> bool:
        """Whether the work has lasted longer than it may here."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def should_stop(self) -> bool:
        """Tell whether the work must stop now."""
        return self._interrupted or self.lost is not None or self.out_of_time or self._cancelled()

    def interrupt(self) -> None:
        """Ask the work to stop now."""
        self._interrupted = True

    def check(self) -> None:
        """Raise ``LeaseLostError`` or ``CancelledError`` when the work must stop now."""
        if self.lost:
            raise self.lost
        if self.should_stop():
            raise CancelledError("stopped on request")

    def renew(self) -> None:
        """Renew the lease now: just before a write that others can see."""
        self.check()
        self._claim.renew()

    def progress(self, fraction: float) -> None:
        """Note the fraction done; the next heartbeat carries it."""
        self._claim.note_progress(fraction)
        self._on_progress(fraction)

    def _beat(self) -> None:
        every_s = self._claim.lease.total_seconds() / 3
        beat_at = time.monotonic() + every_s
        while not self.lost and not self._over.wait(min(_LOOK_EVERY_S, every_s)):
            if self._is_overdue():
                self._try(self._give_back)
            elif time.monotonic() >= beat_at:
                self._try(self._claim.renew)
                beat_at = time.monotonic() + every_s

    def _is_overdue(self) -> bool:
        """Tell whether the work was asked to stop, and has had the time to."""
        if not self._cancelled():
            return False
        self._stop_by = self._stop_by or time.monotonic() + STOP_GRACE_S
        return time.monotonic() >= self._stop_by

    def _give_back(self) -> None:
        self._claim.release()
        self.given_back = True
        self.lost = LeaseLostError("given back on request")

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except LeaseLostError as error:
            self.lost = error
        except Exception as error:
            # The lease is ours until another claims, however long this lasts.
            log.warning("the lease could not be renewed: %s", error)


#: Does the work and returns the fields that its DONE document gets.
WorkFunction = Callable[[Claim, WorkControl], dict[str, Any]]


def run(
    tracker: Tracker,
    item: SourceFile,
    work: WorkFunction,
    *,
    published_at: datetime | None = None,
    runner: str = "push",
    cancelled: Callable[[], bool] = lambda: False,
    limit_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Result:
    """Claim a recording, do its work, and end the claim as the work ended.

    ``limit_s`` is how long the work may last here before it is handed to the job.
    Raises only what the tracker itself met while claiming; a ``KeyboardInterrupt``
    passes, after the recording was given back.
    """
    claim = tracker.claim(item, published_at=published_at, runner=runner)
    if isinstance(claim, ClaimRefusal):
        return Result(_REFUSED[claim], tracker.get(item.key))
    control = WorkControl(claim, cancelled, limit_s, on_progress)
    try:
        with control:
            fields = run_interruptible(
                lambda: work(claim, control), control.interrupt, STOP_GRACE_S
            )
        recording = claim.finish(Status.DONE, **fields)
    except Exception as error:
        return _ended(claim, control, error)
    except BaseException:
        with suppress(Exception):  # what is not given back now, the requeue heals
            claim.release()
        raise
    return Result(Outcome.DONE, recording)


def _ended(claim: Claim, control: WorkControl, error: Exception) -> Result:
    try:
        return _end(claim, control, error)
    except LeaseLostError as lost:
        return Result(Outcome.LOST, error=lost)
    except Exception as second:
        # The tracker is out of reach: the lease runs out by itself, the requeue heals.
        log.warning("the claim could not be ended: %s", second, exc_info=second)
        return Result(Outcome.RETRY, claim.recording, error)


def _end(claim: Claim, control: WorkControl, error: Exception) -> Result:
    if control.given_back:
        return Result(Outcome.CANCELLED, claim.recording, error)
    if control.lost or isinstance(error, LeaseLostError):
        return Result(Outcome.LOST, error=control.lost or error)
    if isinstance(error, PermanentError):
        recording = claim.fail(error)
        return Result(_ENDED[recording.status], recording, error)
    if isinstance(error, CancelledError):
        return _stopped(claim, control, error)
    if not is_transient(error):
        log.error("unexpected: %s", error, exc_info=error, extra=claim.recording.log_context())
    recording = claim.release(error)
    return Result(_ENDED[recording.status], recording, error)


def _stopped(claim: Claim, control: WorkControl, error: CancelledError) -> Result:
    if control.out_of_time:
        return Result(Outcome.HANDED_OVER, claim.release(runner="job"), error)
    return Result(Outcome.CANCELLED, claim.release(), error)
