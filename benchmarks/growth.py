"""What one more recording costs, with more and more recordings in the tracker.

    .venv/bin/python -m benchmarks.growth [--sizes 1000,100000,1000000] [--firestore]

Counts reads, writes and bytes of documents, and times each operation, on SQLite; with
``--firestore`` on the emulator that ``FIRESTORE_EMULATOR_HOST`` names, which is filled through its
API and keeps everything in memory: use sizes up to 10,000 there. A count of the database is one
read for 1,000 entries of an index, as Firestore bills it. The tracker of SQLite is filled by
SQL, so that a million recordings take a minute. The last table is what has to be linear: the audit
and the nightly scan for each recording, with the peak of memory.

Ends with status 1 when what is done for each recording grows faster than the logarithm. The
command ``status`` and the dashboard count all recordings out of indexes, which is linear; the
dashboard does so at most every two seconds, here for each request.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast

from benchmarks import measure
from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from functions.drive_watch.publisher import Publisher
from functions.sftp_compress.manifest import Entry, Manifest
from functions.sftp_compress.nightly import Nightly
from shared.adapters.local.documents import SQLiteDocuments, _encode
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue, MemoryResults
from shared.core.drive_items import DriveItem
from shared.core.errors import Code
from shared.core.message import SourceFile, make_key
from shared.core.ports import Cursor, Document, Documents, StoredObject, Versioned, Where
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.core.times import utc_now
from shared.tracking.announcer import Announcer
from shared.tracking.claim import Claim
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker

COMMAND = Path(sys.executable).with_name("audio-pipeline")
RUNS = 30

#: Operations that count all recordings.
_COUNTING = ("status", "dashboard")

#: How many files the SFTP server of the nightly scan has at most.
FILES = 100_000


@dataclass
class Counting:
    """Documents that count what is read and written."""

    inner: Documents
    reads: int = 0
    writes: int = 0
    bytes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        found = self.inner.get(collection, doc_id)
        self._read([found] if found else [])
        return found

    def find(self, collection: str, *where: Where, **options: Any) -> Iterator[Versioned]:
        found = list(self.inner.find(collection, *where, **options))
        self._read(found)
        return iter(found)

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        found = list(self.inner.search(collection, prefix, limit=limit, after=after))
        self._read(found)
        return iter(found)

    def count(self, collection: str, *where: Where) -> int:
        number = self.inner.count(collection, *where)
        self.reads += max(1, math.ceil(number / 1000))
        return number

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        self._write(document)
        return self.inner.create(collection, doc_id, document)

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        self._write(document)
        return self.inner.replace(collection, read, document)

    def _read(self, found: list[Versioned]) -> None:
        self.reads += max(1, len(found))
        self.bytes += sum(len(_encode(one.document)) for one in found)

    def _write(self, document: Document) -> None:
        self.writes += 1
        self.bytes += len(_encode(document))


@dataclass
class Costs:
    """The costs of each operation: reads, writes, bytes, milliseconds."""

    rows: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)

    def measure(
        self, name: str, counting: Counting, action: Callable[[int], object], runs: int = RUNS
    ) -> None:
        counting.reads = counting.writes = counting.bytes = 0
        times = []
        for number in range(runs):
            start = time.perf_counter()
            action(number)
            times.append(1000 * (time.perf_counter() - start))
        self.rows[name] = (
            counting.reads / runs,
            counting.writes / runs,
            counting.bytes / runs,
            median(times),
        )


def item(number: int, source: str = "drive") -> SourceFile:
    return SourceFile(
        source=source,
        source_id=f"f{number:08}",
        revision="1-1" if source == "sftp" else "a1",
        name=f"Weekly sync {number:08} - 2025/04/07 16:52 CST - Recording",
        mime_type="video/mp4",
        size_bytes=10**8,
        created_at=utc_now() - timedelta(days=2),
    )


def in_drive(one: SourceFile) -> DriveItem:
    return DriveItem(
        id=one.source_id,
        name=one.name,
        mime_type=one.mime_type,
        created_at=one.created_at,
        size_bytes=one.size_bytes,
        revision=one.revision,
    )


def ended(source: str) -> Recording:
    """Return what every recording of the tracker is like: it needs no objects."""
    now = utc_now() - timedelta(days=1)
    error = ErrorInfo(code=Code.NO_AUDIO, message="no audio track")
    return Recording.from_source_file(item(0, source), now=now).evolve(
        status=Status.SKIPPED, error=error, finished_at=now, processing_s=1.0, attempts=1
    )


def fill(path: Path, count: int) -> None:
    """Write ``count`` recordings, every fifth of them of the SFTP server, by SQL.

    The indexes are made afterwards, out of sorted entries.
    """
    SQLiteDocuments(path).check()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        later = connection.execute(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
        ).fetchall()
        connection.execute("BEGIN")
        for kind, name, _ in later:
            connection.execute(f"DROP {kind} {name}")
        first = 0
        for source, many in (("drive", count - count // 5), ("sftp", count // 5)):
            one = ended(source)
            # Everything of a document that differs is its number, eight digits wide.
            body = _encode(one.to_document())
            assert make_key(source, "f00000000", one.revision) in body
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
                " INSERT INTO documents (collection, id, version, body)"
                " SELECT ?, replace(?, '00000000', printf('%08d', i)), 'x',"
                " replace(?, '00000000', printf('%08d', i)) FROM n",
                [first, first + many, COLLECTION, one.key, body],
            )
            first += many
        words = [word for word in ended("drive").words if word != "00000000"]
        for word in sorted(words):
            connection.execute(
                "INSERT INTO document_words SELECT collection, ?, id, ? FROM documents",
                [word, json.loads(_encode({"t": ended("drive").updated_at}))["t"]],
            )
        for _, _, sql in later:
            connection.execute(sql)
        connection.execute("COMMIT")


def fill_by_api(documents: Documents, count: int) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - this backend only

    def create(number: int) -> None:
        source = "sftp" if number >= count - count // 5 else "drive"
        one = item(number, source)
        document = ended(source).to_document() | {
            "key": one.key, "source_id": one.source_id, "name": one.name
        }  # fmt: skip
        documents.create(COLLECTION, one.key, document)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(create, range(count)))


def one_more(documents: Documents, folder: Path, count: int) -> Costs:
    """Measure each operation that happens once for a recording, a minute or a view."""
    costs, counting = Costs(), Counting(documents)
    counted = cast(Documents, counting)
    announcer = Announcer(counted, MemoryResults(), "dev")
    tracker = Tracker(counted, announcer=announcer)
    queue, first = MemoryQueue(), 10**7
    claims: dict[int, Claim] = {}

    def publish(number: int) -> None:
        found = in_drive(item(first + number))
        assert Publisher(tracker, queue).publish([found], "")

    def claim(number: int) -> None:
        claimed = tracker.claim(queue.items[number])
        assert isinstance(claimed, Claim)
        claims[number] = claimed

    costs.measure("publish", counting, publish)
    costs.measure("claim", counting, claim)
    costs.measure("finish and announce", counting, lambda n: claims[n].finish(Status.DONE))
    known = [item(number) for number in range(min(100, count // 2))]
    page = [in_drive(one) for one in known]
    requeue = Requeue(tracker, {"drive": queue, "sftp": queue})
    costs.measure("requeue, nothing due", counting, lambda _: requeue.run())
    costs.measure(
        "maintain, 100 known of the last day",
        counting,
        lambda _: (requeue.run(), Publisher(tracker, queue).publish(page, "")),
    )
    costs.measure("status", counting, lambda _: (tracker.counts(), list(tracker.recent(10))))
    storage = FilesystemStorage(folder / f"audio{count}")
    client = create_app(Backend(tracker=tracker, storage=storage, cache_s=0.0)).test_client()

    def view(path: str) -> Callable[[int], object]:
        def ask(_: int) -> None:
            assert client.get(path, headers={"Accept": "text/html"}).status_code == 200

        return ask

    for path in (
        "/",
        "/recordings",
        "/recordings?status=DONE&source=drive",
        "/recordings?q=weekly",
    ):
        costs.measure(f"dashboard {path}", counting, view(path), runs=10)
    files = [item(number, "sftp") for number in range(count - count // 5, count)][:100]
    nightly = Nightly(
        sources=cast(Any, Listed(lambda: iter(files))),
        tracker=tracker,
        queue=queue,
        settle=timedelta(minutes=10),
    )
    costs.measure("nightly, 100 known files", counting, lambda _: nightly.run(), runs=5)
    costs.measure(
        "anything else in flight", counting, lambda _: tracker.is_in_flight("sftp", other_than="")
    )
    return costs


@dataclass(frozen=True)
class Listed:
    """A server that lists files."""

    make: Callable[[], Iterator[SourceFile]]

    def list(self) -> Iterator[SourceFile]:
        return self.make()


def manifest(folder: Path, rows: int) -> tuple[float, float, float, float]:
    """Return milliseconds of an added row and of a merge, megabytes written, peak megabytes."""
    storage = FilesystemStorage(folder / f"manifest{rows}", fsync=False)
    made = Manifest(storage=storage, name="m.json", parts="parts/", clock=utc_now)
    stored = StoredObject(name="dev/compressed/a.wav", bytes=100, crc32c="", generation=1)

    def entry(number: int) -> Entry:
        return Entry.of(item(number, "sftp"), stored, "0" * 64, 1.5, utc_now())

    path = folder / f"manifest{rows}.json"
    with path.open("w", encoding="utf-8") as file:
        made._write(file, (vars(entry(number)) for number in range(rows)), {})
    storage.put("m.json", path, content_type="application/json")
    times = []
    for number in range(RUNS):
        start = time.perf_counter()
        made.add(entry(10**7 + number))
        times.append(1000 * (time.perf_counter() - start))
    start = time.perf_counter()
    made.merge()
    took = 1000 * (time.perf_counter() - start)
    made.add(entry(10**8))
    tracemalloc.start()
    made.merge()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    there = storage.stat("m.json")
    assert there
    return median(times), took, there.bytes / 1e6, peak / 1e6


def linear(path: Path, documents: Documents, folder: Path, count: int) -> Iterator[str]:
    """Measure what looks at every recording, for each of them."""
    tracker, files = Tracker(documents), min(count // 5, FILES)

    def night(many: int) -> Nightly:
        return Nightly(
            sources=cast(Any, Listed(lambda: (item(count - 1 - n, "sftp") for n in range(many)))),
            tracker=tracker,
            queue=MemoryQueue(),
            settle=timedelta(minutes=10),
        )

    start = time.perf_counter()
    night(files).run()
    took = 1e6 * (time.perf_counter() - start) / files
    tracemalloc.start()  # it slows everything down
    night(min(files, 5_000)).run()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    yield f"nightly, {files:,} files on the server: {took:.0f} µs a file, {peak:.1f} MB"
    environ = {
        "TRACKER_URL": f"sqlite:///{path}",
        "STORAGE_URL": str(folder / "none"),
        "HOME": str(folder),
    }
    cost = measure.run([COMMAND, "audit"], environ, memory=True)
    yield (
        f"audit, {count:,} recordings: {cost.wall_s:.1f} s,"
        f" {1e6 * cost.wall_s / count:.0f} µs each,"
        f" {cost.memory_mb:.0f} MB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--firestore", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    tables: dict[int, Costs] = {}
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            start = time.perf_counter()
            documents: Documents
            path = folder / f"tracker{size}.db"
            if options.firestore:
                from shared.adapters.google.documents import FirestoreDocuments  # noqa: PLC0415

                documents = FirestoreDocuments(f"growth-{size}-{time.time_ns()}")
                fill_by_api(documents, size)
            else:
                documents = SQLiteDocuments(path)
                fill(path, size)
            took = time.perf_counter() - start
            print(f"{size:,} recordings in {took:.0f} s", file=sys.stderr)
            if not options.firestore:
                notes += linear(path, documents, folder, size)
            tables[size] = one_more(documents, folder, size)
            path.unlink(missing_ok=True)
        rows = {size: manifest(folder, size) for size in sizes if size <= FILES}
    print("reads / writes / kB / ms" + "".join(f"{size:>26,}" for size in sizes))
    grown = []
    for operation in tables[sizes[0]].rows:
        cells = [tables[size].rows[operation] for size in sizes]
        text = "".join(f"{r:>9.1f} {w:>4.1f} {b / 1000:>5.1f} {ms:>6.1f}" for r, w, b, ms in cells)
        print(f"{operation[:38]:<38}{text}")
        # A logarithm grows by half from a thousand to a million.
        if not operation.startswith(_COUNTING) and cells[-1][3] > 3 * cells[0][3] + 5.0:
            grown.append(operation)
    for size, (add, merge, megabytes, peak) in rows.items():
        print(
            f"manifest of {size:,} rows: a row added in {add:.1f} ms, merged in {merge:.0f} ms,"
            f" {megabytes:.1f} MB written, {peak:.1f} MB of memory"
        )
    print("\n".join(notes))
    if grown:
        print("grows with the tracker: " + ", ".join(grown))
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
