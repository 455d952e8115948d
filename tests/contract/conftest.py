"""The adapters as fixtures: local ones, or those that a test or module is parametrised with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.core.ports import Documents, Queue, Storage
from shared.tracking.tracker import Tracker
from tests.backends import DOCUMENTS, LOCAL_DOCUMENTS, LOCAL_STORAGES, STORAGES, TOPICS, Topic
from tests.recordings import SettableClock


@pytest.fixture(params=LOCAL_DOCUMENTS)
def documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    """An empty document database."""
    with DOCUMENTS[request.param](request) as adapter:
        yield adapter


@pytest.fixture(params=LOCAL_STORAGES)
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """An empty bucket."""
    with STORAGES[request.param](request) as adapter:
        yield adapter


@pytest.fixture(params=TOPICS)
def topic(request: pytest.FixtureRequest) -> Iterator[Topic]:
    """Each topic in turn with a subscriber of its own, empty."""
    with TOPICS[request.param](request) as adapter:
        yield adapter


@pytest.fixture
def queue(topic: Topic) -> Queue:
    """The publishing side of the topic."""
    return topic.queue


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until a test moves it."""
    return SettableClock()


@pytest.fixture
def tracker(documents: Documents, clock: SettableClock) -> Tracker:
    """The tracker over each database, at the time of ``clock``."""
    return Tracker(documents, clock=clock)
