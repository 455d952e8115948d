"""Parsing of JSON from outside."""

from __future__ import annotations

import json
from typing import Any

#: No message, request or secret here is nested deeper than a few levels.
MAX_DEPTH = 50


def parse(text: bytes | str) -> Any:
    """Parse JSON; raises ``ValueError`` for anything else, and for more than ``MAX_DEPTH`` levels.

    ``json.loads`` raises ``RecursionError`` for deep nesting, at a depth that depends on the
    caller's; and what it still returns could do the same when it is printed.
    """
    try:
        parsed = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [parsed]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (list, dict))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return parsed
    raise ValueError("it is nested too deeply")
