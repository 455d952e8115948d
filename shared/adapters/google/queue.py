"""Publishes ``SourceFile`` messages to a Pub/Sub topic and waits until all are accepted."""

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

#: Pub/Sub accepts 1,000 messages and 10 MB in one request, names and framing included.
MAX_MESSAGES = 500
MAX_BYTES = 5_000_000

_CHECK_S = 4.0


class PubSubQueue:
    """A Pub/Sub topic (``ports.Queue``); ``publish`` takes at most ``deadline_s`` seconds.

    It calls the API's ``Publish`` directly instead of the client's batching publisher: the
    messages are already a batch, a fork loses no threads, and no future outlives its
    deadline. It uses no ordering keys, since order has no meaning here. The account needs
    ``roles/pubsub.publisher`` on the topic, and ``roles/pubsub.viewer`` for ``check``.
    """

    def __init__(self, project: str, topic: str, *, deadline_s: float = 30.0) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._client = PerProcess(connect)
        self._deadline_s = deadline_s

    def publish(self, items: Sequence[SourceFile]) -> None:
        """Return once every message is accepted; raises a transient error otherwise."""
        end = time.monotonic() + self._deadline_s
        messages = (PubsubMessage(data=i.encode(), attributes=i.attributes()) for i in items)
        for batch in _batches(messages):
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise TransientError(f"publishing to {self._topic} timed out before its end")
            self._client().publish(
                topic=self._topic, messages=batch, retry=within(left_s), timeout=left_s
            )

    def check(self) -> None:
        """Raise if the topic cannot be reached; takes at most 5 seconds.

        Needs ``pubsub.topics.get``, which ``roles/pubsub.publisher`` lacks.
        ``testIamPermissions`` needs no permission, but it returns an empty list for a
        missing topic, and the emulator does not implement it.
        """
        self._client().get_topic(topic=self._topic, retry=None, timeout=_CHECK_S)


def connect() -> PublisherClient:
    """Return a client of Pub/Sub, or of the emulator that the environment names."""
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not emulator:
        return PublisherClient()
    # Only the client's batching publisher reads PUBSUB_EMULATOR_HOST.
    return PublisherClient(
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator))
    )


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
