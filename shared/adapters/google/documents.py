"""Documents in Firestore: preconditions instead of transactions, and a deadline per call."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import firestore
from google.cloud.firestore import DocumentReference, DocumentSnapshot, FieldFilter

from shared.adapters.google.retry import within
from shared.core.errors import ConflictError
from shared.core.ports import Cursor, Document, Versioned, Where
from shared.core.words import prefixes
from shared.runtime.per_process import PerProcess

#: Documents per query call; bounds both the call's duration and its memory.
PAGE = 300

# A fresh value for each write: a write that changes nothing keeps its update time
# (WriteResult.update_time), so a second writer with the same precondition would win too.
_MARK = "_write"

# Firestore finds whole elements of an array only, so each prefix of each word is one. The
# field is not indexed by itself, only together with the time: "Index exemptions".
PREFIXES = "_prefixes"

_CHECK_S = 4.0

# Answers to a write whose precondition failed; ABORTED if it lost to a concurrent write.
_CONFLICTS = (
    exceptions.AlreadyExists,
    exceptions.FailedPrecondition,
    exceptions.Aborted,
    exceptions.NotFound,
)

_Snapshot = DocumentSnapshot[DocumentReference]

# The client resumes a broken stream without a deadline for as long as its retry accepts
# the error, so retries are off and a page is retried as a whole instead.
_NEVER = Retry(predicate=lambda _: False)


@dataclass(frozen=True)
class _Version:
    """When a document was written, and its field names at that time."""

    time: datetime
    fields: frozenset[str]


class FirestoreDocuments:
    """The documents of one Firestore database (``ports.Documents``).

    A call gives up after ``deadline_s`` seconds. A write whose response was lost is
    retried and may then raise ``ConflictError`` although it was applied; a caller that
    must know reads the document and looks for its own mark. The account needs
    ``roles/datastore.user``.

    Queries with an equality and a range or an order need a composite index, listed in
    ``infra/terraform/indexes.json``; without it ``find`` raises ``FailedPrecondition``.
    """

    def __init__(self, project: str, database: str = "(default)", *, deadline_s: float = 15.0):
        self._client = PerProcess(lambda: firestore.Client(project=project, database=database))
        self._deadline_s = deadline_s

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        """Return the document, or ``None``; reads are strongly consistent."""
        return _versioned(self._document(collection, doc_id).get(**self._limits()))

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        """Create a document; raises ``ConflictError`` if it exists."""
        with _conflicts(f"{collection}/{doc_id} exists already"):
            stored = self._document(collection, doc_id)
            result = stored.create(_with_hidden_fields(document), **self._limits())
        return Versioned(doc_id, document, _Version(result.update_time, frozenset(document)))

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        """Replace the whole document; raises ``ConflictError`` unless it is still ``read``."""
        new, fields = _with_hidden_fields(document), read.version.fields
        if "words" in fields:
            fields |= {PREFIXES}
        removed = dict.fromkeys(fields - new.keys(), firestore.DELETE_FIELD)
        # update() parses its keys as paths; quoting keeps a dot in a name a dot.
        quote = firestore.Client.field_path
        with _conflicts(f"{collection}/{read.id} has changed"):
            result = self._document(collection, read.id).update(
                {quote(name): value for name, value in {**new, **removed}.items()},
                option=self._unchanged(read),
                **self._limits(),
            )
        return Versioned(read.id, document, _Version(result.update_time, frozenset(document)))

    def delete(self, collection: str, read: Versioned) -> None:
        """Remove the document; raises ``ConflictError`` unless it is still ``read``."""
        with _conflicts(f"{collection}/{read.id} has changed"):
            self._document(collection, read.id).delete(
                option=self._unchanged(read), **self._limits()
            )

    def find(
        self,
        collection: str,
        *where: Where,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Cursor | None = None,
    ) -> Iterator[Versioned]:
        """Yield the documents that match all of ``where``, ``PAGE`` per call."""
        query = self._query(collection, where)
        if order_by:
            query = _ordered(query, order_by, descending, after)
        return self._pages(query, limit)

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        """Yield the documents with a word that starts with ``prefix``, latest first."""
        query = self._query(collection, [(PREFIXES, "array_contains", prefix)])
        return self._pages(_ordered(query, "updated_at", True, after), limit)

    def count(self, collection: str, *where: Where) -> int:
        """Return how many documents meet all of ``where``; costs a read per 1,000 of them."""
        return int(self._aggregate(self._query(collection, where).count()))

    def total(self, collection: str, field: str, *where: Where) -> float:
        """Return the sum of a numeric field over the documents that match all of ``where``."""
        return float(self._aggregate(self._query(collection, where).sum(field)))

    def _query(self, collection: str, where: Sequence[Where]) -> Any:
        query: Any = self._client().collection(collection)
        for path, op, value in where:
            query = query.where(filter=FieldFilter(path, op, value))
        return query

    def _aggregate(self, aggregation: Any) -> Any:
        def read() -> Any:
            return aggregation.get(retry=_NEVER, timeout=self._deadline_s)

        ((result,),) = within(self._deadline_s)(read)()
        return result.value

    def _pages(self, query: Any, limit: int | None) -> Iterator[Versioned]:
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._page(query.limit(size))
            yield from (read for read in map(_versioned, page) if read)
            if len(page) < size:
                return
            query = query.start_after(page[-1])
            left = None if left is None else left - size

    def _page(self, query: Any) -> list[_Snapshot]:
        def read() -> list[_Snapshot]:
            return list(query.get(retry=_NEVER, timeout=self._deadline_s))

        return within(self._deadline_s)(read)()

    def check(self) -> None:
        """Raise if the database cannot be reached; takes at most 5 seconds.

        Reads a document that need not exist, so that it needs no other permission than
        the work itself.
        """
        self._document("health", "check").get(retry=_NEVER, timeout=_CHECK_S)

    def _document(self, collection: str, doc_id: str) -> DocumentReference:
        return self._client().collection(collection).document(doc_id)

    def _unchanged(self, read: Versioned) -> Any:
        return self._client().write_option(last_update_time=read.version.time)

    def _limits(self) -> dict[str, Any]:
        # The clients apply ``timeout`` to all attempts of a call together.
        return {"retry": within(self._deadline_s), "timeout": self._deadline_s}


def _ordered(query: Any, field: str, descending: bool, after: Cursor | None) -> Any:
    way = "DESCENDING" if descending else "ASCENDING"
    query = query.order_by(field, direction=way)
    if after is None:
        return query  # Firestore orders by name last, in the same direction ("Order and limit")
    value, doc_id = after
    query = query.order_by("__name__", direction=way)
    return query.start_after({field: value, "__name__": doc_id})


def _with_hidden_fields(document: Document) -> Document:
    hidden: Document = {_MARK: uuid.uuid4().hex}
    if "words" in document:
        hidden[PREFIXES] = prefixes(document["words"])
    return {**document, **hidden}


@contextmanager
def _conflicts(message: str) -> Iterator[None]:
    try:
        yield
    except _CONFLICTS as error:
        raise ConflictError(message) from error


def _versioned(snapshot: _Snapshot) -> Versioned | None:
    if not snapshot.exists:
        return None
    document = _plain(snapshot.to_dict())
    for hidden in (_MARK, PREFIXES):
        document.pop(hidden, None)
    return Versioned(snapshot.id, document, _Version(snapshot.update_time, frozenset(document)))


def _plain(value: Any) -> Any:
    """Return ``value`` with plain datetimes: Firestore's subclass does not pickle."""
    if isinstance(value, datetime):
        return datetime.combine(value.date(), value.time(), value.tzinfo).astimezone(UTC)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
