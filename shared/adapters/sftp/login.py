"""Logging in to an SFTP server whose host key is pinned, by key or by password."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import io
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

from shared.adapters.sftp.session import IN_FLIGHT, READ_BYTES, SftpSession
from shared.config.parsers import SftpCredentials
from shared.core.errors import ConfigurationError
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError

#: How long each step of a login may take, and any answer after it.
CONNECT_S = 8.0
ANSWER_S = 15.0

#: A line without traffic is asked so often whether it is still there.
_KEEPALIVE_S = 15

#: What the server may send ahead of our reading: all reads that can be on their way.
_WINDOW_BYTES = READ_BYTES * IN_FLIGHT
_PACKET_BYTES = 256 << 10

#: What a processor encrypts by itself goes first: three times as fast as the others.
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_KEY_CLASSES: tuple[tuple[type, Any], ...] = (
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (rsa.RSAPrivateKey, paramiko.RSAKey),
)

# What paramiko says of a broken line, with a traceback, is said by our own errors.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass
class Connection:
    """A session that is logged in, and the SSH connection that carries it."""

    session: SftpSession
    _transport: Any

    @property
    def is_broken(self) -> bool:
        """Whether a new one is needed."""
        return self.session.is_broken or not self._transport.is_active()

    def close(self) -> None:
        """End both. Idempotent."""
        self.session.close()
        self._transport.close()


def connect(host: str, port: int, credentials: SftpCredentials) -> Connection:
    """Connect and log in.

    Raises ``UnreachableError``; ``ServerError`` (``host_key``, ``authentication``);
    ``ConfigurationError`` for a private key that cannot be read.
    """
    known = list(known_keys(credentials.known_hosts, host, port))
    key = private_key(credentials) if credentials.private_key else None
    try:
        line = socket.create_connection((host, port), CONNECT_S)
        # Requests are small, and each would wait for the acknowledgement of the one before.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(line)
    except OSError as error:
        raise UnreachableError(f"{host}:{port} cannot be reached: {error}") from error
    try:
        _shake_hands(transport, known, f"{host}:{port}")
        _check_host_key(transport.get_remote_server_key(), known, host, port)
        _authenticate(transport, credentials, key)
        return Connection(_open_session(transport), transport)
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise UnreachableError(f"{host}:{port} broke off the login: {error}") from error
    except BaseException:
        transport.close()
        raise


def _shake_hands(transport: Any, known: list[HostKey], server: str) -> None:
    transport.banner_timeout = transport.handshake_timeout = CONNECT_S
    transport.auth_timeout = transport.channel_timeout = CONNECT_S
    options = transport.get_security_options()
    options.ciphers = (*_FAST_CIPHERS, *(c for c in options.ciphers if c not in _FAST_CIPHERS))
    # A server has keys of several kinds, and shows the first one that is asked for.
    names = [name for one in known for name in _ALGORITHMS.get(one.kind, (one.kind,))]
    if wanted := [name for name in dict.fromkeys(names) if name in options.key_types]:
        options.key_types = (*wanted, *(k for k in options.key_types if k not in wanted))
    try:
        transport.start_client(timeout=CONNECT_S)
    except paramiko.SSHException as error:
        raise UnreachableError(f"{server} did not answer as an SSH server: {error}") from error


def _open_session(transport: Any) -> SftpSession:
    transport.set_keepalive(_KEEPALIVE_S)
    channel = transport.open_session(
        window_size=_WINDOW_BYTES, max_packet_size=_PACKET_BYTES, timeout=CONNECT_S
    )
    channel.settimeout(ANSWER_S)
    channel.invoke_subsystem("sftp")
    return SftpSession(channel, ANSWER_S)


# Host keys, as "SSH_KNOWN_HOSTS FILE FORMAT" of sshd(8) describes them.


@dataclass(frozen=True)
class HostKey:
    """One line of ``known_hosts`` that is about the server."""

    kind: str
    data: bytes
    is_revoked: bool = False


def known_keys(text: str, host: str, port: int) -> Iterator[HostKey]:
    """Yield the keys of ``host``; certificates are not supported, and lines of them left out."""
    name = host if port == 22 else f"[{host}]:{port}"
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if line.startswith("@") else ""
        if len(fields) < 3 or line.startswith("#") or marker not in ("", "@revoked"):
            continue
        hosts, kind, encoded, *_ = fields
        if _is_about(hosts, name):
            yield HostKey(kind, _decoded(encoded), bool(marker))


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ServerError(
            ServerCode.HOST_KEY, "known_hosts has a line whose key is not base64"
        ) from None


def _is_about(hosts: str, name: str) -> bool:
    if hosts.startswith("|1|"):
        return bool(paramiko.HostKeys.hash_host(name, hosts) == hosts)
    patterns = hosts.lower().split(",")
    if any(_matches(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_matches(pattern, name) for pattern in patterns)


def _matches(pattern: str, name: str) -> bool:
    # Only * and ? are special there; a bracket belongs to the port.
    return fnmatch.fnmatchcase(name.lower(), pattern.replace("[", "[[]"))


def _check_host_key(shown: Any, known: list[HostKey], host: str, port: int) -> None:
    data = shown.asbytes()
    matching = [one for one in known if one.data == data]
    if matching and not any(one.is_revoked for one in matching):
        return
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    shows = f"{host}:{port} shows the host key {shown.get_name()} SHA256:{digest}"
    if matching:
        wrong = "which known_hosts has revoked"
    elif any(not one.is_revoked for one in known):
        wrong = "which is not the one that known_hosts pins: it was changed, or someone is between"
    else:
        wrong = (
            "and known_hosts has none for it: compare the key with its owner and add the line "
            f"that ssh-keyscan -p {port} {host} prints"
        )
    raise ServerError(ServerCode.HOST_KEY, f"{shows}, {wrong}")


# Authentication.


def private_key(credentials: SftpCredentials) -> Any:
    """Return paramiko's key for the PEM text; raises ``ConfigurationError``."""
    assert credentials.private_key is not None
    text = credentials.private_key.reveal().strip().encode() + b"\n"
    passphrase = credentials.passphrase.reveal().encode() if credentials.passphrase else None
    loaded: Any = _load(text, passphrase)
    key_class = next((of for kind, of in _KEY_CLASSES if isinstance(loaded, kind)), None)
    if key_class is None:
        raise _bad_key("is neither Ed25519, ECDSA nor RSA")
    plain = loaded.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return key_class.from_private_key(io.StringIO(plain.decode()))


def _load(text: bytes, passphrase: bytes | None) -> Any:
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        return load(text, passphrase)
    except TypeError:  # with a passphrase for an open key, or without one for a locked key
        if passphrase:
            return _load(text, None)
        raise _bad_key("is locked, and there is no passphrase") from None
    except ValueError:
        if passphrase and load is load_ssh_private_key:
            # It is what a passphrase for an open key gives, too.
            try:
                return load(text, None)
            except (ValueError, TypeError):
                pass
        wrong = "cannot be opened with its passphrase" if passphrase else "cannot be read"
        raise _bad_key(wrong) from None


def _bad_key(wrong: str) -> ConfigurationError:
    return ServerError(ServerCode.AUTHENTICATION, f"the private_key in SFTP_CREDENTIALS {wrong}")


def _authenticate(transport: Any, credentials: SftpCredentials, key: Any) -> None:
    tries: list[Callable[[], object]] = []
    if key is not None:
        tries.append(lambda: transport.auth_publickey(credentials.username, key))
    if credentials.password:
        password = credentials.password.reveal()
        tries.append(lambda: transport.auth_password(credentials.username, password))
    for attempt in tries:
        try:
            attempt()
        except paramiko.AuthenticationException as error:
            _require_refusal(transport, error)
        if transport.is_authenticated():
            return
    ways = " and ".join(
        way for way, has in (("key", key), ("password", credentials.password)) if has
    )
    raise ServerError(
        ServerCode.AUTHENTICATION,
        f"the server does not let {credentials.username} in with this {ways}",
    )


def _require_refusal(transport: Any, error: Exception) -> None:
    """Raise ``UnreachableError`` where the line broke, which looks like a refusal."""
    if "timeout" in str(error).lower() or not transport.is_active():
        raise UnreachableError(f"the login was not answered: {error}") from error
