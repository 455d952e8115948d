"""The emulators that the tests run against, one of each for all workers of a test run.

``cli.demo.emulators`` has their commands.
"""

from __future__ import annotations

import contextlib
import os
import random
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
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from cli.demo import emulators
from shared.core.errors import ConfigurationError
from tests.paths import ROOT
from tests.run_folder import locked, run_folder, stop_at_end

_START_S = 60
#: Below those that Linux gives to clients (``ip_local_port_range`` starts at 32768).
_PORTS = range(20_000, 32_000)


def missing(what: str) -> NoReturn:
    """Skip the test because a tool is missing, and name the fix; with ``CI=true`` fail it."""
    reason = f"{what} is missing: make test-tools"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def are_installed() -> bool:
    """Return whether Google's emulators can run here; with ``CI=true`` they have to."""
    try:
        check_installed()
    except pytest.skip.Exception:
        return False
    return True


def check_installed() -> None:
    """Skip the test unless all emulators can run here."""
    for command in (
        emulators.firestore_command,
        emulators.pubsub_command,
        emulators.storage_command,
    ):
        or_missing(partial(command, 0))


def or_missing(command: Callable[[], list[str]]) -> list[str]:
    """Return an emulator's command; skip the test where something of it is missing."""
    try:
        return command()
    except ConfigurationError as error:
        missing(f"an emulator ({error.problems[0]})")


def find_tool(name: str) -> str:
    """Return the program from ``.tools/bin``, Go's folder of programs or the ``PATH``."""
    places = [ROOT / ".tools" / "bin", Path(os.environ.get("GOBIN") or Path.home() / "go" / "bin")]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or missing(name)


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on.

    No other test of this run is given it, and no client gets it by chance, so that a server
    can be stopped and started again on it.
    """
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                if _is_ours(port):
                    return port


def _is_ours(port: int) -> bool:
    if not (folder := run_folder()):
        return True
    with contextlib.suppress(FileExistsError):
        (folder / f"{port}.port").touch(exist_ok=False)
        return True
    return False


def answers(port: int) -> bool:
    """Return whether a server speaks HTTP on the port, whatever its status."""
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
    process = start(command, port, log, ready)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        stop(process)


def start(
    command: Sequence[str], port: int, log: Path, ready: Callable[[int], bool] = answers
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own and wait until it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await_ready(process, port, log, ready)
    except BaseException:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a server, with every process that it started in its session."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_ready(
    process: subprocess.Popen[bytes], port: int, log: Path, ready: Callable[[int], bool] = answers
) -> None:
    """Wait until a server is ready; fail the test, with its log, if it does not start."""
    end = time.monotonic() + _START_S
    while not ready(port):
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{process.args!r} did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def _shared(name: str, command: Callable[[int], list[str]]) -> str:
    """Return ``host:port`` of the run's server of this name; the first caller starts it.

    ``command`` gets the port to listen on.
    """
    folder = run_folder()
    assert folder is not None
    known = folder / f"{name}.address"
    with locked(folder / f"{name}.lock"):
        if not known.exists():
            port = free_port()
            process = start(or_missing(partial(command, port)), port, folder / f"{name}.log")
            stop_at_end(name, process.pid)
            # It outlives this worker; a Popen that is collected would warn of that.
            process.returncode = 0
            known.write_text(f"127.0.0.1:{port}")
    return known.read_text()


@pytest.fixture(scope="session")
def firestore_emulator() -> str:
    """``host:port`` of Google's Firestore emulator."""
    return _shared("firestore", emulators.firestore_command)


@pytest.fixture(scope="session")
def pubsub_emulator() -> str:
    """``host:port`` of Google's Pub/Sub emulator."""
    return _shared("pubsub", emulators.pubsub_command)


@pytest.fixture(scope="session")
def gcs_emulator() -> str:
    """``http://host:port`` of fake-gcs-server, a Cloud Storage that honours preconditions."""
    return f"http://{_shared('gcs', emulators.storage_command)}"


@contextmanager
def fake_gcs_server(
    log: Path, port: int | None = None, seen_at: int | None = None
) -> Iterator[int]:
    """Run fake-gcs-server; ``seen_at`` is the port that its uploads go to, if not its own."""
    port = port or free_port()
    command = or_missing(partial(emulators.storage_command, port, seen_at))
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
