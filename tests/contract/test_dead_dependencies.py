"""Each call of each cloud adapter ends with a transient error when its service is down."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.google.documents import FirestoreDocuments
from shared.adapters.google.queue import PubSubQueue
from shared.adapters.google.storage import CHUNK, GCSStorage
from shared.core.errors import is_transient
from shared.core.message import SourceFile
from shared.core.ports import Op, Versioned
from tests.contract.dead import dead_address

__all__ = ["dead_address"]

DEADLINE_S = 1.0
TIMEOUT_S = 0.5
CHECK_S = 5.0
#: Imports, threads and a busy machine. Without a deadline these calls would take a minute or more.
OVERHEAD_S = 15.0

ITEM = SourceFile(
    source="drive",
    source_id="file",
    revision="5d41402a",
    name="Weekly sync",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=datetime(2025, 4, 7, tzinfo=UTC),
)


def fails_within(seconds: float, call: Callable[[], Any]) -> None:
    start = time.monotonic()
    with pytest.raises(Exception) as caught:  # each client has its own
        call()
    assert time.monotonic() - start < seconds + OVERHEAD_S
    assert is_transient(caught.value), caught.value


DOCUMENTS: dict[str, Callable[[FirestoreDocuments, Versioned], Any]] = {
    "get": lambda documents, _: documents.get("recordings", "a"),
    "create": lambda documents, _: documents.create("recordings", "a", {"x": 1}),
    "replace": lambda documents, read: documents.replace("recordings", read, {"x": 2}),
    "delete": lambda documents, read: documents.delete("recordings", read),
    "find": lambda documents, _: list(documents.find("recordings", ("x", Op.EQ, 1))),
}


@pytest.fixture
def read(firestore_project: str) -> Versioned:
    return FirestoreDocuments(firestore_project).create("recordings", "a", {"x": 1})


@pytest.mark.parametrize("name", DOCUMENTS)
def test_firestore(
    name: str, read: Versioned, dead_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", dead_address)
    documents = FirestoreDocuments("project", deadline_s=DEADLINE_S)
    fails_within(DEADLINE_S, lambda: DOCUMENTS[name](documents, read))


def test_firestore_check(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", dead_address)
    fails_within(CHECK_S, FirestoreDocuments("project").check)


STORAGE: dict[str, Callable[[GCSStorage, Path], Any]] = {
    "stat": lambda storage, _: storage.stat("a"),
    "open": lambda storage, _: storage.open("a"),
    "list": lambda storage, _: list(storage.list()),
    "delete": lambda storage, _: storage.delete("a"),
    "small put": lambda storage, _: storage.put("a", b"x", content_type="text/plain"),
    "large put": lambda storage, path: storage.put("a", path, content_type="audio/mpeg"),
}


@pytest.mark.parametrize("name", STORAGE)
def test_cloud_storage(
    name: str, dead_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(CHUNK + 1))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{dead_address}")
    storage = GCSStorage("bucket", deadline_s=DEADLINE_S, timeout_s=TIMEOUT_S)
    fails_within(DEADLINE_S + TIMEOUT_S, lambda: STORAGE[name](storage, large))


def test_cloud_storage_check(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{dead_address}")
    fails_within(CHECK_S, GCSStorage("bucket").check)


def test_pubsub(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", dead_address)
    queue = PubSubQueue("project", "topic", deadline_s=DEADLINE_S)
    fails_within(DEADLINE_S, lambda: queue.publish([ITEM] * 3))


def test_pubsub_check(dead_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", dead_address)
    fails_within(CHECK_S, PubSubQueue("project", "topic").check)
