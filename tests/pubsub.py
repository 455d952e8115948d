"""The subscriber's side of the Pub/Sub emulator, for the tests."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import grpc
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

_WAIT_S = 30.0


def publisher() -> PublisherClient:
    """Return a client of the emulator that the environment names."""
    channel = grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"])
    return PublisherClient(transport=PublisherGrpcTransport(channel=channel))


def subscriber() -> SubscriberClient:
    """Return a client of the emulator that the environment names."""
    options = [("grpc.max_receive_message_length", -1)]  # a pull may answer 10 MB
    channel = grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"], options=options)
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def make_topic(project: str, topic: str) -> str:
    """Create a topic and a subscription that pulls; returns the subscription's name."""
    name = f"projects/{project}/topics/{topic}"
    subscription = f"projects/{project}/subscriptions/{topic}"
    publisher().create_topic(name=name)
    subscriber().create_subscription(name=subscription, topic=name)
    return subscription


def pull(subscription: str, count: int) -> Sequence[PubsubMessage]:
    """Wait until ``count`` messages have arrived; return them and what else is there."""
    client = subscriber()
    found: list[PubsubMessage] = []
    end = time.monotonic() + _WAIT_S
    while len(found) < count and time.monotonic() < end:
        answer = client.pull(subscription=subscription, max_messages=1000, timeout=_WAIT_S)
        found += [received.message for received in answer.received_messages]
        ids = [received.ack_id for received in answer.received_messages]
        if ids:
            client.acknowledge(subscription=subscription, ack_ids=ids)
    return found
