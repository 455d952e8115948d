"""Which composite index a query needs in Firestore. The emulator needs none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.adapters.google.documents import PREFIXES
from shared.core.ports import Cursor, Documents, Op, Versioned, Where

_EQUALITIES = (Op.EQ, Op.IN)


@dataclass(frozen=True)
class Field:
    """A field of an index, and ``ASCENDING``, ``DESCENDING`` or ``CONTAINS`` (of an array)."""

    path: str
    order: str


@dataclass(frozen=True)
class Index:
    """A composite index of a collection."""

    collection: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Query:
    """A query as ``find`` was asked for it."""

    collection: str
    where: tuple[Where, ...]
    order_by: str | None = None
    descending: bool = False
    total: str | None = None

    @property
    def index(self) -> Index | None:
        """The composite index that the query needs, or ``None``.

        As Firestore's "Index types" and "Manage indexes" have it: the indexes that it
        keeps of each field by itself serve equalities (``in`` is one), any number of
        them, or ranges and an order on one field. An equality with a range or an order
        on another field, or two ordered fields, want a composite one: the equalities
        first, then what is ordered, in exactly that direction. A range without an order
        is ordered upwards, or as the order before it. A sum reads its field out of the
        index too, after all others ("Summarize data with aggregation queries").
        """
        equal = sorted({path for path, op, _ in self.where if op in _EQUALITIES})
        last = "DESCENDING" if self.descending else "ASCENDING"
        ranged = sorted({path for path, op, _ in self.where if op not in _EQUALITIES})
        ordered = [self.order_by, *ranged] if self.order_by else ranged
        ordered = [path for path in dict.fromkeys(ordered) if path not in equal]
        if self.total:
            ordered.append(self.total)
        if not ordered or len(equal) + len(ordered) == 1:
            return None
        fields = [Field(path, "CONTAINS" if path == PREFIXES else "ASCENDING") for path in equal]
        return Index(self.collection, (*fields, *(Field(path, last) for path in ordered)))


class RecordingDocuments:
    """Records each query with the line of code that made it, and passes it on."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.queries: list[Query] = []
        self.callers: set[tuple[Path, str]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    def find(
        self,
        collection: str,
        *where: Where,
        order_by: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        after: Cursor | None = None,
    ) -> Iterator[Versioned]:
        """Note the query and run it."""
        self._note(Query(collection, where, order_by, descending))
        return self._documents.find(
            collection, *where, order_by=order_by, descending=descending, limit=limit, after=after
        )

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        """Note the query that Firestore's adapter makes of this, and run it."""
        self._note(Query(collection, ((PREFIXES, Op.EQ, prefix),), "updated_at", True))
        return self._documents.search(collection, prefix, limit=limit, after=after)

    def count(self, collection: str, *where: Where) -> int:
        """Note the query and run it."""
        self._note(Query(collection, where))
        return self._documents.count(collection, *where)

    def total(self, collection: str, field: str, *where: Where) -> float:
        """Note the query and run it."""
        self._note(Query(collection, where, total=field))
        return self._documents.total(collection, field, *where)

    def _note(self, query: Query) -> None:
        caller = sys._getframe(2)
        self.callers.add((Path(caller.f_code.co_filename).resolve(), caller.f_code.co_name))
        self.queries.append(query)
