"""The adapters that the contract suites run on: one line in a table for each.

The suites of a port (documents, storage, queue) run on every adapter. Those of the protocol
(tracker, lease, requeue, publish) run on the local ones, and on Google's only where they
depend on it: a precondition, a query, or one test that everything fits together.

A factory is a context manager that takes pytest's ``request`` and yields an adapter on an
empty store; it may ask for other fixtures with ``request.getfixturevalue``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from shared.core.ports import Documents, Queue, Storage


@dataclass(frozen=True)
class Received:
    """A message as a subscriber gets it."""

    data: bytes
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Topic:
    """A queue, and a function that waits for a number of messages and returns all of them."""

    queue: Queue
    receive: Callable[[int], list[Received]]


@contextmanager
def memory_documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    from shared.adapters.memory import MemoryDocuments

    yield MemoryDocuments()


@contextmanager
def sqlite_documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    from shared.adapters.local.documents import SQLiteDocuments

    tmp_path: Path = request.getfixturevalue("tmp_path")
    yield SQLiteDocuments(tmp_path / "audio" / "tracker.db")


@contextmanager
def memory_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    from shared.adapters.memory import MemoryStorage

    yield MemoryStorage()


@contextmanager
def filesystem_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    from shared.adapters.local.storage import FilesystemStorage

    tmp_path: Path = request.getfixturevalue("tmp_path")
    yield FilesystemStorage(tmp_path / "audio")


@contextmanager
def memory_queue(request: pytest.FixtureRequest) -> Iterator[Topic]:
    from shared.adapters.memory import MemoryQueue

    queue = MemoryQueue()

    def receive(_count: int) -> list[Received]:
        return [Received(item.encode(), item.attributes()) for item in queue.items]

    yield Topic(queue, receive)


@contextmanager
def firestore_documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    project: str = request.getfixturevalue("firestore_project")
    from shared.adapters.google.documents import FirestoreDocuments

    yield FirestoreDocuments(project)


@contextmanager
def gcs_storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    bucket: str = request.getfixturevalue("gcs_bucket")
    from shared.adapters.google.storage import GCSStorage

    yield GCSStorage(bucket)


@contextmanager
def pubsub_queue(request: pytest.FixtureRequest) -> Iterator[Topic]:
    project: str = request.getfixturevalue("pubsub_project")
    from shared.adapters.google.queue import PubSubQueue
    from tests.pubsub import make_topic, pull

    subscription = make_topic(project, "recordings")

    def receive(count: int) -> list[Received]:
        return [Received(m.data, dict(m.attributes)) for m in pull(subscription, count)]

    yield Topic(PubSubQueue(project, "recordings"), receive)


DocumentsFactory: TypeAlias = Callable[[pytest.FixtureRequest], AbstractContextManager[Documents]]
StorageFactory: TypeAlias = Callable[[pytest.FixtureRequest], AbstractContextManager[Storage]]
TopicFactory: TypeAlias = Callable[[pytest.FixtureRequest], AbstractContextManager[Topic]]

DOCUMENTS: dict[str, DocumentsFactory] = {
    "memory": memory_documents,
    "sqlite": sqlite_documents,
    "firestore": firestore_documents,
}
STORAGES: dict[str, StorageFactory] = {
    "memory": memory_storage,
    "filesystem": filesystem_storage,
    "gcs": gcs_storage,
}
TOPICS: dict[str, TopicFactory] = {
    "memory": memory_queue,
    "pubsub": pubsub_queue,
}


#: The adapters that need no emulator.
LOCAL_DOCUMENTS = ("memory", "sqlite")
LOCAL_STORAGES = ("memory", "filesystem")

on_every_database = pytest.mark.parametrize("documents", DOCUMENTS, indirect=True)
on_every_storage = pytest.mark.parametrize("storage", STORAGES, indirect=True)
