"""One SFTP server: a connection that is made when it is needed, and anew when it broke."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from shared.adapters.sftp.login import Connection, connect
from shared.adapters.sftp.packets import SftpStatus, StatusError
from shared.adapters.sftp.session import SftpSession
from shared.config.parsers import SftpCredentials
from shared.core.errors import Code, PermanentError, TransientError, is_transient
from shared.core.naming import encode_path

#: No try starts later than this after the first. With the deadlines of a login and an
#: answer it leaves a push answered within a minute.
RETRY_S = 25.0

#: A connection that nobody uses is closed after this, since servers count them; one that
#: was idle for longer, on a machine that slept, is not trusted.
IDLE_S = 10.0

T = TypeVar("T")


class SftpServer:
    """Shared by all threads of a process, so that it takes one connection of the server's.

    Args:
        host: Name or address.
        port: Its port.
        credentials: Who logs in, and the host keys that are accepted.
        retry_s: For how long a call that met a transient error is tried again.
    """

    def __init__(
        self, host: str, port: int, credentials: SftpCredentials, *, retry_s: float = RETRY_S
    ) -> None:
        self._where = host, port
        self._credentials = credentials
        self._retry_s = retry_s
        self._connection: Connection | None = None
        self._users = 0
        self._idle_since = 0.0
        self._lock = threading.Lock()

    def call(self, operation: Callable[[SftpSession], T], path: bytes) -> T:
        """Return what ``operation`` returns, tried again on a new connection where one broke.

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
        """Do the same, once."""
        with self.used(), translate_errors(path):
            return operation(self._session())

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the connection for as long as the block runs."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._idle_since = time.monotonic()
                is_idle = not self._users
            if is_idle:
                self._close_when_idle()

    def close(self) -> None:
        """Close the connection; a later call makes another one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _session(self) -> SftpSession:
        with self._lock:
            connection = self._connection
            stale = self._users == 1 and time.monotonic() - self._idle_since > IDLE_S
            if connection and (connection.is_broken or stale):
                connection.close()
                connection = None
            if connection is None:
                self._connection = connection = connect(*self._where, self._credentials)
            return connection.session

    def _close_when_idle(self) -> None:
        timer = threading.Timer(IDLE_S, self._close_if_idle)
        timer.daemon = True
        timer.start()

    def _close_if_idle(self) -> None:
        with self._lock:
            if self._users or time.monotonic() - self._idle_since < IDLE_S:
                return
            connection, self._connection = self._connection, None
        if connection:
            connection.close()


@contextmanager
def translate_errors(path: bytes) -> Iterator[None]:
    """Raise the server's refusals about ``path`` as errors of ours."""
    try:
        yield
    except StatusError as error:
        shown = encode_path(path)
        if error.code == SftpStatus.NO_SUCH_FILE:
            raise PermanentError(Code.GONE, f"the server has no {shown} any more") from error
        if error.code == SftpStatus.PERMISSION_DENIED:
            raise PermanentError(Code.FORBIDDEN, f"the server lets nobody read {shown}") from error
        raise TransientError(f"the server cannot read {shown}: {error}") from error
