"""drive_watch over a stand-in of Drive, on emulators or on local adapters, for the tests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.demo.drive_standin import World
from cli.demo.drive_standin.identity import LOOPBACK_ONLY, key_file
from functions.drive_watch.assembly import build_watch
from functions.drive_watch.feeds import Feed
from functions.drive_watch.maintain import Maintenance, Summary
from functions.drive_watch.notify import receive
from functions.drive_watch.watch import Watch
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.records import Recording
from tests.drive.standin import READER, StandIn, running
from tests.emulators import are_installed
from tests.local_queue import local_topic
from tests.pubsub import make_topic, pull

#: For a test that depends on preconditions, queries or the errors of a publish.
on_every_rig = pytest.mark.parametrize("rig", ["local", "google"], indirect=True)


@dataclass
class Rig:
    """One deployment: its environment, the Drive it watches, and its parts in this process."""

    standin: StandIn
    environ: dict[str, str]
    pull: Callable[[int], list[bytes]]

    def __post_init__(self) -> None:
        self.world: World = self.standin.world
        self.watch = self.fresh()

    def fresh(self, **environ: str) -> Watch:
        """Return new parts, as another process has them."""
        self.services = Services(Settings.from_environment(self.environ | environ))
        return build_watch(self.services)

    def configure(self, **environ: str) -> None:
        """Deploy with other settings."""
        self.environ |= environ
        self.watch = self.fresh()

    @property
    def feed(self) -> Feed:
        return self.watch.feeds[0]

    def maintain(self, *, full: bool = False) -> Summary:
        self.last = Maintenance(self.watch, self.watch.budget())
        return self.last.run(full=full)

    def minute(self) -> Summary:
        """What Scheduler calls each minute."""
        return Maintenance(self.watch, self.watch.budget()).requeue()

    def drain(self) -> int:
        """What a notification does; returns how many recordings were published."""
        return self.watch.drain(self.feed, self.watch.budget()).run().published

    def state(self) -> dict[str, Any]:
        return self.watch.state(self.feed).read() or {}

    def recordings(self) -> list[Recording]:
        return list(self.services.tracker.all())

    def names(self) -> list[str]:
        return sorted(recording.name for recording in self.recordings())

    def messages(self, count: int) -> list[dict[str, Any]]:
        """Wait for ``count`` messages; returns them, and what else has come."""
        return [json.loads(data) for data in self.pull(count)]

    def video(self, name: str, **more: Any) -> str:
        """Make a recording that the watched account sees."""
        more.setdefault("content", name.encode(errors="replace"))
        return self.world.create_file(name, **more)


def credentials(standin: StandIn, directory: Path, account: str = READER) -> str:
    """Write a key file of the account, and return its path."""
    path = directory / f"{account}.json"
    path.write_text(json.dumps(key_file(account, f"{standin.server.url}/token")))
    return str(path)


def use_key_of(standin: StandIn, directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Use the stand-in's key file as Application Default Credentials."""
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials(standin, directory))
    for name, value in LOOPBACK_ONLY.items():
        patch.setenv(name, value)


@contextmanager
def make_rig(
    request: pytest.FixtureRequest, tmp_path: Path, on: str = "local", **environ: str
) -> Iterator[Rig]:
    """Deploy on SQLite and the local queue, or on empty emulators of Google's services.

    ``on`` is ``local``, or ``google`` where the emulators are installed; a parameter of the
    fixture decides it instead.
    """
    kind = getattr(request, "param", on if are_installed() else "local")
    if kind == "local":
        patch = request.getfixturevalue("monkeypatch")
        with rig_here(tmp_path, patch) as rig, local_topic() as recordings, local_topic() as sftp:
            rig.pull = recordings.pull
            queues = {"RECORDINGS_QUEUE_URL": recordings.url, "SFTP_QUEUE_URL": sftp.url}
            rig.configure(**(queues | environ))
            yield rig
        return
    project = request.getfixturevalue("firestore_project")
    topics = request.getfixturevalue("pubsub_project")
    patch = request.getfixturevalue("monkeypatch")
    subscription = make_topic(topics, "recordings")
    make_topic(topics, "sftp-files")
    with running() as standin:
        use_key_of(standin, tmp_path, patch)
        variables = {
            "TRACKER_URL": f"firestore://{project}/(default)",
            "RECORDINGS_QUEUE_URL": f"pubsub://{topics}/recordings",
            "SFTP_QUEUE_URL": f"pubsub://{topics}/sftp-files",
            "DRIVE_API_ENDPOINT": standin.server.endpoint,
            "STORAGE_URL": str(tmp_path / "audio"),
        }
        yield Rig(
            standin,
            variables | environ,
            lambda count: [message.data for message in pull(subscription, count)],
        )


@contextmanager
def rig_here(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Yield a deployment in this process: its records in a file, its queue in memory."""
    with running() as standin:
        use_key_of(standin, directory, monkeypatch)
        environ = {
            "TRACKER_URL": f"sqlite:///{directory}/tracker.db",
            "STORAGE_URL": str(directory / "audio"),
            "DRIVE_API_ENDPOINT": standin.server.endpoint,
        }
        yield Rig(standin, environ, lambda _count: [])


def process_environment(rig: Rig) -> dict[str, str]:
    """Return what a function's process gets: the emulators' variables, and the rig's."""
    return {**os.environ, **rig.environ}


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        try:
            status = receive(self.server.rig.watch, self.headers)
        except Exception:
            status = 500
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True
    rig: Rig


@contextmanager
def receiving(rig: Rig) -> Iterator[str]:
    """Answer notifications from this process, and set ``WEBHOOK_URL`` to where."""
    with _Receiver(("127.0.0.1", 0), _Handler) as server:
        server.rig = rig
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        rig.configure(WEBHOOK_URL=url)
        yield url
        rig.world.notifier.settle()
        server.shutdown()
        thread.join()
