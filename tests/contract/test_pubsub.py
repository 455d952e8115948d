"""What Pub/Sub's adapter promises beyond its port: requests within the service's limits."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from google.pubsub_v1 import PubsubMessage

from shared.adapters.google import queue as pubsub
from shared.adapters.google.queue import PubSubQueue
from shared.core.errors import TransientError
from shared.core.message import SourceFile
from tests.pubsub import make_topic, pull


def make_item(number: int, name: str = "Weekly sync") -> SourceFile:
    return SourceFile(
        source="drive",
        source_id=f"file{number}",
        revision="5d41402a",
        name=name,
        mime_type="video/mp4",
        size_bytes=1,
        created_at=datetime(2025, 4, 7, tzinfo=UTC),
    )


def test_more_than_one_request_may_hold_arrives(pubsub_project: str) -> None:
    subscription = make_topic(pubsub_project, "recordings")
    count = 1000 + pubsub.MAX_MESSAGES + 1
    PubSubQueue(pubsub_project, "recordings").publish([make_item(n) for n in range(count)])
    found = {SourceFile.decode(message.data).source_id for message in pull(subscription, count)}
    assert found == {f"file{number}" for number in range(count)}


def test_more_bytes_than_one_request_may_hold_arrive(pubsub_project: str) -> None:
    subscription = make_topic(pubsub_project, "recordings")
    items = [make_item(number, "长" * 1_000_000) for number in range(5)]
    PubSubQueue(pubsub_project, "recordings").publish(items)
    assert len(pull(subscription, 5)) == 5


def test_requests_keep_both_limits() -> None:
    def message(number: int, padding: str = "Weekly sync") -> PubsubMessage:
        return PubsubMessage(data=make_item(number, padding).encode())

    long = [message(number, "x" * 2_000_000) for number in range(5)]
    assert [len(batch) for batch in pubsub._batches(long)] == [2, 2, 1]
    many = [message(number) for number in range(2 * pubsub.MAX_MESSAGES + 1)]
    assert [len(batch) for batch in pubsub._batches(many)] == [500, 500, 1]


def test_all_requests_share_one_deadline(pubsub_project: str) -> None:
    make_topic(pubsub_project, "recordings")
    queue = PubSubQueue(pubsub_project, "recordings", deadline_s=0)
    with pytest.raises(TransientError):
        queue.publish([make_item(1)])


@pytest.mark.parametrize("call", ["check", "publish"])
def test_a_topic_that_is_not_there_is_found_out(pubsub_project: str, call: str) -> None:
    queue = PubSubQueue(pubsub_project, "missing")
    with pytest.raises(Exception, match="404"):
        queue.check() if call == "check" else queue.publish([make_item(1)])


def test_a_queue_made_before_a_fork_works_after_it(pubsub_project: str) -> None:
    """In a process of its own: threads of the test runner would not survive a fork."""
    subscription = make_topic(pubsub_project, "recordings")
    code = """
import os, sys
from shared.adapters.google.queue import PubSubQueue
from tests.contract.test_pubsub import make_item
queue = PubSubQueue(sys.argv[1], "recordings")
pid = os.fork()
queue.publish([make_item(int(pid == 0))])
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    subprocess.run(
        [sys.executable, "-c", code, pubsub_project], check=True, timeout=60, env=os.environ
    )
    found = {SourceFile.decode(message.data).source_id for message in pull(subscription, 2)}
    assert found == {"file0", "file1"}
