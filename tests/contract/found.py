"""What the tests of documents write, and how they read what a database returns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

T0 = datetime(2025, 4, 7, 16, 52, 0, 123456, tzinfo=UTC)
C = "recordings"


def as_time(value: Any) -> datetime:
    """Read a time as it may come back: a ``datetime``, or RFC 3339 text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def ids(found: Any) -> list[str]:
    return [item.id for item in found]
