"""A receiver of webhooks, as the tests need one: it answers what it is asked to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request: its headers in lower case, its body as it came, and its path."""

    headers: Mapping[str, str]
    body: bytes
    path: str = "/"

    @property
    def event(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


@dataclass
class Receiver:
    """What a receiver got, in order. ``answer`` returns the status of each answer.

    ``on_connect`` is called before anything of a request is read.
    """

    answer: Callable[[Received], int] = lambda _: 204
    on_connect: Callable[[], object] = lambda: None
    requests: list[Received] = field(default_factory=list)
    accepted: list[Received] = field(default_factory=list)
    url: str = ""

    @property
    def types(self) -> list[str]:
        return [one.event["type"] for one in self.accepted]


@contextmanager
def receiving(receiver: Receiver | None = None) -> Iterator[Receiver]:
    """Run a receiver on a port of its own until the block ends."""
    got = receiver or Receiver()

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            got.on_connect()
            super().setup()

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(headers, self.rfile.read(length), self.path)
            got.requests.append(request)
            status = got.answer(request)
            if 200 <= status < 300:
                got.accepted.append(request)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/recordings"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield got
        finally:
            server.shutdown()
