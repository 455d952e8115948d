"""One SFTP server: a connection that is made when needed, and again when it broke."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from shared.adapters.sftp.authentication import Authenticator, Login
from shared.adapters.sftp.login import Connection, connect
from shared.adapters.sftp.packets import MISSING, REFUSED, StatusError
from shared.adapters.sftp.session import SftpSession
from shared.core.errors import Code, PermanentError, TransientError, is_transient
from shared.core.naming import encode_path
from shared.core.sftp_login import PersonalLogin

#: No attempt starts later than this after the first. Together with the timeouts of a login
#: and a reply, a push is answered within a minute.
RETRY_S = 25.0

#: An unused connection is closed after this, since servers limit their number; one that was
#: idle for longer, on a machine that slept, is not reused.
IDLE_S = 10.0

T = TypeVar("T")


class SftpServer:
    """A server that all threads of a process reach through one connection.

    Args:
        host: Name or address.
        port: Its port.
        login: The user, how to authenticate, and the accepted host keys.
        retry_s: How long a call with a transient error is retried.
    """

    def __init__(self, host: str, port: int, login: Login, *, retry_s: float = RETRY_S) -> None:
        self._where = host, port
        self._authenticator = Authenticator(login)
        # A person would have to answer the server's questions again.
        self._keeps_idle = isinstance(login, PersonalLogin)
        self._retry_s = retry_s
        self._connection: Connection | None = None
        self._users = 0
        self._idle_since = 0.0
        self._lock = threading.Lock()

    def call(self, operation: Callable[[SftpSession], T], path: bytes) -> T:
        """Return the result of ``operation``, retried on a new connection where one broke.

        Raises ``UnreachableError``, ``ServerError``, ``PermanentError`` (``gone``,
        ``forbidden``) about ``path``, or ``TransientError``.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_delay(self._retry_s),
            wait=wait_random_exponential(multiplier=0.1, max=3.0),
            reraise=True,
        )
        result: T = retrying(self.once, operation, path)
        return result

    def once(self, operation: Callable[[SftpSession], T], path: bytes) -> T:
        """Do the same without retries."""
        with self.used(), translate_errors(path):
            return operation(self._session())

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the connection open while the block runs."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._idle_since = time.monotonic()
                is_idle = not self._users
            if is_idle and not self._keeps_idle:
                timer = threading.Timer(IDLE_S, self._close_if_idle)
                timer.daemon = True
                timer.start()

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _session(self) -> SftpSession:
        with self._lock:
            connection = self._connection
            idle_s = time.monotonic() - self._idle_since
            stale = self._users == 1 and idle_s > IDLE_S and not self._keeps_idle
            if connection and (connection.is_broken or stale):
                connection.close()
                connection = None
            if connection is None:
                self._connection = connection = connect(*self._where, self._authenticator)
            return connection.session

    def _close_if_idle(self) -> None:
        with self._lock:
            if self._users or time.monotonic() - self._idle_since < IDLE_S:
                return
            connection, self._connection = self._connection, None
        if connection:
            connection.close()


@contextmanager
def translate_errors(path: bytes) -> Iterator[None]:
    """Raise the pipeline's errors for the server's about ``path``."""
    try:
        yield
    except StatusError as error:
        shown = encode_path(path)
        if error.code in MISSING:
            raise PermanentError(Code.GONE, f"{shown} no longer exists on the server") from error
        if error.code in REFUSED:
            message = f"the server does not let us read {shown}: {error}"
            raise PermanentError(Code.FORBIDDEN, message) from error
        raise TransientError(f"the server cannot read {shown}: {error}") from error
