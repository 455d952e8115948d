"""The one predicate for transient errors, checked with the errors of the real libraries."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
import subprocess
import sys
import urllib.error
from email.message import Message
from typing import Any

import google.auth.exceptions as auth
import grpc
import httplib2
import paramiko
import pytest
import requests
import urllib3.exceptions
from google.api_core import exceptions as api
from google.cloud.storage import exceptions as gcs
from googleapiclient.errors import HttpError

from shared.core.errors import (
    SKIP_CODES,
    CancelledError,
    Code,
    ConfigurationError,
    ConflictError,
    LeaseLostError,
    MessageError,
    ObjectExistsError,
    PermanentError,
    PipelineError,
    TransientError,
    is_transient,
)


def drive_error(status: int, reason: str = "", body: dict[str, Any] | None = None) -> HttpError:
    content = body or {
        "error": {
            "code": status,
            "message": "what Drive says to people",
            "errors": [{"domain": "usageLimits", "reason": reason, "message": "…"}],
        }
    }
    return HttpError(httplib2.Response({"status": str(status)}), json.dumps(content).encode())


def error_info(status: int, reason: str) -> HttpError:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    return drive_error(status, body={"error": {"message": "…", "details": [detail]}})


class RpcError(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What grpc raises itself: an error that is the call."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


RpcError.__module__ = "grpc._channel"


def answered(status: int, body: bytes = b"") -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body
    return response


HOST_KEY = paramiko.ECDSAKey.generate()

TRANSIENT: list[BaseException] = [
    TransientError("the disk is full"),
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    TimeoutError(),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    ssl.SSLEOFError(),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    EOFError(),
    http.client.IncompleteRead(b"a", 10),
    http.client.RemoteDisconnected("closed"),
    http.client.BadStatusLine("x"),
    urllib.error.HTTPError("http://x/", 503, "", Message(), None),
    urllib.error.URLError(ConnectionRefusedError()),
    api.TooManyRequests("x"),
    api.ResourceExhausted("x"),
    api.ServiceUnavailable("x"),
    api.InternalServerError("x"),
    api.Unknown("x"),
    api.BadGateway("x"),
    api.GatewayTimeout("x"),
    api.DeadlineExceeded("x"),
    api.Cancelled("the channel was closed"),
    api.RetryError("deadline of 60 s exceeded", cause=api.ServiceUnavailable("x")),
    api.Forbidden("x", errors=[{"reason": "rateLimitExceeded"}]),
    api.PermissionDenied("x", error_info={"reason": "RATE_LIMIT_EXCEEDED"}),
    RpcError(grpc.StatusCode.UNAVAILABLE),
    RpcError(grpc.StatusCode.DEADLINE_EXCEEDED),
    RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED),
    RpcError(grpc.StatusCode.INTERNAL),
    drive_error(408),
    drive_error(429, "rateLimitExceeded"),
    drive_error(500, "backendError"),
    drive_error(502),
    drive_error(503),
    drive_error(504),
    drive_error(403, "rateLimitExceeded"),
    drive_error(403, "userRateLimitExceeded"),
    drive_error(403, "sharingRateLimitExceeded"),
    drive_error(403, "dailyLimitExceeded"),
    drive_error(403, "downloadQuotaExceeded"),
    error_info(403, "RATE_LIMIT_EXCEEDED"),
    httplib2.ServerNotFoundError("Unable to find the server"),
    auth.TransportError("connection refused"),
    auth.RefreshError("the metadata server said 503"),
    auth.RefreshError("try again", retryable=True),
    requests.ConnectionError(),
    requests.ReadTimeout(),
    requests.exceptions.ChunkedEncodingError(),
    requests.HTTPError(response=answered(503)),
    requests.HTTPError(response=answered(429)),
    urllib3.exceptions.ProtocolError("Connection broken"),
    urllib3.exceptions.ReadTimeoutError(None, "/", "x"),  # type: ignore[arg-type]
    urllib3.exceptions.IncompleteRead(1, 2),
    gcs.InvalidResponse(answered(503), "x"),
    gcs.DataCorruption(answered(200), "the checksum is another"),
    paramiko.SSHException("Server connection dropped"),
    paramiko.ssh_exception.NoValidConnectionsError({("h", 22): ConnectionRefusedError()}),
    paramiko.ChannelException(4, "Resource shortage"),
]

LASTING: list[BaseException] = [
    PermanentError(Code.CORRUPT, "x"),
    ConfigurationError(["x"]),
    MessageError("x", b""),
    LeaseLostError(),
    CancelledError(),
    ConflictError(),
    ObjectExistsError("x"),
    PipelineError(),
    FileNotFoundError(errno.ENOENT, "x"),
    PermissionError(errno.EACCES, "x"),
    IsADirectoryError(errno.EISDIR, "x"),
    NotADirectoryError(errno.ENOTDIR, "x"),
    FileExistsError(errno.EEXIST, "x"),
    OSError(errno.ENAMETOOLONG, "File name too long"),
    OSError(errno.ELOOP, "Too many levels of symbolic links"),
    OSError(errno.EROFS, "Read-only file system"),
    ssl.SSLCertVerificationError("certificate verify failed"),
    urllib.error.HTTPError("http://x/", 404, "", Message(), None),
    http.client.InvalidURL("x"),
    ValueError(),
    TypeError(),
    KeyError("x"),
    RuntimeError(),
    AssertionError(),
    RecursionError(),
    KeyboardInterrupt(),
    SystemExit(503),
    subprocess.CalledProcessError(1, "x"),
    json.JSONDecodeError("x", "y", 0),
    api.BadRequest("x"),
    api.Unauthorized("x"),
    api.Forbidden("x"),
    api.PermissionDenied("x"),
    api.NotFound("x"),
    api.Conflict("x"),
    api.AlreadyExists("x"),
    api.PreconditionFailed("x"),
    api.Aborted("too much contention on these documents"),
    api.FailedPrecondition("The query requires an index"),
    api.InvalidArgument("x"),
    RpcError(grpc.StatusCode.ABORTED),
    RpcError(grpc.StatusCode.NOT_FOUND),
    RpcError(grpc.StatusCode.ALREADY_EXISTS),
    RpcError(grpc.StatusCode.PERMISSION_DENIED),
    RpcError(grpc.StatusCode.FAILED_PRECONDITION),
    drive_error(400, "badRequest"),
    drive_error(401, "authError"),
    drive_error(403, "forbidden"),
    drive_error(403, "insufficientFilePermissions"),
    drive_error(403, "cannotDownloadAbusiveFile"),
    drive_error(403, "appNotAuthorizedToFile"),
    drive_error(404, "notFound"),
    drive_error(410),
    drive_error(412),
    drive_error(416, "requestedRangeNotSatisfiable"),
    error_info(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    HttpError(httplib2.Response({"status": "403"}), b"<html>not JSON at all</html>"),
    auth.DefaultCredentialsError("Your default credentials were not found"),
    auth.MalformedError("x"),
    requests.HTTPError(response=answered(404)),
    requests.exceptions.InvalidURL("x"),
    requests.exceptions.MissingSchema("x"),
    urllib3.exceptions.LocationParseError("x"),
    gcs.InvalidResponse(answered(404), "x"),
    paramiko.AuthenticationException("Authentication failed."),
    paramiko.BadAuthenticationType("x", ["publickey"]),
    paramiko.PasswordRequiredException(),
    paramiko.BadHostKeyException("h", HOST_KEY, HOST_KEY),
]


def label(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__name__}-{str(error)[:60]}"


@pytest.mark.parametrize("error", TRANSIENT, ids=label)
def test_temporary_errors_of_each_library_are_transient(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=label)
def test_an_error_that_no_retry_fixes_is_not_transient(error: BaseException) -> None:
    assert not is_transient(error)


def test_a_status_counts_only_on_the_errors_of_the_client_libraries() -> None:
    class HomemadeError(Exception):
        code = 503

    assert not is_transient(HomemadeError())


def test_a_status_that_is_not_a_number_raises_nothing() -> None:
    error = api.ServiceUnavailable("x")
    error.code = "unheard of"  # type: ignore[assignment]
    error.grpc_status_code = None

    assert is_transient(error)


def test_the_predicate_imports_no_client_library() -> None:
    script = (
        "import sys, shared.core.errors as e;"
        "e.is_transient(OSError()); e.is_transient(ValueError());"
        "print(sorted({'google', 'grpc', 'requests', 'paramiko', 'urllib3'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    # An editable installation may put the empty namespace 'google' there at start.
    assert set(eval(answer.stdout)) <= {"google"}


@pytest.mark.parametrize("code", list(Code))
def test_codes_keep_the_words_that_people_script_against(code: Code) -> None:
    assert code.value == code.name.lower()
    assert PermanentError(code, "x").skips == (code in SKIP_CODES)


def test_the_codes_are_the_documented_ones() -> None:
    assert {"no_audio", "trashed", "gone", "superseded", "not_watched"} == SKIP_CODES
    assert set(Code) - SKIP_CODES == {
        "corrupt", "truncated", "unsupported_codec", "not_a_recording", "too_long", "forbidden",
        "verify_failed", "timeout", "gave_up", "dead_letter",
    }  # fmt: skip


def test_errors_carry_their_fields() -> None:
    assert ConfigurationError(["A is wrong", "B too"]).problems == ("A is wrong", "B too")
    assert str(ConfigurationError(["A is wrong", "B too"])) == "A is wrong\nB too"
    assert MessageError("why", b"\xff").raw == b"\xff"
    assert ObjectExistsError("dev/a").name == "dev/a"
    assert "dev/a" in str(ObjectExistsError("dev/a"))
