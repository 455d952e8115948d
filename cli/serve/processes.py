"""Starts the system's processes, restarts those that end, and stops them all."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

#: A process that ran this long before it ended is started again at once, in seconds.
_STABLE_S = 10.0
_LONGEST_BACKOFF_S = 30.0

#: How long processes have to stop in order before they are killed, in seconds.
STOP_S = 8.0

#: Called with a process's name and one line of its output.
OnLine = Callable[[str, str], None]


@dataclass
class ServerProcess:
    """One kind of process: how it is started, and the one that runs now.

    ``listener`` is a listening socket that every successor inherits: while a process is
    being started again, requests wait in the socket's backlog and are not refused.
    """

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str]
    listener: socket.socket | None = None
    running: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    due: float = 0.0
    groups: set[int] = field(default_factory=set)

    def start(self, on_line: OnLine) -> None:
        """Start it in a process group of its own, so that Ctrl-C reaches only us."""
        env, inherited = dict(self.env), []
        if self.listener is not None:
            inherited = [self.listener.fileno()]
            env["SERVE_SOCKET_FD"] = str(inherited[0])
        self.running = subprocess.Popen(
            [sys.executable, "-m", "cli.child", *self.arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=inherited,
            start_new_session=True,
        )
        self.started_at = time.monotonic()
        self.groups = {group for group in self.groups if _exists(group)} | {self.running.pid}
        thread = threading.Thread(target=self._read, args=(self.running, on_line), daemon=True)
        thread.start()

    def _read(self, process: subprocess.Popen[str], on_line: OnLine) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                on_line(self.name, line.rstrip("\n"))


class Processes:
    """All processes of the system. ``watch`` runs in a thread of its own."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._all: list[ServerProcess] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="processes", daemon=True)

    def add(self, process: ServerProcess) -> None:
        """Start a process and keep it running."""
        process.start(self._on_line)
        self._all.append(process)

    def watch(self) -> None:
        """Restart processes that end, from now on."""
        self._thread.start()

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was restarted."""
        return {process.name: process.restarts for process in self._all}

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            for process in self._all:
                now = time.monotonic()
                if process.running is not None:
                    status = process.running.poll()
                    if status is None:
                        continue
                    _close(process.running)
                    process.running = None
                    stable = now - process.started_at >= _STABLE_S
                    process.failures = 1 if stable else process.failures + 1
                    # The first time at once; a process that cannot start must not use up a CPU.
                    failures = min(process.failures, 10)
                    wait_s = 0.0 if failures == 1 else 0.5 * 2.0**failures
                    process.due = now + min(wait_s, _LONGEST_BACKOFF_S)
                    how = f"signal {-status}" if status < 0 else f"exit status {status}"
                    log.warning("%s ended (%s); restarting it", process.name, how)
                if now >= process.due:
                    process.restarts += 1
                    process.start(self._on_line)

    def stop(self) -> None:
        """Ask all to stop; what still runs after ``STOP_S`` is killed with its children."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        running = [process.running for process in self._all if process.running]
        for process in running:
            # To the first process only, as Cloud Run does: it stops its workers in order.
            process.terminate()
        end = time.monotonic() + STOP_S
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        for group in {group for process in self._all for group in process.groups}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        for process in running:
            process.wait()
            _close(process)


def listen_inside(path: Path) -> socket.socket:
    """Listen on a Unix socket that only this user can reach, in a folder of mode 0700."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(512)
    return listener


def listen_outside(host: str, port: int, *, is_fixed: bool) -> socket.socket:
    """Listen on a TCP port; unless it ``is_fixed``, on the next free one if it is taken.

    Raises ``OSError``.
    """
    candidates = [port] if is_fixed else [*range(port, port + 20), 0]
    for candidate in candidates:
        try:
            return socket.create_server((host, candidate), backlog=512)
        except OSError:
            if candidate == candidates[-1]:
                raise
    raise AssertionError("no candidate")


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
