"""The emulators that the tests run against: each is started once, when a test first asks for it.

Google's Firestore and Pub/Sub emulators come with the Google Cloud CLI; they are run by
``java`` itself, since ``gcloud`` adds seconds and leaves its child behind when it is ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.paths import ROOT

_START_S = 60


def missing(what: str) -> NoReturn:
    """Skip the test for want of a tool, and say how to get it; with ``CI=true`` fail it."""
    reason = f"{what} is missing: make test-tools"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def find_tool(name: str) -> str:
    """Return the program from ``.tools/bin``, Go's folder of programs or the ``PATH``."""
    places = [ROOT / ".tools" / "bin", Path(os.environ.get("GOBIN") or Path.home() / "go" / "bin")]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or missing(name)


def find_jar(pattern: str) -> Path:
    """Return a file of the Google Cloud CLI's folder ``platform``."""
    gcloud = shutil.which("gcloud") or missing("gcloud")
    platform = Path(gcloud).resolve().parent.parent / "platform"
    return next(iter(platform.glob(pattern)), None) or missing(f"gcloud's {pattern}")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Tell whether a server speaks HTTP on the port, whatever it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, ready: Callable[[int], bool] = answers
) -> Iterator[str]:
    """Run a server until the block ends; yields its ``host:port`` once it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(process, port, log, ready)
        yield f"127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            # Its session is its own, so this ends it with whatever it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(
    process: subprocess.Popen[bytes], port: int, log: Path, ready: Callable[[int], bool]
) -> None:
    end = time.monotonic() + _START_S
    while not ready(port):
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{process.args!r} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of Google's Firestore emulator."""
    jar = find_jar("cloud-firestore-emulator/*.jar")
    java = shutil.which("java") or missing("java")
    port = free_port()
    # It reads English only, as its own launcher knows.
    command = [java, "-Duser.language=en", "-cp", str(jar)]
    command += ["com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"]
    command += ["--host=127.0.0.1", f"--port={port}"]
    with running(command, port, tmp_path_factory.mktemp("firestore") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def pubsub_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of Google's Pub/Sub emulator."""
    jar = find_jar("pubsub-emulator/lib/*.jar")
    java = shutil.which("java") or missing("java")
    port = free_port()
    command = [java, "-jar", str(jar), "--host=127.0.0.1", f"--port={port}"]
    with running(command, port, tmp_path_factory.mktemp("pubsub") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def gcs_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``http://host:port`` of fake-gcs-server, a Cloud Storage that honours preconditions."""
    with fake_gcs_server(tmp_path_factory.mktemp("gcs") / "log") as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def fake_gcs_server(
    log: Path, port: int | None = None, seen_at: int | None = None
) -> Iterator[int]:
    """Run fake-gcs-server; ``seen_at`` is the port that its uploads go to, if not its own."""
    port = port or free_port()
    command = [find_tool("fake-gcs-server"), "-scheme=http", "-host=127.0.0.1", f"-port={port}"]
    command += ["-backend=memory", f"-external-url=http://127.0.0.1:{seen_at or port}"]
    command += [f"-public-host=127.0.0.1:{port}", "-log-level=warn"]
    with running(command, port, log):
        yield port


def make_bucket(address: str) -> str:
    """Create an empty bucket on the Cloud Storage emulator; returns its name."""
    name = fresh_name("bucket")
    request = urllib.request.Request(
        f"{address}/storage/v1/b?project=test",
        data=f'{{"name": "{name}"}}'.encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        return name


def fresh_name(kind: str) -> str:
    """Return a name that no other test has: of a project, database, bucket or topic."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def firestore_project(firestore_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project without documents on the Firestore emulator, which the environment names."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator)
    return fresh_name("project")


@pytest.fixture
def pubsub_project(pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project without topics on the Pub/Sub emulator, which the environment names."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    return fresh_name("project")


@pytest.fixture
def gcs_bucket(gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket on the Cloud Storage emulator, which the environment names."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_emulator)
    return make_bucket(gcs_emulator)
