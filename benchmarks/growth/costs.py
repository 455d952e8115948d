"""Counts reads, writes and bytes of documents, and the time that each operation takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from shared.adapters.local.documents import _encode
from shared.core.ports import Cursor, Document, Documents, Versioned, Where

RUNS = 30


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
    """The costs of each operation: reads, writes, bytes, milliseconds, those of the processor."""

    rows: dict[str, tuple[float, float, float, float, float]] = field(default_factory=dict)

    def measure(
        self, name: str, counting: Counting, action: Callable[[int], object], runs: int = RUNS
    ) -> None:
        counting.reads = counting.writes = counting.bytes = 0
        times, busy = [], []
        for number in range(runs):
            start, before = time.perf_counter(), time.process_time()
            action(number)
            times.append(1000 * (time.perf_counter() - start))
            busy.append(1000 * (time.process_time() - before))
        self.rows[name] = (
            counting.reads / runs,
            counting.writes / runs,
            counting.bytes / runs,
            median(times),
            median(busy),
        )
