"""``--json``: an array of tracker documents on standard output, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from shared.core.records import Recording


def write(recordings: Iterable[Recording]) -> None:
    """Print the documents as one array, in UTF-8 whatever the locale."""
    documents = [recording.to_document() for recording in recordings]
    text = json.dumps(documents, ensure_ascii=False, indent=2, default=_time)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    raise TypeError(type(value).__name__)
