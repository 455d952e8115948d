"""An SFTP server that a test can make as odd as the servers that are met in life.

It speaks the protocol itself, over paramiko's transport, so that every reply can be bent: a
test subclasses ``Sftp`` and overrides what its server does differently.
"""

# Paths here are bytes, which pathlib does not accept.
# ruff: noqa: PTH116, PTH118, PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paramiko

from shared.adapters.sftp.packets import Kind, Reply, SftpStatus, text
from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.sources import SftpSources
from shared.config.parsers import SftpCredentials
from shared.config.secret import Secret

PASSWORD = "correct horse"

_FSTAT = Kind.FSTAT


class RefusedError(Exception):
    """Answer the request with a status."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True)
class Attrs:
    """The attributes of a file in a reply; ``None`` leaves a field out."""

    size: int | None
    mode: int | None
    mtime: int | None

    def encode(self) -> bytes:
        body, flags = b"", 0
        if self.size is not None:
            flags, body = flags | 1, body + struct.pack(">Q", self.size)
        if self.mode is not None:
            flags, body = flags | 4, body + struct.pack(">I", self.mode)
        if self.mtime is not None:
            flags, body = flags | 8, body + struct.pack(">II", self.mtime, self.mtime)
        return struct.pack(">I", flags) + body


class Sftp:
    """One session of a well-behaved server; paths start at its root."""

    version = 3
    page = 50

    def __init__(self, root: Path, channel: Any) -> None:
        self.root = os.fsencode(root)
        self.channel = channel
        self.files: dict[bytes, tuple[bytes, Any]] = {}
        self.counter = 0

    # ── what tests override ──

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        """Answer LSTAT, STAT, FSTAT, and READDIR for one entry."""
        follow = kind in (Kind.STAT, Kind.FSTAT)
        found = os.stat(self.local(path), follow_symlinks=follow)
        return Attrs(found.st_size, found.st_mode, int(found.st_mtime))

    def long_name(self, name: bytes, path: bytes) -> bytes:
        """Return the ``ls -l`` line of an entry."""
        mode = stat.filemode(os.lstat(self.local(path)).st_mode).encode()
        return b"%s 1 owner group 1 Jan 1 00:00 %s" % (mode, name)

    def names(self, path: bytes) -> Iterator[bytes]:
        """Yield the names in a directory."""
        yield from sorted(os.listdir(self.local(path)))

    def open_file(self, path: bytes) -> Any:
        """Open a file for reading."""
        if stat.S_ISDIR(os.stat(self.local(path)).st_mode):
            raise RefusedError(SftpStatus.FAILURE)
        return open(self.local(path), "rb")

    def open_folder(self, path: bytes) -> Any:
        """Open a directory."""
        if not stat.S_ISDIR(os.stat(self.local(path)).st_mode):
            raise RefusedError(SftpStatus.FAILURE)
        return self.names(path)

    def real_path(self, path: bytes) -> bytes:
        """Return the canonical path."""
        return os.path.normpath(b"/" + path)

    def read(self, file: Any, offset: int, length: int) -> bytes:
        """Return bytes of a file."""
        file.seek(offset)
        data: bytes = file.read(length)
        return data

    # ── the protocol ──

    def local(self, path: bytes) -> bytes:
        return self.root + os.path.normpath(b"/" + path)

    def serve(self) -> None:
        self._receive()  # INIT
        self.send(bytes([Kind.VERSION]) + struct.pack(">I", self.version))
        while packet := self._receive():
            reply = Reply(packet, 1)
            number = reply.number()
            try:
                kind, body = self.answer(Kind(packet[0]), reply)
            except RefusedError as refusal:
                kind, body = Kind.STATUS, _status(refusal.code)
            except FileNotFoundError:
                kind, body = Kind.STATUS, _status(SftpStatus.NO_SUCH_FILE)
            except PermissionError:
                kind, body = Kind.STATUS, _status(SftpStatus.PERMISSION_DENIED)
            self.send(bytes([kind]) + struct.pack(">I", number) + body)

    def answer(self, kind: Kind, request: Reply) -> tuple[int, bytes]:
        argument = request.text()
        if kind in (Kind.LSTAT, Kind.STAT, Kind.FSTAT):
            path = self.files[argument][0] if kind == Kind.FSTAT else argument
            return Kind.ATTRS, self.attributes(kind, path).encode()
        if kind == Kind.REALPATH:
            return Kind.NAME, struct.pack(">I", 1) + text(self.real_path(argument)) + text(
                b""
            ) + struct.pack(">I", 0)
        if kind == Kind.OPEN:
            return self._opened(argument, self.open_file(argument))
        if kind == Kind.OPENDIR:
            return self._opened(argument, self.open_folder(argument))
        if kind == Kind.READDIR:
            return Kind.NAME, self._names(*self.files[argument])
        if kind == Kind.READ:
            data = self.read(self.files[argument][1], request.long(), request.number())
            if not data:
                raise RefusedError(SftpStatus.EOF)
            return Kind.DATA, text(data)
        if kind == Kind.CLOSE:
            _, opened = self.files.pop(argument)
            opened.close()
            raise RefusedError(SftpStatus.OK)
        raise RefusedError(SftpStatus.OP_UNSUPPORTED)

    def _opened(self, path: bytes, opened: Any) -> tuple[int, bytes]:
        self.counter += 1
        handle = b"%d" % self.counter
        self.files[handle] = path, opened
        return Kind.HANDLE, text(handle)

    def _names(self, path: bytes, names: Iterator[bytes]) -> bytes:
        page = [name for _, name in zip(range(self.page), names, strict=False)]
        if not page:
            raise RefusedError(SftpStatus.EOF)
        body = struct.pack(">I", len(page))
        for name in page:
            below = os.path.join(path, name.rstrip(b"/").rpartition(b"/")[2])
            entry = self.attributes(Kind.READDIR, below)
            body += text(name) + text(self.long_name(name, below)) + entry.encode()
        return body

    def send(self, packet: bytes) -> None:
        self.channel.sendall(struct.pack(">I", len(packet)) + packet)

    def _receive(self) -> bytes:
        size = self._exactly(4)
        return self._exactly(struct.unpack(">I", size)[0]) if size else b""

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.channel.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data


def _status(code: int) -> bytes:
    return struct.pack(">I", code) + text(b"no" if code else b"ok") + text(b"")


@dataclass
class Logins(paramiko.ServerInterface):  # type: ignore[misc]
    """The accepted logins; a list of several methods asks for all of them."""

    methods: Sequence[str] = ("password",)
    needs_all: bool = False
    prompts: Sequence[tuple[str, str]] = ()  # question and right answer
    keys: Sequence[bytes] = ()
    seen: list[str] = field(default_factory=list)

    def get_allowed_auths(self, username: str) -> str:
        left = [m for m in self.methods if not (self.needs_all and f"{m}:ok" in self.seen)]
        return ",".join(left)

    def _verdict(self, method: str, right: bool) -> int:
        self.seen.append(f"{method}:{'ok' if right else 'wrong'}")
        if not right or method not in self.methods:
            return int(paramiko.AUTH_FAILED)
        if self.needs_all and any(f"{m}:ok" not in self.seen for m in self.methods):
            return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL)
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._verdict("password", password == PASSWORD)

    def check_auth_publickey(self, username: str, key: Any) -> int:
        return self._verdict("publickey", key.asbytes() in self.keys)

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        return paramiko.InteractiveQuery(
            "Welcome", "Answer these", *((question, False) for question, _ in self.prompts)
        )

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        right = list(responses) == [answer for _, answer in self.prompts]
        return self._verdict("keyboard-interactive", right)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Subsystem(paramiko.SubsystemHandler):  # type: ignore[misc]
    def __init__(self, channel: Any, name: str, server: Any, sftp: type[Sftp], root: Path) -> None:
        super().__init__(channel, name, server)
        self.sftp = sftp(root, channel)

    def start_subsystem(self, name: str, transport: Any, channel: Any) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                self.sftp.serve()
        finally:
            for _, opened in self.sftp.files.values():
                opened.close()


@dataclass(frozen=True)
class At:
    """Where a quirky server is."""

    root: Path
    port: int
    known_hosts: str

    @property
    def credentials(self) -> SftpCredentials:
        return SftpCredentials(
            username="ann", known_hosts=self.known_hosts, password=Secret(PASSWORD)
        )

    def server(self, retry_s: float = 0.5) -> SftpServer:
        return SftpServer("127.0.0.1", self.port, self.credentials, retry_s=retry_s)

    @contextmanager
    def sources(self, root: str = "/") -> Iterator[SftpSources]:
        server = self.server()
        try:
            yield SftpSources(server, root)
        finally:
            server.close()


@contextmanager
def quirky(
    root: Path,
    sftp: type[Sftp] = Sftp,
    *,
    logins: Logins | None = None,
    algorithms: dict[str, tuple[str, ...]] | None = None,
) -> Iterator[At]:
    """Serve ``root`` until the block ends; ``algorithms`` narrows what SSH offers."""
    key = paramiko.ECDSAKey.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    transports: list[Any] = []

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(line)
            transport.add_server_key(key)
            for name, values in (algorithms or {}).items():
                setattr(transport, f"_preferred_{name}", values)
            transport.set_subsystem_handler("sftp", _Subsystem, sftp, root)
            transports.append(transport)
            with contextlib.suppress(Exception):
                transport.start_server(server=replace(logins, seen=[]) if logins else Logins())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        host_key = f"{key.get_name()} {key.get_base64()}"
        yield At(root, port, f"[127.0.0.1]:{port} {host_key}\n")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in transports:
            transport.close()
        thread.join()
