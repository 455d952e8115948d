"""OpenSSH's server over a directory, and everything a test wants to do to it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.sources import SftpSources
from shared.config.parsers import SftpCredentials
from shared.config.secret import Secret
from tests.emulators import free_port, missing

_START_S = 30.0


def program(name: str) -> str:
    """Return one of OpenSSH's programs. The server is in a folder of root's ``PATH``."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which(name, path=path) or missing(name)


@dataclass
class Sshd:
    """A server of ``root`` that can be stopped, killed and started again at one port.

    Root ignores file modes, so that tests run by root serve the files as ``nobody``.
    """

    base: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.root = self.base / "audio"
        self.root.mkdir()
        for name in ("host", "client"):
            self.make_key(name)
        self._write_config()
        self._give_away()

    def make_key(self, name: str, *options: str) -> str:
        """Make a key pair and return the private one."""
        path = self.base / name
        path.unlink(missing_ok=True)
        options = options or ("-t", "ed25519", "-N", "")
        subprocess.run([program("ssh-keygen"), "-q", *options, "-f", path], check=True)
        return path.read_text()

    def authorize(self, name: str) -> None:
        """Let another key in."""
        with (self.base / "client.pub").open("a") as file:
            file.write((self.base / f"{name}.pub").read_text())

    def _write_config(self) -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.base}/host",
            f"AuthorizedKeysFile {self.base}/client.pub",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "MaxStartups 100",
            *self._subsystem(),
        ]
        (self.base / "config").write_text("\n".join(lines) + "\n")

    def _subsystem(self) -> list[str]:
        if os.getuid():
            return ["Subsystem sftp internal-sftp"]
        server = Path("/usr/lib/openssh/sftp-server")
        drop = f"{program('setpriv')} --reuid=nobody --regid=nogroup --clear-groups"
        return [f"Subsystem sftp {server}", f"ForceCommand {drop} {server}"]

    def _give_away(self) -> None:
        self.base.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(self.root, "nobody")

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {(self.base / 'host.pub').read_text()}"

    @property
    def credentials(self) -> SftpCredentials:
        return self.with_key((self.base / "client").read_text())

    def with_key(self, text: str, passphrase: str = "", known_hosts: str = "") -> SftpCredentials:
        return SftpCredentials(
            username=self.user,
            known_hosts=known_hosts or self.known_hosts,
            private_key=Secret(text),
            passphrase=Secret(passphrase) if passphrase else None,
        )

    def server(self, credentials: SftpCredentials | None = None, retry_s: float = 20) -> SftpServer:
        return SftpServer("127.0.0.1", self.port, credentials or self.credentials, retry_s=retry_s)

    @contextmanager
    def sources(self, exclude: str = "", root: str = "") -> Iterator[SftpSources]:
        server = self.server()
        try:
            yield SftpSources(server, root or str(self.root), exclude=exclude)
        finally:
            server.close()

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # what it asks for before it drops its rights
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("sshd"), "-D", "-e", "-f", self.base / "config"],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _START_S
        while not _listens(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"sshd did not start:\n{(self.base / 'log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server and every connection, as when its machine dies."""
        if self.process is None:
            return
        master = psutil.Process(self.process.pid)
        for one in [*master.children(recursive=True), master]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def connections(self) -> int:
        """Return how many clients are logged in."""
        assert self.process is not None
        return len(psutil.Process(self.process.pid).children())


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as line:
        return line.recv(3) == b"SSH"
    return False


@contextmanager
def sshd_running() -> Iterator[Sshd]:
    """Run a server over a directory of its own until the block ends."""
    program("sshd")
    # Not below pytest's own folder, which the server's user may not enter.
    base = Path(tempfile.mkdtemp(prefix="sshd-"))
    server = Sshd(base)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        subprocess.run(["chmod", "-R", "u+rwX", base], check=True)
        shutil.rmtree(base)


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    """OpenSSH's server, on a free port."""
    with sshd_running() as server:
        yield server
