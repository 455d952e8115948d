"""What ``ports.Results`` promises, over a webhook and over Pub/Sub's emulator."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from datetime import timedelta

import pytest

from shared.adapters.google.results import PubSubResults
from shared.adapters.webhook import WebhookResults
from shared.config.secret import Secret
from shared.core.errors import ConfigurationError, is_transient
from shared.core.records import Recording, Status
from shared.core.results import ResultEvent
from tests.pubsub import publisher, pull, subscriber
from tests.receiver import Receiver, receiving
from tests.recordings import SECOND, T0, source_file

KEYS = [bytes(range(24)), bytes(range(64))]
SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in KEYS]


def event(number: int = 0, after: timedelta = timedelta()) -> ResultEvent:
    ended = Recording.from_source_file(source_file(number), now=T0).evolve(
        status=Status.DONE, finished_at=T0 + after
    )
    return ResultEvent.of(ended, "dev")


def webhook(receiver: Receiver, *secrets: str, deadline_s: float = 10.0) -> WebhookResults:
    return WebhookResults(receiver.url, [Secret(one) for one in secrets], deadline_s=deadline_s)


def test_a_webhook_is_signed_with_every_secret() -> None:
    """As "Standard Webhooks" 1.0 has it: HMAC-SHA256 over id, time and body, joined by dots."""
    with receiving() as receiver:
        webhook(receiver, *SECRETS).publish(event(after=timedelta(microseconds=5)))
    (request,) = receiver.requests
    assert request.path == "/hooks/recordings"
    assert request.headers["content-type"] == "application/cloudevents+json"
    message_id, sent_at = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert "." not in message_id, "a dot separates the signed parts"
    assert abs(time.time() - int(sent_at)) < 60
    signed = f"{message_id}.{sent_at}.".encode() + request.body
    expected = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in KEYS
    ]
    assert request.headers["webhook-signature"].split(" ") == expected


def test_a_repeat_has_the_same_id() -> None:
    with receiving() as receiver:
        for one in (event(), event(), event(after=SECOND)):
            webhook(receiver, *SECRETS).publish(one)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids[0] == ids[1] != ids[2]


def test_the_path_and_query_of_the_address_are_kept() -> None:
    with receiving() as receiver:
        receiver.url += "?token=a%20b"
        webhook(receiver).publish(event())
    assert receiver.requests[0].path == "/hooks/recordings?token=a%20b"


def test_without_a_secret_nothing_is_signed_on_this_machine() -> None:
    with receiving() as receiver:
        webhook(receiver).publish(event())
    assert "webhook-signature" not in receiver.requests[0].headers


def test_nothing_leaves_this_machine_unsigned() -> None:
    with pytest.raises(ConfigurationError, match="RESULTS_SECRET"):
        WebhookResults("https://receiver.invalid/", []).publish(event())


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503])
def test_any_other_status_is_a_failure(status: int) -> None:
    with receiving(Receiver(answer=lambda _: status)) as receiver:
        with pytest.raises(Exception, match=str(status)):
            webhook(receiver, *SECRETS).publish(event())
        assert len(receiver.requests) == 1, "followed or repeated"


def test_a_receiver_that_never_answers_is_given_up_on() -> None:
    def stall(_: object) -> int:
        time.sleep(30)
        return 204

    start = time.monotonic()
    with receiving(Receiver(answer=stall)) as receiver:
        with pytest.raises(Exception) as raised:
            webhook(receiver, deadline_s=0.5).publish(event())
        assert is_transient(raised.value)
    assert time.monotonic() - start < 15


def test_a_receiver_that_trickles_its_answer_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    for letter in b"HTTP/1.1 204 " + b"x" * 1000:
                        connection.sendall(bytes([letter]))
                        time.sleep(0.1)
                except OSError:
                    pass

        threading.Thread(target=trickle, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(Exception) as raised:
            WebhookResults(url, [], deadline_s=1.0).publish(event())
        assert is_transient(raised.value)
        assert time.monotonic() - start < 15


def test_a_receiver_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        WebhookResults(url, []).check()
    for call in (WebhookResults(url, []).check, lambda: WebhookResults(url, []).publish(event())):
        with pytest.raises(Exception) as raised:
            call()
        assert is_transient(raised.value)


def test_a_topic_gets_the_event_with_attributes_to_filter_by(pubsub_project: str) -> None:
    topic = f"projects/{pubsub_project}/topics/results"
    name = f"projects/{pubsub_project}/subscriptions/results"
    publisher().create_topic(name=topic)
    subscriber().create_subscription(
        request={"name": name, "topic": topic, "enable_message_ordering": True}
    )
    results = PubSubResults(pubsub_project, "results")
    results.check()
    sent = [event(n % 2, n * SECOND) for n in range(20)]
    for one in sent:
        results.publish(one)
    found = pull(name, 20)
    for number in range(2):
        subject = event(number).subject
        ids = [json.loads(m.data)["id"] for m in found if m.ordering_key == subject]
        assert ids == [one.id for one in sent if one.subject == subject]
    first = next(m for m in found if json.loads(m.data)["id"] == sent[0].id)
    assert first.data == sent[0].encode()
    assert dict(first.attributes) == {
        "Content-Type": "application/cloudevents+json",
        "ce-specversion": "1.0",
        "ce-id": sent[0].id,
        "ce-type": "audio.ready",
        "ce-source": "dev",
        "ce-subject": sent[0].subject,
        "ce-time": "2025-04-07T16:52:00Z",
    }


def test_a_topic_that_is_not_there_is_found_out(pubsub_project: str) -> None:
    results = PubSubResults(pubsub_project, "missing", deadline_s=5.0)
    with pytest.raises(Exception, match="404"):
        results.check()
    with pytest.raises(Exception, match="404"):
        results.publish(event())
