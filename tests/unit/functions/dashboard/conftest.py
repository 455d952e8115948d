"""The dashboard over adapters in memory, and a client that sends what a browser sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from shared.adapters.memory import MemoryDocuments, MemoryQueue, MemoryStorage
from shared.core.message import SourceFile
from shared.core.records import COLLECTION, Audio, ErrorInfo, Recording, Status
from shared.tracking.tracker import Tracker

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AUDIO = bytes(range(256)) * 10


@dataclass
class Bench:
    """One dashboard and what it works with."""

    tracker: Tracker
    storage: MemoryStorage
    queue: MemoryQueue
    client: FlaskClient
    backend: Backend
    now: datetime = NOW

    def add(self, name: str = "Weekly sync", status: Status = Status.DONE, **fields: Any) -> str:
        number = self.tracker.documents.count(COLLECTION)
        item = SourceFile(
            source=fields.pop("source", "drive"),
            source_id=f"f{number}",
            revision="1a",
            name=name,
            mime_type="video/mp4",
            size_bytes=10,
            created_at=NOW - timedelta(days=1),
            account="anna@example.com",
        )
        changed = NOW - timedelta(minutes=number)
        one = Recording.from_source_file(item, now=changed).evolve(status=status)
        if status.is_final:
            one = one.evolve(finished_at=changed, processing_s=10.0)
        if status is Status.FAILED:
            one = one.evolve(error=ErrorInfo(code=fields.pop("code", "corrupt"), message="bad"))
        if status is Status.DONE:
            one = self._with_audio(one)
        one = one.evolve(**fields)
        self.tracker.documents.create(COLLECTION, one.key, one.to_document())
        return one.key

    def _with_audio(self, one: Recording) -> Recording:
        stored = self.storage.put(f"dev/{one.key}.mp3", AUDIO, content_type="audio/mpeg")
        audio = Audio(
            object=stored.name,
            bytes=stored.bytes,
            crc32c=stored.crc32c,
            duration_s=3600.0,
            start_offset_s=0.0,
            codec="mp3",
            bitrate_kbps=128.0,
            preset="mp3",
        )
        return one.evolve(audio=audio, gcs_path=stored.name, upload_timestamp=NOW)

    def get(self, path: str, **headers: str) -> TestResponse:
        """GET as a browser would, or with other headers."""
        return self.client.get(path, headers={"Accept": "text/html", **headers}, buffered=True)

    @property
    def token(self) -> str:
        """This client's CSRF token, from the cookie of a page."""
        self.client.get("/health")
        cookie = self.client.get_cookie("csrf_token")
        assert cookie is not None
        return cookie.value

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        """POST JSON as our own pages do."""
        ours = {"Origin": "http://localhost", "X-CSRF-Token": self.token}
        return self.client.post(path, json=body, headers={**ours, **headers})

    def status(self, key: str) -> str:
        found = self.tracker.get(key)
        assert found is not None
        return found.status.value


@pytest.fixture
def bench() -> Bench:
    return make_bench()


def make_bench(**options: Any) -> Bench:
    documents = MemoryDocuments()
    tracker = Tracker(documents, clock=lambda: made.now)
    storage, queue = MemoryStorage(), MemoryQueue()
    backend = Backend(
        tracker=tracker,
        storage=storage,
        queues={"drive": queue},
        checks={"storage": storage.check, "tracker": documents.check},
        cache_s=0.0,
        **options,
    )
    made = Bench(tracker, storage, queue, create_app(backend).test_client(), backend)
    return made
