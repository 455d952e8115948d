"""What looks at every recording: the audit, the nightly scan, the manifest."""

from __future__ import annotations

import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks import measure
from benchmarks.growth.costs import RUNS
from benchmarks.growth.filling import item
from functions.sftp_compress import manifest_file
from functions.sftp_compress.manifest import Entry, Manifest
from functions.sftp_compress.nightly import Nightly
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue
from shared.core.ports import Documents, StoredObject
from shared.core.times import utc_now
from shared.tracking.tracker import Tracker
from tests.sftp import sshd_running

COMMAND = Path(sys.executable).with_name("audio-pipeline")

#: How many files the SFTP server of the nightly scan has at most.
FILES = 100_000


def manifest(folder: Path, rows: int) -> tuple[float, float, float, float]:
    """Return milliseconds of an added row and of a merge, megabytes written, peak megabytes."""
    storage = FilesystemStorage(folder / f"manifest{rows}", fsync=False)
    made = Manifest(storage=storage, name="m.json", parts="parts/", clock=utc_now)
    stored = StoredObject(name="dev/compressed/a.wav", bytes=100, crc32c="", generation=1)

    def entry(number: int) -> Entry:
        return Entry.of(item(number, "sftp"), stored, "0" * 64, 1.5, utc_now())

    path = folder / f"manifest{rows}.json"
    with path.open("w", encoding="utf-8") as file:
        entries = (vars(entry(number)) for number in range(rows))
        manifest_file.write(file, entries, {}, utc_now())
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
    yield from _night(documents, count)
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


def _night(documents: Documents, count: int) -> Iterator[str]:
    """Scan a real OpenSSH server, whose files are known but for one in a thousand."""
    files = min(count // 5, FILES)
    with sshd_running() as server, server.sources() as sources:
        for number in range(files):
            known = number % 1000
            path = server.root / f"{count - 1 - number if known else 10**7 + number:08}.wav"
            path.write_bytes(b"x")
            os.utime(path, (1, 1))
        night = Nightly(
            sources=sources,
            tracker=Tracker(documents),
            queue=MemoryQueue(),
            settle=timedelta(minutes=10),
        )
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        summary = night.run()
        took = 1e6 * (time.perf_counter() - start) / files
        after = resource.getrusage(resource.RUSAGE_SELF)
        grown = (after.ru_maxrss - before.ru_maxrss) / 1e3
        yield (
            f"nightly, {files:,} files on an OpenSSH server, {summary['queued']:,} new:"
            f" {took:.0f} µs a file, {grown:.1f} MB more memory"
        )
