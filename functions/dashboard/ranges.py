"""Range requests for audio: RFC 9110, section 14, for one range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import BinaryIO

BLOCK = 256 * 1024

# No file has a size of more than 19 digits, and int() refuses thousands of them.
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """Bytes ``start`` to ``end``, without ``end``."""

    start: int
    end: int


class UnsatisfiableError(Exception):
    """The range starts behind the end; answered with 416."""


def requested(header: str | None, size: int) -> Span | None:
    """Return the one range that a ``Range`` header asks for; ``None`` to send everything.

    A header that is malformed or asks for several ranges is ignored, as the RFC allows.
    Raises ``UnsatisfiableError``.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match.groups()
    if not first:  # the last bytes; more than there are means all of them
        if int(last) == 0 or size == 0:
            raise UnsatisfiableError
        return Span(max(0, size - int(last)), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(size, int(last) + 1) if last else size)


def is_current(if_range: str | None, etag: str, modified: datetime) -> bool:
    """Return whether the condition of ``If-Range`` is met: a strong tag or the exact date."""
    if if_range is None:
        return True
    if_range = if_range.strip()
    return if_range in (etag, http_date(modified))


def http_date(when: datetime) -> str:
    """Return a time as HTTP writes it."""
    return format_datetime(when.astimezone(UTC).replace(microsecond=0), usegmt=True)


def blocks(file: BinaryIO, span: Span) -> Iterator[bytes]:
    """Yield the bytes of a span, and close the file."""
    with file:
        file.seek(span.start)
        left = span.end - span.start
        while left and (block := file.read(min(BLOCK, left))):
            left -= len(block)
            yield block
