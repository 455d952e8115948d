"""How many documents the dashboard reads on Firestore, where each read costs money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from functions.dashboard.listing import LIMIT, MAX_READS
from functions.dashboard.stats import ACTIVE
from shared.adapters.google.documents import FirestoreDocuments
from shared.adapters.memory import MemoryStorage
from shared.core.message import SourceFile
from shared.core.ports import Versioned
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.tracking.tracker import Tracker

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RECORDINGS = 600


class CountingDocuments(FirestoreDocuments):
    """Firestore's adapter, which counts the documents that it reads."""

    reads = 0

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        self.reads += 1
        return super().get(collection, doc_id)

    def _page(self, query: Any) -> list[Any]:
        page = super()._page(query)
        self.reads += max(1, len(page))  # an empty answer costs one read too
        return page


@pytest.fixture
def documents(firestore_project: str) -> CountingDocuments:
    documents = CountingDocuments(firestore_project)
    kinds = [Status.DONE, Status.FAILED, Status.PROCESSING, Status.QUEUED, Status.SKIPPED]
    for number in range(RECORDINGS):
        status = kinds[number % len(kinds)]
        item = SourceFile(
            source=["drive", "sftp"][number % 2],
            source_id=f"f{number}",
            revision="1-1" if number % 2 else "a",
            name=f"Weekly sync {number}",
            mime_type="video/mp4",
            size_bytes=1,
            created_at=NOW,
        )
        ended = NOW - timedelta(minutes=number)
        one = Recording.from_source_file(item, now=ended).evolve(
            status=status,
            finished_at=ended if status.is_final else None,
            processing_s=9.5,
            error=ErrorInfo(code="corrupt", message="x") if status is Status.FAILED else None,
        )
        documents.create(COLLECTION, one.key, one.to_document())
    return documents


def test_no_page_reads_more_than_it_shows(documents: CountingDocuments) -> None:
    tracker = Tracker(documents, clock=lambda: NOW)
    frame = 10  # the channels, nights, audit and whether something has changed
    bounds = {
        "/": 2 * ACTIVE + 10 + frame,
        "/recordings": LIMIT + 1 + frame,
        "/recordings?status=FAILED": LIMIT + 1 + frame,
        "/recordings?source=sftp": LIMIT + 1 + frame,
        "/recordings?source=sftp&status=DONE": LIMIT + 1 + frame,
        "/recordings?code=corrupt": LIMIT + 1 + frame,
        "/recordings?q=weekly": LIMIT + 1 + frame,
        "/recordings?q=weekly+never": MAX_READS + frame,
        "/nightly": 50 + 1 + frame,
        "/health": ACTIVE + frame,
        "/api/recent?limit=10": 11,
        "/api/search?q=sync&limit=10": 11,
        "/api/stats": frame,
        "/api/events?since=2026-11-25T00:00:00Z": 50 + frame,
        "/api/health": frame,
        "/metrics": frame,
    }
    reads = {}
    for path in bounds:
        # A new app for each, since figures are kept for a while.
        backend = Backend(tracker=tracker, storage=MemoryStorage())
        client = create_app(backend).test_client()
        documents.reads = 0
        assert client.get(path).status_code == 200, path
        reads[path] = documents.reads
    assert {path: count for path, count in reads.items() if count > bounds[path]} == {}


def test_a_search_reaches_everything_by_its_cursor(documents: CountingDocuments) -> None:
    """Firestore finds one word; the others are compared here, over many bounded requests."""
    backend = Backend(tracker=Tracker(documents, clock=lambda: NOW), storage=MemoryStorage())
    client = create_app(backend).test_client()
    cursor, found, requests = "", [], 0
    while True:
        answer: Any = client.get(f"/api/search?q=weekly+599&cursor={cursor}").json
        requests += 1
        found += [one["name"] for one in answer["recordings"]]
        if answer["cursor"] is None:
            break
        cursor = answer["cursor"]
    assert found == ["Weekly sync 599"]
    assert requests <= 1 + RECORDINGS // MAX_READS
