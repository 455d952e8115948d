"""Workers, crashes, the requeue, retries and dead letters in any order keep the protocol."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import Code, LeaseLostError, PermanentError, TransientError
from shared.core.message import SourceFile
from shared.core.records import Recording, Status
from shared.tracking.claim import Claim
from shared.tracking.requeue import RESURRECT_AFTER, Requeue
from shared.tracking.tracker import MAX_CRASHES, ClaimRefusal, Tracker
from tests.recordings import HOUR, SettableClock, source_file

FINAL = {Status.DONE, Status.FAILED, Status.SKIPPED}
LEGAL = {
    Status.QUEUED: {Status.QUEUED, Status.PROCESSING, Status.FAILED},
    Status.PROCESSING: set(Status),
    Status.DONE: {Status.QUEUED, Status.PROCESSING},
    Status.FAILED: {Status.QUEUED, Status.PROCESSING},
    Status.SKIPPED: {Status.QUEUED, Status.PROCESSING},
}
NUMBERS = st.integers(0, 2)


class Guarded(MemoryDocuments):
    """Documents that refuse a change of status which the protocol does not know."""

    def replace(self, collection: str, read: Any, document: Any) -> Any:
        before, after = Status(read.document["status"]), Status(document["status"])
        assert after in LEGAL[before], f"{before} became {after}"
        return super().replace(collection, read, document)


class TrackerMachine(RuleBasedStateMachine):
    """``claims`` are the leases that workers believe they own; ``holders`` are the real owners."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock()
        self.tracker = Tracker(Guarded(), clock=self.clock)
        self.queue = MemoryQueue()
        self.healer = Requeue(self.tracker, {"drive": self.queue})
        self.known: set[str] = set()
        self.holders: dict[str, tuple[Claim, Any]] = {}

    # ── what happens ──

    @rule(number=NUMBERS)
    def enqueue(self, number: int) -> None:
        item = source_file(number)
        assert self.tracker.enqueue(item) is (item.key not in self.known)
        self.known.add(item.key)

    @rule(
        target=claims,
        number=NUMBERS,
        force=st.booleans(),
        age=st.sampled_from([-1, 0, 3600]),
        runner=st.sampled_from(["push", "push", "job"]),
    )
    def deliver(self, number: int, force: bool, age: int, runner: str) -> Any:
        item = source_file(number, force=force)
        before = self.tracker.get(item.key)
        published_at = self.clock.now - timedelta(seconds=age)
        claim = self.tracker.claim(item, published_at=published_at, runner=runner)
        self.known.add(item.key)
        if isinstance(claim, ClaimRefusal):
            self.check_refusal(claim, item)
            self.forget_expired()
            return multiple()
        assert before is None or before.status not in FINAL or force
        held = self.holders.get(item.key)
        assert held is None or held[1] <= self.clock.now, "two workers hold one recording"
        self.holders[item.key] = claim, claim.recording.lease_expires_at
        return claim

    def check_refusal(self, refusal: ClaimRefusal, item: SourceFile) -> None:
        recording = self.tracker.get(item.key)
        assert recording is not None
        if refusal is ClaimRefusal.FINISHED:
            assert recording.status in FINAL
        elif refusal is ClaimRefusal.BUSY:
            assert not self.tracker.has_expired(recording)
        else:
            assert (recording.status, recording.runner) == (Status.QUEUED, "job")

    @rule(claim=claims, fraction=st.floats(0, 1))
    def heartbeat(self, claim: Claim, fraction: float) -> None:
        claim.note_progress(fraction)
        if self.writes(claim, claim.update):
            self.holders[claim.recording.key] = claim, claim.recording.lease_expires_at

    @rule(claim=consumes(claims))
    def finish(self, claim: Claim) -> None:
        self.ends(claim, lambda: claim.finish(Status.DONE))

    @rule(claim=consumes(claims), code=st.sampled_from([Code.CORRUPT, Code.GONE, Code.GAVE_UP]))
    def fail(self, claim: Claim, code: Code) -> None:
        self.ends(claim, lambda: claim.fail(PermanentError(code, "no")))

    @rule(claim=claims)  # it stays in the bundle: one that has ended must write no more
    def release(self, claim: Claim) -> None:
        self.ends(claim, lambda: claim.release(TransientError("down")))

    @rule(claim=consumes(claims))
    def hand_over(self, claim: Claim) -> None:
        self.ends(claim, lambda: claim.release(runner="job"))

    @rule(claim=consumes(claims))
    def crash(self, claim: Claim) -> None:
        """The worker is gone; its lease lasts until it expires."""

    @rule(seconds=st.sampled_from([1, 59, 60, 601, 1801, 3600, 6 * 3600, 86400]))
    def wait(self, seconds: int) -> None:
        self.clock.tick(timedelta(seconds=seconds))

    @rule()
    def requeue(self) -> None:
        sent = len(self.queue.items)
        count = self.healer.run()
        published = self.queue.items[sent:]
        assert len(published) == count == len({item.key for item in published})
        for item in published:
            assert self.must(item.key).status is Status.QUEUED
        self.forget_expired()

    @rule(number=NUMBERS)
    def retry(self, number: int) -> None:
        self.tracker.retry(source_file(number).key)
        self.forget_expired()

    @rule(number=NUMBERS)
    def dead_letter(self, number: int) -> None:
        before = self.tracker.get(source_file(number).key)
        dead = self.tracker.dead_letter(source_file(number).key)
        if dead:
            assert before is not None
            assert before.status is Status.QUEUED
            assert before.attempts

    # ── invariants ──

    def writes(self, claim: Claim, write: Any) -> bool:
        """Write as the worker would; returns whether that succeeded."""
        key = claim.recording.key
        before = self.tracker.get(key)
        is_holder = self.holders.get(key, (None, None))[0] is claim
        try:
            write()
        except LeaseLostError:
            assert not is_holder, "the holder was refused"
            assert self.tracker.get(key) == before
            return False
        assert is_holder, "who holds nothing has written"
        return True

    def ends(self, claim: Claim, write: Any) -> None:
        if self.writes(claim, write):
            del self.holders[claim.recording.key]

    def forget_expired(self) -> None:
        """Drop the owners of recordings that were put back in the queue."""
        for key, (_, expires) in list(self.holders.items()):
            if self.must(key).status is not Status.PROCESSING:
                assert expires <= self.clock.now, "a live lease was taken away"
                del self.holders[key]

    def must(self, key: str) -> Recording:
        recording = self.tracker.get(key)
        assert recording is not None
        return recording

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {recording.key for recording in self.tracker.all()} == self.known

    @invariant()
    def documents_make_sense(self) -> None:
        for one in self.tracker.all():
            working = one.status is Status.PROCESSING
            assert (one.lease_owner is not None) is working
            assert (one.lease_expires_at is not None) is working
            assert (one.finished_at is not None) is (one.status in FINAL)
            assert (one.error is not None) or one.status not in (Status.FAILED, Status.SKIPPED)
            assert one.crashes <= one.attempts
            assert one.crashes < MAX_CRASHES or one.status is Status.FAILED
            assert one.requeues <= len(RESURRECT_AFTER)
            assert not working or (one.attempts and one.first_claimed_at)

    def teardown(self) -> None:
        """All workers die and all messages are lost: everything still ends without intervention."""
        self.queue.items.clear()
        for _ in range(40):
            self.clock.tick(6 * HOUR)
            self.healer.run()
            for item in self.queue.items:
                claim = self.tracker.claim(item)
                if claim is ClaimRefusal.JOB:
                    claim = self.tracker.claim(item, runner="job")
                if isinstance(claim, Claim):
                    claim.finish(Status.DONE)
            self.queue.items.clear()
        for one in self.tracker.all():
            assert one.status in FINAL
            if one.error and one.error.code in (Code.GAVE_UP, Code.DEAD_LETTER):
                assert one.requeues == len(RESURRECT_AFTER)


TestTrackerMachine = TrackerMachine.TestCase
TestTrackerMachine.settings = settings(max_examples=150, stateful_step_count=40)
