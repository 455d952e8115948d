"""Every recording's end is logged by exactly one line, and nothing else is logged as an end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import (
    CancelledError,
    Code,
    LeaseLostError,
    ObjectExistsError,
    PermanentError,
    TransientError,
)
from shared.core.message import Source
from shared.core.records import Status
from shared.service.receiver import Receiver
from shared.tracking import final_status, lease
from shared.tracking.claim import GIVE_UP_AFTER, Claim
from shared.tracking.lease import RunOptions, WorkControl
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import MAX_CRASHES, Tracker
from tests.logs import Lines, captured
from tests.recordings import AnswerLost, SettableClock, claimed, source_file
from tests.services import envelope

ITEM = source_file()
EXPIRED = timedelta(seconds=61)


@pytest.fixture
def lines() -> Iterator[Lines]:
    with captured() as lines:
        yield lines


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def tracker(clock: SettableClock) -> Tracker:
    return Tracker(MemoryDocuments(), clock=clock)


def working(clock: SettableClock, error: BaseException | None = None) -> lease.WorkFunction:
    """Work for two seconds and a half, and then end in ``error``, if any."""

    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        clock.tick(timedelta(seconds=2.5))
        if error:
            raise error
        return {}

    return work


def test_a_line_reports_how_a_recording_ended(
    tracker: Tracker, clock: SettableClock, lines: Lines
) -> None:
    lease.run(tracker, ITEM, working(clock))
    (line,) = lines.ends()
    assert line["severity"] == "INFO"
    told = {name: line[name] for name in ("status", "code", "source", "processing_s", "key")}
    assert told == {
        "status": "DONE",
        "code": "",
        "source": "drive",
        "processing_s": 2.5,
        "key": ITEM.key,
    }
    assert line["recording"] == ITEM.name


@pytest.mark.parametrize(
    ("code", "status", "severity"),
    [
        (Code.NO_AUDIO, "SKIPPED", "INFO"),
        (Code.SUPERSEDED, "SKIPPED", "INFO"),
        (Code.CORRUPT, "FAILED", "ERROR"),
        (Code.VERIFY_FAILED, "FAILED", "ERROR"),
    ],
)
def test_its_code_and_its_words(
    tracker: Tracker, clock: SettableClock, lines: Lines, code: Code, status: str, severity: str
) -> None:
    lease.run(tracker, ITEM, working(clock, PermanentError(code, "what it met")))
    (line,) = lines.ends()
    assert (line["status"], line["code"], line["severity"]) == (status, code.value, severity)
    assert (line["error"], line["processing_s"]) == ("what it met", 2.5)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("x"),
        ConnectionResetError(104, "x"),
        ObjectExistsError("x"),
        ValueError("a bug"),
        CancelledError("x"),
        LeaseLostError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_released_recording_has_not_ended(
    tracker: Tracker, clock: SettableClock, lines: Lines, error: Exception
) -> None:
    lease.run(tracker, ITEM, working(clock, error))
    assert lines.ends() == []


def test_a_recording_handed_to_the_job_has_not_ended(tracker: Tracker, lines: Lines) -> None:
    def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
        raise CancelledError("the push is over")

    lease.run(tracker, ITEM, work, RunOptions(limit_s=-1))
    assert lines.ends() == []
    lease.run(tracker, ITEM, lambda *_: {}, RunOptions(runner="job"))
    assert [line["status"] for line in lines.ends()] == ["DONE"]


def test_giving_up_is_a_failure(tracker: Tracker, clock: SettableClock, lines: Lines) -> None:
    lease.run(tracker, ITEM, working(clock, TransientError("x")))
    clock.tick(GIVE_UP_AFTER)
    lease.run(tracker, ITEM, working(clock, TransientError("x")))
    (line,) = lines.ends()
    assert (line["status"], line["code"], line["processing_s"]) == ("FAILED", "gave_up", 2.5)


def test_an_end_written_twice_is_reported_once(clock: SettableClock, lines: Lines) -> None:
    documents = AnswerLost(MemoryDocuments())
    documents.lose_next = False
    claim = claimed(Tracker(documents, clock=clock).claim(ITEM))
    documents.lose_next = True
    claim.finish(Status.DONE)
    assert len(lines.ends()) == 1


def test_an_end_taken_over_by_another_is_reported_by_it(
    tracker: Tracker, clock: SettableClock, lines: Lines
) -> None:
    first = claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)
    second = claimed(tracker.claim(ITEM))
    with pytest.raises(LeaseLostError):
        first.finish(Status.DONE)
    assert lines.ends() == []
    second.finish(Status.DONE)
    assert len(lines.ends()) == 1


def crash(tracker: Tracker, clock: SettableClock) -> None:
    claimed(tracker.claim(ITEM))
    clock.tick(EXPIRED)


def test_crashes_too_many_are_a_failure(
    tracker: Tracker, clock: SettableClock, lines: Lines
) -> None:
    requeue = Requeue(tracker, {"drive": MemoryQueue()})
    for _ in range(MAX_CRASHES):
        assert lines.ends() == []
        crash(tracker, clock)
        requeue.run()
    (line,) = lines.ends()
    assert (line["status"], line["code"]) == ("FAILED", "gave_up")
    assert line["processing_s"] == 0.0
    requeue.run()
    assert len(lines.ends()) == 1


def test_crashes_that_a_claim_finds_are_a_failure(
    tracker: Tracker, clock: SettableClock, lines: Lines
) -> None:
    for _ in range(MAX_CRASHES):
        crash(tracker, clock)
    assert lease.run(tracker, ITEM, working(clock)).outcome is lease.Outcome.DUPLICATE
    assert [line["code"] for line in lines.ends()] == ["gave_up"]


@pytest.fixture
def receiver(tracker: Tracker, clock: SettableClock) -> Receiver:
    return Receiver(
        source=Source.DRIVE,
        tracker=tracker,
        work=lambda delivery: lease.run(tracker, delivery.item, working(clock)),
    )


def test_a_dead_letter_is_a_failure(
    receiver: Receiver, tracker: Tracker, clock: SettableClock, lines: Lines
) -> None:
    body = envelope(ITEM.encode())
    receiver.receive_dead(body)
    assert lines.ends() == []
    lease.run(tracker, ITEM, working(clock, TransientError("x")))
    receiver.receive_dead(body)
    (line,) = lines.ends()
    assert (line["status"], line["code"]) == ("FAILED", "dead_letter")
    assert line["processing_s"] == 0.0, "the time of an attempt before is not that of the end"
    receiver.receive_dead(body)
    assert len(lines.ends()) == 1


def test_a_delivery_is_reported_once(receiver: Receiver, lines: Lines) -> None:
    body = envelope(ITEM.encode())
    assert receiver.receive(body) == 204
    assert len(lines.ends()) == 1
    assert len(lines.all()) == 1, "one line for one end"
    assert receiver.receive(body) == 204
    assert [line["message"] for line in lines.all()] == [final_status.ENDED, "recording duplicate"]
