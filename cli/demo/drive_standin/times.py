"""Times as Drive writes them: RFC 3339 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.core import times


def format_time(moment: datetime) -> str:
    """Return ``moment`` as Drive writes it."""
    return times.format_time(moment, "milliseconds")


def parse_time(text: str) -> datetime:
    """Read a time; one without a zone is UTC, as in Drive's queries. Raises ``ValueError``."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
