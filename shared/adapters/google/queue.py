"""Publishes ``SourceFile`` messages to a Pub/Sub topic, and answers when all are accepted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence

import grpc
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from shared.adapters.google.retry import within
from shared.core.errors import TransientError
from shared.core.message import SourceFile
from shared.runtime.per_process import PerProcess

#: Pub/Sub takes 1,000 messages and 10 MB in one request, names and framing included.
MAX_MESSAGES = 500
MAX_BYTES = 5_000_000

_CHECK_S = 4.0


class PubSubQueue:
    """A Pub/Sub topic (``ports.Queue``); ``publish`` takes at most ``deadline_s`` seconds.

    It calls the API's ``Publish`` itself instead of the client's batching publisher: a
    batch is at hand already, and there are no threads that a fork would lose and no
    futures that outlive their deadline. No ordering keys: order carries no meaning here.
    The account needs ``roles/pubsub.publisher``, and for ``check`` ``roles/pubsub.viewer``,
    both on the topic alone.
    """

    def __init__(self, project: str, topic: str, *, deadline_s: float = 30.0) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._client = PerProcess(_connect)
        self._deadline_s = deadline_s

    def publish(self, items: Sequence[SourceFile]) -> None:
        """Return when every message is accepted; raises a transient error otherwise."""
        end = time.monotonic() + self._deadline_s
        for batch in _batches(map(_message, items)):
            self._publish(batch, end - time.monotonic())

    def _publish(self, batch: list[PubsubMessage], left_s: float) -> None:
        if left_s <= 0:
            raise TransientError(f"not all was published to {self._topic} in time")
        self._client().publish(
            topic=self._topic, messages=batch, retry=within(left_s), timeout=left_s
        )

    def check(self) -> None:
        """Raise when the topic cannot be reached; takes at most 5 seconds.

        Needs ``pubsub.topics.get``, which ``roles/pubsub.publisher`` lacks.
        ``testIamPermissions`` would need none, but it answers an empty list for a topic
        that is not there, and the emulator does not know it.
        """
        self._client().get_topic(topic=self._topic, retry=None, timeout=_CHECK_S)


def _connect() -> PublisherClient:
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not emulator:
        return PublisherClient()
    # Only the batching publisher knows the emulator's variable.
    return PublisherClient(
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator))
    )


def _message(item: SourceFile) -> PubsubMessage:
    return PubsubMessage(data=item.encode(), attributes=item.attributes())


def _batches(messages: Iterable[PubsubMessage]) -> Iterator[list[PubsubMessage]]:
    batch: list[PubsubMessage] = []
    size = 0
    for message in messages:
        if batch and (len(batch) == MAX_MESSAGES or size + len(message.data) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.data)
    if batch:
        yield batch
