"""Publishes results to a Pub/Sub topic, in order for each recording."""

from __future__ import annotations

from google.pubsub_v1 import PubsubMessage

from shared.adapters.google.queue import connect
from shared.adapters.google.retry import within
from shared.core.results import MEDIA_TYPE, ResultEvent
from shared.runtime.per_process import PerProcess

_CHECK_S = 4.0


class PubSubResults:
    """A Pub/Sub topic (``ports.Results``). The account needs ``roles/pubsub.publisher`` on it.

    The message is an event in structured mode, with the attributes of binary mode beside it for
    subscriptions that filter (CloudEvents, "Pub/Sub Protocol Binding", section 3.2). The
    recording's key is the ordering key, so a subscription with message ordering receives the
    events of a recording in order.
    """

    def __init__(self, project: str, topic: str, *, deadline_s: float = 10.0) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._client = PerProcess(connect)
        self._deadline_s = deadline_s

    def publish(self, event: ResultEvent) -> None:
        """Return once the event is accepted."""
        attributes = {f"ce-{name}": value for name, value in event.context.items()}
        message = PubsubMessage(
            data=event.encode(),
            attributes={"Content-Type": MEDIA_TYPE, **attributes},
            ordering_key=event.subject,
        )
        self._client().publish(
            topic=self._topic,
            messages=[message],
            retry=within(self._deadline_s),
            timeout=self._deadline_s,
        )

    def check(self) -> None:
        """Raise if the topic cannot be reached; needs ``pubsub.topics.get``."""
        self._client().get_topic(topic=self._topic, retry=None, timeout=_CHECK_S)
