"""Push subscriptions: ack deadline, retry policy and dead letters.

On Google's emulator, or on the local queue of ``serve`` where that is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, RetryPolicy

from shared.adapters.google.queue import PubSubQueue
from shared.core.ports import Queue
from shared.core.records import Status
from tests.emulators import are_installed
from tests.local_queue import local_subscription
from tests.pubsub import publisher, subscriber
from tests.services import Cloud, Service, ask, item_of, until

#: Dead letters differ most: both queues are tested wherever they run.
EVERYWHERE = ["google", "local"] if are_installed() else ["local"]

BACKOFF = RetryPolicy(
    minimum_backoff=Duration(nanos=100_000_000), maximum_backoff=Duration(seconds=1)
)


@contextmanager
def subscribed(
    cloud: Cloud,
    url: str,
    *,
    dead_letters: str = "",
    attempts: int = 100,
    copies: int = 1,
    retry: RetryPolicy | None = BACKOFF,
) -> Iterator[Queue]:
    """Push the recordings to ``url``; yields the queue to publish to.

    A message that was delivered ``attempts`` times goes to ``/dead-letter`` of
    ``dead_letters``, by default of ``url``. With ``copies`` the same messages are pushed as
    often, side by side. ``retry`` is for the emulator only.
    """
    if not cloud.project:
        with local_subscription(
            url, dead_letters=dead_letters or url, deliveries=attempts, copies=copies
        ) as queue:
            yield queue
        return
    topics = {name: f"projects/{cloud.project}/topics/{name}" for name in ("recordings", "dead")}
    for topic in topics.values():
        publisher().create_topic(name=topic)
    subscriptions = f"projects/{cloud.project}/subscriptions"
    subscriber().create_subscription(
        request={
            "name": f"{subscriptions}/dead",
            "topic": topics["dead"],
            "push_config": PushConfig(push_endpoint=f"{dead_letters or url}/dead-letter"),
            "retry_policy": BACKOFF,
        }
    )
    for number in range(copies):
        subscriber().create_subscription(
            request={
                "name": f"{subscriptions}/recordings-{number}",
                "topic": topics["recordings"],
                "push_config": PushConfig(push_endpoint=url),
                "ack_deadline_seconds": 600,
                "retry_policy": retry,
                "dead_letter_policy": DeadLetterPolicy(
                    dead_letter_topic=topics["dead"], max_delivery_attempts=attempts
                ),
            }
        )
    yield PubSubQueue(cloud.project, "recordings")


def test_the_queue_pushes_a_recording_through(cloud: Cloud, clip: Path) -> None:
    with cloud.service() as service, subscribed(cloud, service.url) as queue:
        item = cloud.record(clip)
        queue.publish([item])
        until(lambda: cloud.status(item) == "DONE")
    assert len(cloud.audio()) == 1


def test_a_killed_service_gets_the_message_again(cloud: Cloud, long_clip: Path) -> None:
    cloud.env["LEASE_SECONDS"] = "2"
    with cloud.service() as service, subscribed(cloud, service.url) as queue:
        item = cloud.record(long_clip)
        queue.publish([item])
        until(service.encoders)
        service.kill()
        until(lambda: cloud.tracker.has_expired(cloud.recording(item)) or None)
        with cloud.service(service.port):
            until(lambda: cloud.status(item) == "DONE")
    assert cloud.recording(item).crashes == 1
    assert len(cloud.audio()) == 1


@pytest.mark.parametrize("cloud", EVERYWHERE, indirect=True)
def test_dead_letters_fail_only_recordings_that_were_tried(cloud: Cloud, clip: Path) -> None:
    gone_wrong, never_tried, done = (cloud.record(clip) for _ in range(3))
    with cloud.service() as service:
        assert service.push(done).status == 204
        cloud.tracker.enqueue(never_tried)
        claim = cloud.tracker.claim(gone_wrong)
        claim.release(TimeoutError("no answer"))  # type: ignore[union-attr]
        # Without a retry policy: with one the emulator nearly stops after refusals.
        with (
            refusing() as refuser,
            subscribed(
                cloud, refuser.url, dead_letters=service.url, attempts=5, retry=None
            ) as queue,
        ):
            queue.publish([gone_wrong, never_tried, done])
            until(lambda: cloud.status(gone_wrong) == "FAILED")
            until(lambda: service.metric('audio_extract_files_processed_total{status="FAILED"}'))
    failed = cloud.recording(gone_wrong)
    assert failed.error is not None
    assert failed.error.code == "dead_letter"
    assert cloud.recording(never_tried).status is Status.QUEUED
    assert cloud.recording(done).status is Status.DONE


@dataclass
class FrontEnd:
    """The front end of Cloud Run: answers 429 while all instances are busy."""

    url: str
    refused: int = 0
    dead: int = 0


@contextmanager
def front(services: list[Service]) -> Iterator[FrontEnd]:
    free = list(services)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                service = free.pop() if free else None
                made.refused += service is None
                made.dead += self.path == "/dead-letter"
            status = 429
            if service:
                status = ask(service.url + self.path, body, timeout_s=600).status or 503
                with lock:
                    free.append(service)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with _serving(Handler) as server:
        made = FrontEnd(f"http://127.0.0.1:{server.server_address[1]}")
        yield made


@contextmanager
def refusing() -> Iterator[FrontEnd]:
    """Answer 429 to everything."""
    with front([]) as made:
        yield made


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_burst_to_two_instances_all_are_done(cloud: Cloud, tiny_clip: Path) -> None:
    # The local queue gets 200 in test_serve.py.
    count = 60 if cloud.project else 40
    path = str(tiny_clip)
    items = []
    for number in range(count):
        name = f"Call {number} - 2025/01/29 10:00 CST - Recording"
        file_id = cloud.world.create_file(name, content=path, mime_type="video/mp4")
        items.append(item_of(file_id, tiny_clip, name))
    services = [cloud.start() for _ in range(2)]
    try:
        with (
            front(services) as before,
            # Several subscriptions crowd the instances, and each message comes as often. With
            # a retry policy the emulator all but stops after many refusals; without, it goes on.
            subscribed(cloud, before.url, copies=3, retry=None) as queue,
        ):
            queue.publish(items)
            tracker = cloud.tracker
            # Counted by the database: to read them all each second takes more CPU than the work.
            until(lambda: tracker.counts()[Status.DONE] == count, 400, every_s=1)
    finally:
        for service in services:
            service.close()
    recordings = list(cloud.tracker.all())
    assert {one.status for one in recordings} == {Status.DONE}
    assert {one.attempts for one in recordings} == {1}
    assert len(cloud.audio()) == count
    assert before.refused > count / 3, "the front was hardly ever full"
    assert before.dead == 0
