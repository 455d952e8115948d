"""Limits on what a client may send, and how long it may take, under functions-framework.

functions-framework sets none that help here: it reads each body whole after the function has
answered (``read_request``), chunked ones without end, and allows a request line of any length.
Its gunicorn waits for headers and bodies as long as the client likes, with a thread for each.
Source: functions_framework 3.10, ``__init__.py`` and ``_http/gunicorn.py``; gunicorn 27,
``workers/gthread.py`` and ``util.close_graceful``.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: Seconds for the headers of one request, and their most bytes. Drive's have about 1 KiB.
HEADERS_S = 10.0
MAX_HEADERS = 64 * 1024

#: Seconds for a body that is read.
BODY_S = 10.0

#: What an unread body may still send after its answer, so that an honest client that is
#: sending sees the answer instead of a reset connection.
DRAIN_S = 2.0
MAX_DRAIN = 4 * 1024 * 1024

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def limit_requests(unread: str, max_body: int) -> None:
    """Limit the requests of the function that is being loaded.

    Call it when the function's module is imported: functions-framework then has its Flask
    application as the current one, and has not started its server. Anywhere else it does
    nothing.

    Args:
        unread: The target whose bodies are never read.
        max_body: The most bytes of a body; more is answered 413.
    """
    from flask import current_app, has_app_context  # noqa: PLC0415

    if not has_app_context():
        return
    reads = current_app.name != unread
    app: Any = current_app
    app.wsgi_app = LimitedBodies(app.wsgi_app, max_body=max_body, reads=reads)
    with contextlib.suppress(ImportError):  # without gunicorn, Flask's own server is used
        _limit_headers()


class LimitedBodies:
    """A WSGI application that refuses large and chunked bodies, or reads none at all.

    Args:
        application: Gets the body as a whole, or none.
        max_body: The most bytes of a body.
        reads: Whether the application reads bodies.
    """

    def __init__(self, application: Application, *, max_body: int, reads: bool) -> None:
        self._application = application
        self._max_body = max_body
        self._reads = reads

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        connection, body = environ.get("gunicorn.socket"), environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or "0"
        if "HTTP_TRANSFER_ENCODING" in environ:
            return _Answer(_refuse(start, "411 Length Required"), connection, body)
        if not length.isascii() or not length.isdigit():
            return _Answer(_refuse(start, "400 Bad Request"), connection, body)
        if int(length) > self._max_body:
            return _Answer(_refuse(start, "413 Content Too Large"), connection, body)
        content = b""
        if self._reads and int(length):
            with _limited(connection, BODY_S, self._max_body + MAX_HEADERS):
                content = body.read(int(length))
            if len(content) < int(length):
                return _refuse(start, "408 Request Timeout")
        inner = {
            **environ,
            "wsgi.input": io.BytesIO(content),
            "CONTENT_LENGTH": str(len(content)),
        }
        return _Answer(self._application(inner, start), connection, body)


def _refuse(start: StartResponse, status: str) -> Iterable[bytes]:
    start(status, [("Content-Length", "0")])
    return [b""]


class _Answer:
    """An answer after which the unread rest of the request is thrown away."""

    def __init__(self, answer: Iterable[bytes], connection: Any, body: Any) -> None:
        self._answer = answer
        self._connection = connection
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        if hasattr(self._answer, "close"):
            self._answer.close()
        with _limited(self._connection, DRAIN_S, MAX_DRAIN), contextlib.suppress(Exception):
            # Any error means that the connection is of no more use; gunicorn closes it.
            while self._body.read(64 * 1024):
                pass


class LimitedSocket(socket.socket):
    """A connection that ends for its reader when its time or its bytes are used up."""

    _until: float | None = None
    _left = 0
    is_cut = False

    def limit(self, seconds: float, size: int) -> None:
        """Allow this much from now on."""
        self._until, self._left = time.monotonic() + seconds, size

    def unlimit(self) -> None:
        """Allow anything again, unless the connection was cut."""
        self._until = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive; returns nothing when a limit is reached, as at the end of a connection."""
        if self.is_cut:
            return b""
        if self._until is None:
            return super().recv(size, flags)
        before, remaining = self.gettimeout(), self._until - time.monotonic()
        try:
            if remaining > 0 and self._left > 0:
                self.settimeout(remaining)
                data = super().recv(min(size, self._left), flags)
                self._left -= len(data)
                return data
        except TimeoutError:
            pass
        finally:
            self.settimeout(before)
        self.is_cut = True
        return b""


@contextlib.contextmanager
def _limited(connection: Any, seconds: float, size: int) -> Iterator[None]:
    if not isinstance(connection, LimitedSocket):  # another server, or HTTP/2
        yield
        return
    connection.limit(seconds, size)
    try:
        yield
    finally:
        connection.unlimit()


def _limit_headers() -> None:
    """Make gunicorn use a worker that limits headers, for which it has no setting.

    functions-framework passes gunicorn its own settings and ignores ``GUNICORN_CMD_ARGS``, and
    gunicorn looks up the class of its worker by name when it starts.
    """
    from gunicorn import util  # noqa: PLC0415
    from gunicorn.workers import gthread  # noqa: PLC0415

    if gthread.ThreadWorker.__name__ == "LimitedWorker":
        return

    class LimitedWorker(gthread.ThreadWorker):  # type: ignore[misc]
        def enqueue_req(self, conn: Any) -> None:
            if not isinstance(conn.sock, LimitedSocket):
                conn.sock = LimitedSocket(fileno=conn.sock.detach())
            super().enqueue_req(conn)

        def handle(self, conn: Any) -> Any:
            conn.sock.limit(HEADERS_S, MAX_HEADERS)
            keeps = super().handle(conn)
            if keeps is False:
                # Here, since gunicorn would wait for the client's end in its only loop.
                if conn.sock.is_cut:
                    util.close(conn.sock)
                else:
                    util.close_graceful(conn.sock)
            return keeps

        def handle_request(self, req: Any, conn: Any) -> Any:
            conn.sock.unlimit()
            return super().handle_request(req, conn) and not conn.sock.is_cut

    gthread.ThreadWorker = LimitedWorker
