"""HTTP by RFC 9110, at an address that cannot be guessed, and nothing else."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.media.source.range_server import MAX_CONNECTIONS, RangeServer, parse_range, serve
from tests.emulators import missing

CONTENT = bytes(range(256)) * 40


class MemorySource:
    local_path = None

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def check_unchanged(self) -> None:
        """Nothing here ever changes."""

    def close(self) -> None:
        """Nothing to release."""


class StuckSource(MemorySource):
    """Answers when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        assert self.release.wait(60)
        return super().read(offset, length)


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with serve(MemorySource(), name="a.MP4", block_bytes=1000) as running:
        yield running


def connect(server: RangeServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)


def ask(
    server: RangeServer, method: str = "GET", path: str = "", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = connect(server)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path or urlsplit(server.url).path, headers=names)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def raw(server: RangeServer, request: bytes) -> bytes:
    port = urlsplit(server.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        answer = b""
        while data := client.recv(65536):
            answer += data
        return answer


def test_another_user_gets_nothing(server: RangeServer) -> None:
    if os.getuid():
        missing("root, to become another user")
    reader = "import sys, urllib.request as r; print(len(r.urlopen(sys.argv[1]).read()))"
    for user, wanted in ((None, str(len(CONTENT))), ("nobody", "")):
        # The system's Python, which any user can run.
        done = subprocess.run(
            ["/usr/bin/python3", "-c", reader, server.url],
            user=user,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == wanted, done.stderr


def test_the_whole_file(server: RangeServer) -> None:
    response, body = ask(server)
    assert response.status == 200
    assert body == CONTENT
    assert response.getheader("Accept-Ranges") == "bytes"
    assert response.getheader("Content-Length") == str(len(CONTENT))
    assert response.getheader("Content-Range") is None


def test_head_returns_the_size_and_ignores_the_range(server: RangeServer) -> None:
    response, body = ask(server, "HEAD", Range="bytes=5-9")
    assert response.status == 200
    assert body == b""
    assert response.getheader("Content-Length") == str(len(CONTENT))


@pytest.mark.parametrize(
    ("header", "first", "stop"),
    [
        ("bytes=0-", 0, 10240),
        ("bytes=0-0", 0, 1),
        ("bytes=999-1000", 999, 1001),
        ("bytes=10239-", 10239, 10240),
        ("bytes=10000-99999999999999999999999", 10000, 10240),
        ("bytes=-1", 10239, 10240),
        ("bytes=-99999", 0, 10240),
        ("Bytes= 7-8 ", 7, 9),
        ("bytes=0007-8", 7, 9),
    ],
)
def test_a_range(server: RangeServer, header: str, first: int, stop: int) -> None:
    response, body = ask(server, Range=header)
    assert response.status == 206
    assert response.getheader("Content-Range") == f"bytes {first}-{stop - 1}/10240"
    assert body == CONTENT[first:stop]


@pytest.mark.parametrize(
    "header", ["bytes=10240-", "bytes=99999-100000", "bytes=-0", f"bytes={'9' * 5000}-"]
)
def test_a_range_outside_the_file(server: RangeServer, header: str) -> None:
    response, body = ask(server, Range=header)
    assert response.status == 416
    assert response.getheader("Content-Range") == "bytes */10240"
    assert body == b""


@pytest.mark.parametrize(
    "header",
    [
        *("bytes=0-1,5-9", "bytes=5-4", "bytes=-", "bytes=", "bytes", "seconds=1-2", "bytes=a-b"),
        *("bytes=0x1-2", "bytes=--5", "bytes=+1-2", "bytes=1 -2", "bytes=١-٢", ""),
    ],
)
def test_other_headers_than_a_single_range_are_ignored(server: RangeServer, header: str) -> None:
    answer = raw(
        server,
        b"GET %b HTTP/1.1\r\nRange: %b\r\nConnection: close\r\n\r\n"
        % (urlsplit(server.url).path.encode(), header.encode()),
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n" + CONTENT)


def test_if_range_never_matches(server: RangeServer) -> None:
    response, body = ask(server, Range="bytes=1-2", If_Range='"abc"')
    assert (response.status, body) == (200, CONTENT)


@given(header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,25}-[0-9]{0,25}"))
@example("bytes=-")
@example("bytes=0-\n")
@example(f"bytes={'9' * 5000}-{'9' * 5000}")
@example(f"bytes={'0' * 5000}-5")
def test_any_header_gives_bytes_of_the_file_or_nothing(header: str) -> None:
    for size in (0, 1, 1000):
        wanted = parse_range(header, size)
        assert wanted is None or 0 <= wanted.start <= wanted.stop <= size


def test_an_empty_file() -> None:
    with serve(MemorySource(b"")) as server:
        response, body = ask(server)
        assert (response.status, body) == (200, b"")
        response, _ = ask(server, Range="bytes=0-")
        assert response.status == 416


def test_a_connection_serves_many_requests(server: RangeServer) -> None:
    connection = connect(server)
    path = urlsplit(server.url).path
    socket_used = set()
    for first in range(0, 5000, 500):
        connection.request("GET", path, headers={"Range": f"bytes={first}-{first + 9}"})
        assert connection.getresponse().read() == CONTENT[first : first + 10]
        assert connection.sock is not None
        socket_used.add(connection.sock.getsockname())
    connection.close()
    assert len(socket_used) == 1


@pytest.mark.parametrize("suffix", ["x", "/", "?a=b", "/../recording.mp4", "%00"])
def test_any_other_path_is_not_found(server: RangeServer, suffix: str) -> None:
    path = urlsplit(server.url).path
    for other in (path + suffix, "/", "/recording.mp4", path.lower(), path.replace("/", "//")):
        assert ask(server, path=other)[0].status == 404
    assert raw(server, b"GET /\xff\xfe HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_the_path_is_unguessable_and_keeps_the_extension_only(server: RangeServer) -> None:
    token, name = urlsplit(server.url).path.removeprefix("/").split("/")
    assert len(token) >= 40
    assert name == "recording.mp4"
    for odd in ("no extension", "a.", ".a/b", "x.tar gz", "x.ä", "x.m4a\n", "x." + "a" * 99):
        with serve(MemorySource(), name=odd) as other:
            assert urlsplit(other.url).path.endswith("/recording")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "BREW"])
def test_other_methods_are_refused(server: RangeServer, method: str) -> None:
    response, body = ask(server, method)
    assert response.status == 405
    assert response.getheader("Allow") == "GET, HEAD"
    assert body == b""
    assert response.getheader("Connection") == "close"


@pytest.mark.parametrize(
    "request_",
    [
        *(b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"),
        *(b"GET " + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200),
    ],
    ids=["empty", "tls", "short", "version", "long", "many headers"],
)
def test_garbage_gets_no_answer(
    server: RangeServer, request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    port = urlsplit(server.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request_ + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass  # it did not read all of it
    assert ask(server)[1] == CONTENT
    assert server.failure is None
    assert capfd.readouterr() == ("", "")


def test_a_request_with_a_body_ends_the_connection(server: RangeServer) -> None:
    path = urlsplit(server.url).path.encode()
    smuggled = b"GET %b HTTP/1.1\r\n\r\n" % path
    request = b"GET %b HTTP/1.1\r\nContent-Length: %d\r\nRange: bytes=0-0\r\n\r\n%b"
    answer = raw(server, request % (path, len(smuggled), smuggled))
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_failing_source_resets_the_connection(server: RangeServer) -> None:
    class Failing(MemorySource):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 5000:
                raise ConnectionAbortedError("the far end went away")
            return super().read(offset, length)

    with serve(Failing(), block_bytes=1000) as failing:
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            ask(failing)
        assert isinstance(failing.failure, ConnectionAbortedError)


def test_closing_ends_idle_and_waiting_clients_at_once() -> None:
    source = StuckSource()
    before = set(threading.enumerate())
    with serve(source) as server:
        port = urlsplit(server.url).port
        idle = socket.create_connection(("127.0.0.1", port), timeout=10)
        waiting = socket.create_connection(("127.0.0.1", port), timeout=10)
        waiting.sendall(b"GET %b HTTP/1.1\r\n\r\n" % urlsplit(server.url).path.encode())
        assert waiting.recv(15) == b"HTTP/1.1 200 OK"
        threading.Timer(0.3, source.release.set).start()
        started = time.monotonic()
    # The read that was under way is waited for: it ends 0.3 s later.
    assert time.monotonic() - started < 10
    idle.close()
    waiting.close()
    assert [thread.name for thread in set(threading.enumerate()) - before] == []
    assert server.failure is None


def test_closing_twice_is_closing_once(server: RangeServer) -> None:
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        ask(server)


def test_connections_are_limited() -> None:
    with serve(MemorySource()) as server:
        port = urlsplit(server.url).port
        clients = [
            socket.create_connection(("127.0.0.1", port), timeout=10)
            for _ in range(MAX_CONNECTIONS)
        ]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one_more:
            assert one_more.recv(1) == b""
        clients[0].close()
        clients[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert clients[1].recv(12) == b"HTTP/1.1 404"
        for client in clients:
            client.close()


def test_the_server_is_on_the_loopback_interface_only(server: RangeServer) -> None:
    parts = urlsplit(server.url)
    assert parts.hostname == "127.0.0.1"
    hexadecimal = f"0100007F:{parts.port:04X}"
    table = Path("/proc/net/tcp")
    if table.exists():
        rows = [line.split() for line in table.read_text().splitlines()]
        listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(hexadecimal[8:])]
        assert listening == [hexadecimal]
