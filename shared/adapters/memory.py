"""In-memory documents, storage, queue and results, with the semantics of the real adapters."""

from __future__ import annotations

import io
import itertools
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from shared.adapters.objects import (
    check_generation,
    check_lifetime,
    check_name,
    crc32c_of,
    is_replay,
)
from shared.core.errors import ConflictError, ObjectExistsError
from shared.core.message import SourceFile
from shared.core.ports import Cursor, Document, Op, StoredObject, Versioned, Where
from shared.core.results import ResultEvent

_MISSING = object()


class MemoryDocuments:
    """``ports.Documents`` in a dictionary; times are returned as ``datetime`` in UTC."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._versions = itertools.count(1)
        self._stored: dict[tuple[str, str], Versioned] = {}

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        """Return a copy of the document, or ``None``."""
        with self._lock:
            stored = self._stored.get((collection, doc_id))
        return _copy(stored) if stored else None

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        """Create a document; raises ``ConflictError`` if it exists."""
        with self._lock:
            if (collection, doc_id) in self._stored:
                raise ConflictError(f"{collection}/{doc_id} exists already")
            return self._write(collection, doc_id, document)

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        """Replace the whole document; raises ``ConflictError`` unless it is still ``read``."""
        with self._lock:
            self._check_unchanged(collection, read)
            return self._write(collection, read.id, document)

    def delete(self, collection: str, read: Versioned) -> None:
        """Remove the document; raises ``ConflictError`` unless it is still ``read``."""
        with self._lock:
            self._check_unchanged(collection, read)
            del self._stored[collection, read.id]

    def find(
        self,
        collection: str,
        *where: Where,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Cursor | None = None,
    ) -> Iterator[Versioned]:
        """Yield the documents that match all of ``where``, as a snapshot."""
        found = self._matching(collection, where)
        found.sort(key=lambda item: item.id)
        if order_by is not None:
            found = _ordered(found, order_by, descending, after)
        return map(_copy, found[:limit])

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        """Yield the documents with a word that starts with ``prefix``, latest first."""
        found = [
            item
            for item in self._matching(collection, ())
            if any(word.startswith(prefix) for word in item.document.get("words") or ())
        ]
        return map(_copy, _ordered(found, "updated_at", True, after)[:limit])

    def count(self, collection: str, *where: Where) -> int:
        """Return how many documents meet all of ``where``."""
        return len(self._matching(collection, where))

    def total(self, collection: str, field: str, *where: Where) -> float:
        """Return the sum of a numeric field over the documents that match all of ``where``."""
        values = (_field(item.document, field) for item in self._matching(collection, where))
        return float(sum(value for value in values if _kind(value) == _NUMBER))

    def _matching(self, collection: str, where: Sequence[Where]) -> list[Versioned]:
        with self._lock:
            found = [item for (name, _), item in self._stored.items() if name == collection]
        for path, comparison, value in where:
            wanted = _plain(value)
            found = [
                one for one in found if _compare(_field(one.document, path), comparison, wanted)
            ]
        return found

    def check(self) -> None:
        """Do nothing: memory is always available."""

    def _write(self, collection: str, doc_id: str, document: Document) -> Versioned:
        stored = Versioned(doc_id, _plain(document), next(self._versions))
        self._stored[collection, doc_id] = stored
        return _copy(stored)

    def _check_unchanged(self, collection: str, read: Versioned) -> None:
        stored = self._stored.get((collection, read.id))
        if stored is None or stored.version != read.version:
            raise ConflictError(f"{collection}/{read.id} changed since it was read")


def _copy(item: Versioned) -> Versioned:
    # So that callers cannot change what is stored.
    return Versioned(item.id, _copied(item.document), item.version)


def _copied(value: Any) -> Any:
    """Copy a value of what is stored, which has been checked."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    # A copy; accepts JSON types and datetime. Most values are scalars.
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a document's field names must be text")
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a document cannot contain a datetime without a time zone")
        return value.astimezone(UTC)
    raise TypeError(f"a document cannot contain {type(value).__name__}")


def _field(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    Op.EQ: operator.eq,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.GT: operator.gt,
    Op.GE: operator.ge,
}


def _compare(value: Any, comparison: str, wanted: Any) -> bool:
    if comparison == Op.IN:
        return any(_compare(value, Op.EQ, item) for item in wanted)
    if comparison not in _COMPARISONS:
        raise ValueError(f"unknown comparison {comparison!r}")
    if comparison != Op.EQ and wanted is None:
        raise ValueError("null can only be compared for equality")
    if value is _MISSING or _kind(value) != _kind(wanted):
        return False
    return bool(_COMPARISONS[comparison](value, wanted))


_KINDS = {type(None): 0, bool: 1, int: 2, float: 2, datetime: 3, str: 4}


def _kind(value: Any) -> int:
    return next((_KINDS[type_] for type_ in type(value).__mro__ if type_ in _KINDS), len(_KINDS))


_NUMBER = _kind(0)


def _ordered(
    found: list[Versioned], field: str, descending: bool, after: Cursor | None
) -> list[Versioned]:
    def place(item: Versioned) -> tuple[Any, str]:
        return _rank(_field(item.document, field)), item.id

    found = [item for item in found if _field(item.document, field) is not _MISSING]
    found.sort(key=place, reverse=descending)
    if after is None:
        return found
    end = _rank(_plain(after[0])), after[1]
    return [item for item in found if (place(item) < end if descending else place(item) > end)]


def _rank(value: Any) -> tuple[int, Any]:
    # Values of different types are ordered too, as Firestore documents it.
    kind = _kind(value)
    return (kind, 0) if value is None else (kind, value if kind <= 4 else repr(value))


class MemoryStorage:
    """``ports.Storage`` in a dictionary; whole objects are kept in memory."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._generations = itertools.count(1)
        self._stored: dict[str, tuple[StoredObject, bytes]] = {}

    def url(self, name: str) -> str:
        """Return ``memory://name``, which is valid in this process only."""
        return "memory://" + quote(check_name(name))

    def put(
        self,
        name: str,
        content: Path | bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        if_generation: int | None = None,
        cache_control: str = "private, max-age=3600",  # noqa: ARG002 nothing caches memory
    ) -> StoredObject:
        """Write an object whole, under the conditions of ``ports.Storage.put``."""
        data = content if isinstance(content, bytes) else content.read_bytes()
        wanted = StoredObject(
            name=check_name(name),
            bytes=len(data),
            crc32c=crc32c_of(data),
            generation=next(self._generations),
            content_type=content_type,
            metadata=dict(metadata or {}),
            updated=datetime.now(UTC),
        )
        with self._lock:
            there = self.stat(wanted.name)
            if there and if_generation == 0:
                if is_replay(there, wanted.metadata, wanted.crc32c):
                    return there
                raise ObjectExistsError(wanted.name)
            if if_generation:
                check_generation(wanted.name, there, if_generation)
            self._stored[wanted.name] = wanted, data
            return wanted

    def prepare(self, name: str, content: Path) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: a write to memory is fast."""
        return nullcontext()

    def stat(self, name: str) -> StoredObject | None:
        """Return the object, or ``None``."""
        stored = self._stored.get(check_name(name))
        return stored[0] if stored else None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises ``FileNotFoundError``."""
        stored = self._stored.get(check_name(name))
        if stored is None:
            raise FileNotFoundError(name)
        return io.BytesIO(stored[1])

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with ``prefix``, as a snapshot."""
        with self._lock:
            stored = [item for item, _ in self._stored.values() if item.name.startswith(prefix)]
        return iter(sorted(stored, key=lambda item: item.name))

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; succeeds if there is none. Raises ``ConflictError``."""
        with self._lock:
            there = self.stat(name)
            if there and if_generation is not None:
                check_generation(name, there, if_generation)
            self._stored.pop(name, None)

    def signed_url(self, name: str, lifetime: timedelta) -> str:
        """Return the object's address, which nothing outside this process can play."""
        check_lifetime(lifetime)
        return self.url(name)

    def check(self) -> None:
        """Do nothing: memory is always available."""


class MemoryQueue:
    """``ports.Queue`` that delivers each message in the publisher's own thread.

    ``deliver`` is called with each message as a consumer would decode it; its exceptions
    reach the publisher. Without ``deliver``, messages are appended to ``items``.
    """

    def __init__(self, deliver: Callable[[SourceFile], object] | None = None) -> None:
        self.items: list[SourceFile] = []
        self._deliver = deliver or self.items.append

    def publish(self, items: Sequence[SourceFile]) -> None:
        """Deliver each message, in order."""
        for item in items:
            self._deliver(SourceFile.decode(item.encode()))

    def check(self) -> None:
        """Do nothing: the process is always available."""


class MemoryResults:
    """``ports.Results`` as a list; ``accept`` is called first, and may raise to refuse an event."""

    def __init__(self, accept: Callable[[ResultEvent], object] = lambda _: None) -> None:
        self.events: list[ResultEvent] = []
        self._accept = accept

    def publish(self, event: ResultEvent) -> None:
        """Append the event."""
        self._accept(event)
        self.events.append(event)

    def check(self) -> None:
        """Do nothing: the list is always available."""
