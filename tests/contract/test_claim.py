"""The guarantees of a claim: its writes, and the ways to end it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.core.errors import Code, LeaseLostError, PermanentError, TransientError
from shared.core.records import COLLECTION, Status
from shared.tracking.claim import GIVE_UP_AFTER, Claim
from shared.tracking.tracker import Tracker
from tests.backends import on_every_database
from tests.recordings import (
    AUDIO,
    HOUR,
    SECOND,
    AnswerLost,
    SettableClock,
    claimed,
    code_of,
    existing,
    finished,
    source_file,
    tracker_over,
)

ITEM = source_file()
KEY = ITEM.key
EXPIRED = timedelta(seconds=61)


# ── the holder's writes ──


def test_a_heartbeat_extends_the_lease_and_carries_the_progress(
    tracker: Tracker, clock: SettableClock
) -> None:
    claim = claimed(tracker.claim(ITEM))
    claim.note_progress(0.4)
    assert existing(tracker, KEY).progress == 0.0
    clock.tick(20 * SECOND)
    claim.update()
    recording = existing(tracker, KEY)
    assert recording.lease_expires_at == clock.now + timedelta(seconds=60)
    assert (recording.progress, recording.updated_at) == (0.4, clock.now)


@pytest.mark.parametrize(("noted", "kept"), [(-1.0, 0.0), (7.0, 1.0), (0.5, 0.5)])
def test_progress_is_a_fraction(tracker: Tracker, noted: float, kept: float) -> None:
    claim = claimed(tracker.claim(ITEM))
    claim.note_progress(noted)
    claim.update()
    assert existing(tracker, KEY).progress == kept


WRITES: dict[str, Callable[[Claim], object]] = {
    "renew": lambda claim: claim.update(),
    "update": lambda claim: claim.update(gcs_path="dev/x.mp3"),
    "finish": lambda claim: claim.finish(Status.DONE),
    "fail": lambda claim: claim.fail(PermanentError(Code.CORRUPT, "no")),
    "release": lambda claim: claim.release(),
    "give up": lambda claim: claim.release(TransientError("no")),
}


@pytest.mark.parametrize("write", WRITES)
def test_expiry_alone_takes_nothing_away(
    tracker: Tracker, clock: SettableClock, write: str
) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(24 * HOUR)
    WRITES[write](claim)
    assert existing(tracker, KEY).updated_at == clock.now


@on_every_database
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_lease_writes_nothing(
    tracker: Tracker, clock: SettableClock, write: str
) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)
    claimed(tracker.claim(ITEM))
    before = existing(tracker, KEY)
    with pytest.raises(LeaseLostError):
        WRITES[write](claim)
    assert existing(tracker, KEY) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_lease_to_the_requeue_writes_nothing(
    tracker: Tracker, clock: SettableClock, write: str
) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)
    before = tracker.count_crash(KEY)
    with pytest.raises(LeaseLostError):
        WRITES[write](claim)
    assert existing(tracker, KEY) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_claim_that_has_ended_writes_nothing(tracker: Tracker, write: str) -> None:
    claim = claimed(tracker.claim(ITEM))
    before = claim.finish(Status.DONE)
    with pytest.raises(LeaseLostError):
        WRITES[write](claim)
    assert existing(tracker, KEY) == before


@on_every_database
@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answer_was_lost_has_happened(tracker: Tracker, write: str) -> None:
    lossy = AnswerLost(tracker.documents)
    lossy.lose_next = False
    claim = claimed(tracker_over(lossy, tracker).claim(ITEM))
    lossy.lose_next = True
    WRITES[write](claim)
    assert existing(tracker, KEY) == claim.recording


@on_every_database
def test_a_deleted_document_is_a_lost_lease(tracker: Tracker) -> None:
    claim = claimed(tracker.claim(ITEM))
    read = tracker.documents.get(COLLECTION, KEY)
    assert read is not None
    tracker.documents.delete(COLLECTION, read)
    with pytest.raises(LeaseLostError):
        claim.update()
    assert tracker.get(KEY) is None


@on_every_database
def test_threads_share_a_claim(tracker: Tracker) -> None:
    claim = claimed(tracker.claim(ITEM))

    def write(number: int) -> None:
        claim.update(gcs_path="dev/x.mp3") if number == 3 else claim.update()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert claim.finish(Status.DONE).gcs_path == "dev/x.mp3"


# ── how a claim ends ──


@on_every_database
def test_finish(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(90 * SECOND)
    claim.finish(Status.DONE, audio=AUDIO, gcs_path=AUDIO.object)
    recording = existing(tracker, KEY)
    assert (recording.status, recording.progress, recording.processing_s) == (Status.DONE, 1.0, 90)
    assert (recording.lease_owner, recording.lease_expires_at) == (None, None)
    assert (recording.finished_at, recording.audio) == (clock.now, AUDIO)


def test_a_done_recording_has_no_error(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError("net down"))
    assert finished(tracker).error is None


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.NO_AUDIO, Status.SKIPPED),
        (Code.TRASHED, Status.SKIPPED),
        (Code.GONE, Status.SKIPPED),
        (Code.SUPERSEDED, Status.SKIPPED),
        (Code.CORRUPT, Status.FAILED),
        (Code.FORBIDDEN, Status.FAILED),
        (Code.GAVE_UP, Status.FAILED),
    ],
)
def test_fail(tracker: Tracker, code: Code, status: Status) -> None:
    claimed(tracker.claim(ITEM)).fail(PermanentError(code, "because"))
    recording = existing(tracker, KEY)
    assert recording.status is status
    assert recording.error is not None
    assert (recording.error.code, recording.error.message) == (code.value, "because")
    assert recording.lease_owner is None


def test_release_is_claimable_at_once(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release()
    recording = existing(tracker, KEY)
    assert (recording.status, recording.lease_owner, recording.error) == (Status.QUEUED, None, None)
    again = claimed(tracker.claim(ITEM)).recording
    assert (again.attempts, again.crashes) == (2, 0)


def test_release_keeps_the_error(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError("503 from Drive"))
    recording = existing(tracker, KEY)
    assert recording.status is Status.QUEUED
    assert recording.error is not None
    assert recording.error.message == "503 from Drive"


def test_half_an_hour_of_errors_is_enough(tracker: Tracker, clock: SettableClock) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError("down"))
    clock.tick(GIVE_UP_AFTER)
    assert claimed(tracker.claim(ITEM)).release(TransientError("down")).status is Status.QUEUED
    clock.tick(SECOND)
    claimed(tracker.claim(ITEM)).release(TransientError("still down"))
    recording = existing(tracker, KEY)
    assert (recording.status, code_of(recording)) == (Status.FAILED, "gave_up")
    assert "still down" in (recording.error.message if recording.error else "")
    assert recording.finished_at == clock.now


def test_a_stop_on_request_never_gives_up(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(24 * HOUR)
    assert claim.release().status is Status.QUEUED


@on_every_database
@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("a name with a lone \udcff byte", "a name with a lone \\udcff byte"),
        ("", "TransientError"),
        ("é" * 5000, "é" * 1000 + "…"),
        ("zero \0 byte", "zero \0 byte"),
    ],
)
def test_any_message_can_be_kept(tracker: Tracker, message: str, kept: str) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError(message))
    recording = existing(tracker, KEY)
    assert recording.error is not None
    assert recording.error.message == kept
