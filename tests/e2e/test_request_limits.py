"""What strangers can send to the webhook, and how slowly, under its real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from shared.runtime import request_limits
from tests.drive.processes import Instance, instance, post
from tests.drive.rig import Rig, make_rig

MB = 1_000_000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path) as rig:
        yield rig


@pytest.fixture
def webhook(rig: Rig, tmp_path: Path) -> Iterator[Instance]:
    with instance(rig, "notify", tmp_path, {"THREADS": "4"}) as running:
        assert post(running.url)[0] == 403  # what is built late is built
        yield running


def connect(webhook: Instance, *sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", webhook.port), timeout=60)
    for part in sent:
        connection.sendall(part)
    return connection


def status(connection: socket.socket) -> int:
    """Read the status of the answer; 0 when the connection was closed without one."""
    with contextlib.suppress(OSError):
        line = connection.makefile("rb").readline()
        return int(line.split()[1]) if line else 0
    return 0


def memory(webhook: Instance) -> int:
    first = psutil.Process(webhook.process.pid)
    return sum(p.memory_info().rss for p in [first, *first.children(recursive=True)])


def test_chunked_bodies_are_refused_and_not_kept(webhook: Instance) -> None:
    before, seen = memory(webhook), []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            seen.append(memory(webhook))

    def send(_: int) -> int:
        with connect(webhook, HEAD, b"Transfer-Encoding: chunked\r\n\r\n") as connection:
            part = b"%x\r\n" % MB + b"x" * MB + b"\r\n"
            with contextlib.suppress(OSError):
                for _ in range(100):
                    connection.sendall(part)
            return status(connection)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(send, range(3))) <= {0, 411}
    over.set()
    watcher.join()
    seen.append(memory(webhook))  # the refusals may have been quicker than the first look
    assert max(seen) - before < 30 * MB
    assert post(webhook.url)[0] == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n", 411),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n", 411),
        (b"Content-Length: 100000000\r\n\r\n", 413),
        (b"Content-Length: 16384\r\n\r\n", 403),  # a forgery is answered before its body
        (b"Content-Length: 0\r\n\r\n", 403),
        (b"Content-Length: -1\r\n\r\n", 400),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_the_answer_does_not_wait_for_the_body(
    webhook: Instance, headers: bytes, expected: int
) -> None:
    with connect(webhook, HEAD, headers) as connection:
        assert status(connection) == expected


SLOW = {
    "nothing": b"",
    "half a request line": b"POST / HT",
    "half the headers": HEAD + b"X-Much: ",
    "a body": HEAD + b"Content-Length: 10000\r\n\r\n",
    "a chunked body": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_leave_room_for_others(webhook: Instance, kind: str) -> None:
    """Twice as many as there are threads; each sends a byte now and then, for ever."""
    over = threading.Event()

    def trickle(connection: socket.socket) -> bool:
        """Return whether the server ended the connection."""
        with connection, contextlib.suppress(OSError):
            while not over.wait(0.5):
                connection.sendall(b"x")
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while connection.recv(1000):
                        pass
                    return True
                connection.setblocking(True)
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        slow = [connect(webhook, SLOW[kind]) for _ in range(8)]
        ended = [pool.submit(trickle, connection) for connection in slow]
        # Threads that wait for headers are free again after the limit, twice over.
        limit = 2 * request_limits.HEADERS_S + 15
        start = time.monotonic()
        try:
            assert post(webhook.url)[0] == 403
            assert time.monotonic() - start < limit
            assert all(one.result(60) for one in ended)
        finally:
            over.set()


def test_requests_without_end_are_cut(webhook: Instance) -> None:
    for start, part in (
        (b"POST /", b"x" * MB),
        (HEAD + b"X-Much: ", b"x" * MB),
        (HEAD, b"X-Much: y\r\n" * 100_000),
    ):
        before = memory(webhook)
        with connect(webhook, start) as connection:
            with contextlib.suppress(OSError):
                for _ in range(50):
                    connection.sendall(part)
            assert status(connection) in (0, 400, 414, 431)
        assert memory(webhook) - before < 20 * MB
    assert post(webhook.url)[0] == 403


def test_a_client_that_never_closes_does_not_stop_the_others(webhook: Instance) -> None:
    sent = HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    open_ones = [connect(webhook, sent) for _ in range(20)]
    assert {status(connection) for connection in open_ones} == {403}
    start = time.monotonic()
    assert post(webhook.url)[0] == 403
    assert time.monotonic() - start < 15
    for connection in open_ones:
        connection.close()


def test_one_connection_serves_many_requests(webhook: Instance) -> None:
    """Drive's front end keeps connections; a small unread body must not end one."""
    request = HEAD + b"Content-Length: 5\r\n\r\nhello"
    with connect(webhook) as connection:
        reader = connection.makefile("rb")
        for _ in range(5):
            connection.sendall(request)
            assert b" 403 " in reader.readline()
            while (line := reader.readline()) != b"\r\n":
                assert line
                assert line.lower() != b"connection: close\r\n"


def test_maintain_reads_its_body_within_a_limit(rig: Rig, tmp_path: Path) -> None:
    with instance(rig, "maintain", tmp_path, {"THREADS": "2"}) as running:
        assert post(running.url, b'{"only": "requeue"}')[0] == 200
        assert post(running.url, b'{"only": "else"}')[0] == 400
        assert post(running.url, b"x" * 20_000)[0] == 413
        assert post(running.url, b"[" * 10_000)[0] == 400
        with connect(running, HEAD, b"Content-Length: 100\r\n\r\n{") as connection:
            assert status(connection) == 408
