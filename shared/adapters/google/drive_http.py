"""The HTTP transport for all Drive requests, and the meaning of Drive's error responses."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from google.auth import exceptions as auth_errors
from google.auth.transport.requests import AuthorizedSession, Request

from shared.core import untrusted_json
from shared.core.errors import (
    CancelledError,
    Code,
    PermanentError,
    PipelineError,
    TransientError,
    is_transient,
)

if TYPE_CHECKING:
    import httplib2
    from google.auth.credentials import Credentials
    from googleapiclient.errors import HttpError

#: Seconds to connect, and seconds without data. Together with the retry deadline they keep
#: every call under a minute.
TIMEOUTS = (5.0, 20.0)
RETRY_SECONDS = 30.0


class SetupError(TransientError):
    """Our credentials or quota failed, not this recording.

    Retrying within the call does not help; it succeeds once the setup is fixed.
    """


def worth_retrying(error: Exception) -> bool:
    """Return whether the same request may succeed within seconds."""
    return is_transient(error) and not isinstance(error, SetupError)


class HttpSessions:
    """A pool of HTTP sessions with one account's credentials; threads never share a session.

    ``account`` is the impersonated user, or empty; it is used in error messages only.
    Threads borrow sessions and return them, so a finished thread leaves none behind.
    """

    def __init__(self, credentials: Credentials, account: str) -> None:
        self._credentials = credentials
        self._account = account
        self._idle: list[AuthorizedSession] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def get(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Send a request; the response's body may be read until the context ends.

        Raises transient errors for a broken connection, and for credentials that do not
        work ``SetupError`` or ``PermanentError`` (``_credentials_error``).
        """
        with self._borrowed() as session:
            response = self._send(session, method, url, **options)
            if response.status_code == 401:
                # A token may expire early. The session could retry by itself, but it would
                # leave the streamed response open.
                response.close()
                self._refresh()
                response = self._send(session, method, url, **options)
            with contextlib.closing(response):
                yield response

    def _send(
        self, session: AuthorizedSession, method: str, url: str, **options: Any
    ) -> requests.Response:
        try:
            response: requests.Response = session.request(  # type: ignore[no-untyped-call]
                method, url, timeout=TIMEOUTS, stream=True, **options
            )
        except auth_errors.GoogleAuthError as error:
            raise _credentials_error(error, self._account) from error
        return response

    def _refresh(self) -> None:
        with contextlib.closing(requests.Session()) as session:
            try:
                request = functools.partial(Request(session), timeout=TIMEOUTS)
                self._credentials.refresh(request)  # type: ignore[no-untyped-call]
            except auth_errors.GoogleAuthError as error:
                raise _credentials_error(error, self._account) from error

    def close(self) -> None:
        """Close all idle sessions."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for session in sessions:
            session.close()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[AuthorizedSession]:
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or AuthorizedSession(  # type: ignore[no-untyped-call]
            self._credentials, refresh_status_codes=()
        )
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append(session)


class Responses:
    """The responses that one reader is reading, which another thread may end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[requests.Response] = set()
        self._is_closed = False

    @contextlib.contextmanager
    def reading(self, response: requests.Response) -> Iterator[None]:
        """Read a response until the context ends; raises ``CancelledError`` after ``close``."""
        with self._lock:
            if self._is_closed:
                raise CancelledError("the source was closed")
            self._live.add(response)
        try:
            yield
        finally:
            with self._lock:
                self._live.discard(response)

    def close(self) -> None:
        """End the reads under way, as at the end of the body, and refuse others."""
        with self._lock:
            self._is_closed = True
            for response in self._live:
                # Its read may be over just now, or never have had a socket.
                with contextlib.suppress(Exception):
                    response.raw.shutdown()


class ClientHttp:
    """Stands in for ``httplib2.Http`` in google-api-python-client, over ``HttpSessions``."""

    def __init__(self, sessions: Callable[[], HttpSessions]) -> None:
        self._sessions = sessions

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> tuple[httplib2.Response, bytes]:
        """Send a request and return its whole response."""
        with self._sessions().get(method, uri, data=body, headers=headers) as response:
            return _head(response), response.content

    def close(self) -> None:
        """Do nothing: the sessions are closed by their owner."""


def _credentials_error(error: auth_errors.GoogleAuthError, account: str) -> PipelineError:
    if account and "invalid_grant" in str(error):
        who = f"cannot read Drive as {account}: the account is suspended, deleted or unknown"
        return PermanentError(Code.FORBIDDEN, who)
    if isinstance(error, auth_errors.TransportError) or error.retryable:
        return TransientError(f"no token for Drive: {error}")
    return SetupError(f"no token for Drive: {error}")


def _head(response: requests.Response) -> httplib2.Response:
    import httplib2  # noqa: PLC0415 - comes with the API client, which is loaded late

    headers = {name.lower(): value for name, value in response.headers.items()}
    return httplib2.Response(headers | {"status": str(response.status_code)})


def http_error(response: requests.Response) -> HttpError:
    """Return a download's error response as the error that the API client raises."""
    from googleapiclient.errors import HttpError  # noqa: PLC0415

    return HttpError(_head(response), response.content, uri=response.url)


@dataclass(frozen=True)
class DriveErrorResponse:
    """An error response from Drive: HTTP status, Google's reason, message and location."""

    status: int
    reason: str
    message: str
    location: str
    is_transient: bool

    @classmethod
    def parse(cls, error: HttpError) -> DriveErrorResponse:
        """Parse Google's JSON, or keep the start of a body that a proxy wrote instead."""
        status, transient = int(error.resp.status), is_transient(error)
        try:
            body = untrusted_json.parse(error.content)["error"]
            first = (body.get("errors") or [{}])[0]
            reason = first.get("reason") or body.get("status", "")
            return cls(status, reason, body["message"], first.get("location", ""), transient)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(status, "", error.content[:200].decode("utf-8", "replace"), "", transient)

    def to_error(self, what: str, account: str) -> PipelineError:
        """Return the pipeline's error for a request about ``what``, made as ``account``."""
        who = account or "the pipeline's account"
        if self.status == 401 or self.reason in _SETUP:
            return SetupError(f"Drive does not accept requests from {who} now: {self._words}")
        if self.is_transient:
            return TransientError(f"Drive answered {self._words}")
        if self.reason == "cannotDownloadAbusiveFile":
            message = f"Drive flags {what} as malware or spam and blocks its download"
            return PermanentError(Code.FORBIDDEN, message)
        if self.status == 403:
            message = f"{who} is not allowed to download {what}: {self._words}"
            return PermanentError(Code.FORBIDDEN, message)
        if self.status in (404, 410):
            message = f"{what} was deleted, or is no longer shared with {who}"
            return PermanentError(Code.GONE, message)
        return PipelineError(f"Drive refused a request for {what}: {self._words}")

    @property
    def _words(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


#: Reasons for a 403 that concern our project, scopes or daily quota, not a file (Drive's
#: guide "Resolve errors"). Only Google's front end sends PERMISSION_DENIED.
_SETUP = frozenset(
    {
        "accessNotConfigured",
        "authError",
        "dailyLimitExceeded",
        "downloadQuotaExceeded",
        "insufficientPermissions",
        "insufficientScopes",
        "quotaExceeded",
        "PERMISSION_DENIED",
    }
)
