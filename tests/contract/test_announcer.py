"""When the end of a recording is announced: at least once, in order, whatever fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue, MemoryResults
from shared.core.errors import CancelledError, Code, PermanentError, TransientError
from shared.core.ports import Documents
from shared.core.records import Recording, Status
from shared.core.results import ResultEvent
from shared.tracking import lease
from shared.tracking.announcer import MAX_FAILURES, MAX_WAIT, WINDOW, Announcer
from shared.tracking.claim import GIVE_UP_AFTER
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import MAX_CRASHES, Tracker
from tests.backends import on_every_database
from tests.recordings import (
    HOUR,
    MINUTE,
    SECOND,
    Faults,
    SettableClock,
    claimed,
    existing,
    source_file,
)

ITEM = source_file()


class Rig:
    """A tracker that announces, and what arrived. While ``is_down`` the receiver refuses."""

    def __init__(self, documents: Documents, tracked: Documents | None = None) -> None:
        self.clock = SettableClock()
        self.is_down = False
        self.tries = 0
        self.results = MemoryResults(self.accept)
        self.documents = documents
        self.tracker = self.new_tracker(tracked or documents)

    def new_tracker(self, documents: Documents) -> Tracker:
        announcer = Announcer(documents, self.results, "dev", clock=self.clock)
        return Tracker(documents, clock=self.clock, announcer=announcer)

    def accept(self, _: ResultEvent) -> None:
        self.tries += 1
        if self.is_down:
            raise TransientError("the receiver is down")

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.results.events]

    def run(self, number: int = 0, error: Exception | None = None) -> lease.Result:
        def work(*_: object) -> dict[str, Any]:
            if error:
                raise error
            return {}

        return lease.run(self.tracker, source_file(number), work)

    def requeue(self) -> None:
        Requeue(self.tracker, {"drive": MemoryQueue()}).run()

    def recording(self, number: int = 0) -> Recording:
        return existing(self.tracker, source_file(number).key)


@pytest.fixture
def rig(documents: Documents) -> Rig:
    return Rig(documents)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, "audio.ready"),
        (PermanentError(Code.NO_AUDIO, "x"), "recording.skipped"),
        (PermanentError(Code.CORRUPT, "x"), "recording.failed"),
    ],
)
def test_an_end_is_announced_at_once(rig: Rig, error: Exception | None, kind: str) -> None:
    result = rig.run(error=error)
    assert rig.types == [kind]
    one = rig.recording()
    assert (one.announced_at, one.announce_after) == (rig.clock.now, None)
    assert result.recording == one
    rig.clock.tick(HOUR)
    rig.requeue()
    assert rig.types == [kind], "announced twice"


@pytest.mark.parametrize("error", [TransientError("x"), CancelledError("x")])
def test_a_recording_in_progress_is_not_announced(rig: Rig, error: Exception) -> None:
    rig.run(error=error)
    assert rig.types == []
    assert rig.recording().announce_after is None


def test_giving_up_is_announced(rig: Rig) -> None:
    rig.run(error=TransientError("x"))
    rig.clock.tick(GIVE_UP_AFTER + SECOND)
    rig.run(error=TransientError("x"))
    assert rig.types == ["recording.failed"]


def test_too_many_crashes_are_announced(rig: Rig) -> None:
    for _ in range(MAX_CRASHES):
        claimed(rig.tracker.claim(ITEM))
        rig.clock.tick(61 * SECOND)
        rig.requeue()
    assert rig.types == ["recording.failed"]
    assert rig.recording().announced_at is not None


def test_a_dead_letter_is_announced(rig: Rig) -> None:
    rig.run(error=TransientError("x"))
    rig.tracker.dead_letter(ITEM.key)
    assert rig.types == ["recording.failed"]


def test_a_receiver_that_is_down_costs_the_recording_nothing(rig: Rig) -> None:
    rig.is_down = True
    assert rig.run().outcome is lease.Outcome.DONE
    one = rig.recording()
    assert (one.status, one.announced_at) == (Status.DONE, None)
    rig.clock.tick(WINDOW - SECOND)
    rig.is_down = False
    rig.requeue()
    assert rig.types == [], "its own worker may still be announcing it"
    rig.clock.tick(SECOND)
    rig.requeue()
    assert rig.types == ["audio.ready"]
    assert rig.recording().announced_at == rig.clock.now


@on_every_database
def test_a_crash_before_the_message_is_healed(documents: Documents) -> None:
    rig = Rig(documents)

    class Killed(BaseException):
        pass

    def die(_: ResultEvent) -> None:
        raise Killed

    rig.results._accept = die
    with pytest.raises(Killed):
        rig.run()
    assert rig.recording().status is Status.DONE
    rig.results._accept = lambda _: None
    rig.clock.tick(WINDOW)
    rig.requeue()
    assert rig.types == ["audio.ready"]
    rig.clock.tick(HOUR)
    rig.requeue()
    assert rig.types == ["audio.ready"]


def test_a_crash_after_the_message_repeats_it_with_the_same_id() -> None:
    documents = MemoryDocuments()
    # The writes are: claim, DONE, announced_at.
    rig = Rig(documents, tracked=Faults(documents, at=3))
    rig.run()
    rig.tracker = rig.new_tracker(documents)
    assert rig.recording().announced_at is None
    rig.clock.tick(WINDOW)
    rig.requeue()
    first, second = rig.results.events
    assert first.id == second.id
    assert {**first.data, "updated_at": 0} == {**second.data, "updated_at": 0}
    assert rig.recording().announced_at == rig.clock.now


def test_the_waits_between_attempts_grow_to_six_hours(rig: Rig) -> None:
    rig.is_down = True
    rig.run()
    attempts = []
    for _ in range(2 * 24 * 60):
        before = rig.tries
        rig.clock.tick(MINUTE)
        rig.requeue()
        if rig.tries > before:
            attempts.append(rig.clock.now)
    waits = [later - earlier for earlier, later in pairwise(attempts)]
    assert waits == sorted(waits)
    assert waits[0] == WINDOW
    assert waits[-1] == MAX_WAIT
    rig.is_down = False
    rig.clock.tick(MAX_WAIT)
    rig.requeue()
    assert rig.types == ["audio.ready"]


def test_many_are_announced_after_an_outage_and_few_are_tried_in_it(rig: Rig) -> None:
    rig.is_down = True
    for number in range(30):
        rig.run(number)
    rig.clock.tick(WINDOW)
    before = rig.tries
    rig.requeue()
    assert rig.tries - before == MAX_FAILURES
    rig.is_down = False
    rig.clock.tick(WINDOW)
    rig.requeue()
    rig.clock.tick(WINDOW)
    rig.requeue()
    assert sorted(event.subject for event in rig.results.events) == sorted(
        source_file(number).key for number in range(30)
    )


def test_one_that_is_always_refused_does_not_stop_the_others(rig: Rig) -> None:
    def refuse_first(event: ResultEvent) -> None:
        if event.subject == ITEM.key:
            raise TransientError("400")

    rig.is_down = True
    for number in range(5):
        rig.run(number)
    rig.results._accept = refuse_first
    rig.clock.tick(WINDOW)
    rig.requeue()
    assert len(rig.types) == 4


def test_two_requeues_at_once_announce_each_end_once(rig: Rig) -> None:
    rig.is_down = True
    for number in range(20):
        rig.run(number)
    rig.is_down = False
    rig.clock.tick(WINDOW)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: rig.tracker.announce_due(), range(4)))
    assert len(rig.types) == 20


def test_a_recording_ended_without_the_setting_is_never_announced(documents: Documents) -> None:
    clock = SettableClock()
    silent = Tracker(documents, clock=clock)
    for number in range(3):
        claimed(silent.claim(source_file(number))).finish(Status.DONE)
    rig = Rig(documents)
    rig.clock = clock
    clock.tick(24 * HOUR)
    rig.requeue()
    assert rig.types == []
    rig.run(number=3)
    assert rig.types == ["audio.ready"]


def test_a_document_of_an_earlier_version_is_never_announced(documents: Documents) -> None:
    rig = Rig(documents)
    ended = Recording.from_source_file(ITEM, now=rig.clock.now).evolve(
        status=Status.DONE, finished_at=rig.clock.now
    )
    old = ended.to_document()
    del old["announced_at"], old["announce_after"]
    documents.create("recordings", ITEM.key, old)
    rig.clock.tick(HOUR)
    rig.requeue()
    assert rig.types == []


def test_an_end_waits_for_an_earlier_one_that_may_be_on_its_way(rig: Rig) -> None:
    """Between the first end and its message the recording is retried, and ends again."""
    ends: list[ResultEvent] = []

    def slow(event: ResultEvent) -> None:
        if not ends:
            ends.append(event)
            rig.clock.tick(SECOND)
            rig.tracker.retry(ITEM.key)
            rig.run()
            assert rig.results.events == [], "the second overtook the first"

    rig.results._accept = slow
    rig.run(error=PermanentError(Code.CORRUPT, "x"))
    assert rig.types == ["recording.failed"]
    assert rig.recording().announced_at is None, "the first's message is not the second's"
    rig.clock.tick(2 * WINDOW)
    rig.requeue()
    assert rig.types == ["recording.failed", "audio.ready"]


def test_a_recording_that_was_started_again_announces_its_next_end_only(rig: Rig) -> None:
    rig.is_down = True
    rig.run(error=PermanentError(Code.CORRUPT, "x"))
    rig.tracker.retry(ITEM.key)
    rig.is_down = False
    rig.clock.tick(HOUR)
    rig.requeue()
    assert rig.types == []
    rig.run()
    assert rig.types == ["audio.ready"]


def test_a_retry_clears_when_it_was_announced(rig: Rig) -> None:
    rig.run(error=PermanentError(Code.CORRUPT, "x"))
    rig.tracker.retry(ITEM.key)
    assert rig.recording().announced_at is None
    rig.clock.tick(timedelta(seconds=1))
    rig.run()
    assert rig.types == ["recording.failed", "audio.ready"]
    assert rig.results.events[1].data["announced_at"] is None
