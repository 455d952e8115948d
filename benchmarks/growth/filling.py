"""Fills a tracker with recordings that have ended, spread over a year."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.adapters.local.documents import SQLiteDocuments, _encode
from shared.core.drive_items import DriveItem
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import Documents
from shared.core.records import COLLECTION, ErrorInfo, Recording, Status
from shared.core.times import utc_now

#: The one time in the recording that all others are copies of.
_MARK = datetime(2001, 1, 1, tzinfo=UTC)
_YEAR = timedelta(days=365)


def item(number: int, source: str = "drive") -> SourceFile:
    """Return one of the recordings; every number has eight digits."""
    is_sftp = source == "sftp"
    return SourceFile(
        source=source,
        source_id=f"{number:08}.wav" if is_sftp else f"f{number:08}",
        revision="1-1" if is_sftp else "a1",
        name=f"Weekly sync {number:08} - 2025/04/07 16:52 CST - Recording",
        mime_type="audio/x-wav" if is_sftp else "video/mp4",
        size_bytes=1 if is_sftp else 10**8,
        created_at=utc_now() - timedelta(days=2),
    )


def in_drive(one: SourceFile) -> DriveItem:
    return DriveItem(
        id=one.source_id,
        name=one.name,
        mime_type=one.mime_type,
        created_at=one.created_at,
        size_bytes=one.size_bytes,
        revision=one.revision,
    )


def ended(one: SourceFile, now: datetime) -> Recording:
    """Return a recording that needs no object."""
    error = ErrorInfo(code=Code.NO_AUDIO, message="no audio track")
    return Recording.from_source_file(replace(one, created_at=now), now=now).evolve(
        status=Status.SKIPPED, error=error, finished_at=now, processing_s=1.0, attempts=1
    )


def fill(path: Path, count: int) -> None:
    """Write ``count`` recordings, every fifth of them of the SFTP server, by SQL.

    The indexes are made afterwards, out of sorted entries.
    """
    SQLiteDocuments(path).check()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        later = connection.execute(
            "SELECT type, name, sql FROM sqlite_master"
            " WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
        ).fetchall()
        connection.execute("BEGIN")
        for kind, name, _ in later:
            connection.execute(f"DROP {kind} {name}")
        first, started = 0, (utc_now() - _YEAR).timestamp()
        for source, many in (("drive", count - count // 5), ("sftp", count // 5)):
            one = ended(item(0, source), _MARK)
            # Documents differ by their number and their time, which are texts of one width.
            body, mark = _encode(one.to_document()), json.loads(_encode({"": _MARK}))[""]
            assert one.key in body
            assert mark in body
            numbered = "replace(?, '00000000', printf('%08d', i))"
            moment = "strftime('%Y-%m-%dT%H:%M:%S.000000Z', ? + (i - ?) * ?, 'unixepoch')"
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
                " INSERT INTO documents (collection, id, version, body)"
                f" SELECT ?, {numbered}, 'x', replace({numbered}, ?, {moment}) FROM n",
                [
                    *(first, first + many, COLLECTION, one.key, body, mark),
                    *(started, first, _YEAR.total_seconds() / many),
                ],
            )
            first += many
        for word in sorted(set(ended(item(0), _MARK).words) - {"00000000"}):
            connection.execute(
                "INSERT INTO document_words"
                " SELECT collection, ?, id, json_extract(body, '$.updated_at') FROM documents",
                [word],
            )
        connection.execute(
            "INSERT INTO document_counts VALUES (?, ?, ?, ?)",
            [COLLECTION, Status.SKIPPED.value, Code.NO_AUDIO.value, count],
        )
        for _, _, sql in later:
            connection.execute(sql)
        connection.execute("COMMIT")


def fill_by_api(documents: Documents, count: int) -> None:
    """Write ``count`` recordings one by one."""
    started = utc_now() - _YEAR

    def create(number: int) -> None:
        one = item(number, "sftp" if number >= count - count // 5 else "drive")
        document = ended(one, started + number * _YEAR / count).to_document()
        documents.create(COLLECTION, one.key, document)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(create, range(count)))
