"""The guarantees of the tracker: who may claim, and what ends without a worker."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.core.errors import Code, LeaseLostError, PermanentError, TransientError
from shared.core.ports import Documents
from shared.core.records import COLLECTION, Status
from shared.tracking.claim import Claim
from shared.tracking.tracker import MAX_CRASHES, ClaimRefusal, Tracker
from tests.backends import on_every_database
from tests.recordings import (
    AUDIO,
    HOUR,
    SECOND,
    T0,
    AnswerLost,
    Interleaved,
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


def crash(tracker: Tracker, clock: SettableClock) -> None:
    claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)


# ── to be queued ──


@on_every_database
def test_enqueue_creates_the_document_once(tracker: Tracker, clock: SettableClock) -> None:
    assert tracker.enqueue(ITEM)
    clock.tick()
    assert not tracker.enqueue(source_file(name="another name"))
    recording = existing(tracker, KEY)
    assert recording.status is Status.QUEUED
    assert (recording.name, recording.queued_at) == (ITEM.name, T0)


def test_enqueue_leaves_a_faster_worker_alone(tracker: Tracker) -> None:
    claim = claimed(tracker.claim(ITEM))
    assert not tracker.enqueue(ITEM)
    claim.update()
    assert existing(tracker, KEY).status is Status.PROCESSING


@on_every_database
def test_an_unknown_key_is_none(tracker: Tracker) -> None:
    assert tracker.get(KEY) is None
    assert tracker.retry(KEY) is None
    assert tracker.dead_letter(KEY) is None
    assert tracker.count_crash(KEY) is None


# ── to be claimed ──


@on_every_database
@pytest.mark.parametrize("known", [True, False])
def test_a_waiting_recording_is_claimed(
    tracker: Tracker, clock: SettableClock, known: bool
) -> None:
    if known:
        tracker.enqueue(ITEM)
        clock.tick()
    recording = claimed(tracker.claim(ITEM)).recording
    assert recording == existing(tracker, KEY)
    assert recording.status is Status.PROCESSING
    assert recording.first_claimed_at == recording.started_at == clock.now
    assert recording.lease_expires_at == clock.now + timedelta(seconds=60)
    assert (recording.attempts, recording.crashes, recording.runner) == (1, 0, "push")
    assert (recording.queued_at, recording.updated_at) == (T0, clock.now)


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.SKIPPED])
def test_a_finished_recording_is_refused(tracker: Tracker, status: Status) -> None:
    before = claimed(tracker.claim(ITEM)).finish(status)
    assert tracker.claim(ITEM) is ClaimRefusal.FINISHED
    assert existing(tracker, KEY) == before


def test_a_live_lease_is_refused_to_its_last_moment(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(timedelta(seconds=60) - timedelta(microseconds=1))
    assert tracker.claim(ITEM) is ClaimRefusal.BUSY
    assert tracker.claim(source_file(force=True)) is ClaimRefusal.BUSY
    assert tracker.claim(ITEM, runner="job") is ClaimRefusal.BUSY
    claim.update()
    clock.tick(timedelta(microseconds=1))
    assert tracker.claim(ITEM) is ClaimRefusal.BUSY


@on_every_database
def test_an_expired_lease_is_claimed_and_counts_as_a_crash(
    tracker: Tracker, clock: SettableClock
) -> None:
    first = claimed(tracker.claim(ITEM))
    clock.tick(timedelta(seconds=60))
    second = claimed(tracker.claim(ITEM))
    assert second.recording.lease_owner != first.recording.lease_owner
    assert (second.recording.attempts, second.recording.crashes) == (2, 1)
    assert second.recording.first_claimed_at == T0


@on_every_database
@pytest.mark.parametrize("known", [True, False])
def test_a_claim_whose_answer_was_lost_is_won(tracker: Tracker, known: bool) -> None:
    if known:
        tracker.enqueue(ITEM)
    lossy = tracker_over(AnswerLost(tracker.documents), tracker)
    claim = claimed(lossy.claim(ITEM))
    assert claim.recording.attempts == 1
    claim.finish(Status.DONE)


@on_every_database
@pytest.mark.parametrize("known", [True, False])
def test_one_that_another_claims_meanwhile_is_refused(tracker: Tracker, known: bool) -> None:
    if known:
        tracker.enqueue(ITEM)
    others = []
    late = tracker_over(
        Interleaved(tracker.documents, lambda: others.append(tracker.claim(ITEM))), tracker
    )
    assert late.claim(ITEM) is ClaimRefusal.BUSY
    claimed(others[0]).finish(Status.DONE)


def test_the_first_name_time_and_object_stay(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    claim.update(gcs_path="dev/2025/04/first_audio.mp3")
    claim.release()
    renamed = source_file(name="renamed", created_at=T0 + HOUR, account="ann@example.com")
    recording = claimed(tracker.claim(renamed)).recording
    assert (recording.name, recording.created_at) == (ITEM.name, ITEM.created_at)
    assert recording.gcs_path == "dev/2025/04/first_audio.mp3"
    assert recording.account == "ann@example.com"


def test_force_takes_a_finished_one_only_if_it_was_asked_after_its_end(
    tracker: Tracker, clock: SettableClock
) -> None:
    finished(tracker, error=None)
    again = source_file(force=True)
    assert tracker.claim(again, published_at=T0 - SECOND) is ClaimRefusal.FINISHED
    assert tracker.claim(again, published_at=T0) is ClaimRefusal.FINISHED
    clock.tick()
    claim = claimed(tracker.claim(again, published_at=T0 + SECOND))
    assert (claim.recording.attempts, claim.recording.finished_at) == (1, None)
    assert claim.recording.first_claimed_at == clock.now
    # What it made before is still there, until there is something else.
    assert claim.recording.audio == AUDIO


def test_force_without_a_time_is_new(tracker: Tracker) -> None:
    finished(tracker)
    claimed(tracker.claim(source_file(force=True)))


def test_force_starts_all_counts_from_zero(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).fail(PermanentError(Code.GAVE_UP, "no"))
    tracker.change(KEY, lambda one: one.evolve(requeues=3, republished=4, crashes=2))
    one = claimed(tracker.claim(source_file(force=True))).recording
    assert (one.attempts, one.crashes, one.republished, one.requeues) == (1, 0, 0, 0)


def test_a_claim_ends_the_wait_for_the_queue(tracker: Tracker) -> None:
    tracker.enqueue(ITEM)
    tracker.change(KEY, lambda one: one.evolve(republished=6))
    assert claimed(tracker.claim(ITEM)).recording.republished == 0


# ── the job ──


def test_a_recording_of_the_job_is_left_to_it(tracker: Tracker, clock: SettableClock) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    before = existing(tracker, KEY)
    assert tracker.claim(ITEM) is ClaimRefusal.JOB
    assert existing(tracker, KEY) == before
    job = claimed(tracker.claim(ITEM, runner="job"))
    assert tracker.claim(ITEM) is ClaimRefusal.BUSY
    clock.tick(EXPIRED)
    assert tracker.claim(ITEM) is ClaimRefusal.JOB
    assert existing(tracker, KEY).crashes == 1
    with pytest.raises(LeaseLostError):
        job.update()


def test_the_fifth_crash_of_the_job_ends_it(tracker: Tracker, clock: SettableClock) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    for _ in range(MAX_CRASHES - 1):
        claimed(tracker.claim(ITEM, runner="job"))
        clock.tick(EXPIRED)
        assert tracker.claim(ITEM) is ClaimRefusal.JOB
    claimed(tracker.claim(ITEM, runner="job"))
    clock.tick(EXPIRED)
    assert tracker.claim(ITEM) is ClaimRefusal.FINISHED
    assert code_of(existing(tracker, KEY)) == "gave_up"


def test_a_retry_goes_back_to_a_push(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    tracker.retry(KEY)
    assert claimed(tracker.claim(ITEM)).recording.runner == "push"


# ── one wins ──


@on_every_database
def test_of_twenty_threads_one_wins(tracker: Tracker) -> None:
    barrier = threading.Barrier(20)

    def contend(_: int) -> Claim | ClaimRefusal:
        barrier.wait()
        return tracker.claim(ITEM)

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(contend, range(20)))
    assert [one for one in results if isinstance(one, ClaimRefusal)] == [ClaimRefusal.BUSY] * 19
    [winner] = [result for result in results if isinstance(result, Claim)]
    assert winner.finish(Status.DONE).attempts == 1


def _contend(opened: tuple[str, str], barrier: Any) -> str:
    """Claim in a process of its own; the clock there is the real one."""
    kind, where = opened
    documents: Documents
    if kind == "sqlite":
        from shared.adapters.local.documents import SQLiteDocuments

        documents = SQLiteDocuments(Path(where))
    else:
        from shared.adapters.google.documents import FirestoreDocuments

        documents = FirestoreDocuments(where)
    documents.get(COLLECTION, "warm")
    barrier.wait()
    result = Tracker(documents).claim(ITEM)
    return result.name if isinstance(result, ClaimRefusal) else "won"


@pytest.mark.parametrize("kind", ["sqlite", "firestore"])
def test_of_four_processes_one_wins(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    where = request.getfixturevalue("firestore_project") if kind == "firestore" else ""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        barrier = manager.Barrier(4)
        opened = (kind, where or str(tmp_path / "tracker.db"))
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            results = list(pool.map(_contend, [opened] * 4, [barrier] * 4))
    assert sorted(results) == ["BUSY", "BUSY", "BUSY", "won"]


# ── crashes ──


def test_the_fifth_crash_ends_it_by_the_requeue(tracker: Tracker, clock: SettableClock) -> None:
    for number in range(1, MAX_CRASHES):
        crash(tracker, clock)
        counted = tracker.count_crash(KEY)
        assert counted is not None
        assert (counted.status, counted.crashes) == (Status.QUEUED, number)
    crash(tracker, clock)
    counted = tracker.count_crash(KEY)
    assert counted == existing(tracker, KEY)
    assert (counted.status, code_of(counted)) == (Status.FAILED, "gave_up")
    assert (counted.crashes, counted.finished_at) == (MAX_CRASHES, clock.now)


def test_the_fifth_crash_ends_it_by_a_claim(tracker: Tracker, clock: SettableClock) -> None:
    for _ in range(MAX_CRASHES):
        crash(tracker, clock)
    assert tracker.claim(ITEM) is ClaimRefusal.FINISHED
    recording = existing(tracker, KEY)
    assert (recording.status, code_of(recording)) == (Status.FAILED, "gave_up")
    assert (recording.crashes, recording.attempts) == (MAX_CRASHES, MAX_CRASHES)


def test_crashes_counted_here_and_there_add_up(tracker: Tracker, clock: SettableClock) -> None:
    for number in range(MAX_CRASHES):
        crash(tracker, clock)
        if number % 2:
            tracker.count_crash(KEY)
    assert tracker.claim(ITEM) is ClaimRefusal.FINISHED


def test_only_a_lease_that_ran_out_is_a_crash(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    assert tracker.count_crash(KEY) is None
    claim.release()
    clock.tick(EXPIRED)
    assert tracker.count_crash(KEY) is None
    assert existing(tracker, KEY).crashes == 0


@on_every_database
def test_a_crash_is_counted_once(tracker: Tracker, clock: SettableClock) -> None:
    crash(tracker, clock)
    late = tracker_over(
        Interleaved(tracker.documents, lambda: tracker.count_crash(KEY)),
        tracker,
    )
    assert late.count_crash(KEY) is None
    assert existing(tracker, KEY).crashes == 1


# ── dead letters ──


def test_a_dead_letter_fails_a_recording_whose_claim_failed(
    tracker: Tracker, clock: SettableClock
) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError("down"))
    clock.tick()
    tracker.dead_letter(KEY)
    recording = existing(tracker, KEY)
    assert (recording.status, code_of(recording)) == (Status.FAILED, "dead_letter")
    assert recording.finished_at == clock.now


def test_a_dead_letter_leaves_an_unclaimed_recording_alone(tracker: Tracker) -> None:
    tracker.enqueue(ITEM)
    assert tracker.dead_letter(KEY) is None
    assert existing(tracker, KEY).status is Status.QUEUED


def test_a_dead_letter_leaves_a_worker_alone(tracker: Tracker) -> None:
    claim = claimed(tracker.claim(ITEM))
    assert tracker.dead_letter(KEY) is None
    claim.finish(Status.DONE)


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.SKIPPED])
def test_a_dead_letter_leaves_a_finished_recording_alone(tracker: Tracker, status: Status) -> None:
    before = claimed(tracker.claim(ITEM)).finish(status)
    assert tracker.dead_letter(KEY) is None
    assert existing(tracker, KEY) == before


def test_a_dead_letter_of_before_a_retry_leaves_it_alone(tracker: Tracker) -> None:
    claimed(tracker.claim(ITEM)).release(TransientError("down"))
    tracker.retry(KEY)
    assert tracker.dead_letter(KEY) is None


# ── by hand ──


@on_every_database
@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.SKIPPED])
def test_a_retry_starts_from_zero(tracker: Tracker, clock: SettableClock, status: Status) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    claim = claimed(tracker.claim(ITEM, runner="job"))
    claim.finish(status, audio=AUDIO, gcs_path=AUDIO.object)
    tracker.change(KEY, lambda one: one.evolve(requeues=3, republished=6, crashes=4))
    clock.tick(HOUR)
    recording = tracker.retry(KEY)
    assert recording == existing(tracker, KEY)
    assert recording.status is Status.QUEUED
    assert recording.queued_at == recording.updated_at == clock.now
    counts = (recording.attempts, recording.crashes, recording.republished, recording.requeues)
    assert counts == (0, 0, 0, 0)
    nothing = (recording.first_claimed_at, recording.finished_at, recording.error)
    assert nothing == (None, None, None)
    assert (recording.name, recording.gcs_path) == (ITEM.name, AUDIO.object)
    # No force is needed: what is QUEUED is anyone's.
    claimed(tracker.claim(recording.to_source_file()))


def test_a_retry_leaves_a_worker_alone(tracker: Tracker, clock: SettableClock) -> None:
    claim = claimed(tracker.claim(ITEM))
    assert tracker.retry(KEY) is None
    claim.update()
    clock.tick(EXPIRED)
    assert tracker.retry(KEY) is not None
    with pytest.raises(LeaseLostError):
        claim.update()


@on_every_database
def test_a_change_is_decided_on_the_current_document(tracker: Tracker) -> None:
    tracker.enqueue(ITEM)
    taken: list[Claim | ClaimRefusal] = []
    late = tracker_over(
        Interleaved(tracker.documents, lambda: taken.append(tracker.claim(ITEM))), tracker
    )
    assert late.retry(KEY) is None
    claimed(taken[0]).finish(Status.DONE)


# ── lists ──


@on_every_database
def test_lists(tracker: Tracker, clock: SettableClock) -> None:
    for number in range(3):
        clock.tick()
        tracker.enqueue(source_file(number))
    clock.tick()
    claimed(tracker.claim(source_file(1))).finish(Status.DONE)

    def ids(found: Any) -> list[str]:
        return [recording.source_id for recording in found]

    assert sorted(ids(tracker.all())) == ["file0", "file1", "file2"]
    assert ids(tracker.recent(2)) == ["file1", "file2"]
    assert ids(tracker.with_status(Status.QUEUED)) == ["file2", "file0"]
    assert ids(tracker.with_status(Status.QUEUED, 1)) == ["file2"]
