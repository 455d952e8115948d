"""A list as CSV. Cells that a spreadsheet would run as a formula become plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from functions.dashboard.listing import MAX_LIMIT, Filters, page
from shared.core.ports import Documents
from shared.core.records import Recording

#: The newest rows only, so that an export reads a bounded number of documents.
MAX_ROWS = 5000

COLUMNS = [
    *("key", "name", "status", "source", "account", "recorded_at", "duration_s", "size_bytes"),
    *("created_at", "finished_at", "processing_s", "object", "error_code", "error_message"),
]

# What starts a formula: "CSV Injection" of OWASP, with the full-width forms of the signs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def rows(documents: Documents, filters: Filters) -> Iterator[str]:
    """Yield the lines of the CSV file, the heading first."""
    yield "\ufeff" + _line(COLUMNS)  # the mark makes spreadsheets read UTF-8
    written, cursor = 0, ""
    while written < MAX_ROWS:
        found = page(documents, filters, cursor, min(MAX_LIMIT, MAX_ROWS - written))
        for recording in found.recordings:
            yield _line(_cells(recording))
        written += len(found.recordings)
        if found.cursor is None:
            return
        cursor = found.cursor


def safe(value: object) -> str:
    """Return a cell's text, with an apostrophe before what would be a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    text = str(value).replace("\0", "")
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(_FORMULA) else text


def _cells(recording: Recording) -> list[object]:
    audio, error = recording.audio, recording.error
    return [
        recording.key,
        recording.name,
        recording.status.value,
        recording.source,
        recording.account,
        recording.recorded_at.isoformat(),
        audio.duration_s if audio else None,
        recording.size_bytes,
        recording.created_at.isoformat(),
        recording.finished_at.isoformat() if recording.finished_at else None,
        recording.processing_s,
        audio.object if audio else None,
        error.code if error else None,
        error.message if error else None,
    ]


def _line(cells: list[object] | list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow([safe(cell) for cell in cells])
    return text.getvalue()
