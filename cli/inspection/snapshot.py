"""The tracker's recordings as one run of the audit sees them, on disk instead of in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from shared.core.ports import Document
from shared.core.records import Recording, Status
from shared.core.times import time_as_json


class Snapshot:
    """Recordings by key, and which of them their source still has; made of their documents.

    SQLite gives a database without a name a temporary file, and removes it ("In-Memory
    Databases", "Temporary Databases"). A million recordings take about 1.5 GB of it.
    """

    def __init__(self, documents: Iterable[Document]) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.executescript(
            """
            CREATE TABLE recordings (
                key TEXT PRIMARY KEY, source TEXT, source_id TEXT, revision TEXT, status TEXT,
                body TEXT
            ) WITHOUT ROWID;
            CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID;
            """
        )
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    *(one["key"], one["source"], one["source_id"], one["revision"]),
                    one["status"],
                    json.dumps(one, default=time_as_json),
                )
                for one in documents
            ),
        )
        self._connection.executescript(
            """
            CREATE INDEX of_source ON recordings (source, source_id);
            CREATE INDEX with_revision ON recordings (source, revision);
            CREATE INDEX with_status ON recordings (status);
            """
        )

    def get(self, key: str) -> Recording | None:
        """Return the recording, or ``None``."""
        return next(self._select("key = ?", key), None)

    def of_source(self, source: str) -> Iterator[Recording]:
        """Yield the recordings of one source, sorted by their ``source_id``."""
        return self._select("source = ? ORDER BY source_id", source)

    def with_revision(self, source: str, revision: str) -> Iterator[Recording]:
        """Yield the recordings of one source that have this revision."""
        return self._select("source = ? AND revision = ?", source, revision)

    def with_status(self, status: Status) -> Iterator[Recording]:
        return self._select("status = ?", status.value)

    def mark_seen(self, key: str) -> None:
        """Note that the source of a recording is still there."""
        self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", [key])

    def unseen(self, source: str) -> Iterator[Recording]:
        """Yield the recordings of one source that were not seen."""
        return self._select("source = ? AND key NOT IN seen", source)

    def count(self, source: str) -> int:
        """Return how many recordings of one source there are."""
        sql = "SELECT count(*) FROM recordings WHERE source = ?"
        return int(self._connection.execute(sql, [source]).fetchone()[0])

    def _select(self, condition: str, *values: str) -> Iterator[Recording]:
        sql = f"SELECT body FROM recordings WHERE {condition}"  # noqa: S608 - texts of this class
        for (body,) in self._connection.execute(sql, values):
            yield Recording.from_document(json.loads(body))
