"""``SourceFile``, the one message between triggers and workers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from shared.core import untrusted_json
from shared.core.errors import MessageError
from shared.core.times import format_time, parse_time

SCHEMA = 1

#: The longest key that is written out; longer ones are hashed. A key is part of document ids
#: (Firestore allows 1,500 bytes) and of object names (Cloud Storage allows 1,024).
MAX_KEY_LENGTH = 200

#: The longest message that is read, in bytes. All of it goes into a document, and Firestore
#: allows 1 MiB for one, so a longer message could never be claimed.
MAX_BYTES = 512 * 1024


class Source(StrEnum):
    """Where a recording comes from."""

    DRIVE = "drive"
    SFTP = "sftp"
    LOCAL = "local"


# A key must stand for one (source, source_id, revision) only. It is written out where the
# revision cannot be confused with the end of the id, and hashed elsewhere.
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_PLAIN_REVISION = {
    Source.DRIVE: re.compile(r"[A-Za-z0-9_]+", re.ASCII),
    Source.SFTP: re.compile(r"[0-9]+-[0-9]+", re.ASCII),
    Source.LOCAL: re.compile(r"[0-9]+-[0-9a-f]+", re.ASCII),
}


def make_key(source: str, source_id: str, revision: str) -> str:
    """Return the key of one revision of one source file, safe as a document id and a file name.

    The key is ``source-source_id-revision`` where that is short, plain ASCII and unambiguous,
    else ``source-`` and 40 hexadecimal digits of a SHA-256. The two are never equal, since a
    plain key has at least two dashes. An unknown source becomes ``other``, since its name may
    contain anything.
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
    """One revision of one recording or audio file, as a trigger found it.

    ``source_id`` is a Drive file id or a path, ``size_bytes`` is 0 or more, ``created_at``
    is aware. ``account`` can read the file (a subject, or empty for the service account) and
    is not part of the key. ``force`` asks for processing again although it is DONE.
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
        body = {
            "schema": SCHEMA,
            "key": self.key,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "created_at": format_time(self.created_at),
        }
        return json.dumps(body, ensure_ascii=False).encode()

    def attributes(self) -> dict[str, str]:
        """Return the message's attributes, which repeat what filters and consoles need."""
        return {"key": self.key, "source": self.source}

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a message's data.

        Raises ``MessageError``, with the data, unless the message is complete, consistent
        and of a known schema.
        """
        if len(data) > MAX_BYTES:
            raise MessageError(f"the message has {len(data)} bytes, more than {MAX_BYTES}", data)
        try:
            body = untrusted_json.parse(data)
            if not isinstance(body, Mapping):
                raise ValueError("the message is not a JSON object")
            if type(body.get("schema")) is not int or body["schema"] != SCHEMA:
                raise ValueError(f"unknown schema {str(body.get('schema'))[:40]!r}")
            item = cls(**_typed(body))
            if body.get("key") != item.key:
                key = str(body.get("key"))[:80]
                raise ValueError(f"the key does not match the source: {key!r}")
        except ValueError as error:
            raise MessageError(str(error), data) from error
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


def _typed(body: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        if name not in body:
            if name in _OPTIONAL:
                continue
            raise ValueError(f"{name} is missing")
        if type(body[name]) is not kind:  # exact: True is not a size, and 1 is not a flag
            raise ValueError(f"{name} is not of type {kind.__name__}")
        values[name] = body[name]
    for name in ("source", "source_id", "revision"):
        if not values[name]:
            raise ValueError(f"{name} is empty")
    for name in ("source", "source_id", "revision", "name", "mime_type", "account"):
        values.get(name, "").encode()  # a lone surrogate is a ValueError here, not in a database
    if values["size_bytes"] < 0 or values["size_bytes"] >= 1 << 63:
        raise ValueError("size_bytes is out of range")
    values["created_at"] = parse_time(values["created_at"])
    return values
