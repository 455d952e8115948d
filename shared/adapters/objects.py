"""What every storage adapter shares: names that stay inside, checksums, a signature's limit."""

from __future__ import annotations

import base64
from datetime import timedelta

import google_crc32c

#: The longest life of a signed URL (Cloud Storage, "V4 signing process").
MAX_SIGNED_LIFETIME = timedelta(days=7)

#: The longest name of an object in bytes of UTF-8 (Cloud Storage, "About objects").
MAX_NAME_BYTES = 1024


def check_name(name: str) -> str:
    """Return ``name``, an object's name of non-empty parts joined by ``/``.

    Raises ``ValueError`` for anything that could leave the bucket's directory or that a
    bucket would not take: an empty name, a leading, trailing or doubled slash, the parts
    ``.`` and ``..``, NUL, carriage return and line feed, more than 1,024 bytes.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"not a relative name: {name[:200]!r}")
    if any(character in name for character in "\0\r\n"):
        raise ValueError(f"a name cannot hold NUL or a line break: {name[:200]!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"a name has at most {MAX_NAME_BYTES} bytes: {name[:200]!r}…")
    return name


def check_lifetime(lifetime: timedelta) -> timedelta:
    """Return ``lifetime``; raises ``ValueError`` unless it is above 0 and at most 7 days."""
    if not timedelta(0) < lifetime <= MAX_SIGNED_LIFETIME:
        raise ValueError(f"a signed address lives for at most 7 days, not {lifetime}")
    return lifetime


def encode_crc32c(crc: int) -> str:
    """Return a checksum as Cloud Storage writes it: base64 of its big-endian bytes."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")


def crc32c_of(content: bytes) -> str:
    """Return the checksum of ``content`` as Cloud Storage writes it."""
    return encode_crc32c(google_crc32c.value(content))
