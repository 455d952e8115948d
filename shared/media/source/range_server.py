"""A loopback HTTP server that lets FFmpeg read any ``ByteSource`` by range, with read-ahead."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from shared.core.ports import ByteSource
from shared.media.source.peer import peer_uid
from shared.media.source.read_ahead import BLOCK_BYTES, MEMORY_BYTES, WORKERS, ReadAhead

#: FFmpeg's options before ``-i`` of a served address, found by counting its requests. It reads
#: through a jump of less than a block: the block is in memory, and a new request would stop the
#: read-ahead. Without ``ignidx`` FFmpeg scans all fragments of a fragmented MP4 for an index
#: before it reads them in order, so everything is fetched twice for the same packets. FFmpeg does
#: not reconnect: the source retries by itself.
HTTP_INPUT_OPTIONS: tuple[str, ...] = (
    *("-protocol_whitelist", "http,tcp"),
    *("-short_seek_size", str(BLOCK_BYTES)),
    *("-fflags", "+ignidx"),
    *("-icy", "0"),
)

#: Bytes copied out of the cache at a time, which is all the memory that a stalled client uses.
PIECE_BYTES = 256 << 10

#: FFmpeg uses one connection, or two for a moment; more is abuse.
MAX_CONNECTIONS = 16

# The kernel doubles this. Half of it is less than one segment on the loopback interface, so that
# each segment would wait for the acknowledgement of the last.
_SEND_BUFFER_BYTES = 256 << 10
_POLL_SECONDS = 0.05
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z", re.ASCII)
_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*\Z", re.ASCII | re.IGNORECASE)


@contextmanager
def serve(
    source: ByteSource,
    *,
    name: str = "",
    block_bytes: int = BLOCK_BYTES,
    memory_bytes: int = MEMORY_BYTES,
    workers: int = WORKERS,
) -> Iterator[RangeServer]:
    """Serve ``source`` on the loopback interface inside a ``with`` block.

    Args:
        source: What to serve; it is not closed.
        name: A file name. Only its extension is used, which helps FFmpeg to recognise raw
            formats.
        block_bytes: Size of one request to the source.
        memory_bytes: Limit of the source's bytes in memory.
        workers: How many requests to the source run at once.

    Yields the server. When FFmpeg has ended, check ``failure`` first: an error of the source
    closes the connection, and FFmpeg sees only that.
    """
    ahead = ReadAhead(source, block_bytes=block_bytes, memory_bytes=memory_bytes, workers=workers)
    server = RangeServer(ahead, name=name)
    try:
        yield server
    finally:
        server.close()


class RangeServer:
    """An HTTP/1.1 server of one resource, at an address that cannot be guessed."""

    #: FFmpeg's options before ``-i`` and the address.
    input_options = HTTP_INPUT_OPTIONS

    def __init__(self, source: ReadAhead, *, name: str = "") -> None:
        self._source = source
        suffix = _SUFFIX.search(name)
        path = f"/{secrets.token_urlsafe(32)}/recording{suffix[0].lower() if suffix else ''}"
        self._listener = _Listener(source, path)
        self.port: int = self._listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_POLL_SECONDS,), name="serve", daemon=True
        )
        self._thread.start()

    @property
    def source(self) -> ReadAhead:
        """The source with the server's cache: cached bytes are not fetched again."""
        return self._source

    @property
    def failure(self) -> BaseException | None:
        """The first error, of the source or of the server, or ``None``."""
        return self._source.failure or self._listener.failure

    @property
    def waits_for_source(self) -> bool:
        """Whether a client waits for bytes that the source has not returned yet."""
        return self._source.is_awaited

    @property
    def requests(self) -> int:
        """Number of valid requests so far."""
        return self._listener.requests

    def close(self) -> None:
        """Close all connections and stop all threads; the source stays open. Idempotent."""
        self._listener.shutdown()
        self._thread.join()
        self._listener.break_connections()
        self._source.close()
        self._listener.server_close()


class _Listener(socketserver.TCPServer):
    # Not http.server.HTTPServer, which asks the resolver for this machine's name.
    request_queue_size = 16

    def __init__(self, source: ReadAhead, path: str) -> None:
        self.source = source
        self.path = path.encode()
        self.failure: BaseException | None = None
        self.requests = 0
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _RangeHandler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Return whether the client is this user: others can see the address in `ps`."""
        uid = peer_uid(request)
        # A client that is already gone has no user, and gets no bytes.
        return uid is None or uid == os.getuid()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._handle, args=(request, client_address), name="serve-client", daemon=True
        )
        with self._lock:
            crowded = len(self._connections) >= MAX_CONNECTIONS
            if not crowded:
                self._connections[request] = thread
        if crowded:
            self.shutdown_request(request)
        else:
            thread.start()

    def _handle(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client disconnected, as FFmpeg does at each jump
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            with self._lock:
                self._connections.pop(request, None)
            self.shutdown_request(request)

    def count_request(self) -> None:
        with self._lock:
            self.requests += 1

    def break_connections(self) -> None:
        with self._lock:
            connections = list(self._connections.items())
        for connection, _ in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._threads = [thread for _, thread in connections]

    def server_close(self) -> None:
        super().server_close()
        for thread in self._threads:
            thread.join()


class _RangeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "audio-pipeline"
    sys_version = ""
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        # Bytes in the kernel's buffer are wasted when the client jumps.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().setup()

    def log_message(self, *_: Any) -> None:
        """Log nothing: standard error belongs to the program."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def parse_request(self) -> bool:
        """Read the request's head; answer all but GET and HEAD, and return ``False`` for them."""
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        # The body, if any, was not read, so the connection cannot be reused.
        headers = {"Allow": "GET, HEAD", "Connection": "close"}
        self._send_empty(HTTPStatus.METHOD_NOT_ALLOWED, **headers)
        return False

    def _answer(self, *, with_body: bool) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        if not hmac.compare_digest(self.path.encode("utf-8", "replace"), self.server.path):
            self._send_empty(HTTPStatus.NOT_FOUND)
            return
        self.server.count_request()
        size = self.server.source.size
        wanted = self._wanted(size) if with_body else None
        if wanted is not None and not wanted:
            self._send_empty(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, Content_Range=f"bytes */{size}"
            )
            return
        self._send_head(wanted, size)
        if with_body:
            self._send_body(range(size) if wanted is None else wanted)

    def _wanted(self, size: int) -> range | None:
        headers = self.headers.get_all("Range", [])
        # The server sends no validator, so If-Range never matches.
        if len(headers) != 1 or "If-Range" in self.headers:
            return None
        return parse_range(headers[0], size)

    def _send_empty(self, status: HTTPStatus, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_head(self, wanted: range | None, size: int) -> None:
        self.send_response(HTTPStatus.OK if wanted is None else HTTPStatus.PARTIAL_CONTENT)
        # A more specific type would influence FFmpeg's guess of the format.
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{size}")
        self.send_header("Content-Length", str(size if wanted is None else len(wanted)))
        self.end_headers()

    def _send_body(self, wanted: range) -> None:
        position = wanted.start
        while position < wanted.stop:
            try:
                length = min(PIECE_BYTES, wanted.stop - position)
                piece = self.server.source.piece(position, length)
            except BaseException:
                self._reset()
                return
            self.wfile.write(piece)
            position += len(piece)

    def _reset(self) -> None:
        # Reset instead of a normal close: the client must not mistake a part for the whole.
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def parse_range(header: str, size: int) -> range | None:
    """Return the bytes of a file of ``size`` bytes that a Range header asks for.

    ``None``: ignore the header, as RFC 9110 (14.2) allows for other units, invalid ranges and
    sets of ranges. An empty range: it cannot be satisfied.
    """
    match = _RANGE.match(header.strip())
    if match is None or match[0] == "" or not (match[1] or match[2]):
        return None
    first, last = (_number(digits) for digits in match.groups())
    if first is None:
        return range(max(0, size - (last or 0)), size)
    if last is None:
        last = size - 1
    elif last < first:
        return None
    return range(first, min(last + 1, size)) if first < size else range(0)


def _number(digits: str) -> int | None:
    # int() rejects thousands of digits, leading zeros too. Beyond the end of any file, the exact
    # number is irrelevant.
    if len(significant := digits.lstrip("0")) > 19:
        return 1 << 63
    return int(significant or "0") if digits else None
