"""Lists of recordings: filters, pages by cursor, and search.

A list reads at most ``MAX_READS`` documents. Where a filter has no index of its own, more
documents are read than shown, and a page may be short although its cursor goes on.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from functions.dashboard.problems import ProblemError
from shared.core import untrusted_json
from shared.core.errors import SKIP_CODES
from shared.core.ports import Cursor, Document, Documents, Op, Versioned, Where
from shared.core.records import COLLECTION, Recording, Status
from shared.core.times import document_time
from shared.core.words import split_words

#: Rows on a page by default, and at most.
LIMIT, MAX_LIMIT = 50, 200

#: How many documents one list may read, whatever is searched for.
MAX_READS = 400


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is limited to; empty means everything."""

    q: str = ""
    status: str = ""
    source: str = ""
    code: str = ""
    day: str = ""

    @property
    def terms(self) -> tuple[str, ...]:
        """The words that a recording must have, the most selective one first."""
        words = split_words(f"{self.day} {self.q}")
        return tuple(sorted(words, key=lambda word: (-len(word), word)))

    @property
    def is_active(self) -> bool:
        """Whether anything is filtered."""
        return any((self.q, self.status, self.source, self.code, self.day))

    @property
    def is_indexed(self) -> bool:
        """Whether the database alone finds just what passes the filters."""
        terms = len(self.terms)
        return terms == 0 or (terms == 1 and not (self.status or self.source or self.code))

    def query(self, **changes: str) -> dict[str, str]:
        """Return the parameters of the URL that shows this list, without empty ones."""
        wanted = replace(self, **changes)
        return {name: value for name, value in vars(wanted).items() if value}

    def matches(self, document: Document) -> bool:
        """Return whether a recording's document passes all filters."""
        words = document.get("words") or ()
        error = document.get("error") or {}
        return (
            (not self.status or document["status"] == self.status)
            and (not self.source or document["source"] == self.source)
            and (not self.code or error.get("code") == self.code)
            and all(any(word.startswith(term) for word in words) for term in self.terms)
        )


@dataclass(frozen=True)
class Page:
    """Some recordings, and the cursor of the next page if there may be more."""

    recordings: tuple[Recording, ...]
    cursor: str | None


def page(documents: Documents, filters: Filters, cursor: str = "", limit: int = LIMIT) -> Page:
    """Return the recordings that pass the filters, the last changed first."""
    if filters.q and not filters.terms:
        return Page((), None)  # a search for punctuation only
    found: list[Recording] = []
    after = decode_cursor(cursor) if cursor else None
    reads = 0
    while reads < MAX_READS:
        # Documents that are compared here are read in large steps: each step is a query.
        step = limit + 1 - len(found) if filters.is_indexed else MAX_READS // 4
        size = min(step, MAX_READS - reads)
        batch = list(_read(documents, filters, size, after))
        reads += len(batch)
        for read in batch:
            if filters.matches(read.document):
                if len(found) == limit:
                    return Page(tuple(found), encode_cursor(after))
                found.append(Recording.from_document(read.document))
            after = document_time(read.document["updated_at"]), read.id
        if len(batch) < size:
            return Page(tuple(found), None)
    return Page(tuple(found), encode_cursor(after))


def _read(
    documents: Documents, filters: Filters, limit: int, after: Cursor | None
) -> Iterator[Versioned]:
    if filters.terms:
        return documents.search(COLLECTION, filters.terms[0], limit=limit, after=after)
    return documents.find(
        COLLECTION,
        *_conditions(filters),
        order_by="updated_at",
        descending=True,
        limit=limit,
        after=after,
    )


def _conditions(filters: Filters) -> Iterator[Where]:
    # Each combination is one composite index in Firestore, so a filter by code includes its status.
    if filters.code:
        skips = filters.code in {code.value for code in SKIP_CODES}
        yield "error.code", Op.EQ, filters.code
        yield "status", Op.EQ, (Status.SKIPPED if skips else Status.FAILED).value
        return
    if filters.source:
        yield "source", Op.EQ, filters.source
    if filters.status:
        yield "status", Op.EQ, filters.status


def encode_cursor(after: Cursor | None) -> str | None:
    """Return a cursor as text for a URL."""
    if after is None:
        return None
    value, doc_id = after
    text = json.dumps([value.isoformat(), doc_id], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Read a cursor; raises ``ProblemError`` for anything else."""
    try:
        padded = text + "=" * (-len(text) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        value, doc_id = untrusted_json.parse(raw)
        if not isinstance(doc_id, str) or not doc_id or "/" in doc_id or "\0" in doc_id:
            raise ValueError("not an id")
        doc_id.encode()
        when = datetime.fromisoformat(value)
        if when.tzinfo is None:
            raise ValueError("a time without a zone")
    except (ValueError, TypeError, binascii.Error) as error:
        raise ProblemError(400, "cursor is not one that a page returned") from error
    return when, doc_id
