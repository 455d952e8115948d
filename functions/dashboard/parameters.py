"""Parameters of requests, checked: a bad one raises ``ProblemError`` with status 400."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from functions.dashboard.listing import LIMIT, MAX_LIMIT, Filters
from functions.dashboard.problems import ProblemError
from shared.core.message import Source
from shared.core.records import Status

MAX_QUERY = 200

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,399}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}(-\d{2})?", re.ASCII)


def filters(args: Mapping[str, str]) -> Filters:
    """Read the filters of a list."""
    query = args.get("q", "").strip()
    if len(query) > MAX_QUERY:
        raise ProblemError(400, f"q is longer than {MAX_QUERY} characters")
    if "\0" in query:
        raise ProblemError(400, "q has a null character")
    code, day = args.get("code", ""), args.get("day", "")
    if code and not _CODE.fullmatch(code):
        raise ProblemError(400, "code must be like no_audio")
    if day and not _DAY.fullmatch(day):
        raise ProblemError(400, "day must be like 2025-04-07 or 2025-04")
    return Filters(
        q=query,
        status=_one_of("status", args.get("status", ""), [one.value for one in Status]),
        source=_one_of("source", args.get("source", ""), [one.value for one in Source]),
        code=code,
        day=day,
    )


def is_key(text: str) -> bool:
    """Return whether a text can be the key of a recording; a database may refuse any other."""
    return _KEY.fullmatch(text) is not None


def limit(args: Mapping[str, str]) -> int:
    """Read how many rows a page has."""
    text = args.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise ProblemError(400, f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _one_of(name: str, value: str, allowed: Collection[str]) -> str:
    if value and value not in allowed:
        raise ProblemError(400, f"{name} must be one of {', '.join(allowed)}")
    return value
