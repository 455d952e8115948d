"""The HTTP server: Drive below ``/drive/v3/``, identity and control beside it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cli.demo.drive_standin import control, discovery, fields, media
from cli.demo.drive_standin.api import Api
from cli.demo.drive_standin.errors import ApiError
from cli.demo.drive_standin.identity import OAuthError
from cli.demo.drive_standin.request import Request
from cli.demo.drive_standin.state import File
from cli.demo.drive_standin.world import World

PREFIX = "/drive/v3/"
_IAM = "/v1/projects/-/serviceAccounts/"

#: Drive's fields without a ``fields`` parameter.
_DEFAULT_FILE = "kind,id,name,mimeType,driveId"
_DEFAULT_FIELDS = {
    "files.get": _DEFAULT_FILE,
    "files.list": f"kind,incompleteSearch,nextPageToken,files({_DEFAULT_FILE})",
    "changes.list": "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,"
    f"removed,fileId,driveId,file({_DEFAULT_FILE}),drive(kind,id,name))",
    "drives.get": "kind,id,name",
    "drives.list": "kind,nextPageToken,drives(kind,id,name)",
}


class DriveServer(ThreadingHTTPServer):
    """A running stand-in: ``url`` is its address, ``endpoint`` goes in ``DRIVE_API_ENDPOINT``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, world: World, port: int = 0) -> None:
        self.world = world
        self.api = Api(world)
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _DriveHandler)

    @property
    def url(self) -> str:
        """Return the server's address, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def endpoint(self) -> str:
        """Return the base address of the Drive API."""
        return self.url + PREFIX

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that closing the server ends it."""
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._connections_lock:
            self._connections.discard(request)
        if media.is_to_be_reset(request):
            self.close_request(request)  # shutting it down first would end it in good order
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out the tracebacks of clients that went away."""

    def drop_connections(self) -> None:
        """Cut every open connection."""
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serve(world: World, port: int = 0) -> Iterator[DriveServer]:
    """Answer for ``world`` from a thread for as long as the context lasts."""
    server = DriveServer(world, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.drop_connections()
        server.server_close()
        thread.join()
        world.close()


class _DriveHandler(BaseHTTPRequestHandler):
    server: DriveServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        self._path = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            path = self._path.path
            if path.startswith(PREFIX):
                self._drive(path.removeprefix(PREFIX), body)
            elif path.startswith("/_world/"):
                self._control(path.removeprefix("/_world/"), body)
            else:
                self._identity(path, body)
        except ApiError as error:
            self._json(error.status, error.body())
        except OAuthError as error:
            self._json(error.status, error.body)
        except (media.CutConnectionError, ConnectionError):
            self.close_connection = True

    # Drive

    def _drive(self, path: str, body: bytes) -> None:
        world = self.server.world
        time.sleep(world.faults.latency_s)
        # A client sends a GET with too long an address as a POST with an override header.
        verb = self.headers.get("X-HTTP-Method-Override", self.command).upper()
        text = self._path.query if verb == self.command else body.decode()
        found = discovery.find(verb, path)
        if found is None or found[0].id not in self.server.api.methods:
            raise ApiError(404, "notFound", f"No such method: {verb} {path}")
        method, in_path = found
        world.requests[method.id] += 1
        error = world.faults.next_error()
        if error:
            raise error
        account = world.default_account
        if world.require_auth:
            account = world.identity.drive_principal(self.headers.get("Authorization"))
        query = dict(parse_qsl(text, keep_blank_values=True))
        parameters = {**method.parse(query), **in_path}
        content = json.loads(body or b"{}") if verb == self.command else {}
        request = Request(account, parameters, content, self.server.endpoint)
        mask = fields.parse(request["fields"] or _DEFAULT_FIELDS.get(method.id, "*"))
        if method.response:
            fields.check(mask, discovery.schema(method.response))
        answer = self.server.api.methods[method.id](request)
        if isinstance(answer, File):
            self._media(answer)
        elif answer is None:
            self._head(204, {"Content-Length": "0"})
        else:
            self._json(200, fields.apply(mask, answer))

    def _media(self, file: File) -> None:
        content = file.content
        if content is None:
            raise ApiError(403, "fileNotDownloadable", "The file has no content.")
        part = media.span(self.headers.get("Range"), content.size)
        if part.status == 416:
            more = {"Content-Range": f"bytes */{content.size}", "Content-Length": "0"}
            self._head(416, more)
            return
        self._head(
            part.status,
            {
                "Content-Type": file.mime_type,
                "Content-Length": str(part.length),
                "Accept-Ranges": "bytes",
                **part.headers(content.size),
            },
        )
        media.send(self.connection, content, part, self.server.world.faults)

    # Control and identity

    def _control(self, name: str, body: bytes) -> None:
        arguments = json.loads(body or b"{}")
        try:
            token_uri = f"{self.server.url}/token"
            answer = control.call(self.server.world, name, arguments, token_uri)
        except (KeyError, TypeError, ValueError, OSError, AttributeError) as error:
            self._json(400, {"error": f"{type(error).__name__}: {error}"})
            return
        self._json(200, answer)

    def _identity(self, path: str, body: bytes) -> None:
        identity = self.server.world.identity
        query = dict(parse_qsl(self._path.query))
        authorization = self.headers.get("Authorization")
        if path == "/" and self.command == "GET":
            self._json(200, {}, {"Metadata-Flavor": "Google"})
        elif path.startswith("/computeMetadata/v1/"):
            self._metadata(path.removeprefix("/computeMetadata/v1/"), query.get("scopes", ""))
        elif path == "/token" and self.command == "POST":
            self._json(200, identity.exchange(dict(parse_qsl(body.decode())).get("assertion", "")))
        elif path.startswith(_IAM) and self.command == "POST":
            account, _, verb = path.removeprefix(_IAM).rpartition(":")
            self._json(200, identity.iam(account, verb, authorization, json.loads(body)))
        else:
            raise ApiError(404, "notFound", "Not Found")

    def _metadata(self, path: str, scopes: str) -> None:
        flavor = {"Metadata-Flavor": "Google"}
        if self.headers.get("Metadata-Flavor") != "Google":
            self._text(403, "Missing Metadata-Flavor:Google header.", {})
            return
        answer = self.server.world.identity.metadata(path, scopes.split(",") if scopes else [])
        if isinstance(answer, dict):
            self._json(200, answer, flavor)
        else:
            self._text(404 if answer is None else 200, answer or "", flavor)

    # Writing

    def _text(self, status: int, text: str, headers: dict[str, str]) -> None:
        data = text.encode()
        self._head(
            status, {"Content-Type": "text/plain", "Content-Length": str(len(data)), **headers}
        )
        self.wfile.write(data)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        kind = {"Content-Type": "application/json; charset=UTF-8"}
        self._head(status, {**kind, "Content-Length": str(len(data)), **(headers or {})})
        self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
