"""HTTP over a Unix socket: how the processes of ``audio-pipeline serve`` reach one another."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket; ``timeout_s`` is for each operation on it."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Response:
    """A status, the headers and the whole body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def request(
    socket_path: Path,
    method: str,
    path: str = "/",
    body: bytes | None = None,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send one request and read the whole answer.

    Raises ``OSError`` or ``http.client.HTTPException`` when no answer comes, which
    includes a server that dies before it has answered.
    """
    with closing(UnixConnection(socket_path, timeout_s)) as connection:
        connection.request(
            method, path, body, {"Content-Type": "application/json", **(headers or {})}
        )
        response = connection.getresponse()
        return Response(response.status, response.read(), dict(response.headers))
