"""Work under a lease: however it ends, document and queue show the right outcome."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import (
    CancelledError,
    Code,
    ConfigurationError,
    ConflictError,
    LeaseLostError,
    ObjectExistsError,
    PermanentError,
    TransientError,
)
from shared.core.ports import Documents
from shared.core.records import COLLECTION, Status
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import Outcome, Result, RunOptions, WorkControl
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.backends import on_every_database
from tests.recordings import (
    MINUTE,
    T0,
    Counter,
    Faults,
    SettableClock,
    claimed,
    existing,
    source_file,
)

ITEM = source_file()
KEY = ITEM.key
EXPIRED = timedelta(seconds=61)
# Short enough for a heartbeat every hundredth of a second; the clock itself stands still.
SHORT = timedelta(seconds=0.03)
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def no_heart_beats_on() -> Iterator[None]:
    yield
    assert [one.name for one in threading.enumerate() if one.name == "heartbeat"] == []


def raising(error: BaseException) -> lease.WorkFunction:
    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        raise error

    return work


def done(claim: Claim, control: WorkControl) -> dict[str, Any]:
    return {"gcs_path": "dev/a.mp3"}


# ── how the work ends ──


@on_every_database
def test_work_that_returns_is_done(tracker: Tracker) -> None:
    result = lease.run(tracker, ITEM, done)
    recording = existing(tracker, KEY)
    assert result == Result(Outcome.DONE, recording)
    assert (recording.status, recording.gcs_path) == (Status.DONE, "dev/a.mp3")
    assert recording.lease_owner is None


@pytest.mark.parametrize(
    ("error", "outcome", "status", "code", "acknowledges"),
    [
        (PermanentError(Code.NO_AUDIO, "x"), Outcome.SKIPPED, Status.SKIPPED, "no_audio", True),
        (PermanentError(Code.CORRUPT, "x"), Outcome.FAILED, Status.FAILED, "corrupt", True),
        (TransientError("x"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (ConnectionResetError(104, "x"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (TimeoutError(), Outcome.RETRY, Status.QUEUED, "transient", False),
        (OSError(28, "no space left"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (ConflictError("x"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (ObjectExistsError("x"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (ValueError("a bug"), Outcome.RETRY, Status.QUEUED, "transient", False),
        (MemoryError(), Outcome.RETRY, Status.QUEUED, "transient", False),
        (CancelledError("x"), Outcome.CANCELLED, Status.QUEUED, None, False),
        # Whose lease it is now, the work knows better than we do: it is not touched.
        (LeaseLostError("x"), Outcome.LOST, Status.PROCESSING, None, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_error_ends_in_its_outcome(
    tracker: Tracker,
    error: Exception,
    outcome: Outcome,
    status: Status,
    code: str | None,
    acknowledges: bool,
) -> None:
    result = lease.run(tracker, ITEM, raising(error))
    recording = existing(tracker, KEY)
    assert (result.outcome, result.error) == (outcome, error)
    assert outcome.acknowledges is acknowledges
    assert recording.status is status
    assert (recording.error and recording.error.code) == code
    if outcome is not Outcome.LOST:
        assert result.recording == recording
        assert recording.lease_owner is None


def test_errors_for_half_an_hour_are_acknowledged(tracker: Tracker, clock: SettableClock) -> None:
    lease.run(tracker, ITEM, raising(TransientError("x")))
    clock.tick(31 * MINUTE)
    result = lease.run(tracker, ITEM, raising(TransientError("x")))
    assert result.outcome is Outcome.FAILED
    assert result.outcome.acknowledges
    assert existing(tracker, KEY).error is not None


def test_a_setting_that_is_wrong_is_a_sentence_and_no_bug(
    tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        lease.run(tracker, ITEM, raising(ConfigurationError(["the server's key has changed"])))
    [record] = caplog.records
    assert record.getMessage() == "the server's key has changed"
    assert record.exc_info is None


def test_an_error_of_ours_is_logged_whole(
    tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        lease.run(tracker, ITEM, raising(ZeroDivisionError("a bug")))
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_that_end_the_process_pass_and_release_the_lease(
    tracker: Tracker, kind: type[BaseException]
) -> None:
    with pytest.raises(kind):
        lease.run(tracker, ITEM, raising(kind()))
    recording = existing(tracker, KEY)
    assert (recording.status, recording.error, recording.crashes) == (Status.QUEUED, None, 0)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exceptions_that_end_the_process_pass_though_the_tracker_is_down(
    kind: type[BaseException], clock: SettableClock
) -> None:
    faults = Faults(MemoryDocuments())

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        faults.down = True
        raise kind

    with pytest.raises(kind):
        lease.run(Tracker(faults, clock=clock), ITEM, work)


def test_a_thread_that_cannot_start_gives_back(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def no_start(self: threading.Thread) -> None:
        if self.name == "heartbeat":
            raise RuntimeError("can't start new thread")
        start(self)  # the client of Firestore has threads of its own

    monkeypatch.setattr("shared.tracking.leased_document.threading.Thread.start", no_start)
    result = lease.run(tracker, ITEM, done)
    monkeypatch.undo()
    assert result.outcome is Outcome.RETRY
    assert existing(tracker, KEY).status is Status.QUEUED


# ── what is not ours ──


def never(claim: Claim, control: WorkControl) -> dict[str, Any]:
    raise AssertionError("this is not to be worked on")


def test_a_finished_one_is_a_duplicate(tracker: Tracker) -> None:
    lease.run(tracker, ITEM, done)
    result = lease.run(tracker, ITEM, never)
    assert result == Result(Outcome.DUPLICATE, existing(tracker, KEY))
    assert result.outcome.acknowledges


def test_a_busy_one_is_left_alone(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM))
    result = lease.run(tracker, ITEM, never)
    assert result == Result(Outcome.BUSY, existing(tracker, KEY))
    assert result.outcome.acknowledges


def test_one_of_the_job_is_handed_over(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    result = lease.run(tracker, ITEM, never)
    assert result == Result(Outcome.HANDED_OVER, existing(tracker, KEY))
    assert lease.run(tracker, ITEM, done, RunOptions(runner="job")).outcome is Outcome.DONE


def test_force_and_its_time_are_passed_on(tracker: Tracker, clock: SettableClock) -> None:
    lease.run(tracker, ITEM, done)
    again = source_file(force=True)
    assert (
        lease.run(tracker, again, never, RunOptions(published_at=T0)).outcome is Outcome.DUPLICATE
    )
    assert (
        lease.run(tracker, again, done, RunOptions(published_at=T0 + MINUTE)).outcome
        is Outcome.DONE
    )


# ── the tracker out of reach ──


def test_a_tracker_that_is_down_at_the_claim_is_the_callers(clock: SettableClock) -> None:
    faults = Faults(MemoryDocuments())
    faults.down = True
    with pytest.raises(TransientError):
        lease.run(Tracker(faults, clock=clock), ITEM, never)


ENDS: dict[str, lease.WorkFunction] = {
    "done": done,
    "failed": raising(PermanentError(Code.CORRUPT, "x")),
    "transient": raising(TransientError("x")),
    "cancelled": raising(CancelledError("x")),
    "a bug": raising(ValueError("x")),
}


@on_every_database
@pytest.mark.parametrize("end", ENDS)
def test_a_tracker_that_goes_down_meanwhile_is_healed_by_the_requeue(
    documents: Documents, clock: SettableClock, end: str
) -> None:
    faults = Faults(documents)

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        faults.down = True
        return ENDS[end](claim, control)

    tracker = Tracker(faults, clock=clock)
    result = lease.run(tracker, ITEM, work)
    assert result.outcome is Outcome.RETRY
    faults.down = False
    assert existing(tracker, KEY).status is Status.PROCESSING
    assert lease.run(tracker, ITEM, never).outcome is Outcome.BUSY
    clock.tick(EXPIRED)
    assert Requeue(tracker, {"drive": MemoryQueue()}).run() == 1
    assert lease.run(tracker, ITEM, done).outcome is Outcome.DONE


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("written", [True, False])
def test_one_write_that_fails_at_the_end_leaves_nothing_wrong(
    documents: Documents, clock: SettableClock, end: str, written: bool
) -> None:
    """The write is the second: after the claim. Its request or its answer is lost."""
    faults = Faults(documents, at=2, done=written)
    tracker = Tracker(faults, clock=clock)
    result = lease.run(tracker, ITEM, ENDS[end])
    # Acknowledged is only what has ended, or what the requeue finds.
    left = existing(tracker, KEY).status
    assert left.is_final or not result.outcome.acknowledges or end in ("transient", "a bug")
    clock.tick(EXPIRED)
    Requeue(tracker, {"drive": MemoryQueue()}).run()
    again = lease.run(tracker, ITEM, done)
    assert again.outcome in (Outcome.DONE, Outcome.DUPLICATE)
    assert existing(tracker, KEY).status.is_final


# ── the heartbeat ──


def waiting(documents: Any, count: int) -> tuple[Any, Callable[[], None]]:
    """Return documents, and what waits until ``count`` more renewals are written."""
    enough = threading.Semaphore(0)

    class Noticed:
        def __getattr__(self, name: str) -> Any:
            return getattr(documents, name)

        def replace(self, *args: Any) -> Any:
            try:
                return documents.replace(*args)
            finally:
                enough.release()

    def wait() -> None:
        for _ in range(count):
            assert enough.acquire(timeout=PATIENCE_S)

    return Noticed(), wait


@on_every_database
def test_the_lease_is_renewed_while_work_goes_on(
    documents: Documents, clock: SettableClock
) -> None:
    noticed, wait = waiting(documents, 3)
    tracker = Tracker(noticed, clock=clock, lease=SHORT)
    seen: list[float] = []

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        clock.tick(MINUTE)
        control.progress(0.5)
        wait()
        recording = existing(tracker, KEY)
        assert recording.lease_expires_at == clock.now + SHORT
        assert recording.progress == 0.5
        return {}

    assert (
        lease.run(tracker, ITEM, work, RunOptions(on_progress=seen.append)).outcome is Outcome.DONE
    )
    assert seen == [0.5]


@on_every_database
def test_a_lease_that_another_took_stops_the_work(
    documents: Documents, clock: SettableClock
) -> None:
    tracker = Tracker(documents, clock=clock, lease=SHORT)
    others: list[Claim] = []

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        with claim.lease._lock:  # or a heartbeat comes between
            clock.tick(MINUTE)
            others.append(claimed(tracker.claim(ITEM)))
        control.heartbeat.join(PATIENCE_S)
        assert control.should_stop()
        with pytest.raises(LeaseLostError):
            control.renew()
        # The engine knows only that it was asked to stop.
        raise CancelledError("stopped on request")

    result = lease.run(tracker, ITEM, work)
    assert result.outcome is Outcome.LOST
    assert isinstance(result.error, LeaseLostError)
    assert existing(tracker, KEY) == others[0].recording


@pytest.mark.parametrize(
    "error", [None, PermanentError(Code.CORRUPT, "x"), TransientError("x"), ValueError("x")]
)
def test_a_worker_that_lost_its_lease_unnoticed_writes_nothing(
    tracker: Tracker, clock: SettableClock, error: Exception | None
) -> None:
    others: list[Claim] = []

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        clock.tick(EXPIRED)
        others.append(claimed(tracker.claim(ITEM)))
        if error:
            raise error
        return {}

    result = lease.run(tracker, ITEM, work)
    assert result.outcome is Outcome.LOST
    assert result.outcome.acknowledges
    assert existing(tracker, KEY) == others[0].recording


def test_a_failed_heartbeat_does_not_stop_the_work(clock: SettableClock) -> None:
    counter = Counter()
    noticed, wait = waiting(Faults(MemoryDocuments(), at=2, counter=counter), 3)
    tracker = Tracker(noticed, clock=clock, lease=SHORT)

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        wait()
        assert not control.should_stop()
        return {}

    assert lease.run(tracker, ITEM, work).outcome is Outcome.DONE
    assert counter.count > 2


# ── asked to stop, out of time ──


def checking(claim: Claim, control: WorkControl) -> dict[str, Any]:
    control.renew()
    raise AssertionError("the work should have been stopped")


def test_a_request_to_stop_gives_back(tracker: Tracker) -> None:
    result = lease.run(tracker, ITEM, checking, RunOptions(cancelled=lambda: True))
    assert result.outcome is Outcome.CANCELLED
    recording = existing(tracker, KEY)
    assert (recording.status, recording.runner, recording.error) == (Status.QUEUED, "push", None)


def test_work_over_its_time_limit_is_handed_over(tracker: Tracker) -> None:
    result = lease.run(tracker, ITEM, checking, RunOptions(limit_s=0.0))
    assert result.outcome is Outcome.HANDED_OVER
    recording = existing(tracker, KEY)
    assert (recording.status, recording.runner, recording.error) == (Status.QUEUED, "job", None)
    assert lease.run(tracker, ITEM, never).outcome is Outcome.HANDED_OVER
    assert lease.run(tracker, ITEM, done, RunOptions(runner="job")).outcome is Outcome.DONE


def test_an_error_is_reported_though_time_is_over(tracker: Tracker) -> None:
    work = raising(PermanentError(Code.CORRUPT, "x"))
    assert lease.run(tracker, ITEM, work, RunOptions(limit_s=0.0)).outcome is Outcome.FAILED


@pytest.mark.parametrize("stop", [{"cancelled": lambda: True}, {"limit_s": 0.0}])
def test_work_that_is_done_is_not_thrown_away(tracker: Tracker, stop: dict[str, Any]) -> None:
    assert lease.run(tracker, ITEM, done, RunOptions(**stop)).outcome is Outcome.DONE


def test_a_progress_callback_may_stop_the_work(tracker: Tracker) -> None:
    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        control.progress(0.1)
        raise AssertionError("the listener was to stop this")

    def listen(_: float) -> None:
        raise CancelledError("enough")

    assert (
        lease.run(tracker, ITEM, work, RunOptions(on_progress=listen)).outcome is Outcome.CANCELLED
    )


@on_every_database
def test_a_deleted_document_ends_the_work(tracker: Tracker) -> None:
    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        read = tracker.documents.get(COLLECTION, KEY)
        assert read is not None
        tracker.documents.delete(COLLECTION, read)
        return {}

    assert lease.run(tracker, ITEM, work).outcome is Outcome.LOST
    assert tracker.get(KEY) is None


def test_work_that_waits_forever_is_answered_without_it(tracker: Tracker) -> None:
    never, closed = threading.Event(), threading.Event()
    stop = threading.Event()

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        control.on_release(closed.set)
        stop.set()
        never.wait(PATIENCE_S * 10)
        return {}

    try:
        result = lease.run(tracker, ITEM, work, RunOptions(cancelled=stop.is_set))
        assert result.outcome is Outcome.CANCELLED
        assert closed.is_set()
        recording = existing(tracker, KEY)
        assert (recording.status, recording.lease_owner) == (Status.QUEUED, None)
    finally:
        never.set()


def test_work_that_ends_when_its_connections_close_is_cancelled(tracker: Tracker) -> None:
    closed, stop = threading.Event(), threading.Event()

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        control.on_release(closed.set)
        stop.set()
        assert closed.wait(PATIENCE_S)
        raise ConnectionResetError(104, "closed")

    result = lease.run(tracker, ITEM, work, RunOptions(cancelled=stop.is_set))
    assert result.outcome is Outcome.CANCELLED
    assert existing(tracker, KEY).status is Status.QUEUED


def test_a_first_timeout_is_transient(tracker: Tracker) -> None:
    """The process itself may have been stopped, or left without CPU."""
    timeout = raising(PermanentError(Code.TIMEOUT, "no progress for 60 s"))
    assert lease.run(tracker, ITEM, timeout).outcome is Outcome.RETRY
    recording = existing(tracker, KEY)
    assert recording.status is Status.QUEUED
    assert recording.error is not None
    assert recording.error.code == Code.TIMEOUT
    assert lease.run(tracker, ITEM, timeout).outcome is Outcome.FAILED
    assert existing(tracker, KEY).status is Status.FAILED


def test_a_timeout_after_a_retry_by_hand_is_a_first_one(tracker: Tracker) -> None:
    timeout = raising(PermanentError(Code.TIMEOUT, "no progress for 60 s"))
    lease.run(tracker, ITEM, timeout)
    lease.run(tracker, ITEM, timeout)
    assert tracker.retry(KEY)
    assert lease.run(tracker, ITEM, timeout).outcome is Outcome.RETRY
    assert lease.run(tracker, ITEM, done).outcome is Outcome.DONE
