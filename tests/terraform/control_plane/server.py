"""The HTTP server on loopback: the first element of a path chooses the API."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.terraform.control_plane.apis import APIS
from tests.terraform.control_plane.apis.storage import SERVICE as STORAGE
from tests.terraform.control_plane.errors import ApiError
from tests.terraform.control_plane.routing import Call
from tests.terraform.control_plane.world import Seen, World


class ControlPlane(ThreadingHTTPServer):
    """A running fake; ``url`` is its address, without a trailing slash."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out the tracebacks of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serve(world: World) -> Iterator[ControlPlane]:
    """Answer for ``world`` from a thread for as long as the context lasts."""
    with ControlPlane(world) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ControlPlane
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        address = urlsplit(self.path)
        raw = self._body()
        prefix, _, path = address.path.lstrip("/").partition("/")
        try:
            status, body = 200, self._call(prefix, path, address.query, raw)
        except ApiError as error:
            status, body = error.code, error.body()
        self._write(status, json.dumps(body).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def _call(self, prefix: str, path: str, query: str, raw: bytes) -> Any:
        world = self.server.world
        api = APIS.get(prefix)
        if api is None:
            world.gaps.append(f"{self.command} {self.path}")
            raise ApiError(404, f"No such API: {prefix}")
        if not self.headers.get("Authorization"):
            raise ApiError(401, "Request is missing required authentication credential.")
        call = Call(
            world=world,
            params={},
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=_json(raw, keep_nulls=api.service == STORAGE),
            raw=raw,
            path=path,
            service=api.service,
        )
        with world.lock:
            status = 200
            try:
                return api.answer(self.command, path, call)
            except ApiError as error:
                status = error.code
                raise
            finally:
                world.seen.append(Seen(self.command, api.service, path, status))

    def _write(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _json(raw: bytes, *, keep_nulls: bool) -> dict[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return {}  # an upload, which its handler reads by itself
    if not isinstance(body, dict):
        return {}
    return body if keep_nulls else _without_nulls(body)


def _without_nulls(message: dict[str, Any]) -> dict[str, Any]:
    # Protocol buffers take null for absent; Cloud Storage's older API clears a field by it.
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in message.items()
        if value is not None
    }
