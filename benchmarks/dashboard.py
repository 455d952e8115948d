"""How long the dashboard's pages and API calls take with many recordings on SQLite.

    .venv/bin/python -m benchmarks.dashboard [--recordings 100000] [--requests 60]

Each path is asked for, one request after another. Counts and other figures are kept for two
seconds, as they are for every viewer; ``--no-cache`` computes them for each request. Ends with
status 1 when the 95th percentile of one path is 100 ms or more.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient

from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from shared.adapters.local.documents import SQLiteDocuments, _encode
from shared.adapters.local.storage import FilesystemStorage
from shared.core.message import SourceFile
from shared.core.records import COLLECTION, Audio, ErrorInfo, Recording, Status
from shared.core.times import utc_now
from shared.tracking.tracker import Tracker

LIMIT_MS = 100.0

_TITLES = ("Weekly sync", "Design review", "Réunion d'équipe", "All hands", "Interview")
_PEOPLE = ("anna", "ben", "chloe", "david", "emil", "farah", "goran")


def recordings(count: int) -> Iterator[Recording]:
    """Yield recordings over two years: one in fifty failed, few are in progress or wait."""
    now, rng = utc_now(), random.Random(1)
    for number in range(count):
        ended = now - timedelta(minutes=number * 730 * 1440 / count)
        title = rng.choice(_TITLES)
        item = SourceFile(
            source="sftp" if number % 5 == 0 else "drive",
            source_id=f"file{number}",
            revision="1-1" if number % 5 == 0 else "a1",
            name=f"{title} {number} - {ended:%Y/%m/%d %H:%M} CET - Recording",
            mime_type="video/mp4",
            size_bytes=rng.randrange(10**9),
            created_at=ended,
            account=f"{rng.choice(_PEOPLE)}@example.com",
        )
        one = Recording.from_source_file(item, now=ended)
        if number < 5:
            yield one.evolve(status=Status.PROCESSING, progress=0.5, started_at=ended)
        elif number < 200:
            yield one
        elif number % 50 == 0:
            code = rng.choice(("corrupt", "forbidden", "timeout", "too_long"))
            error = ErrorInfo(code=code, message="what FFmpeg met " * 5)
            yield one.evolve(status=Status.FAILED, error=error, finished_at=ended)
        else:
            audio = Audio(
                object=f"dev/{number}.mp3",
                bytes=57_000_000,
                crc32c="AAAAAA==",
                duration_s=3600.0,
                start_offset_s=0.0,
                codec="mp3",
                bitrate_kbps=128.0,
                preset="mp3",
            )
            yield one.evolve(status=Status.DONE, audio=audio, finished_at=ended, processing_s=150.0)


def fill(path: Path, count: int) -> Tracker:
    """Write the recordings in one transaction, past the adapter, which makes one for each."""
    documents = SQLiteDocuments(path)
    documents.count(COLLECTION)  # makes the file
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT INTO documents (collection, id, version, body) VALUES (?, ?, 'x', ?)",
            ((COLLECTION, one.key, _encode(one.to_document())) for one in recordings(count)),
        )
    return Tracker(documents)


def percentiles(client: FlaskClient, path: str, count: int) -> tuple[float, float, float]:
    """Return the 95th and 50th percentile and the processor time of one, in milliseconds."""
    times, before = [], time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        answer = client.get(path, headers={"Accept": "text/html"})
        times.append(1000 * (time.perf_counter() - start))
        assert answer.status_code in (200, 503), f"{path}: {answer.status_code}"
    times.sort()
    processor = 1000 * (time.process_time() - before) / count
    return times[int(len(times) * 0.95)], times[len(times) // 2], processor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--no-cache", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        tracker = fill(Path(folder) / "tracker.db", options.recordings)
        took, size = time.perf_counter() - start, (Path(folder) / "tracker.db").stat().st_size
        print(f"{options.recordings} recordings in {took:.0f} s, {size / 1e6:.0f} MB")
        storage = FilesystemStorage(Path(folder) / "audio")
        client = create_app(
            Backend(tracker=tracker, storage=storage, cache_s=0.0 if options.no_cache else 2.0)
        ).test_client()
        key = next(tracker.with_status(Status.DONE, 1)).key
        cursor = client.get("/api/recent?limit=200").json["cursor"]  # type: ignore[index]
        worst = 0.0
        for path in (
            "/",
            "/recordings",
            f"/recordings?cursor={cursor}",
            "/recordings?status=FAILED",
            "/recordings?status=FAILED&code=corrupt",
            "/recordings?source=sftp&status=DONE",
            "/recordings?q=weekly",
            "/recordings?q=weekly+anna",
            "/recordings?q=recording",
            "/recordings?q=weekly+99999",
            "/recordings?q=nothing",
            f"/recordings/{key}",
            "/nightly",
            "/health",
            "/api/recent?limit=50",
            "/api/failed",
            "/api/search?q=design",
            f"/api/recordings/{key}",
            "/api/stats",
            "/api/events",
            "/api/health",
            "/metrics",
        ):
            high, middle, processor = percentiles(client, path, options.requests)
            worst = max(worst, high)
            figures = f"{high:8.1f} ms p95 {middle:8.1f} median {processor:8.1f} processor"
            print(f"{figures}  {path[:60]}", flush=True)
    return 1 if worst >= LIMIT_MS else 0


if __name__ == "__main__":
    print(f"SQLite {sqlite3.sqlite_version}")
    sys.exit(main())
