"""drive_watch under functions-framework, and a load balancer before its instances."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.drive.rig import Rig
from tests.emulators import await_ready, free_port, fresh_name
from tests.services import start_framework


@dataclass(frozen=True)
class Instance:
    """One running instance of a function."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def kill(self) -> None:
        """SIGKILL all of it, as when the machine dies."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def terminate(self) -> None:
        """SIGTERM to the first process, as Cloud Run sends it."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def instance(
    rig: Rig, target: str, directory: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Instance]:
    """Run ``notify`` or ``maintain`` until the block ends."""
    port, log = free_port(), directory / f"{fresh_name(target)}.log"
    env = {**os.environ, **rig.environ, **(environ or {})}
    process = start_framework("drive_watch", target, port, env, log)
    running = Instance(process, port, log)
    try:
        await_ready(process, port, log)
        yield running
    finally:
        running.kill()


def post(
    url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST"
) -> tuple[int, bytes]:
    """Send a request; returns the status, 0 when the connection broke, and the body."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


class Balancer:
    """Hands connections to instances in turn, past those that are dead."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)
        self._turn = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._connect() as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()

    def _connect(self) -> socket.socket:
        for _ in self._ports:
            port = self._ports[next(self._turn) % len(self._ports)]
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port))
        raise ConnectionRefusedError


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
