"""Migrations of the tracker's file, from each version that was ever released."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.schema import APPLICATION_ID, MIGRATIONS
from shared.core.errors import ConfigurationError
from shared.core.ports import Op


def make_file(path: Path, version: int) -> None:
    """Make a file as the release with this schema left it, with one document where it can."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (sql for migration in MIGRATIONS[:version] for sql in migration):
            connection.execute(statement)
        if version:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            body = '{"status": "DONE", "updated_at": "2025-04-07T16:52:00.000000Z"}'
            values = ("recordings", "old", "0123456789abcdef", body)
            connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", values)
        connection.execute(f"PRAGMA user_version = {version}")


def schema(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        return [*connection.execute(sql), *connection.execute("PRAGMA user_version")]


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_each_version_becomes_the_newest_and_keeps_its_documents(
    tmp_path: Path, version: int
) -> None:
    make_file(tmp_path / "old.db", version)
    SQLiteDocuments(tmp_path / "new.db").check()
    documents = SQLiteDocuments(tmp_path / "old.db")
    found = list(documents.find("recordings", ("status", Op.EQ, "DONE")))
    assert [item.id for item in found] == (["old"] if version else [])
    assert documents.count("recordings", ("status", Op.EQ, "DONE")) == len(found)
    for item in found:
        documents.replace("recordings", item, {"status": "QUEUED"})
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    make_file(path, len(MIGRATIONS))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"newer audio-pipeline.*upgrade"):
        SQLiteDocuments(path).check()
    assert path.read_bytes() == before


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tracker.db"
    make_file(path, len(MIGRATIONS))
    before = schema(path)
    broken = (*MIGRATIONS, ("CREATE TABLE more (x)", "CREATE TABLE documents (x)"))
    monkeypatch.setattr("shared.adapters.local.database.MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        SQLiteDocuments(path).check()
    assert schema(path) == before


def test_the_file_is_in_wal_mode(tmp_path: Path) -> None:
    SQLiteDocuments(tmp_path / "tracker.db").check()
    with closing(sqlite3.connect(tmp_path / "tracker.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
