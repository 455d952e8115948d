"""The clock: when jobs are due, and that they run once at a time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cli.serve.clock import Clock, ScheduledJob, cron, every
from shared.core.errors import ConfigurationError
from tests.services import until

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("schedule", "now", "due"),
    [
        ("0 2 * * *", "2026-11-25T01:59", "2026-11-25T02:00"),
        ("0 2 * * *", "2026-11-25T02:00", "2026-11-26T02:00"),
        ("30 1 * * 1-5", "2026-11-27T12:00", "2026-11-30T01:30"),
        ("0 2 * * 0", "2026-11-25T12:00", "2026-11-29T02:00"),  # 0 is Sunday, as in cron
        ("0 2 1 * 1", "2026-11-25T12:00", "2026-11-30T02:00"),  # the first, and each Monday
        ("30 2 * * *", "2027-03-28T01:00", "2027-03-28T03:00"),  # 2:30 does not exist
        ("30 2 * * *", "2026-10-25T02:30", "2026-10-26T02:30"),  # 2:30 comes twice, runs once
    ],
)
def test_schedules_are_those_of_cron(schedule: str, now: str, due: str) -> None:
    assert cron(schedule, "Europe/Berlin")(at(now)) == at(due)


def test_without_a_zone_the_machine_s_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        schedule = cron("0 4 * * *", "")
        # Between noon and four the clocks are changed.
        assert schedule(at("2026-10-24T12:00")) == at("2026-10-25T04:00")
        assert schedule(at("2026-10-25T12:00")) == at("2026-10-26T04:00")
        assert schedule(at("2027-03-27T12:00")).utcoffset() == timedelta(hours=2)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("schedule", ["61 * * * *", "0 2 31 2 *", "* * * *"])
def test_a_schedule_that_is_never_due_is_refused(schedule: str) -> None:
    with pytest.raises(ConfigurationError, match="SCHEDULE"):
        cron(schedule, "")


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_jobs_run_when_they_are_due_and_not_before() -> None:
    now = Time()
    ran: list[datetime] = []

    def run() -> bool:
        ran.append(now.now)
        return True

    job = ScheduledJob("nightly", cron("0 2 * * *", "UTC"), run)
    clock = Clock([job], now=now, look_every_s=0.01)
    clock.start()
    try:
        time.sleep(0.1)
        assert ran == []
        for day in range(25, 28):
            now.now = datetime(2026, 11, day, 2, 0, 1, tzinfo=UTC)
            until(lambda: len(ran) == day - 24)  # noqa: B023 - called at once
    finally:
        clock.close()
    assert len(ran) == 3


def test_a_night_that_the_machine_slept_through_is_made_up_for_once() -> None:
    now = Time()
    ran: list[datetime] = []

    def run() -> bool:
        ran.append(now.now)
        return True

    job = ScheduledJob("nightly", cron("0 2 * * *", "UTC"), run)
    clock = Clock([job], now=now, look_every_s=0.01)
    clock.start()
    try:
        time.sleep(0.05)
        now.now += timedelta(days=3)
        until(lambda: ran)
        time.sleep(0.1)
    finally:
        clock.close()
    assert len(ran) == 1


def test_a_job_is_not_started_while_it_runs() -> None:
    active, most, runs = [0], [0], [0]

    def run() -> bool:
        active[0] += 1
        most[0] = max(most[0], active[0])
        time.sleep(0.02)
        active[0] -= 1
        runs[0] += 1
        return True

    clock = Clock([ScheduledJob("sweep", every(timedelta(milliseconds=1)), run)])
    clock.start()
    until(lambda: runs[0] >= 5)
    clock.close()
    assert most[0] == 1


def test_a_failure_is_repeated_after_its_waits_and_the_job_lives_on() -> None:
    answers = iter([False, RuntimeError("down"), True, True])
    times = []

    def run() -> bool:
        times.append(time.monotonic())
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    far = every(timedelta(days=1))
    clock = Clock([ScheduledJob("nightly", far, run, retries_s=(0.05, 0.1), runs_at_start=True)])
    clock.start()
    until(lambda: clock.runs("nightly") == 1)
    clock.run_now("nightly")
    until(lambda: clock.runs("nightly") == 2)
    clock.close()
    assert len(times) == 4
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.1


def test_closing_does_not_start_a_run() -> None:
    ran: list[int] = []

    def run() -> bool:
        ran.append(1)
        return True

    clock = Clock([ScheduledJob("nightly", every(timedelta(days=1)), run)])
    clock.start()
    clock.close()
    assert ran == []
