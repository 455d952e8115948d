"""The adapters as fixtures: local ones, or those that a test or module is parametrised with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.core.ports import Documents, Queue, Storage
from tests.backends import DOCUMENTS, LOCAL_DOCUMENTS, LOCAL_STORAGES, STORAGES, TOPICS, Topic


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
