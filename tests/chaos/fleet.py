"""The processes of the system, started again whenever they end; killed and frozen on demand."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import functions
from cli.serve.processes import ServerProcess, listen_inside
from shared.runtime import unix_http
from tests.emulators import missing

#: What each process serves: the function's folder and its target.
PARTS = {
    "extract": ("extract_audio", "extract_audio"),
    "compress": ("sftp_compress", "compress"),
    "nightly": ("sftp_compress", "nightly"),
    "notify": ("drive_watch", "notify"),
    "maintain": ("drive_watch", "maintain"),
}


@dataclass
class Instance:
    """One process, and the process tree below it."""

    name: str
    socket: Path
    clock_file: Path
    process: ServerProcess
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tree(self) -> list[psutil.Process]:
        """Return what runs, the first process in front."""
        running = self.process.running
        with contextlib.suppress(psutil.NoSuchProcess):
            if running:
                first = psutil.Process(running.pid)
                return [first, *first.children(recursive=True)]
        return []

    def kill(self, *, whole: bool) -> None:
        """SIGKILL everything, as when a machine dies, or only the worker of the server."""
        tree = self.tree()
        victims = tree if whole else tree[1:2]
        for one in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP everything for a time."""
        tree = self.tree()
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)

    def set_clock(self, offset_s: float) -> None:
        """Move this instance's clock, and no other's, away from the true time."""
        with self.clock_file.open("r+b") as file:  # in place: the process has it mapped
            file.write(struct.pack("=q", int(offset_s * 1e9)))


class Fleet:
    """Every instance by its name."""

    def __init__(self, instances: Mapping[str, Instance], *, can_set_clocks: bool) -> None:
        self.instances = instances
        self.can_set_clocks = can_set_clocks
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def of(self, kind: str) -> list[Instance]:
        return [one for name, one in self.instances.items() if name.startswith(kind)]

    def start(self, log: Path) -> None:
        """Start everything and wait until it answers."""
        file = log.open("a", encoding="utf-8", buffering=1)

        def on_line(name: str, line: str) -> None:
            with contextlib.suppress(ValueError):  # closed
                file.write(f"{name}: {line}\n")

        self._on_line, self._log = on_line, file
        for one in self.instances.values():
            one.process.start(on_line)
        self._thread.start()
        for one in self.instances.values():
            end = time.monotonic() + 120
            while not _answers(one.socket):
                if time.monotonic() > end:
                    raise TimeoutError(f"no answer from {one.name}; see {log}")
                time.sleep(0.1)

    def stop(self) -> list[psutil.Process]:
        """Kill everything; returns the processes that outlived their parents."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        known = [process for one in self.instances.values() for process in one.tree()]
        for one in self.instances.values():
            if one.process.running:
                one.process.running.terminate()
        _, left = psutil.wait_procs(known, timeout=15)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for one in self.instances.values():
            if one.process.running:
                one.process.running.wait()
                if one.process.running.stdin:
                    one.process.running.stdin.close()
        if hasattr(self, "_log"):
            self._log.close()
        return list(left)

    def _watch(self) -> None:
        while not self._stopping.wait(0.05):
            for one in self.instances.values():
                running = one.process.running
                if running is not None and running.poll() is not None:
                    if running.stdin:
                        running.stdin.close()
                    one.process.start(self._on_line)


def _answers(socket: Path) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        unix_http.request(socket, "GET", "/live", timeout_s=5.0)
        return True
    return False


def clock_library(folder: Path) -> Path | None:
    """Build the library that moves a process's clock; ``None`` without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            missing("cc")
        return None
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return library


@contextmanager
def prepared(folder: Path, environ: Mapping[str, str], *, workers: int) -> Iterator[Fleet]:
    """Describe the fleet, with its sockets in ``folder``, and stop it when the block ends."""
    names = [f"{kind}-{number}" for kind in ("extract", "compress") for number in range(workers)]
    names += ["nightly", "notify", "maintain"]
    library = clock_library(folder)
    skew = {"LD_PRELOAD": str(library)} if library else {}
    with ExitStack() as stack:
        instances = {}
        for name in names:
            source, target = PARTS[name.partition("-")[0]]
            main = str(Path(functions.__path__[0]) / source / "main.py")
            socket, own = folder / name, folder / f"{name}.run"
            own.mkdir()
            (own / "clock").write_bytes(bytes(8))
            listener = stack.enter_context(listen_inside(socket))
            env = {
                **environ,
                "XDG_RUNTIME_DIR": str(own),
                **skew,
                "CLOCK_OFFSET_FILE": str(own / "clock"),
            }
            process = ServerProcess(name, ("function", main, target), env, listener)
            instances[name] = Instance(name, socket, own / "clock", process)
        fleet = Fleet(instances, can_set_clocks=library is not None)
        try:
            yield fleet
        finally:
            fleet.stop()
