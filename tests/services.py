"""The extraction service as a process, and the world that it reaches: emulators and stand-ins."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil

from cli.demo.drive_standin import World, serve
from cli.demo.drive_standin.control import RemoteWorld
from cli.demo.drive_standin.identity import LOOPBACK_ONLY
from shared.adapters.google.documents import FirestoreDocuments
from shared.adapters.google.storage import GCSStorage
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.storage import FilesystemStorage
from shared.core.message import SourceFile
from shared.core.ports import Documents, Storage, StoredObject
from shared.core.records import Recording
from shared.tracking.tracker import Tracker
from tests.emulators import answers, free_port, fresh_name, running
from tests.local_queue import local_topic
from tests.paths import ROOT

BIN = Path(sys.executable).parent
READER = "reader@project.iam.gserviceaccount.com"
NAME = "Weekly sync - 2025/01/29 10:00 CST - Recording"
AUDIO = "dev/2025/01/weekly-sync_2025-01-29_10-00_audio.mp3"

#: Longer than any wait should take, even on a machine that is busy with other tests.
PATIENCE_S = 180.0

T = TypeVar("T")


def until(
    happened: Callable[[], T],
    timeout_s: float = PATIENCE_S,
    what: str = "",
    every_s: float = 0.05,
) -> T:
    """Poll until ``happened`` returns something true; return that."""
    end = time.monotonic() + timeout_s
    while True:
        if seen := happened():
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:g} s: {what or happened}")
        time.sleep(every_s)


@dataclass(frozen=True)
class Answer:
    """What a service answered; status 0 when the connection broke."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str,
    body: bytes | None = None,
    timeout_s: float = 120.0,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """GET, or POST a body; a connection that breaks is an answer of status 0."""
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json", **(headers or {})}
    )
    start = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as found:
            text = found.read()
            return Answer(found.status, dict(found.headers), text, time.monotonic() - start)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return Answer(error.code, dict(error.headers), text, time.monotonic() - start)
    except OSError:
        return Answer(0, seconds=time.monotonic() - start)


def envelope(data: bytes, published_at: datetime | None = None, **more: object) -> bytes:
    """Return the body that a push subscription posts (Pub/Sub's "Push subscriptions")."""
    message = {
        "data": base64.b64encode(data).decode(),
        "messageId": fresh_name("message"),
        "publishTime": (published_at or datetime.now(UTC)).isoformat().replace("+00:00", "Z"),
        "attributes": {},
    }
    return json.dumps(
        {"message": message, "subscription": "projects/p/subscriptions/s", **more}
    ).encode()


class Service:
    """One running instance."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._pool = ThreadPoolExecutor(32)

    def get(self, path: str, timeout_s: float = 30.0) -> Answer:
        return ask(self.url + path, timeout_s=timeout_s)

    def post(self, body: bytes, path: str = "/", timeout_s: float = 120.0) -> Answer:
        return ask(self.url + path, body, timeout_s)

    def push(self, item: SourceFile, published_at: datetime | None = None) -> Answer:
        return self.post(envelope(item.encode(), published_at))

    def pushing(self, item: SourceFile) -> Future[Answer]:
        """Push without waiting for the answer."""
        return self._pool.submit(self.push, item)

    def tree(self) -> list[psutil.Process]:
        """Return the processes of this instance that run, the server's master first."""
        try:
            master = psutil.Process(self.process.pid)
            return [master, *master.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def ffmpegs(self) -> list[psutil.Process]:
        """Return the FFmpeg processes at work."""
        return [one for one in self.tree() if _is_ffmpeg(one)]

    def encoders(self) -> list[psutil.Process]:
        """Return those that write MP3."""
        return [one for one in self.ffmpegs() if "libmp3lame" in _command(one)]

    def kill(self) -> None:
        """SIGKILL everything at once, as when the machine dies."""
        for one in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the first process only, as Cloud Run does."""
        self.process.send_signal(number)

    def close(self) -> None:
        self.kill()
        self._pool.shutdown(wait=True)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it logged as JSON."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def metric(self, name: str) -> float:
        """Return one number of /metrics; its name with labels as they are written there."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        raise AssertionError(f"no {name} in /metrics")


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs and is not a zombie."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _is_ffmpeg(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "ffmpeg" in process.name() and runs(process)
    return False


@dataclass
class Cloud:
    """What the services of one test share. ``env`` is their environment.

    Without a ``project`` the records are in SQLite and the objects in a directory.
    """

    env: dict[str, str]
    world: RemoteWorld
    project: str
    bucket: str
    directory: Path
    lease_s: float = 60.0

    def __post_init__(self) -> None:
        # The tests' own clients connect to the emulators directly, past every proxy.
        documents: Documents
        if self.project:
            documents = FirestoreDocuments(self.project)
            self.storage: Storage = GCSStorage(self.bucket)
        else:
            documents = SQLiteDocuments(self.directory / "tracker.db")
            self.storage = FilesystemStorage(self.directory / "audio")
        self.tracker = Tracker(documents, lease=timedelta(seconds=self.lease_s))

    def record(self, content: Path, name: str = NAME, **more: Any) -> SourceFile:
        """Put a recording into Drive and return its message."""
        file_id = self.world.create_file(name, content=str(content), mime_type="video/mp4")
        return item_of(file_id, content, name, **more)

    def recording(self, item: SourceFile) -> Recording:
        found = self.tracker.get(item.key)
        assert found is not None, "no document"
        return found

    def status(self, item: SourceFile) -> str:
        found = self.tracker.get(item.key)
        return found.status.value if found else ""

    def objects(self) -> dict[str, StoredObject]:
        return {one.name: one for one in self.storage.list()}

    def audio(self) -> dict[str, StoredObject]:
        """Return the audio objects by their names."""
        return {name: one for name, one in self.objects().items() if name.endswith(".mp3")}

    @contextmanager
    def service(self, port: int | None = None, **env: str) -> Iterator[Service]:
        """Run an instance until the block ends."""
        service = self.start(port, **env)
        try:
            yield service
        finally:
            service.close()

    def start(self, port: int | None = None, **env: str) -> Service:
        """Start an instance and wait until it answers."""
        return start_function(
            "extract_audio",
            "extract_audio",
            directory=self.directory,
            env={**self.env, **env},
            is_up=lambda service: service.get("/live").status == 200,
            port=port,
        )


def start_function(
    function: str,
    target: str,
    *,
    directory: Path,
    env: Mapping[str, str],
    is_up: Callable[[Service], bool],
    port: int | None = None,
) -> Service:
    """Start an entry of ``functions/`` and wait until it answers."""
    port = port or free_port()
    log = directory / f"{fresh_name(target)}.log"
    process = start_framework(function, target, port, env, log)
    service = Service(process, port, log)
    try:
        until(lambda: is_up(service) or _ended(service), what=f"an answer of {target}")
    except BaseException:
        service.close()
        raise
    return service


def start_framework(
    function: str, target: str, port: int, env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start functions-framework with an entry of ``functions/``."""
    command = [str(BIN / "functions-framework"), "--host=127.0.0.1", f"--port={port}"]
    command += [f"--source=functions/{function}/main.py", f"--target={target}"]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _ended(service: Service) -> bool:
    if service.process.poll() is not None:
        raise AssertionError(f"the service did not start:\n{service.log}")
    return False


def item_of(file_id: str, content: Path, name: str = NAME, **more: Any) -> SourceFile:
    """Return the message about a file of Drive."""
    data = content.read_bytes()
    fields: dict[str, Any] = {
        "source": "drive",
        "source_id": file_id,
        "revision": hashlib.md5(data).hexdigest(),
        "name": name,
        "mime_type": "video/mp4",
        "size_bytes": len(data),
        "created_at": datetime(2025, 1, 29, 10, tzinfo=UTC),
        **more,
    }
    return SourceFile(**fields)


@contextmanager
def drive_standin(directory: Path) -> Iterator[tuple[int, RemoteWorld]]:
    """Run the stand-in of Drive as a process; yields its port and its world."""
    port = free_port()
    command = [sys.executable, "-m", "cli.demo.drive_standin", f"--port={port}"]
    with running(command, port, directory / "drive.log", ready=answers) as address:
        yield port, RemoteWorld(f"http://{address}")


@contextmanager
def drive_in_thread() -> Iterator[tuple[int, RemoteWorld]]:
    """Run it in this process, which starts sooner and is asked the same way."""
    with serve(World()) as server:
        yield int(server.url.rpartition(":")[2]), RemoteWorld(server.url)


@contextmanager
def cloud(
    directory: Path, firestore: str, pubsub: str, gcs: str, bucket: str, project: str
) -> Iterator[Cloud]:
    """Run a stand-in of Drive and describe the emulators to the services."""
    places = {
        "STORAGE_URL": f"gs://{bucket}",
        "TRACKER_URL": f"firestore://{project}/(default)",
        "RECORDINGS_QUEUE_URL": f"pubsub://{project}/recordings",
        "FIRESTORE_EMULATOR_HOST": firestore,
        "PUBSUB_EMULATOR_HOST": pubsub,
        "STORAGE_EMULATOR_HOST": gcs,
    }
    with _environment(directory) as (env, world):
        yield Cloud(env | places, world, project, bucket, directory)


@contextmanager
def local_cloud(directory: Path) -> Iterator[Cloud]:
    """The same over SQLite, a directory and the local queue."""
    with _environment(directory) as (env, world), local_topic() as recordings:
        places = {
            "STORAGE_URL": str(directory / "audio"),
            "TRACKER_URL": f"sqlite:///{directory / 'tracker.db'}",
            "RECORDINGS_QUEUE_URL": recordings.url,
        }
        yield Cloud(env | places, world, "", "", directory)


@contextmanager
def _environment(directory: Path) -> Iterator[tuple[dict[str, str], RemoteWorld]]:
    """Run a stand-in of Drive; yields what every service's environment has, and the world."""
    with drive_in_thread() as (port, world):
        key = directory / "key.json"
        key.write_text(json.dumps(world.key_file(account=READER)))
        env = {
            **LOOPBACK_ONLY,
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LOG_FORMAT": "json",
            "DRIVE_API_ENDPOINT": f"http://127.0.0.1:{port}/drive/v3/",
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        }
        yield env, world
