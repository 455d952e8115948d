"""The shared parts as one worker sees them: each call is a step, each write is checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from shared.adapters.memory import MemoryDocuments, MemoryQueue, MemoryStorage
from shared.core.drive_items import Change, ChangePage
from shared.core.errors import TransientError
from shared.core.message import SourceFile
from shared.core.ports import Document, StoredObject, Versioned
from tests.model.explorer import Actor, InvariantError

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=60)

#: Called with the writer, the document before and after, and its collection.
OnWrite = Callable[[Actor, Document | None, Document | None, str], None]


class Time:
    """The true time; each actor's clock may be wrong by its skew."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def clock(self, actor: Actor | None = None) -> Callable[[], datetime]:
        skew = timedelta(seconds=actor.skew_s if actor else 0)
        return lambda: START + self.passed + skew


def call(actor: Actor | None, what: str, do: Callable[[], T], *, writes: bool = False) -> T:
    """Make a call as one step of ``actor``; without one, at once."""
    if actor is None:
        return do()
    how = actor.wait(what, writes=writes)
    try:
        answer = do()
    except Exception as error:
        actor.remember(what, how, error)
        raise
    if how == "repeat":
        try:
            answer = do()
        except Exception as error:
            actor.remember(what, how, error)
            raise
    actor.remember(what, how, "lost" if how == "lose" else answer)
    if how == "lose":
        raise TransientError(f"the answer to {what} was lost")
    return answer


class CountedDocuments(MemoryDocuments):
    """Documents whose versions count their own writes.

    With one count for all, two orders of writes to two documents would make two states.
    """

    def _write(self, collection: str, doc_id: str, document: Document) -> Versioned:
        before = self._stored.get((collection, doc_id))
        self._versions = itertools.count(1 + before.version if before else 1)
        return super()._write(collection, doc_id, document)


class SteppedDocuments:
    """``ports.Documents`` of one actor."""

    def __init__(self, inner: MemoryDocuments, actor: Actor | None, on_write: OnWrite) -> None:
        self._inner = inner
        self._actor = actor
        self._on_write = on_write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        return call(self._actor, f"get {collection}", lambda: self._inner.get(collection, doc_id))

    def find(self, collection: str, *where: Any, **more: Any) -> Iterator[Versioned]:
        def found() -> list[Versioned]:
            return list(self._inner.find(collection, *where, **more))

        # A query that finds nothing changes nothing, and the next one looks again: not a step.
        actor = self._actor if found() else None
        return iter(call(actor, f"find {where[-1]}", found))

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        def create() -> Versioned:
            written = self._inner.create(collection, doc_id, document)
            self._check(None, written.document, collection)
            return written

        return call(self._actor, f"create {collection}", create, writes=True)

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        def replace() -> Versioned:
            before = self._inner.get(collection, read.id)
            written = self._inner.replace(collection, read, document)
            self._check(before.document if before else None, written.document, collection)
            return written

        return call(self._actor, f"replace {collection}", replace, writes=True)

    def _check(self, before: Document | None, after: Document, collection: str) -> None:
        if self._actor is None:
            return
        try:
            self._on_write(self._actor, before, after, collection)
        except InvariantError as error:
            self._actor.error = error  # the pipeline's own code would handle it as a failed write
            raise


class SteppedStorage:
    """``ports.Storage`` of one actor."""

    def __init__(self, inner: MemoryStorage, actor: Actor | None) -> None:
        self._inner = inner
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def stat(self, name: str) -> StoredObject | None:
        # No actor writes pictures, so a look at one is not a step.
        actor = self._actor if name.endswith(".mp3") else None
        return call(actor, f"stat {name}", lambda: _plain(self._inner.stat(name)))

    def put(self, name: str, content: Path | bytes, **more: Any) -> StoredObject:
        put = lambda: _plain(self._inner.put(name, content, **more))  # noqa: E731
        stored = call(self._actor, f"put {name}", put, writes=True)
        assert stored
        return stored

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        delete = lambda: self._inner.delete(name, if_generation=if_generation)  # noqa: E731
        call(self._actor, f"delete {name}", delete, writes=True)


def _plain(stored: StoredObject | None) -> StoredObject | None:
    """Leave out the true time, in which executions differ."""
    return stored and StoredObject(
        name=stored.name,
        bytes=stored.bytes,
        crc32c=stored.crc32c,
        generation=stored.generation,
        metadata=stored.metadata,
        updated=START,
    )


class SteppedQueue:
    """``ports.Queue`` of one actor."""

    def __init__(self, inner: MemoryQueue, actor: Actor | None) -> None:
        self._inner = inner
        self._actor = actor

    def publish(self, items: Sequence[SourceFile]) -> None:
        call(self._actor, "publish", lambda: self._inner.publish(items), writes=True)

    def check(self) -> None:
        """Do nothing."""


class SteppedDrive:
    """A list of changes, one on each page; tokens are positions in it."""

    account = ""

    def __init__(self, changes: Sequence[Change], actor: Actor | None) -> None:
        self._changes = changes
        self._actor = actor

    def start_token(self, drive_id: str = "") -> str:
        del drive_id
        return call(self._actor, "start token", lambda: str(len(self._changes)))

    def changes(self, token: str, drive_id: str = "", *, page_size: int = 1000) -> ChangePage:
        del drive_id, page_size

        def page() -> ChangePage:
            start = int(token)
            some = self._changes[start : start + 1]
            end = start + len(some)
            return ChangePage(changes=some, token=str(end), last=end == len(self._changes))

        return page()  # not a step: what has changed is the same at each moment

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"the model's Drive has no {name}")
