"""Documents in one SQLite file, for a single machine: JSON with versions and migrations."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from shared.adapters.local.database import (
    BUSY_TIMEOUT_S,
    DatabaseConnection,
    open_database,
    translate_errors,
)
from shared.adapters.local.vanishing import KnownDirectory
from shared.core.errors import ConflictError
from shared.core.ports import Cursor, Document, Op, Versioned, Where
from shared.core.times import format_time, time_as_json
from shared.runtime.per_process import PerProcess

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_RANGES = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})

#: A word with more entries than this is found faster by scanning the latest documents than by
#: sorting all that have it.
_COMMON = 2000

#: Up to this many documents are read at once; more are streamed.
_MANY = 500

#: The fields whose values are counted as documents are written, and their columns.
_COUNTED = {"status": "status", "error.code": "code"}

_Condition: TypeAlias = tuple[str, list[Any]]


class SQLiteDocuments:
    """``ports.Documents`` in the file ``path``, which many threads and processes may share.

    The file and its directory are created at the first call. Times are returned as RFC
    3339 text. SQLite keeps its ``-wal`` and ``-shm`` files beside it, so it needs a local
    disk: no network file system, and no mounted bucket.

    Every call raises ``ConfigurationError`` if the file is not a database, belongs to
    another program, is damaged, has a newer schema, or cannot be created or written, and
    ``TransientError`` if it stays locked for 30 seconds, the disk is full, or its directory
    was there before and has gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()
        self._directory = KnownDirectory(self.path.parent)
        self._connection = PerProcess(partial(DatabaseConnection, self.path, self._directory))

    def get(self, collection: str, doc_id: str) -> Versioned | None:
        """Return the document, or ``None``."""
        rows = self._read(
            "SELECT id, version, body FROM documents WHERE collection = ? AND id = ?",
            [collection, doc_id],
        )
        return rows[0] if rows else None

    def create(self, collection: str, doc_id: str, document: Document) -> Versioned:
        """Create a document; raises ``ConflictError`` if it exists."""
        # A random version: a document deleted and created again never has its old one.
        body, version = _encode(document), secrets.token_hex(8)
        sql = "INSERT INTO documents (collection, id, version, body) VALUES (?, ?, ?, ?)"
        if not self._write(sql + " ON CONFLICT DO NOTHING", [collection, doc_id, version, body]):
            raise ConflictError(f"{collection}/{doc_id} exists already")
        return Versioned(doc_id, json.loads(body), version)

    def replace(self, collection: str, read: Versioned, document: Document) -> Versioned:
        """Replace the whole document; raises ``ConflictError`` unless it is still ``read``."""
        body, version = _encode(document), secrets.token_hex(8)
        if not self._write(
            "UPDATE documents SET version = ?, body = ?"
            " WHERE collection = ? AND id = ? AND version = ?",
            [version, body, collection, read.id, read.version],
        ):
            raise ConflictError(f"{collection}/{read.id} changed since it was read")
        return Versioned(read.id, json.loads(body), version)

    def delete(self, collection: str, read: Versioned) -> None:
        """Remove the document; raises ``ConflictError`` unless it is still ``read``."""
        if not self._write(
            "DELETE FROM documents WHERE collection = ? AND id = ? AND version = ?",
            [collection, read.id, read.version],
        ):
            raise ConflictError(f"{collection}/{read.id} changed since it was read")

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
        conditions = [_condition(*one) for one in where]
        # With a condition, its index: SQLite would rather read the whole collection in order of
        # the primary key than sort a few ("The SQLite Query Optimizer Overview", unary +).
        order = "+id" if where else "id"
        if order_by is not None:
            conditions.append((f"{_kind(order_by)} IS NOT NULL", []))
            way = " DESC" if descending else ""
            order = f"{_value(order_by)}{way}, id{way}"
            if after is not None:
                conditions.append(_behind(_value(order_by), after, descending))
        matching, values = _all_of(collection, conditions)
        sql = (
            # Fields pass _checked(), values are parameters.
            f"SELECT id, version, body FROM documents WHERE {matching}"  # noqa: S608
            f" ORDER BY {order} LIMIT ?"
        )
        rows = self._read(sql, [*values, _MANY + 1 if limit is None else limit])
        if limit is not None or len(rows) <= _MANY:
            return iter(rows)
        return self._streamed(sql, [*values, -1])

    def _streamed(self, sql: str, values: Sequence[Any]) -> Iterator[Versioned]:
        """Start a query whose rows are not all in memory at the same time."""
        with translate_errors(self.path):
            # Of its own: other statements of this process go on while rows are read.
            connection = open_database(self.path, BUSY_TIMEOUT_S)
            cursor = connection.execute(sql, values)

        def rows() -> Iterator[Versioned]:
            with translate_errors(self.path), closing(connection):
                for doc_id, version, body in cursor:
                    yield Versioned(doc_id, json.loads(body), version)

        return rows()

    def search(
        self, collection: str, prefix: str, *, limit: int, after: Cursor | None = None
    ) -> Iterator[Versioned]:
        """Yield the documents with a word that starts with ``prefix``, latest first."""
        within = [prefix, prefix + chr(sys.maxunicode)]
        common = self._scalar(
            "SELECT count(*) FROM (SELECT 1 FROM document_words"
            " WHERE collection = ? AND word >= ? AND word < ? LIMIT ?)",
            [collection, *within, _COMMON],
        )
        if common == _COMMON:
            return self._walk(collection, within, limit, after)
        conditions = [("word >= ? AND word < ?", within)]
        if after is not None:
            conditions.append(_behind("updated_at", after, descending=True))
        matching, values = _all_of(collection, conditions)
        # The table of words has the times too, so only the documents of the page are read whole.
        rows = self._read(
            "SELECT id, version, body FROM documents JOIN ("  # noqa: S608
            f"SELECT DISTINCT updated_at, id FROM document_words WHERE {matching}"
            " ORDER BY updated_at DESC, id DESC LIMIT ?) AS page USING (id)"
            " WHERE collection = ? ORDER BY page.updated_at DESC, id DESC",
            [*values, limit, collection],
        )
        return iter(rows)

    def _walk(
        self, collection: str, within: list[str], limit: int, after: Cursor | None
    ) -> Iterator[Versioned]:
        """Go through the latest documents until enough have the word: it is a common one."""
        changed = _value("updated_at")
        has_word = (
            "EXISTS (SELECT 1 FROM json_each(body, '$.words')"
            " WHERE type = 'text' AND value >= ? AND value < ?)"
        )
        conditions: list[_Condition] = [(has_word, within)]
        if after is not None:
            conditions.append(_behind(changed, after, descending=True))
        matching, values = _all_of(collection, conditions)
        rows = self._read(
            f"SELECT documents.id, version, body FROM documents WHERE {matching}"  # noqa: S608
            f" AND {_kind('updated_at')} IS NOT NULL"
            f" ORDER BY {changed} DESC, documents.id DESC LIMIT ?",
            [*values, limit],
        )
        return iter(rows)

    def count(self, collection: str, *where: Where) -> int:
        """Return how many documents meet all of ``where``.

        By status and by an error's code it costs the same however many there are.
        """
        wanted = {
            _COUNTED.get(field, ""): value for field, operator, value in where if operator == Op.EQ
        }
        if len(wanted) == len(where) and all(wanted) and all(map(_is_plain, wanted.values())):
            matching = " AND ".join(["collection = ?", *(f"{column} = ?" for column in wanted)])
            sql = f"SELECT coalesce(sum(number), 0) FROM document_counts WHERE {matching}"  # noqa: S608
            return int(self._scalar(sql, [collection, *wanted.values()]))
        return int(self._aggregate("count(*)", collection, where))

    def total(self, collection: str, field: str, *where: Where) -> float:
        """Return the sum of a numeric field over the documents that match all of ``where``."""
        number = f"{_kind(field)} IN ('integer', 'real')"
        return float(
            self._aggregate(f"total({_value(field)}) FILTER (WHERE {number})", collection, where)
        )

    def _aggregate(self, function: str, collection: str, where: Sequence[Where]) -> Any:
        matching, values = _all_of(collection, [_condition(*one) for one in where])
        return self._scalar(f"SELECT {function} FROM documents WHERE {matching}", values)  # noqa: S608

    def _scalar(self, sql: str, values: Sequence[Any]) -> Any:
        with self._connection().use() as connection:
            return connection.execute(sql, values).fetchone()[0]

    def check(self) -> None:
        """Raise unless the file can be written."""
        self._directory.check()
        with translate_errors(self.path), closing(open_database(self.path, 4.0)) as connection:
            self._directory.check()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def _read(self, sql: str, values: Sequence[Any]) -> list[Versioned]:
        with self._connection().use() as connection:
            rows = connection.execute(sql, values).fetchall()
        return [Versioned(doc_id, json.loads(body), version) for doc_id, version, body in rows]

    def _write(self, sql: str, values: Sequence[Any]) -> bool:
        with self._connection().use() as connection:
            return connection.execute(sql, values).rowcount == 1


# ── values ──


def _encode(document: Document) -> str:
    # Times have one width: texts sort as the times do.
    as_json = partial(time_as_json, timespec="microseconds")
    return json.dumps(document, default=as_json, ensure_ascii=False, allow_nan=False)


def _value(field: str) -> str:
    return f"json_extract(body, '$.{_checked(field)}')"  # exactly as in the indexes


def _kind(field: str) -> str:
    return f"json_type(body, '$.{_checked(field)}')"


def _checked(field: str) -> str:
    if not _FIELD.fullmatch(field):
        raise ValueError(f"not a field's name: {field[:80]!r}")
    return field


def _is_plain(wanted: Any) -> bool:
    """Return whether only a text can equal a value: SQLite returns lists and objects as text."""
    return isinstance(wanted, str) and bool(wanted) and not wanted.startswith(("[", "{"))


def _condition(field: str, operator: str, wanted: Any) -> _Condition:
    if operator == Op.IN:
        any_of = [_condition(field, Op.EQ, value) for value in wanted]
        sql = " OR ".join(sql for sql, _ in any_of) or "FALSE"
        return f"({sql})", [value for _, values in any_of for value in values]
    if operator == Op.EQ:
        if wanted is None or isinstance(wanted, bool):
            # json_type() returns null, true and false.
            return f"{_kind(field)} = ?", [json.dumps(wanted)]
        if _is_plain(wanted):
            # Only a text can equal it, so that counting needs the index alone, not each body.
            return f"{_value(field)} = ?", [wanted]
        return _compared(field, "=", wanted)
    if operator not in _RANGES:
        raise ValueError(f"unknown comparison {operator!r}")
    return _compared(field, operator, wanted)


def _all_of(collection: str, conditions: Sequence[_Condition]) -> _Condition:
    sql = " AND ".join(["collection = ?", *(sql for sql, _ in conditions)])
    return sql, [collection, *(value for _, values in conditions for value in values)]


def _behind(value: str, after: Cursor, descending: bool) -> _Condition:
    # The first comparison can use an index, a row value of an expression and a column cannot.
    last, doc_id = after
    last = format_time(last, "microseconds") if isinstance(last, datetime) else last
    compare = "<" if descending else ">"
    return f"{value} {compare}= ? AND ({value} <> ? OR id {compare} ?)", [last, last, doc_id]


def _compared(field: str, operator: str, wanted: Any) -> _Condition:
    # The JSON type is compared too: SQLite orders numbers, booleans and text among each
    # other, and returns lists and objects as text.
    if isinstance(wanted, datetime):
        wanted = format_time(wanted, "microseconds")
    if isinstance(wanted, str):
        return f"({_value(field)} {operator} ? AND {_kind(field)} = 'text')", [wanted]
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        kinds = "('integer', 'real')"
        return f"({_value(field)} {operator} ? AND {_kind(field)} IN {kinds})", [wanted]
    raise ValueError(f"{type(wanted).__name__} cannot be compared")
