"""What the pipeline needs from outside. The docstrings are the contract.

Workers, triggers and the media engine see these protocols only; ``shared/adapters``
implements them, ``shared/bootstrap.py`` chooses. Every adapter passes the suites of
``tests/contract``. Two rules apply to all: a call has a deadline, and
``shared.core.errors.is_transient`` recognises the errors that a retry may fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from shared.core.drive_items import ChangePage, DriveItem, FilePage, WatchChannel
from shared.core.message import SourceFile
from shared.core.results import ResultEvent

#: Returns the current time, aware, in UTC. Code that needs the time is given a clock.
Clock: TypeAlias = Callable[[], datetime]

#: Called with the fraction done, 0 to 1; may raise to stop the work.
OnProgress: TypeAlias = Callable[[float], None]


class Checkable(Protocol):
    """A dependency whose health can be checked."""

    def check(self) -> None:
        """Raise when it cannot be reached."""


class ByteSource(Protocol):
    """The bytes of one revision of one source file, by range. Threads may share it."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def local_path(self) -> Path | None:
        """The path of a plain local file with the same bytes, or ``None``."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file.

        Resumes and retries by itself within a deadline, then raises a transient error.
        Raises ``PermanentError`` when the file is gone, forbidden, or another revision
        (``superseded``), as far as the answer shows it.
        """

    def check_unchanged(self) -> None:
        """Check that the source still has this revision.

        Called after the last byte was read. Raises ``PermanentError`` (``superseded``,
        ``gone``, ``trashed``, ``forbidden``) when it is not.
        """

    def close(self) -> None:
        """Close connections; reads of other threads may fail from now on. Idempotent."""


class Sources(Protocol):
    """The recordings of one kind of source."""

    def open(self, item: SourceFile) -> ByteSource:
        """Open the revision that ``item`` names.

        Raises ``PermanentError`` (``superseded``, ``gone``, ``trashed``, ``forbidden``)
        when that revision cannot be read any more.
        """

    def list(self) -> Iterator[SourceFile]:
        """Yield every recording that is there now, in no particular order."""


#: The most names that are kept of files that a listing passed over.
MAX_PASSED_OVER = 20


@dataclass
class PassedOver:
    """Files that a listing passed over since their names are not those of audio.

    ``names`` are the first of them, at most ``MAX_PASSED_OVER``.
    """

    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object as the bucket describes it.

    ``crc32c`` is base64 of the big-endian checksum. ``generation`` changes with each
    write, ``metadata`` is custom: ``key``, ``source``, ``source_id``, ``revision``.
    """

    name: str
    bytes: int
    crc32c: str
    generation: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    updated: datetime | None = None


class Storage(Protocol):
    """A bucket. Names are relative, with ``/`` between their parts, NFC."""

    def url(self, name: str) -> str:
        """Return the address of an object for documents: ``gs://bucket/name`` or ``file://…``."""

    def put(
        self,
        name: str,
        content: Path | bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        if_generation: int | None = None,
        cache_control: str = "private, max-age=3600",
    ) -> StoredObject:
        """Write an object whole or not at all, and return it with its checksum verified.

        ``if_generation=0`` creates: an object of that name, or a claim on it by another
        key, raises ``ObjectExistsError``. An object that is there already with the same
        bytes and the same ``metadata["key"]`` is success (the answer of an earlier try
        was lost). Any other number replaces that generation only and raises
        ``ConflictError`` when another is there. ``None`` overwrites.
        """

    def prepare(self, name: str, content: Path) -> AbstractContextManager[None]:
        """Start what is slow about a ``put`` of this file, which must not change any more.

        Nothing becomes visible before the ``put``. If none follows within the context, nothing
        is left. A failure is not reported: the ``put`` meets it again.
        """

    def stat(self, name: str) -> StoredObject | None:
        """Return the object, or ``None`` when there is none."""

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises ``FileNotFoundError``."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with ``prefix``, sorted by name."""

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; one that is not there is success. Raises ``ConflictError``."""

    def signed_url(self, name: str, lifetime: timedelta) -> str:
        """Return an address that plays the object for anyone, for at most 7 days."""

    def check(self) -> None:
        """Raise when the bucket cannot be reached; takes at most 5 seconds."""


Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Versioned:
    """A document as it was read; ``version`` is opaque and names that state of it."""

    id: str
    document: Document
    version: Any


class Op:
    """Comparisons that ``Documents.find`` knows."""

    EQ = "=="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"


#: A field (``error.code`` for one inside another), a comparison, a value.
Where: TypeAlias = tuple[str, str, Any]

#: Where a page ended: the last document's value of the ordering field, and its id.
Cursor: TypeAlias = tuple[Any, str]


class Documents(Protocol):
    """A document database with optimistic concurrency: collections of documents by id.

    Values are what JSON has, and aware ``datetime``, which may come back as RFC 3339
    text. Every write is atomic and durable when the call returns.
    """

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        """Return the document as the last finished write left it, or ``None``."""

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        """Create a document; raises ``ConflictError`` when there is one."""

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        """Replace the whole document; raises ``ConflictError`` unless it is still ``read``."""

    def delete(self, collection: str, read: Versioned) -> None:
        """Remove the document; raises ``ConflictError`` unless it is still ``read``."""

    def find(
        self,
        collection: str,
        *where: Where,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Cursor | None = None,
    ) -> Iterator[Versioned]:
        """Yield the documents that meet all of ``where``; one that lacks the field does not.

        ``order_by`` leaves out documents that lack that field, as Firestore does. Equal
        values are ordered by id, in the same direction. ``after`` starts behind a cursor
        (needs ``order_by``, and a field whose values are all of one type).
        """

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        """Yield the documents with a word in ``words`` that starts with ``prefix``.

        The latest ``updated_at`` first, then by id, descending; ``after`` is a cursor of
        that order. ``prefix`` is not empty and at most ``words.MAX_WORD`` characters long.
        """

    def count(self, collection: str, *where: Where) -> int:
        """Return how many documents meet all of ``where``, without reading them."""

    def total(self, collection: str, field: str, *where: Where) -> float:
        """Return the sum of a numeric field over the documents that meet all of ``where``.

        Documents without a number in that field count as 0. They are not read either.
        """

    def check(self) -> None:
        """Raise when the database cannot be reached; takes at most 5 seconds."""


class Queue(Protocol):
    """A topic for ``SourceFile`` messages."""

    def publish(self, items: Sequence[SourceFile]) -> None:
        """Return when every message is accepted; raises a transient error otherwise.

        Some of the messages may have been sent when it raises: consumers are idempotent.
        """

    def check(self) -> None:
        """Raise when the topic cannot be reached; takes at most 5 seconds."""


class Results(Protocol):
    """Where the ends of recordings are announced."""

    def publish(self, event: ResultEvent) -> None:
        """Return when the event is accepted, within 15 seconds; raises otherwise.

        An event may have been sent when it raises: consumers recognise it by its ``id``.
        Events of one subject reach a consumer in the order of these calls.
        """

    def check(self) -> None:
        """Raise when the receiver cannot be reached; takes at most 5 seconds."""


class Mirror(Protocol):
    """A second place for results."""

    def put(self, name: str, content: Path | bytes) -> None:
        """Write a file whole or not at all; ``name`` is relative, and one there is replaced.

        Retries by itself within a deadline, then raises a transient error.
        """


class DriveApi(Protocol):
    """Google Drive as one account sees it: a subject, or empty for the service account.

    ``drive_id`` asks of one shared drive; without it, of what the account sees. A file or
    a drive that cannot be seen raises ``PermanentError`` (``gone``, ``forbidden``), and so
    does an account that is suspended.
    """

    account: str

    def get(self, file_id: str) -> DriveItem:
        """Return a file, folder or shortcut."""

    def list(
        self, query: str, *, drive_id: str = "", page_token: str = "", page_size: int = 1000
    ) -> FilePage:
        """Return one page of the files that match ``query`` (Drive's search language)."""

    def start_token(self, drive_id: str = "") -> str:
        """Return the page token for changes from now on."""

    def changes(self, token: str, drive_id: str = "", *, page_size: int = 1000) -> ChangePage:
        """Return one page of changes; raises ``PageTokenError`` for a token that Drive rejects."""

    def watch(
        self,
        token: str,
        *,
        channel_id: str,
        channel_token: str,
        address: str,
        expires_at: datetime,
        drive_id: str = "",
    ) -> WatchChannel:
        """Open a channel that notifies ``address``; its ``sync`` may arrive before this returns.

        It is not retried, since a lost answer leaves the channel open: call again with
        another ``channel_id``. Raises ``PageTokenError``.
        """

    def stop(self, channel_id: str, resource_id: str) -> None:
        """Close a channel; one that does not exist is success."""

    def check(self) -> None:
        """Raise when Drive cannot be reached or refuses the account."""


class Jobs(Protocol):
    """Runs work that takes longer than a push may."""

    def start(self, key: str) -> None:
        """Start the job for one recording; starting twice is harmless, since the job claims too."""
