"""Shared by all storage adapters: safe object names, checksums, the limit of a signed URL."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta

import google_crc32c

from shared.core.errors import ConflictError
from shared.core.ports import StoredObject

#: The longest lifetime of a signed URL (Cloud Storage, "V4 signing process").
MAX_SIGNED_LIFETIME = timedelta(days=7)

#: The longest name of an object in bytes of UTF-8 (Cloud Storage, "About objects").
MAX_NAME_BYTES = 1024


def check_name(name: str) -> str:
    """Return ``name`` if it is a safe object name: non-empty parts joined by ``/``.

    Raises ``ValueError`` for a name that could escape the bucket's directory or that a
    bucket does not accept: an empty name, a leading, trailing or doubled slash, the parts
    ``.`` and ``..``, NUL, carriage return and line feed, more than 1,024 bytes.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"not a relative name: {name[:200]!r}")
    if any(character in name for character in "\0\r\n"):
        raise ValueError(f"a name cannot contain NUL or a line break: {name[:200]!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"a name has at most {MAX_NAME_BYTES} bytes: {name[:200]!r}…")
    return name


def check_lifetime(lifetime: timedelta) -> timedelta:
    """Return ``lifetime``; raises ``ValueError`` unless it is above 0 and at most 7 days."""
    if not timedelta(0) < lifetime <= MAX_SIGNED_LIFETIME:
        raise ValueError(f"a signed URL is valid for at most 7 days, not {lifetime}")
    return lifetime


def is_replay(there: StoredObject, metadata: Mapping[str, str], crc32c: str) -> bool:
    """Return whether ``there`` is the object being created: an earlier response was lost.

    Without a ``key`` it may be anyone's.
    """
    key = metadata.get("key")
    return key is not None and (there.metadata.get("key"), there.crc32c) == (key, crc32c)


def check_generation(name: str, there: StoredObject | None, generation: int) -> None:
    """Raise ``ConflictError`` unless the object exists in that generation."""
    if there is None or there.generation != generation:
        raise ConflictError(f"{name} is no longer generation {generation}")


def encode_crc32c(crc: int) -> str:
    """Return a checksum in Cloud Storage's notation: base64 of its big-endian bytes."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")


def crc32c_of(content: bytes) -> str:
    """Return the CRC32C of ``content`` in Cloud Storage's notation."""
    return encode_crc32c(google_crc32c.value(content))
