"""The file behind ``SQLiteDocuments``: its schema and migrations, connections and errors."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.adapters.local.modes import create_directory, create_file
from shared.adapters.local.vanishing import KnownDirectory
from shared.core.errors import ConfigurationError, TransientError

#: Marks our files (SQLite, "PRAGMA application_id"): "audp" in ASCII.
APPLICATION_ID = 0x61756470


def _text(row: str, field: str) -> str:
    """Return the SQL of a field's text; ``''`` where it has none."""
    body = f"{row}.body, '$.{field}'"
    return f"CASE json_type({body}) WHEN 'text' THEN json_extract({body}) ELSE '' END"


def _counted(row: str, step: str) -> str:
    """Return the SQL that changes the count of a document's status and code."""
    key = f"{row}.collection, {_text(row, 'status')}, {_text(row, 'error.code')}"
    return f"""
            INSERT OR IGNORE INTO document_counts VALUES ({key}, 0);
            UPDATE document_counts SET number = number {step} 1
            WHERE (collection, status, code) = ({key});
    """  # noqa: S608 - no value comes from outside


#: The steps from each schema version (``PRAGMA user_version``) to the next. A released
#: step is never edited; a change is a new step.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE documents (
            collection TEXT NOT NULL,
            id         TEXT NOT NULL,
            version    TEXT NOT NULL,  -- random, new with each write
            body       TEXT NOT NULL,  -- JSON; times are RFC 3339 in UTC, all of one width
            PRIMARY KEY (collection, id)
        )
        """,
    ),
    (
        """
        CREATE INDEX documents_status_updated_at ON documents (
            collection, json_extract(body, '$.status'), json_extract(body, '$.updated_at')
        )
        """,
        """
        CREATE INDEX documents_status_lease_expires_at ON documents (
            collection, json_extract(body, '$.status'), json_extract(body, '$.lease_expires_at')
        )
        """,
        """
        CREATE INDEX documents_updated_at ON documents (
            collection, json_extract(body, '$.updated_at')
        )
        """,
    ),
    (
        # Which document has which of its ``words``, and when that document changed.
        """
        CREATE TABLE document_words (
            collection TEXT NOT NULL,
            word       TEXT NOT NULL,
            id         TEXT NOT NULL,
            updated_at TEXT,
            PRIMARY KEY (collection, word, id)
        ) WITHOUT ROWID
        """,
        """
        CREATE TRIGGER document_words_insert AFTER INSERT ON documents BEGIN
            INSERT OR IGNORE INTO document_words
            SELECT NEW.collection, value, NEW.id, json_extract(NEW.body, '$.updated_at')
            FROM json_each(NEW.body, '$.words') WHERE type = 'text'
                AND json_type(NEW.body, '$.updated_at') IS NOT NULL;
        END
        """,
        """
        CREATE TRIGGER document_words_update AFTER UPDATE ON documents BEGIN
            DELETE FROM document_words WHERE collection = OLD.collection AND id = OLD.id
                AND word IN (SELECT value FROM json_each(OLD.body, '$.words'));
            INSERT OR IGNORE INTO document_words
            SELECT NEW.collection, value, NEW.id, json_extract(NEW.body, '$.updated_at')
            FROM json_each(NEW.body, '$.words') WHERE type = 'text'
                AND json_type(NEW.body, '$.updated_at') IS NOT NULL;
        END
        """,
        """
        CREATE TRIGGER document_words_delete AFTER DELETE ON documents BEGIN
            DELETE FROM document_words WHERE collection = OLD.collection AND id = OLD.id
                AND word IN (SELECT value FROM json_each(OLD.body, '$.words'));
        END
        """,
        """
        CREATE INDEX documents_source_updated_at ON documents (
            collection, json_extract(body, '$.source'), json_extract(body, '$.updated_at')
        )
        """,
        """
        CREATE INDEX documents_source_status_updated_at ON documents (
            collection, json_extract(body, '$.source'), json_extract(body, '$.status'),
            json_extract(body, '$.updated_at')
        )
        """,
        """
        CREATE INDEX documents_error_code_status_updated_at ON documents (
            collection, json_extract(body, '$.error.code'), json_extract(body, '$.status'),
            json_extract(body, '$.updated_at')
        )
        """,
        """
        CREATE INDEX documents_status_finished_at ON documents (
            collection, json_extract(body, '$.status'), json_extract(body, '$.finished_at')
        )
        """,
    ),
    (
        """
        CREATE INDEX documents_status_queued_at ON documents (
            collection, json_extract(body, '$.status'), json_extract(body, '$.queued_at')
        )
        """,
    ),
    (
        """
        CREATE INDEX documents_revision ON documents (
            collection, json_extract(body, '$.revision')
        )
        """,
    ),
    (
        """
        CREATE INDEX documents_announce_after ON documents (
            collection, json_extract(body, '$.announce_after')
        )
        """,
        """
        CREATE INDEX documents_key ON documents (collection, json_extract(body, '$.key'))
        """,
        """
        CREATE INDEX documents_status_republished_updated_at ON documents (
            collection, json_extract(body, '$.status'), json_extract(body, '$.republished'),
            json_extract(body, '$.updated_at')
        )
        """,
        """
        CREATE INDEX documents_error_code_requeues_finished_at ON documents (
            collection, json_extract(body, '$.error.code'), json_extract(body, '$.requeues'),
            json_extract(body, '$.finished_at')
        )
        """,
    ),
    (
        # How many documents have a status and an error's code, so that counting them costs the
        # same however many there are.
        """
        CREATE TABLE document_counts (
            collection TEXT NOT NULL,
            status     TEXT NOT NULL,
            code       TEXT NOT NULL,
            number     INTEGER NOT NULL,
            PRIMARY KEY (collection, status, code)
        ) WITHOUT ROWID
        """,
        f"""
        INSERT INTO document_counts
        SELECT collection, {_text("documents", "status")}, {_text("documents", "error.code")},
            count(*)
        FROM documents GROUP BY 1, 2, 3
        """,  # noqa: S608
        f"""
        CREATE TRIGGER document_counts_insert AFTER INSERT ON documents BEGIN
            {_counted("NEW", "+")}
        END
        """,
        f"""
        CREATE TRIGGER document_counts_update AFTER UPDATE ON documents
        WHEN {_text("OLD", "status")} <> {_text("NEW", "status")}
            OR {_text("OLD", "error.code")} <> {_text("NEW", "error.code")}
        BEGIN
            {_counted("OLD", "-")} {_counted("NEW", "+")}
        END
        """,
        f"""
        CREATE TRIGGER document_counts_delete AFTER DELETE ON documents BEGIN
            {_counted("OLD", "-")}
        END
        """,
    ),
)

#: How long a call waits for other processes' writes, which normally take milliseconds.
BUSY_TIMEOUT_S = 30.0


class DatabaseConnection:
    """One process's connection, used by one thread at a time."""

    def __init__(self, path: Path, directory: KnownDirectory) -> None:
        self._path = path
        self._directory = directory
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Give one thread the connection, for one statement."""
        with self._lock, translate_errors(self._path):
            # The file may have been removed or replaced; writes to the old one would be
            # silently lost.
            if self._connection is None or self._file != _identity(self._path):
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                self._directory.check()
                self._connection = open_database(self._path, BUSY_TIMEOUT_S)
                self._directory.check()
                self._file = _identity(self._path)
                weakref.finalize(self, _close, self._connection, os.getpid())
            yield self._connection


#: Connections of a parent process: closing one here would release its locks.
_inherited: list[sqlite3.Connection] = []


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()
    else:
        _inherited.append(connection)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def open_database(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Connect to the file, creating it if needed and migrating it to the newest schema.

    A call on the connection waits up to ``timeout_s`` seconds for other processes.
    """
    for directory in reversed(path.parents):
        create_directory(directory)
    if not path.exists():
        # SQLite takes an empty file for a new database, and gives -wal and -shm its mode.
        os.close(create_file(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC))
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        with _transaction(connection, "BEGIN"):
            version = _version(connection, path)
        if version != len(MIGRATIONS):
            with _transaction(connection, "BEGIN IMMEDIATE"):
                # Read again: another process may have migrated it while this one waited.
                for migration in MIGRATIONS[_version(connection, path) :]:
                    for statement in migration:
                        connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # Switching needs exclusive access and does not wait for it. Another process
                # makes the switch; until then writes are as safe, and reads may wait.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
        # In WAL mode only FULL makes a finished write survive a power loss.
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and (owner or version or tables):
        raise ConfigurationError([f"{path} is a database of another program"])
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            [
                f"{path} was written by a newer audio-pipeline (its schema is {version},"
                f" this version supports {len(MIGRATIONS)}): upgrade, or use another file"
            ]
        )
    return version


# ── errors ──

_UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise the pipeline's errors for those of SQLite and the operating system."""
    try:
        yield
    except sqlite3.Error as error:
        # The lower byte is the primary code (SQLite, "Result and Error Codes"). Errors
        # without a code, and those of a wrong statement, are bugs of ours.
        code = getattr(error, "sqlite_errorcode", None)
        kind = sqlite3.SQLITE_MISUSE if code is None else code & 0xFF
        if kind in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE):
            raise
        if kind in _UNUSABLE:
            raise ConfigurationError([f"{path} {_UNUSABLE[kind]}"]) from error
        if kind == sqlite3.SQLITE_CANTOPEN:
            may_be_opened = (
                not path.is_dir()
                and os.access(path.parent, os.W_OK | os.X_OK)
                and (not path.exists() or os.access(path, os.R_OK | os.W_OK))
            )
            if not may_be_opened:
                raise ConfigurationError([f"cannot open {path}: permission denied"]) from error
        if kind == sqlite3.SQLITE_FULL:
            raise TransientError(f"cannot write {path}: the disk is full") from error
        raise TransientError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise TransientError(f"cannot create {path}: the disk is full") from error
        raise ConfigurationError([f"cannot open {path}: {error.strerror}"]) from error
