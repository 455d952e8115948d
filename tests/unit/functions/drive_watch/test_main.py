"""How ``notify`` answers a drain that was stopped."""

from __future__ import annotations

import logging

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.drive_watch import main, notify
from shared.core.errors import CancelledError


def test_a_drain_stopped_by_sigterm_is_answered_without_a_stack(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(*_: object) -> int:
        raise CancelledError("stopped on request")

    monkeypatch.setattr(main, "_watch", lambda: None)
    monkeypatch.setattr(notify, "receive", stopped)
    request = Request(EnvironBuilder(method="POST", path="/").get_environ())
    with caplog.at_level(logging.INFO):
        _, status, _ = main.notify(request)  # type: ignore[arg-type]
    assert status == 500
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.records[0].exc_info is None
