"""An SFTP server inside this process, for a demonstration without a server of one's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True)
class Login:
    """Where the server is, and how to get in."""

    port: int
    username: str
    password: str
    known_hosts: str


@contextmanager
def serving(root: Path, *, username: str = "demo", password: str = "demo") -> Iterator[Login]:  # noqa: S107 - it listens on the loopback interface alone, for as long as the demonstration
    """Serve ``root`` as the whole of an SFTP server until the block ends."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sftp-standin", daemon=True)
    thread.start()
    connections: list[asyncssh.SSHServerConnection] = []
    try:
        listener = asyncio.run_coroutine_threadsafe(
            _listen(root, key, {username: password}, connections), loop
        ).result()
        try:
            port = listener.get_port()
            public = key.export_public_key().decode().strip()
            yield Login(port, username, password, f"[127.0.0.1]:{port} {public}\n")
        finally:
            asyncio.run_coroutine_threadsafe(_close(listener, connections), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(
    root: Path,
    key: asyncssh.SSHKey,
    passwords: dict[str, str],
    connections: list[asyncssh.SSHServerConnection],
) -> asyncssh.SSHAcceptor:
    def chrooted(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root).encode())

    return await asyncssh.create_server(
        lambda: _Passwords(passwords, connections),
        "127.0.0.1",
        0,
        server_host_keys=[key],
        sftp_factory=chrooted,
        allow_scp=False,
    )


async def _close(
    listener: asyncssh.SSHAcceptor, connections: list[asyncssh.SSHServerConnection]
) -> None:
    listener.close()
    await listener.wait_closed()
    for connection in connections:
        connection.abort()
        await connection.wait_closed()


class _Passwords(asyncssh.SSHServer):
    def __init__(
        self, passwords: dict[str, str], connections: list[asyncssh.SSHServerConnection]
    ) -> None:
        self._passwords = passwords
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return self._passwords.get(username) == password
