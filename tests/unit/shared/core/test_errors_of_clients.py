"""The errors that client libraries raise, transient or permanent by the one predicate."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest
import requests
from google.api_core import exceptions as _exceptions
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from shared.core.errors import is_transient

exceptions: Any = _exceptions  # whose constructors have no types


def answer(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_upload_answered_so_may_succeed_later(status: int) -> None:
    assert is_transient(InvalidResponse(answer(status), "Request failed with status code", status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 412])
def test_an_upload_answered_so_does_not(status: int) -> None:
    error = InvalidResponse(answer(status), "Request failed with status code", status)
    assert not is_transient(error)


def test_bytes_damaged_on_the_way_may_arrive_next_time() -> None:
    assert is_transient(DataCorruption(answer(200), "checksum mismatch"))


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceUnavailable("refused"),
        exceptions.DeadlineExceeded("silent"),
        exceptions.ResourceExhausted("quota"),
        exceptions.InternalServerError("ours"),
        exceptions.TooManyRequests("one write a second"),
        exceptions.RetryError("Timeout of 15.0s exceeded", exceptions.ServiceUnavailable("no")),
        concurrent.futures.TimeoutError(),
        requests.ConnectionError("refused"),
        requests.ReadTimeout("silent"),
    ],
)
def test_temporary_errors_are_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.AlreadyExists("there"),
        exceptions.FailedPrecondition("no index"),
        exceptions.Aborted("lost to another write"),
        exceptions.NotFound("no such bucket"),
        exceptions.PermissionDenied("no role"),
        exceptions.InvalidArgument("too long"),
        exceptions.Unauthenticated("no token"),
    ],
)
def test_other_errors_are_permanent(error: Exception) -> None:
    assert not is_transient(error)
