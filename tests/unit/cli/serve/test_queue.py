"""The local queue against real HTTP servers on Unix sockets."""

from __future__ import annotations

import base64
import json
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cli.serve.queue import Endpoint, Policy, PushQueue, published
from tests.services import until

FAST = Policy(ack_deadline_s=0.5, first_backoff_s=0.05, longest_backoff_s=0.2, max_deliveries=4)


class Worker:
    """A push endpoint. ``answer`` gets a message's key and its envelope, returns a status."""

    def __init__(self, path: Path) -> None:
        self.endpoint = Endpoint(path)
        self.answer: Callable[[str, dict[str, Any]], int] = lambda _key, _body: 204
        self.seen: list[tuple[str, str, float]] = []
        self.active = self.most_active = 0
        self.lock = threading.Lock()

    def received(self, path: str = "/") -> list[str]:
        return [key for at, key, _ in self.seen if at == path]


@contextmanager
def working(path: Path) -> Iterator[Worker]:
    worker = Worker(path)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = body["message"]["attributes"]["key"]
            with worker.lock:
                worker.seen.append((self.path, key, time.monotonic()))
                worker.active += 1
                worker.most_active = max(worker.active, worker.most_active)
            status = worker.answer(key, body)
            with worker.lock:
                worker.active -= 1
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield worker
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:  # a socket's path is at most 107 bytes long
        yield Path(path)


@pytest.fixture
def worker(folder: Path) -> Iterator[Worker]:
    with working(folder / "worker") as worker:
        yield worker


@contextmanager
def pushing(queue: PushQueue) -> Iterator[PushQueue]:
    queue.start()
    try:
        yield queue
    finally:
        queue.close()


def publish(queue: PushQueue, *keys: str) -> None:
    for key in keys:
        queue.publish(f"data of {key}".encode(), {"key": key, "source": "drive"})


def test_a_message_is_pushed_as_pubsub_pushes_it(worker: Worker) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(_key: str, body: dict[str, Any]) -> int:
        bodies.append(body)
        return 204

    worker.answer = answer
    with pushing(PushQueue([worker.endpoint])) as queue:
        publish(queue, "a")
        until(lambda: not len(queue))
    (body,) = bodies
    message = body["message"]
    assert base64.b64decode(message["data"]) == b"data of a"
    assert message["attributes"] == {"key": "a", "source": "drive"}
    assert message["messageId"]
    assert message["publishTime"].endswith("Z")
    assert body["subscription"]
    assert body["deliveryAttempt"] == 1


def test_a_worker_gets_one_message_at_a_time(worker: Worker) -> None:
    worker.answer = lambda _key, _body: 204 if not threading.Event().wait(0.02) else 500
    with pushing(PushQueue([worker.endpoint])) as queue:
        publish(queue, *map(str, range(10)))
        until(lambda: not len(queue))
    assert worker.received() == [str(number) for number in range(10)]
    assert worker.most_active == 1


def test_several_workers_share_the_messages(folder: Path, worker: Worker) -> None:
    both = threading.Barrier(2)
    with working(folder / "second") as second:
        worker.answer = second.answer = lambda _key, _body: (both.wait(10) and 0) or 204
        with pushing(PushQueue([worker.endpoint, second.endpoint])) as queue:
            publish(queue, "a", "b")
            until(lambda: not len(queue))
        assert sorted(worker.received() + second.received()) == ["a", "b"]


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_refused_message_is_redelivered_after_a_growing_wait(worker: Worker, status: int) -> None:
    answers = iter([status, status, 204])
    worker.answer = lambda _key, _body: next(answers)
    with pushing(PushQueue([worker.endpoint], policy=FAST)) as queue:
        publish(queue, "a")
        until(lambda: not len(queue))
    first, second, third = (at for _, _, at in worker.seen)
    assert second - first >= FAST.first_backoff_s
    assert third - second >= 2 * FAST.first_backoff_s


def test_a_refused_message_does_not_delay_the_next(worker: Worker) -> None:
    worker.answer = lambda key, _body: 503 if key == "a" else 204
    with pushing(PushQueue([worker.endpoint])) as queue:
        publish(queue, "a", "b")
        until(lambda: "b" in worker.received())
        assert queue.known() == {"a"}


def test_a_push_without_an_answer_in_time_is_repeated(worker: Worker) -> None:
    release = threading.Event()
    first = [True]

    def answer(_key: str, _body: object) -> int:
        if first and first.pop():
            release.wait(10)
        return 204

    worker.answer = answer
    with pushing(PushQueue([worker.endpoint], policy=FAST)) as queue:
        publish(queue, "a")
        until(lambda: not len(queue))
        release.set()
    assert worker.received() == ["a", "a"]


def test_a_worker_that_dies_gets_the_message_again(folder: Path) -> None:
    path = folder / "worker"
    with pushing(PushQueue([Endpoint(path)], policy=FAST)) as queue:
        with working(path) as dying:
            dying.answer = lambda _key, _body: 0  # closes the connection without an answer
            publish(queue, "a")
            until(dying.received)
        path.unlink()
        with working(path) as alive:
            until(lambda: not len(queue))
            assert alive.received() == ["a"]


def test_a_message_refused_too_often_becomes_a_dead_letter(worker: Worker) -> None:
    worker.answer = lambda key, _body: 204 if ("/dead", key) in seen(worker) else 503
    dead = Endpoint(worker.endpoint.socket, "/dead")
    with pushing(PushQueue([worker.endpoint], dead, policy=FAST)) as queue:
        publish(queue, "a")
        until(lambda: not len(queue))
    assert worker.received() == ["a"] * FAST.max_deliveries
    assert worker.received("/dead") == ["a"]


def seen(worker: Worker) -> set[tuple[str, str]]:
    return {(path, key) for path, key, _ in worker.seen}


def test_a_closed_queue_pushes_nothing(worker: Worker) -> None:
    queue = PushQueue([worker.endpoint])
    queue.start()
    queue.close()
    publish(queue, "a")
    assert worker.seen == []
    assert queue.known() == {"a"}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"messages": [{}]}', b'{"messages": [{"data": "%", "attributes": {}}]}'],
)
def test_other_bodies_than_publish_requests_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        published(body)
