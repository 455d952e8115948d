"""The one message that joins triggers to workers: ``SourceFile``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from shared.core.errors import MessageError

SCHEMA = 1

#: The longest key that is written out; longer ones are hashed. Firestore's limit for a
#: document id is 1,500 bytes, Cloud Storage's for an object's name 1,024: a key is in both.
MAX_KEY_LENGTH = 200


#: The longest message that is read, in bytes. All of it goes into a document, and Firestore's
#: limit for one is 1 MiB: a longer one could never be claimed.
MAX_BYTES = 512 * 1024


class Source(StrEnum):
    """Where a recording comes from."""

    DRIVE = "drive"
    SFTP = "sftp"
    LOCAL = "local"


# A key must name one (source, source_id, revision) only, so it is written out just where
# the revision cannot be confused with the end of the id; anything else is hashed.
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_PLAIN_REVISION = {
    Source.DRIVE: re.compile(r"[A-Za-z0-9_]+", re.ASCII),
    Source.SFTP: re.compile(r"[0-9]+-[0-9]+", re.ASCII),
    Source.LOCAL: re.compile(r"[0-9]+-[0-9]+", re.ASCII),
}


def make_key(source: str, source_id: str, revision: str) -> str:
    """Return the key of one revision of one source file, safe as a document id and a file name.

    It is ``source-source_id-revision`` where that is short, plain ASCII and unambiguous,
    else ``source-`` and 40 hexadecimal digits of a SHA-256; the two can never be equal,
    since a plain key of these sources has two dashes or more. A source that is none of
    ours is called ``other``: its name may hold anything, and only the hash counts.
    """
    known = Source(source) if source in set(Source) else None
    plain = f"{source}-{source_id}-{revision}"
    if (
        known
        and _PLAIN_REVISION[known].fullmatch(revision)
        and _PLAIN_ID.fullmatch(source_id)
        and len(plain) <= MAX_KEY_LENGTH
    ):
        return plain
    parts = json.dumps([source, source_id, revision]).encode()
    return f"{known or 'other'}-{hashlib.sha256(parts).hexdigest()[:40]}"


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One revision of one recording or sound file, as a trigger found it.

    ``source_id`` is a Drive file id or a path, ``size_bytes`` is 0 or more, ``created_at``
    is aware. ``account`` is who can read it (a subject, or empty for the service account)
    and no part of the key. ``force`` asks for it again although it is DONE.
    """

    source: str
    source_id: str
    revision: str
    name: str
    mime_type: str
    size_bytes: int
    created_at: datetime
    account: str = ""
    force: bool = False

    @property
    def key(self) -> str:
        """The id of this revision in the tracker."""
        return make_key(self.source, self.source_id, self.revision)

    def encode(self) -> bytes:
        """Return the message's data, JSON in UTF-8; raises ``ValueError`` for a naive time."""
        if self.created_at.tzinfo is None:
            raise ValueError("created_at has no zone")
        body = {
            "schema": SCHEMA,
            "key": self.key,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "created_at": self.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }
        return json.dumps(body, ensure_ascii=False).encode()

    def attributes(self) -> dict[str, str]:
        """Return the message's attributes, which repeat what filters and consoles need."""
        return {"key": self.key, "source": self.source}

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a message's data.

        Raises ``MessageError``, with the data, for anything but a whole and consistent
        message of a schema that this version knows.
        """
        if len(data) > MAX_BYTES:
            raise MessageError(f"{len(data)} bytes are more than any message has", data)
        try:
            body = json.loads(data)
            return cls._from_body(body)
        except (ValueError, RecursionError) as error:
            raise MessageError(str(error) or type(error).__name__, data) from error

    @classmethod
    def _from_body(cls, body: Any) -> Self:
        if not isinstance(body, Mapping):
            raise ValueError("the message is not a JSON object")
        if type(body.get("schema")) is not int or body["schema"] != SCHEMA:
            raise ValueError(f"unknown schema {str(body.get('schema'))[:40]!r}")
        item = cls(**_typed(body))
        if body.get("key") != item.key:
            raise ValueError(f"the key is not the one of its source: {str(body.get('key'))[:80]!r}")
        return item


_TYPES: dict[str, type] = {
    "source": str,
    "source_id": str,
    "revision": str,
    "name": str,
    "mime_type": str,
    "size_bytes": int,
    "created_at": str,
    "account": str,
    "force": bool,
}
_OPTIONAL = {"account", "force"}
# RFC 3339 wants a date, a time and a zone; fromisoformat() alone takes much more.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _typed(body: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        if name not in body:
            if name in _OPTIONAL:
                continue
            raise ValueError(f"{name} is missing")
        if type(body[name]) is not kind:  # exact: True is no size, and 1 is no flag
            raise ValueError(f"{name} is not of type {kind.__name__}")
        values[name] = body[name]
    return _checked(values)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("source", "source_id", "revision"):
        if not values[name]:
            raise ValueError(f"{name} is empty")
    for name in ("source", "source_id", "revision", "name", "mime_type", "account"):
        values.get(name, "").encode()  # a lone surrogate is a ValueError here, not in a database
    if values["size_bytes"] < 0 or values["size_bytes"] >= 1 << 63:
        raise ValueError("size_bytes is out of range")
    values["created_at"] = parse_time(values["created_at"])
    return values


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time as UTC; raises ``ValueError`` for anything else."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    try:
        # Python 3.11 reads at most six digits of a second's fraction.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.upper())).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"out of range: {text[:40]!r}") from error
