"""One HTTP transport for all that is asked of Drive, and what its refusals mean."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from google.auth import exceptions as auth_errors
from google.auth.transport.requests import AuthorizedSession, Request

from shared.core.errors import Code, PermanentError, PipelineError, TransientError, is_transient

if TYPE_CHECKING:
    import httplib2
    from google.auth.credentials import Credentials
    from googleapiclient.errors import HttpError

#: Seconds to connect, and seconds of silence. With the retries' deadline they keep every
#: call under a minute.
TIMEOUTS = (5.0, 20.0)
RETRY_SECONDS = 30.0


class SetupError(TransientError):
    """Our own access to Drive is wrong or used up: not this recording's fault, nor soon over.

    Another try within the call is of no use; one after somebody has mended it is.
    """


def worth_retrying(error: Exception) -> bool:
    """Tell whether the same request may succeed within seconds."""
    return is_transient(error) and not isinstance(error, SetupError)


class Sessions:
    """HTTP sessions with one account's credentials; no two threads ever have the same one.

    ``account`` is the user who is read for, or empty, and serves messages only. Threads
    that come and go leave no sessions behind, since they borrow them.
    """

    def __init__(self, credentials: Credentials, account: str) -> None:
        self._credentials = credentials
        self._account = account
        self._idle: list[AuthorizedSession] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def get(self, method: str, url: str, **options: Any) -> Iterator[requests.Response]:
        """Send a request; the response's body may be read until the context ends.

        Raises transient errors for a broken connection, and what ``_refused`` says for
        credentials that are of no use.
        """
        with self._borrowed() as session:
            response = self._send(session, method, url, **options)
            if response.status_code == 401:
                # A token may end before its time. The session would try again by itself,
                # but it leaves a streamed answer open.
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
            raise _refused(error, self._account) from error
        return response

    def _refresh(self) -> None:
        with contextlib.closing(requests.Session()) as session:
            try:
                request = functools.partial(Request(session), timeout=TIMEOUTS)
                self._credentials.refresh(request)  # type: ignore[no-untyped-call]
            except auth_errors.GoogleAuthError as error:
                raise _refused(error, self._account) from error

    def close(self) -> None:
        """Close what is not in use."""
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


class ClientHttp:
    """What google-api-python-client takes for ``httplib2.Http``, over ``Sessions``."""

    def __init__(self, sessions: Callable[[], Sessions]) -> None:
        self._sessions = sessions

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> tuple[httplib2.Response, bytes]:
        """Send a request and return its whole answer."""
        with self._sessions().get(method, uri, data=body, headers=headers) as response:
            return _head(response), response.content

    def close(self) -> None:
        """Do nothing: the sessions are closed by their owner."""


def _refused(error: auth_errors.GoogleAuthError, account: str) -> PipelineError:
    if account and "invalid_grant" in str(error):
        who = f"{account} cannot be read for: the account is suspended, deleted or unknown"
        return PermanentError(Code.FORBIDDEN, who)
    if isinstance(error, auth_errors.TransportError) or error.retryable:
        return TransientError(f"no token for Drive: {error}")
    return SetupError(f"no token for Drive: {error}")


def _head(response: requests.Response) -> httplib2.Response:
    import httplib2  # noqa: PLC0415 - comes with the API client, which is loaded late

    headers = {name.lower(): value for name, value in response.headers.items()}
    return httplib2.Response(headers | {"status": str(response.status_code)})


def http_error(response: requests.Response) -> HttpError:
    """Return a download's refusal as the error that the API client raises."""
    from googleapiclient.errors import HttpError  # noqa: PLC0415

    return HttpError(_head(response), response.content, uri=response.url)


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error: its status, Google's reason, message and location."""

    status: int
    reason: str
    message: str
    location: str
    passing: bool

    @classmethod
    def read(cls, error: HttpError) -> Refusal:
        """Read Google's JSON, or make do with what a proxy on the way has said."""
        status, passing = int(error.resp.status), is_transient(error)
        try:
            body = json.loads(error.content)["error"]
            first = (body.get("errors") or [{}])[0]
            reason = first.get("reason") or body.get("status", "")
            return cls(status, reason, body["message"], first.get("location", ""), passing)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(status, "", error.content[:200].decode("utf-8", "replace"), "", passing)

    def to_error(self, what: str, account: str) -> PipelineError:
        """Return the error that this is for ``what``, asked for as ``account``."""
        who = account or "the pipeline's account"
        if self.status == 401 or self.reason in _SETUP:
            return SetupError(f"Drive does not serve {who} now: {self._words}")
        if self.passing:
            return TransientError(f"Drive answered {self._words}")
        if self.reason == "cannotDownloadAbusiveFile":
            message = f"Drive takes {what} for malware or spam and does not give it out"
            return PermanentError(Code.FORBIDDEN, message)
        if self.status == 403:
            message = f"{who} may not download {what}: {self._words}"
            return PermanentError(Code.FORBIDDEN, message)
        if self.status in (404, 410):
            message = f"{what} was deleted, or is no longer shared with {who}"
            return PermanentError(Code.GONE, message)
        return PipelineError(f"Drive refused a request for {what}: {self._words}")

    @property
    def _words(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


#: Reasons of a 403 that are about our project, scopes or quota of the day, not about a file
#: (Drive's guide "Resolve errors"). PERMISSION_DENIED comes from Google's front end alone.
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
