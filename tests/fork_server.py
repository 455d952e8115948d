"""Processes of the project's programs that start without importing anything.

Starting Python and importing a program takes as long as the rest of most commands. Here one
process imports a program once and forks for each use: a process of its own, with its own
arguments, environment, folder and files, that runs the program's ``main`` and exits as usual.
What depends on how the interpreter starts, such as ``PYTHONIOENCODING``, needs a real start.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from tests.paths import ROOT

#: Bytes of the length that comes before each request.
_HEADER = 8


@dataclass(frozen=True)
class Program:
    """A console script: the function that it calls, and what it imports when it runs."""

    name: str
    function: str
    modules: tuple[str, ...]


COMMAND = Program(
    "audio-pipeline",
    "cli.main:main",
    (
        *(f"cli.commands.{name}" for name in ("audit", "doctor", "extract", "retry", "status")),
        "cli.commands.watch",
        "cli.inspection.reconcile",
        "cli.local_runner",
        "functions.extract_audio.assembly",
        "rich.console",
        "shared.adapters.local.documents",
        "shared.adapters.local.sources",
        "shared.adapters.local.storage",
    ),
)
COMPRESS = replace(
    COMMAND,
    modules=(
        *COMMAND.modules,
        "cli.commands.compress",
        "functions.sftp_compress.assembly",
        "shared.adapters.sftp.sources",
    ),
)
BACKFILL = replace(
    COMMAND,
    modules=(
        "cli.commands.backfill",
        "functions.drive_watch.assembly",
        "google.cloud.firestore",
        "google.cloud.pubsub_v1",
        "shared.adapters.google.documents",
        "shared.adapters.google.drive_sources",
        "shared.adapters.google.queue",
        "shared.adapters.local.documents",
    ),
)
FUNCTION = Program(
    "functions-framework",
    "functions_framework._cli:_cli",
    (
        "functions.dashboard.app",
        "functions.drive_watch.maintain",
        "functions.drive_watch.notify",
        "functions.extract_audio.assembly",
        "functions.sftp_compress.assembly",
        "google.cloud.firestore",
        "google.cloud.pubsub_v1",
        "google.cloud.storage",
        "gunicorn.workers.gthread",
        "shared.adapters.google.documents",
        "shared.adapters.google.drive_sources",
        "shared.adapters.google.queue",
        "shared.adapters.google.storage",
        "shared.adapters.local.documents",
        "shared.adapters.local.storage",
    ),
)


class Forked:
    """One process; the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int, status: socket.socket, args: Sequence[str]) -> None:
        self.pid = pid
        self.args = args
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit status, negative for a signal."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            if self.returncode is None:
                left = None if end is None else max(0.0, end - time.monotonic())
                if not select.select([self._status], [], [], left)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                answer = self._status.recv(16)
                assert answer, "the fork server has ended"
                self._status.close()
                self.returncode = os.waitstatus_to_exitcode(int(answer))
            return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


#: A process, however it was started.
Process: TypeAlias = "subprocess.Popen[bytes] | Forked"


class ForkServer:
    """The process that forks."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=ROOT,
                env={**os.environ, "LANG": "C.UTF-8"},
                stdin=theirs.fileno(),
                start_new_session=True,
            )

    def close(self) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self,
        program: Program,
        arguments: Sequence[str | bytes | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
    ) -> Forked:
        """Fork a process in a session of its own; its output goes to the file descriptors."""
        args = [program.name, *map(os.fsdecode, arguments)]
        modules = [program.function.partition(":")[0], *program.modules]
        request = json.dumps([modules, program.function, args, str(cwd), dict(env)]).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            descriptors = [stdout, stderr, theirs.fileno()]
            header = len(request).to_bytes(_HEADER, "big")
            socket.send_fds(self._control, [header], descriptors)
            self._control.sendall(request)
            pid = int(self._control.recv(16))
        return Forked(pid, ours, args)

    def run(
        self,
        program: Program,
        arguments: Sequence[str | bytes | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a process to its end; returns its output."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            to = {"stdout": out.fileno(), "stderr": err.fileno()}
            process = self.start(program, arguments, cwd=cwd, env=env, **to)
            try:
                status = process.wait(timeout)
            finally:
                process.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(process.args, status, out.read(), err.read())


@cache
def fork_server() -> ForkServer:
    """Return the server of this process, which ends with it."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def run_text(
    program: Program, arguments: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; returns its output as text."""
    ended = fork_server().run(program, arguments, cwd=cwd, env=env)
    out, err = ended.stdout.decode(), ended.stderr.decode()
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)


def _serve() -> list[Any]:
    """Fork for each request until the tests end; returns only in the processes, with theirs."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    waiting: list[int | socket.socket] = [control, ended]
    while True:
        ready = select.select(waiting, [], [])[0]
        if ended in ready:
            os.read(ended, 1024)
            _report_ends(running)
        if control not in ready:
            continue
        header, descriptors, *_ = socket.recv_fds(control, _HEADER, 3)
        if not header:
            sys.exit()
        text = control.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL)
        request: list[Any] = json.loads(text)
        for name in request[0]:
            importlib.import_module(name)
        *output, status = descriptors
        if pid := os.fork():
            for descriptor in output:
                os.close(descriptor)
            running[pid] = socket.socket(fileno=status)
            control.send(str(pid).encode())
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(output, 1):
            os.dup2(descriptor, number)
        for one in (control, *running.values()):
            one.close()
        for descriptor in (*descriptors, ended, wake):
            os.close(descriptor)
        return request


def _report_ends(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as listener, contextlib.suppress(OSError):
            listener.send(str(status).encode())


def main() -> NoReturn:
    _, function, args, folder, environ = _serve()
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = args
    module, _, name = function.partition(":")
    sys.exit(getattr(sys.modules[module], name)())


if __name__ == "__main__":
    main()
