"""The schema of a ``SQLiteDocuments`` file, as the steps from each version to the next."""

from __future__ import annotations

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
