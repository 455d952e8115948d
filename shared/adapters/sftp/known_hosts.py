"""Pinned host keys, as "SSH_KNOWN_HOSTS FILE FORMAT" of sshd(8) describes them."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import paramiko

from shared.core.sftp_errors import ServerCode, ServerError

#: A key of one kind may be shown with several signature algorithms (RFC 8332).
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True)
class HostKey:
    """One line of ``known_hosts`` for the server."""

    kind: str
    data: bytes
    is_revoked: bool = False

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The names under which a server offers the key."""
        return _ALGORITHMS.get(self.kind, (self.kind,))


def known_keys(text: str, host: str, port: int) -> Iterator[HostKey]:
    """Yield the keys of ``host``; lines of certificates are not supported and skipped."""
    name = _name(host, port)
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if line.startswith("@") else ""
        if len(fields) < 3 or line.startswith("#") or marker not in ("", "@revoked"):
            continue
        hosts, kind, encoded, *_ = fields
        if not _matches_host(hosts, name):
            continue
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise ServerError(
                ServerCode.HOST_KEY, "known_hosts has a line whose key is not base64"
            ) from None
        yield HostKey(kind, data, bool(marker))


def check_host_key(
    shown: Any,
    known: list[HostKey],
    host: str,
    port: int,
    on_new: Callable[[str], None] | None = None,
    advice: str = "",
) -> None:
    """Raise ``ServerError`` unless the key that the server shows is pinned.

    ``on_new`` is called with the line to add where nothing is pinned for the server;
    ``advice`` ends the message in its absence.
    """
    data = shown.asbytes()
    matching = [one for one in known if one.data == data]
    if matching and not any(one.is_revoked for one in matching):
        return
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    shows = f"{host}:{port} shows the host key {shown.get_name()} SHA256:{digest}"
    if matching:
        problem = "which known_hosts revokes"
    elif any(not one.is_revoked for one in known):
        problem = (
            "but known_hosts pins another one: the key was changed, or someone is intercepting"
            " the connection. Ask the server's administrator before you change known_hosts"
        )
    elif on_new is not None:
        on_new(f"{_name(host, port)} {shown.get_name()} {shown.get_base64()}")
        return
    else:
        problem = (
            "but known_hosts has no key for it: ask the server's administrator for the key, and"
            f" add it as a line that starts with {_name(host, port)}{advice}"
        )
    raise ServerError(ServerCode.HOST_KEY, f"{shows}, {problem}")


def _name(host: str, port: int) -> str:
    return host if port == 22 else f"[{host}]:{port}"


def _matches_host(hosts: str, name: str) -> bool:
    if hosts.startswith("|1|"):
        return bool(paramiko.HostKeys.hash_host(name, hosts) == hosts)
    patterns = hosts.lower().split(",")
    if any(_matches(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    # Only * and ? are special there; a bracket belongs to the port.
    return fnmatch.fnmatchcase(name.lower(), pattern.replace("[", "[[]"))
