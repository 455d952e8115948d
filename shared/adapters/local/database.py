"""The file behind ``SQLiteDocuments``: how it is opened and migrated, connections and errors."""

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
from shared.adapters.local.schema import APPLICATION_ID, MIGRATIONS
from shared.adapters.local.vanishing import KnownDirectory
from shared.core.errors import ConfigurationError, TransientError

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
