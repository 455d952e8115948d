"""Connects to an SFTP server whose host key is pinned, and logs in."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import MSG_SERVICE_REQUEST, MSG_USERAUTH_REQUEST

from shared.adapters.sftp.authentication import Authenticator
from shared.adapters.sftp.known_hosts import HostKey, check_host_key, known_keys
from shared.adapters.sftp.session import IN_FLIGHT, READ_BYTES, SftpSession
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.core.sftp_login import PersonalLogin

#: How long each step of a login may take, and any reply after it.
CONNECT_S = 8.0
ANSWER_S = 15.0

#: How often an idle connection is checked.
_KEEPALIVE_S = 15

#: How far the server may send ahead of our reading: all reads that can be in flight.
_WINDOW_BYTES = READ_BYTES * IN_FLIGHT
_PACKET_BYTES = 256 << 10

#: Processors encrypt these in hardware, three times as fast as the others: tried first.
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

# paramiko logs broken connections with a traceback; our own errors report them.
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
        """Close both. Idempotent."""
        self.session.close()
        self._transport.close()


class _AuthHandler(AuthOnlyHandler):  # type: ignore[misc]
    """paramiko's, which in 5.1 cannot send the method "none", and can miss a fast reply."""

    def send_auth_request(
        self, username: str, method: str, finish_message: Callable[[Any], None] = lambda _: None
    ) -> Any:
        self.auth_method, self.username = method, username
        message = paramiko.Message()
        message.add_byte(bytes([MSG_USERAUTH_REQUEST]))
        for part in (username, "ssh-connection", method):
            message.add_string(part)
        finish_message(message)
        self.auth_event = threading.Event()
        with self.transport.lock:
            self.transport._send_message(message)
        return self.wait_for_response(self.auth_event)


class _Transport(paramiko.ServiceRequestingTransport):  # type: ignore[misc]
    """Requests the service once; AsyncSSH closes a connection that does so for each method."""

    def ensure_session(self) -> None:
        # paramiko's waits without a limit.
        if self._service_userauth_accepted:
            return
        message = paramiko.Message()
        message.add_byte(bytes([MSG_SERVICE_REQUEST]))
        message.add_string("ssh-userauth")
        self._send_message(message)
        deadline = time.monotonic() + CONNECT_S
        while not self._service_userauth_accepted:
            if not self.is_active() or time.monotonic() > deadline:
                raise paramiko.SSHException("the server did not accept a login in time")
            time.sleep(0.005)
        self.auth_handler = _AuthHandler(self)


def connect(host: str, port: int, authenticator: Authenticator) -> Connection:
    """Connect and log in.

    Raises ``UnreachableError`` for what a later attempt may not meet, and ``ServerError``
    (``host_key``, ``authentication``, ``incompatible``, ``protocol``).
    """
    server, login = f"{host}:{port}", authenticator.login
    known = list(known_keys(login.known_hosts, host, port))
    transport = _open_transport(host, port)
    try:
        _shake_hands(transport, known, server)
        # Before anything that a person knows is asked for or sent.
        shown = transport.get_remote_server_key()
        if isinstance(login, PersonalLogin):
            advice = ". On a network that you trust, --accept-new adds the key shown"
            check_host_key(shown, known, host, port, login.on_new_host_key, advice)
        else:
            check_host_key(shown, known, host, port)
        authenticator.authenticate(transport, host if port == 22 else server)
        return Connection(_open_session(transport, server), transport)
    except (paramiko.SSHException, OSError, EOFError) as error:
        transport.close()
        raise UnreachableError(f"{server} closed the connection: {reason(error)}") from error
    except BaseException:
        transport.close()
        raise


def reason(error: BaseException) -> str:
    """Return what went wrong with a connection in words, without error numbers."""
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or "the connection was closed"


def _open_transport(host: str, port: int) -> Any:
    try:
        line = socket.create_connection((host, port), CONNECT_S)
        # Requests are small; without this each would wait for the previous one's ACK.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Transport(line)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            # Also the answer of a name server that is misconfigured for a while.
            message = f"there is no host {host}: check the name, or try again later"
            raise UnreachableError(message) from error
        raise UnreachableError(f"cannot look up {host}: {reason(error)}") from error
    except OSError as error:
        raise UnreachableError(f"cannot reach {host}:{port}: {reason(error)}") from error


def _shake_hands(transport: Any, known: list[HostKey], server: str) -> None:
    transport.banner_timeout = transport.handshake_timeout = CONNECT_S
    transport.auth_timeout = transport.channel_timeout = CONNECT_S
    options = transport.get_security_options()
    options.ciphers = (*_FAST_CIPHERS, *(c for c in options.ciphers if c not in _FAST_CIPHERS))
    # A server has keys of several kinds, and shows the first kind that is requested.
    names = [name for one in known for name in one.algorithms]
    if wanted := [name for name in dict.fromkeys(names) if name in options.key_types]:
        options.key_types = (*wanted, *(k for k in options.key_types if k not in wanted))
    try:
        transport.start_client(timeout=CONNECT_S)
    except paramiko.IncompatiblePeer as error:
        raise ServerError(
            ServerCode.INCOMPATIBLE,
            f"{server} and this program have no algorithm in common ({error}): the server"
            " offers only ones that are no longer safe, such as SHA-1, and needs an update",
        ) from error
    except paramiko.SSHException as error:
        raise UnreachableError(f"{server} did not answer as an SSH server: {error}") from error


def _open_session(transport: Any, server: str) -> SftpSession:
    transport.set_keepalive(_KEEPALIVE_S)

    def refused(error: Exception) -> ServerError:
        message = f"{server} logged us in, but offers no SFTP to this user: {error}"
        return ServerError(ServerCode.PROTOCOL, message)

    channel = _permitted(
        transport,
        lambda: transport.open_session(
            window_size=_WINDOW_BYTES, max_packet_size=_PACKET_BYTES, timeout=CONNECT_S
        ),
        refused,
    )
    channel.settimeout(ANSWER_S)
    _permitted(transport, lambda: channel.invoke_subsystem("sftp"), refused)
    return SftpSession(channel, ANSWER_S)


def _permitted(
    transport: Any, request: Callable[[], Any], refused: Callable[[Exception], ServerError]
) -> Any:
    try:
        return request()
    except paramiko.ChannelException as error:
        # 1: administratively prohibited, 3: unknown type (RFC 4254, section 5.1).
        if error.code in (1, 3):
            raise refused(error) from error
        raise
    except paramiko.SSHException as error:
        if transport.is_active() and "timeout" not in str(error).lower():
            raise refused(error) from error
        raise
