"""Private keys in every format that OpenSSH writes, locked or not."""

from __future__ import annotations

import base64
import binascii
import io
import struct
from typing import Any

import paramiko
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

_KEY_CLASSES: tuple[tuple[type, Any], ...] = (
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (rsa.RSAPrivateKey, paramiko.RSAKey),
)
_MAGIC = b"openssh-key-v1\0"


class LockedKeyError(ValueError):
    """The key needs a passphrase."""


def load_private_key(text: str, passphrase: str = "") -> Any:
    """Return paramiko's key for a PEM text; a passphrase for an open key is ignored.

    Raises ``LockedKeyError``, and ``ValueError`` whose message completes 'the key …'.
    """
    loaded: Any = _load(text.strip().encode() + b"\n", passphrase.encode() or None)
    key_class = next((of for kind, of in _KEY_CLASSES if isinstance(loaded, kind)), None)
    if key_class is None:
        raise ValueError("is neither Ed25519, ECDSA nor RSA")
    plain = loaded.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return key_class.from_private_key(io.StringIO(plain.decode()))


def _load(text: bytes, passphrase: bytes | None) -> Any:
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        return load(text, passphrase)
    except TypeError:  # a passphrase for an open key, or none for a locked one
        if passphrase:
            return _load(text, None)
        raise LockedKeyError("is locked, and there is no passphrase") from None
    except ValueError:
        if passphrase and load is load_ssh_private_key:
            try:
                return load(text, None)  # an open key with a passphrase ends here too
            except (ValueError, TypeError):
                pass
        wrong = "cannot be opened with its passphrase" if passphrase else "cannot be read"
        raise ValueError(wrong) from None


def public_part(text: str) -> bytes | None:
    """Return the public key of OpenSSH's own format, which a passphrase does not hide.

    Source: PROTOCOL.key of OpenSSH. ``None`` for other formats.
    """
    lines = [line for line in text.strip().splitlines() if not line.startswith("-----")]
    try:
        data = base64.b64decode("".join(lines), validate=True)
        if not data.startswith(_MAGIC):
            return None
        position = len(_MAGIC)
        for _ in range(3):  # cipher, key derivation, its options
            position += 4 + struct.unpack_from(">I", data, position)[0]
        position += 4  # how many keys: one
        (size,) = struct.unpack_from(">I", data, position)
        return data[position + 4 : position + 4 + size]
    except (binascii.Error, struct.error):
        return None
