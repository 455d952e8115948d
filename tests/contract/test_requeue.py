"""Which recordings the requeue republishes, and when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import Code, PermanentError, TransientError
from shared.core.message import SourceFile
from shared.core.records import COLLECTION, Audio, Recording, Status
from shared.tracking import requeue
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import MAX_CRASHES, ClaimRefusal, Tracker
from tests.backends import on_every_database
from tests.recordings import (
    HOUR,
    MINUTE,
    SECOND,
    T0,
    Interleaved,
    SettableClock,
    claimed,
    existing,
    source_file,
)

ITEM = source_file()
KEY = ITEM.key
EXPIRED = timedelta(seconds=60)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def healer(tracker: Tracker, queue: MemoryQueue) -> Requeue:
    return Requeue(tracker, {"drive": queue})


def give_up(tracker: Tracker, code: Code = Code.GAVE_UP) -> None:
    claimed(tracker.claim(ITEM)).fail(PermanentError(code, "no"))


class DeadQueue:
    """A topic that accepts nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def publish(self, items: Sequence[SourceFile]) -> None:
        raise self.error

    def check(self) -> None:
        raise self.error


# ── crashed ──


@on_every_database
def test_a_crashed_recording_is_published_again(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, healer: Requeue
) -> None:
    claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED - INSTANT)
    assert healer.run() == 0
    clock.tick(INSTANT)
    assert healer.run() == 1
    assert healer.run() == 0
    assert queue.items == [ITEM]
    recording = existing(tracker, KEY)
    assert (recording.status, recording.crashes) == (Status.QUEUED, 1)
    assert (recording.lease_owner, recording.lease_expires_at) == (None, None)


def test_the_fifth_crash_is_not_published(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, healer: Requeue
) -> None:
    for _ in range(MAX_CRASHES):
        claimed(tracker.claim(ITEM))
        clock.tick(EXPIRED)
        healer.run()
    recording = existing(tracker, KEY)
    assert (recording.status, recording.crashes) == (Status.FAILED, MAX_CRASHES)
    assert recording.error is not None
    assert recording.error.code == "gave_up"
    assert len(queue.items) == MAX_CRASHES - 1


@on_every_database
def test_a_worker_that_renews_in_time_is_left_alone(
    tracker: Tracker, clock: SettableClock, healer: Requeue
) -> None:
    claim = claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)
    late = Requeue(
        Tracker(Interleaved(tracker.documents, claim.update), clock=clock),
        {"drive": MemoryQueue()},
    )
    assert late.run() == 0
    claim.finish(Status.DONE)


# ── waiting ──


def test_a_backlog_is_published_ever_more_rarely(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, healer: Requeue
) -> None:
    tracker.enqueue(ITEM)
    due = T0
    for number, minutes in enumerate([10, 20, 40, 80, 160, 320, 360, 360, 360]):
        due += timedelta(minutes=minutes)
        clock.now = due - INSTANT
        assert healer.run() == 0
        clock.now = due
        assert healer.run() == 1
        assert healer.run() == 0
        assert existing(tracker, KEY).republished == number + 1
    assert queue.items == [ITEM] * 9


def test_a_worker_restarts_the_wait(
    tracker: Tracker, clock: SettableClock, healer: Requeue
) -> None:
    tracker.enqueue(ITEM)
    for _ in range(6):
        clock.tick(6 * HOUR)
        assert healer.run() == 1
    claimed(tracker.claim(ITEM)).release()
    clock.tick(10 * MINUTE)
    assert healer.run() == 1


def test_each_delivery_that_a_worker_takes_puts_it_off(
    tracker: Tracker, clock: SettableClock, healer: Requeue
) -> None:
    """Pub/Sub delivers what failed again within ten minutes: then it is not lost."""
    claimed(tracker.claim(ITEM)).release(TransientError("down"))
    clock.tick(9 * MINUTE)
    claimed(tracker.claim(ITEM)).release(TransientError("down"))
    clock.tick(9 * MINUTE)
    assert healer.run() == 0


def test_one_that_waits_for_the_job_is_published_again(
    tracker: Tracker, clock: SettableClock, healer: Requeue
) -> None:
    claimed(tracker.claim(ITEM)).release(runner="job")
    clock.tick(10 * MINUTE)
    assert healer.run() == 1
    assert tracker.claim(ITEM) is ClaimRefusal.JOB


# ── given up ──


@on_every_database
@pytest.mark.parametrize("code", [Code.GAVE_UP, Code.DEAD_LETTER])
def test_recordings_given_up_on_are_restarted_three_times(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, healer: Requeue, code: Code
) -> None:
    for number, hours in enumerate([1, 6, 24]):
        tracker.change(KEY, lambda one: one.evolve(crashes=3, republished=2))
        give_up(tracker, code)
        ended = clock.now
        clock.now = ended + hours * HOUR - INSTANT
        assert healer.run() == 0
        clock.now = ended + hours * HOUR
        assert healer.run() == 1
        recording = existing(tracker, KEY)
        assert (recording.status, recording.requeues) == (Status.QUEUED, number + 1)
        counts = (recording.attempts, recording.crashes, recording.republished)
        assert counts == (0, 0, 0)
        assert (recording.first_claimed_at, recording.finished_at) == (None, None)
        assert (recording.error, recording.queued_at) == (None, clock.now)
    give_up(tracker, code)
    clock.tick(1000 * HOUR)
    assert healer.run() == 0
    assert queue.items == [ITEM] * 3
    tracker.retry(KEY)
    give_up(tracker, code)
    clock.tick(HOUR)
    assert healer.run() == 1


@pytest.mark.parametrize("code", [Code.CORRUPT, Code.NO_AUDIO, Code.FORBIDDEN, Code.TIMEOUT])
def test_recordings_with_a_lasting_reason_stay(
    tracker: Tracker, clock: SettableClock, healer: Requeue, code: Code
) -> None:
    give_up(tracker, code)
    clock.tick(1000 * HOUR)
    assert healer.run() == 0


def test_a_done_recording_stays(tracker: Tracker, clock: SettableClock, healer: Requeue) -> None:
    claimed(tracker.claim(ITEM)).finish(Status.DONE)
    clock.tick(1000 * HOUR)
    assert healer.run() == 0


def test_one_that_was_forced_and_given_up_is_done_again(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, healer: Requeue
) -> None:
    """It has audio already; QUEUED is enough to have it made again."""
    audio = Audio(
        object="dev/a.mp3",
        bytes=1,
        crc32c="AAAAAA==",
        duration_s=1.0,
        start_offset_s=0.0,
        codec="mp3",
        bitrate_kbps=128.0,
        preset="mp3",
    )
    claimed(tracker.claim(ITEM)).finish(Status.DONE, audio=audio)
    clock.tick()
    claim = claimed(tracker.claim(source_file(force=True), published_at=clock.now))
    claim.fail(PermanentError(Code.GAVE_UP, "no"))
    clock.tick(HOUR)
    assert healer.run() == 1
    [item] = queue.items
    assert claimed(tracker.claim(item, published_at=clock.now)).recording.audio == audio


def test_recordings_recover_by_themselves_from_an_outage_of_a_day(clock: SettableClock) -> None:
    """Everything fails for 24 hours: after it, each recording is done by itself."""
    tracker = Tracker(MemoryDocuments(), clock=clock)
    messages: list[tuple[datetime, int, SourceFile]] = []
    published = 0

    def deliver(item: SourceFile) -> None:
        nonlocal published
        published += 1
        messages.append((clock.now, 0, item))

    healer = Requeue(tracker, {"drive": MemoryQueue(deliver)})
    for number in range(5):
        deliver(source_file(number))
        tracker.enqueue(source_file(number))
    end = T0 + 24 * HOUR
    while clock.now < T0 + 40 * HOUR:
        due = [message for message in messages if message[0] <= clock.now]
        for message in due:
            messages.remove(message)
            _, attempt, item = message
            claim = tracker.claim(item)
            if isinstance(claim, ClaimRefusal):
                continue
            if clock.now >= end:
                claim.finish(Status.DONE)
            elif claim.release(TransientError("down")).status is Status.QUEUED:
                backoff = timedelta(seconds=min(10 * 2**attempt, 600))
                messages.append((clock.now + backoff, attempt + 1, item))
        healer.run()
        clock.tick()
    assert {recording.status for recording in tracker.all()} == {Status.DONE}
    assert published <= 5 * 4


# ── which queue, how many, what fails ──


@on_every_database
def test_only_the_given_sources_are_touched(
    tracker: Tracker, clock: SettableClock, healer: Requeue
) -> None:
    other = source_file(source="sftp", source_id="a.wav", revision="9-9")
    tracker.enqueue(other)
    clock.tick(24 * HOUR)
    assert healer.run() == 0
    sftp = MemoryQueue()
    assert Requeue(tracker, {"drive": MemoryQueue(), "sftp": sftp}).run() == 1
    assert sftp.items == [other]


def test_without_a_queue_there_is_nothing_to_do(tracker: Tracker, clock: SettableClock) -> None:
    tracker.enqueue(ITEM)
    clock.tick(24 * HOUR)
    assert Requeue(tracker, {}).run() == 0


@on_every_database
def test_a_run_takes_the_oldest_first_and_leaves_the_rest(
    tracker: Tracker,
    clock: SettableClock,
    queue: MemoryQueue,
    healer: Requeue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requeue, "BATCH", 2)
    for number in (3, 1, 2):
        tracker.enqueue(source_file(number))
        clock.tick(SECOND)
    clock.tick(10 * MINUTE)
    assert (healer.run(), healer.run(), healer.run()) == (2, 1, 0)
    assert [item.source_id for item in queue.items] == ["file3", "file1", "file2"]


def test_a_queue_that_is_down_loses_nothing(tracker: Tracker, clock: SettableClock) -> None:
    tracker.enqueue(ITEM)
    clock.tick(10 * MINUTE)
    with pytest.raises(TransientError):
        Requeue(tracker, {"drive": DeadQueue(TransientError("down"))}).run()
    clock.tick(20 * MINUTE)
    queue = MemoryQueue()
    assert Requeue(tracker, {"drive": queue}).run() == 1
    assert queue.items == [ITEM]


@on_every_database
def test_a_recording_that_cannot_be_published_delays_no_other(
    tracker: Tracker, clock: SettableClock, queue: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    other = source_file(source="sftp", source_id="a.wav", revision="9-9")
    tracker.enqueue(other)
    clock.tick(SECOND)
    tracker.enqueue(ITEM)
    tracker.documents.create(
        COLLECTION,
        "damaged",
        {
            "source": "drive",
            "status": "QUEUED",
            "republished": 0,
            "updated_at": T0 - HOUR,
        },
    )
    clock.tick(10 * MINUTE)
    refusing = DeadQueue(ValueError("no such topic"))
    with caplog.at_level(logging.ERROR):
        assert Requeue(tracker, {"drive": queue, "sftp": refusing}).run() == 1
    assert queue.items == [ITEM]
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert other.key in logged
    assert "damaged" in logged


@on_every_database
def test_two_requeues_at_once_publish_once(tracker: Tracker, clock: SettableClock) -> None:
    for number in range(4):
        tracker.enqueue(source_file(number))
        claimed(tracker.claim(source_file(number + 10)))
        claimed(tracker.claim(source_file(number + 20))).fail(PermanentError(Code.GAVE_UP, "no"))
    clock.tick(HOUR)
    queue = MemoryQueue()
    barrier = threading.Barrier(4)

    def run(_: int) -> int:
        barrier.wait()
        return Requeue(tracker, {"drive": queue}).run()

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(run, range(4)))
    assert sum(counts) == 12
    assert sorted(item.key for item in queue.items) == sorted({r.key for r in tracker.all()})


def test_waiting_recordings_are_not_read_every_minute(clock: SettableClock) -> None:
    """A read of Firestore costs money: a backlog of thousands would cost it every minute."""
    documents = MemoryDocuments()
    tracker = Tracker(documents, clock=clock)
    healer = Requeue(tracker, {"drive": MemoryQueue()})
    for number in range(3):
        tracker.enqueue(source_file(number))
    clock.tick(10 * MINUTE)
    assert healer.run() == 3
    give_up_at_last(tracker)
    clock.tick(15 * MINUTE)
    found: list[Recording] = [
        Recording.from_document(read.document)
        for where in requeue._due(clock.now)
        for read in documents.find(COLLECTION, *where)
    ]
    assert found == []


def give_up_at_last(tracker: Tracker) -> None:
    claimed(tracker.claim(source_file(9))).fail(PermanentError(Code.GAVE_UP, "no"))
    tracker.change(
        source_file(9).key, lambda one: one.evolve(requeues=3, finished_at=T0 - 1000 * HOUR)
    )
