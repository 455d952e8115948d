"""How ``nightly`` answers errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded, PermissionDenied
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from shared.core.errors import ConfigurationError, TransientError
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self) -> dict[str, Any]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ServerError(ServerCode.EMPTY_DIRECTORY, "x"), "empty_directory"),
        (UnreachableError("x"), "unreachable"),
        (ConfigurationError(["x"]), "configuration"),
        (TransientError("x"), "transient"),
        (DeadlineExceeded("x"), "transient"),  # type: ignore[no-untyped-call]
        (ConnectionResetError(104, "x"), "transient"),
        (PermissionDenied("x"), "internal"),  # type: ignore[no-untyped-call]
        (ZeroDivisionError("a bug"), "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_is_answered_with_its_code(
    error: Exception, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_URL", f"sqlite:///{tmp_path}/tracker.db")
    from functions.sftp_compress import assembly, main

    monkeypatch.setattr(assembly, "build_nightly", lambda _: Failing(error))
    monkeypatch.setattr(main, "_set_up_logging", lambda: None)
    request = Request(EnvironBuilder(method="POST", path="/").get_environ())
    body, status, _ = main.nightly(request)  # type: ignore[arg-type]
    assert status == 500
    assert json.loads(body)["error"]["code"] == code
