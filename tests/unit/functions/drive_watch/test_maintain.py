"""What ``maintain`` logs each time, for the alerts on its presence or absence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.drive_watch.channel import CHANNELS
from functions.drive_watch.maintain import MAINTAINED
from shared.adapters.google.drive_client import DriveClient
from shared.core.errors import PipelineError
from shared.core.times import utc_now
from tests.drive.rig import Rig, receiving, rig_here
from tests.drive.standin import OWNER, READER


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A deployment in this process: its records in a file, its queue in memory."""
    with rig_here(tmp_path, monkeypatch) as rig:
        yield rig


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def beats(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in log.records if record.getMessage() == MAINTAINED]


def test_it_reports_its_counts(rig: Rig, log: pytest.LogCaptureFixture) -> None:
    rig.video("a.mp4")
    rig.video("b.mp4")
    rig.maintain()
    (beat,) = beats(log)
    told = {name: beat[name] for name in ("task", "found", "published", "requeued", "failed")}
    assert told == {"task": "all", "found": 2, "published": 2, "requeued": 0, "failed": 0}
    assert beat["summary"]["compare"] == {"default": "done"}


def test_the_requeue_of_each_minute_is_another_task(
    rig: Rig, log: pytest.LogCaptureFixture
) -> None:
    rig.minute()
    assert [beat["task"] for beat in beats(log)] == ["requeue"]


def test_failures_are_counted(rig: Rig, log: pytest.LogCaptureFixture) -> None:
    rig.configure(DRIVE_SUBJECTS=OWNER)
    rig.world.identity.suspended = {OWNER}
    rig.maintain()
    assert [beat["failed"] for beat in beats(log)] == [1]


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(*_: Any, **__: Any) -> None:
        raise PipelineError("the webhook's domain is not verified")

    monkeypatch.setattr(DriveClient, "watch", watch)


class TestChannel:
    def hours_left(self, log: pytest.LogCaptureFixture) -> float:
        hours = beats(log)[-1]["channel_hours_left"]
        assert isinstance(hours, float)
        return hours

    def let_pass(self, rig: Rig, hours: float) -> None:
        """Let the channels expire in ``hours``."""
        documents = rig.services.documents
        for read in list(documents.find(CHANNELS)):
            ends = utc_now() + timedelta(hours=hours)
            documents.replace(CHANNELS, read, {**read.document, "expires_at": ends})

    def test_a_new_one_lasts_a_week(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        with receiving(rig):
            rig.maintain()
        assert self.hours_left(log) == pytest.approx(168, abs=0.1)

    def test_one_that_is_kept_has_less(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        with receiving(rig):
            rig.maintain()
            self.let_pass(rig, hours=3)
            rig.maintain()
        assert self.hours_left(log) == pytest.approx(3, abs=0.1)

    def test_one_that_cannot_be_renewed_runs_out(
        self, rig: Rig, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving(rig):
            rig.maintain()
            self.let_pass(rig, hours=0.4)
            refuse(monkeypatch)
            rig.maintain()
        assert self.hours_left(log) == pytest.approx(0.4, abs=0.1)
        assert beats(log)[-1]["failed"] == 1

    def test_none_at_all_is_nothing_left(
        self, rig: Rig, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving(rig):
            refuse(monkeypatch)
            rig.maintain()
        assert self.hours_left(log) == 0.0

    def test_one_that_has_ended_is_nothing_left(
        self, rig: Rig, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving(rig):
            rig.maintain()
            self.let_pass(rig, hours=-5)
            refuse(monkeypatch)
            rig.maintain()
        assert self.hours_left(log) == 0.0

    def test_the_feed_with_the_least_counts(self, rig: Rig, log: pytest.LogCaptureFixture) -> None:
        with receiving(rig):
            rig.maintain()
            self.let_pass(rig, hours=3)
            drive = rig.world.create_drive("Team", {READER: "reader"})
            rig.configure(DRIVE_IDS=drive)
            rig.maintain()
        assert self.hours_left(log) == pytest.approx(3, abs=0.1)

    def test_without_a_webhook_there_are_no_hours(
        self, rig: Rig, log: pytest.LogCaptureFixture
    ) -> None:
        rig.maintain()
        assert "channel_hours_left" not in beats(log)[-1]
