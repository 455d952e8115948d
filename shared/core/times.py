"""Times as text (RFC 3339) and as documents return them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# RFC 3339 requires a date, a time and a zone; fromisoformat() alone accepts much more.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime, timespec: str = "auto") -> str:
    """Return an aware time as RFC 3339 text in UTC, ``2025-04-07T16:52:00Z``.

    ``timespec`` is as in ``datetime.isoformat``; ``microseconds`` gives texts of one width,
    which sort as the times do. Raises ``ValueError`` for a naive time.
    """
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    return _plain(moment).isoformat(timespec=timespec).replace("+00:00", "Z")


def time_as_json(value: object, timespec: str = "auto") -> str:
    """Return a time as ``format_time`` does: the ``default`` of ``json.dumps`` for documents."""
    if not isinstance(value, datetime):
        raise TypeError(f"a document cannot contain {type(value).__name__}")
    return format_time(value, timespec)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time as UTC; raises ``ValueError`` for anything else."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    try:
        # Python 3.11 reads at most six digits of a second's fraction.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper())).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"out of range: {text[:40]!r}") from error


def document_time(value: datetime | str | None) -> datetime | None:
    """Return a time of a document in UTC; databases that store JSON return text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return None if value is None else _plain(value)


def _plain(moment: datetime) -> datetime:
    # Firestore returns its own subclass, which prints nanoseconds and does not pickle.
    utc = moment.astimezone(UTC)
    return datetime.combine(utc.date(), utc.time(), UTC)
