from __future__ import annotations

import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cli.serve.push_address import push_address
from cli.serve.queue import Endpoint


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def worker(path: Path, status: int, seen: list[bytes]) -> Iterator[Endpoint]:
    """A function on a Unix socket that answers every request with one status."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

    with _Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Endpoint(path)
        finally:
            server.shutdown()
            thread.join()


def post(url: str) -> int:
    try:
        with urllib.request.urlopen(url, data=b"{}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_function_s_status_is_passed_on(tmp_path: Path) -> None:
    for status in (204, 503):
        seen: list[bytes] = []
        with (
            worker(tmp_path / str(status), status, seen) as endpoint,
            push_address([endpoint]) as url,
        ):
            assert [post(url), post(url)] == [status, status]
            assert len(seen) == 2


def test_an_unreachable_worker_does_not_acknowledge(tmp_path: Path) -> None:
    with push_address([Endpoint(tmp_path / "nobody")]) as url:
        assert post(url) == 502
        assert post(url) == 502


def test_only_the_secret_path_reaches_a_function(tmp_path: Path) -> None:
    seen: list[bytes] = []
    with worker(tmp_path / "w", 204, seen) as endpoint, push_address([endpoint]) as url:
        assert post(url.rpartition("/")[0] + "/") == 404
    assert seen == []


def test_without_an_idle_worker_the_message_is_redelivered() -> None:
    with push_address([], ack_deadline_s=0.05) as url:
        assert post(url) == 503
