"""``--json``: documents on standard output, and nothing else."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from cli.ui.error_text import error_text
from shared.core.errors import ConfigurationError, PermanentError, is_transient
from shared.core.records import Recording, Status
from shared.core.times import time_as_json

# C1 controls, line separators, the byte order mark, and marks of the writing direction.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def failure(name: str, error: BaseException) -> dict[str, Any]:
    """Return the object of an input that has no document: ``name``, ``status``, ``error``."""
    if isinstance(error, PermanentError | ConfigurationError):
        code = str(error.code)
    else:
        code = "transient" if is_transient(error) else "error"
    message = error_text(error)
    return {"name": name, "status": str(Status.FAILED), "error": {"code": code, "message": message}}


def write(documents: Iterable[Recording | dict[str, Any]]) -> None:
    """Print the documents as one array, in UTF-8 whatever the locale."""
    _print(json.dumps([_plain(one) for one in documents], **_FORMAT, indent=2))


def write_line(document: Recording | dict[str, Any]) -> None:
    """Print one document on a line of its own (JSON Lines), at once."""
    _print(json.dumps(_plain(document), **_FORMAT))


def _plain(document: Recording | dict[str, Any]) -> dict[str, Any]:
    return document.to_document() if isinstance(document, Recording) else document


def _print(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(escape(text).encode(errors="backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def escape(text: str) -> str:
    """Return JSON without characters that a terminal obeys or that reorder its text."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_FORMAT: dict[str, Any] = {"ensure_ascii": False, "default": time_as_json}
