"""``audio-pipeline serve`` as a process, over a stand-in of Drive and a directory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from cli.demo.drive_standin.control import RemoteWorld
from cli.demo.drive_standin.identity import LOOPBACK_ONLY
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.storage import FilesystemStorage
from shared.core.records import Recording
from shared.tracking.tracker import Tracker
from tests.emulators import free_port
from tests.services import BIN, READER, Answer, ask, drive_in_thread, until


@dataclass
class Site:
    """A machine: its directory, its environment, and the Drive that it reaches."""

    directory: Path
    world: RemoteWorld
    env: dict[str, str]
    port: int

    def __post_init__(self) -> None:
        self.tracker = Tracker(
            SQLiteDocuments(self.directory / "audio" / "tracker.db"), lease=timedelta(seconds=60)
        )
        self.storage = FilesystemStorage(self.directory / "audio")

    def recordings(self) -> list[Recording]:
        return list(self.tracker.all())

    def statuses(self) -> dict[str, str]:
        return {recording.name: recording.status.value for recording in self.recordings()}

    def audio(self) -> list[str]:
        return [one.name for one in self.storage.list() if one.name.endswith("_audio.mp3")]

    def start(self, *arguments: str, **env: str) -> Serve:
        """Start it, without waiting for anything."""
        log = (self.directory / "serve.log").open("ab")
        with log:
            process = subprocess.Popen(
                [str(BIN / "audio-pipeline"), "serve", f"--port={self.port}", *arguments],
                cwd=self.directory,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Serve(self, process)

    @contextmanager
    def serve(self, *arguments: str, **env: str) -> Iterator[Serve]:
        """Run it until the block ends; it is ready, and has swept Drive once."""
        serve = self.start(*arguments, **env)
        try:
            until(serve.is_ready, what="readiness")
            yield serve
        finally:
            serve.close()


@dataclass
class Serve:
    """One running ``serve``."""

    site: Site
    process: subprocess.Popen[bytes]

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.site.port}"
        self._known: set[psutil.Process] = set()

    @property
    def log(self) -> str:
        return (self.site.directory / "serve.log").read_text(errors="replace")

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"serve ended:\n{self.log}")
        return self.get("/ready").status == 200

    def get(self, path: str, **headers: str) -> Answer:
        return ask(self.url + path, timeout_s=30, headers=headers)

    def post(self, path: str, body: bytes = b"{}", **headers: str) -> Answer:
        return ask(self.url + path, body, timeout_s=30, headers=headers)

    def tree(self) -> list[psutil.Process]:
        """Return its processes that run, the parent first."""
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            found = [parent, *parent.children(recursive=True)]
            self._known |= set(found)
            return found
        return []

    def find(self, *words: str) -> list[psutil.Process]:
        """Return the processes whose command line has all these words."""
        found = []
        for one in self.tree():
            with contextlib.suppress(psutil.Error):
                command = " ".join(one.cmdline())
                if all(word in command for word in words):
                    found.append(one)
        return found

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait for the end; returns the seconds that took."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - start

    def kill(self) -> None:
        """SIGKILL the parent alone; its children have to end by themselves."""
        self.tree()
        self.process.kill()
        self.process.wait()

    def left(self) -> list[psutil.Process]:
        """Return the processes of earlier ``tree`` calls that still run."""
        return [one for one in self._known if one.is_running() and one.status() != "zombie"]

    def close(self) -> None:
        self.tree()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        for one in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """Run a stand-in of Drive, and describe a machine that reaches it."""
    port = free_port()
    with drive_in_thread() as (drive_port, world):
        key = directory / "key.json"
        key.write_text(json.dumps(world.key_file(account=READER)))
        env = {
            **LOOPBACK_ONLY,
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LOG_FORMAT": "json",
            "DRIVE_API_ENDPOINT": f"http://127.0.0.1:{drive_port}/drive/v3/",
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "WEBHOOK_URL": f"http://127.0.0.1:{port}/notify",
            "ENCODE_WORKERS": "1",
        }
        yield Site(directory, world, env, port)
