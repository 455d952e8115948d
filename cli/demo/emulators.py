"""Google's emulators of Pub/Sub and Firestore, and one of Cloud Storage, for the demonstration.

The first two come with the Google Cloud CLI. They are run with ``java``, since ``gcloud`` adds
seconds and leaves its child behind when it is stopped.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from shared.core.errors import ConfigurationError

T = TypeVar("T")

PROJECT, BUCKET = "demo", "audio-pipeline-demo"
TOPICS = ("recordings", "sftp-files")

#: How long the emulators may take to answer after the start, in seconds.
_START_S = 90.0

#: The longest that Pub/Sub waits for an answer, as Terraform sets it, in seconds.
_ACK_DEADLINE_S = 600

#: As in the Makefile.
_FAKE_GCS = "github.com/fsouza/fake-gcs-server@v1.56.1"
#: Options of the JVM that halve the processor time of an emulator which runs for minutes: only the
#: quick compiler, and one thread that collects garbage (java(1) of the JDK, "Advanced Options").
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_GCLOUD = "https://cloud.google.com/sdk/docs/install"


@dataclass(frozen=True)
class Emulators:
    """Emulators that run. ``environ`` names them to the functions."""

    environ: Mapping[str, str]
    pubsub: str
    storage: str

    def subscribe(self, addresses: Mapping[str, str]) -> None:
        """Push each topic's messages to its address."""
        import grpc  # noqa: PLC0415
        from google.pubsub_v1 import PushConfig, SubscriberClient  # noqa: PLC0415
        from google.pubsub_v1.services.subscriber.transports import (  # noqa: PLC0415
            SubscriberGrpcTransport,
        )

        with grpc.insecure_channel(self.pubsub) as channel:
            client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            for topic, address in addresses.items():
                client.create_subscription(
                    request={
                        "name": f"projects/{PROJECT}/subscriptions/{topic}",
                        "topic": f"projects/{PROJECT}/topics/{topic}",
                        "push_config": PushConfig(push_endpoint=address),
                        "ack_deadline_seconds": _ACK_DEADLINE_S,
                    }
                )


@contextmanager
def running(folder: Path, is_stopped: Callable[[float], bool]) -> Iterator[Emulators]:
    """Run the emulators until the block ends, with their logs in ``folder``.

    They start empty. This process's environment names them too, since Google's clients
    read it. ``is_stopped`` waits some seconds and returns whether to stop at once: then
    ``KeyboardInterrupt`` is raised, and ``ConfigurationError`` with what has to be installed.
    """
    ports = firestore, pubsub, storage = [_free_port() for _ in range(3)]
    builders = (firestore_command, pubsub_command, storage_command)
    try:
        commands = _each(*(partial(build, at) for build, at in zip(builders, ports, strict=True)))
    except ConfigurationError as error:
        title = "the emulators are not installed. Run make test-tools, or install these:"
        raise ConfigurationError([title, *(f"  {one}" for one in error.problems)]) from None
    with ExitStack() as stack:
        started = [
            (name, port, stack.enter_context(_process(command, folder / f"{name}.log")))
            for name, command, port in zip(
                ("firestore", "pubsub", "storage"), commands, ports, strict=True
            )
        ]
        end = time.monotonic() + _START_S
        for name, port, process in started:
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(
                        f"the {name} emulator did not start; see {folder / f'{name}.log'}"
                    )
                if is_stopped(0.1):
                    raise KeyboardInterrupt
        environ = {
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{firestore}",
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{pubsub}",
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{storage}",
        }
        before = {name: os.environ.get(name) for name in environ}
        stack.callback(_restore, before)
        os.environ.update(environ)
        made = Emulators(
            {
                **environ,
                "TRACKER_URL": f"firestore://{PROJECT}/(default)",
                "STORAGE_URL": f"gs://{BUCKET}",
                "RECORDINGS_QUEUE_URL": f"pubsub://{PROJECT}/{TOPICS[0]}",
                "SFTP_QUEUE_URL": f"pubsub://{PROJECT}/{TOPICS[1]}",
            },
            environ["PUBSUB_EMULATOR_HOST"],
            environ["STORAGE_EMULATOR_HOST"],
        )
        _make_bucket(made.storage)
        _make_topics(made.pubsub)
        yield made


def firestore_command(port: int) -> list[str]:
    """Return the command of Google's Firestore emulator; raises ``ConfigurationError``."""
    component = "cloud-firestore-emulator"
    java, jar = _each(_java, partial(_jar, component, "cloud-firestore-emulator/*.jar"))
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    # The emulator reads English only; its own launcher sets this too.
    start = [java, *_SHORT_LIVED, "-Duser.language=en", "-cp", jar, main, "start"]
    return [*start, "--host=127.0.0.1", f"--port={port}"]


def pubsub_command(port: int) -> list[str]:
    """Return the command of Google's Pub/Sub emulator; raises ``ConfigurationError``."""
    java, jar = _each(_java, partial(_jar, "pubsub-emulator", "pubsub-emulator/lib/*.jar"))
    return [java, *_SHORT_LIVED, "-jar", jar, "--host=127.0.0.1", f"--port={port}"]


def storage_command(port: int, seen_at: int | None = None) -> list[str]:
    """Return the command of fake-gcs-server; raises ``ConfigurationError``.

    ``seen_at`` is the port that its uploads go to, if a proxy is before it.
    """
    # Where `make test-tools` puts programs, in a checkout.
    tools = Path(__file__).resolve().parents[2] / ".tools" / "bin"
    go = Path(os.environ.get("GOBIN") or Path.home() / "go" / "bin")
    path = os.pathsep.join([str(tools), str(go), os.environ.get("PATH", "")])
    program = shutil.which("fake-gcs-server", path=path)
    if not program:
        raise ConfigurationError([f"fake-gcs-server: go install {_FAKE_GCS}"])
    return [
        *(program, "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"),
        f"-external-url=http://127.0.0.1:{seen_at or port}",
        *(f"-public-host=127.0.0.1:{port}", "-log-level=warn"),
    ]


def _java() -> str:
    if found := shutil.which("java"):
        return found
    raise ConfigurationError(["Java, for example: apt install default-jre-headless"])


def _jar(component: str, pattern: str) -> str:
    """Return a file of the Google Cloud CLI's folder ``platform``."""
    gcloud = shutil.which("gcloud")
    if not gcloud:
        raise ConfigurationError([f"the Google Cloud CLI: {_GCLOUD}"])
    platform = Path(gcloud).resolve().parent.parent / "platform"
    if jar := next(iter(platform.glob(pattern)), None):
        return str(jar)
    raise ConfigurationError([f"{component}: gcloud components install {component}"])


def _each(*finds: Callable[[], T]) -> list[T]:
    """Return what each finds; raises one ``ConfigurationError`` with all that is missing."""
    found: list[T] = []
    missing: dict[str, None] = {}
    for find in finds:
        try:
            found.append(find())
        except ConfigurationError as error:
            missing |= dict.fromkeys(error.problems)
    if missing:
        raise ConfigurationError(list(missing))
    return found


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that ends with this process, however that ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.child", "program", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin
    with process.stdin:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
    return True


def _make_bucket(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    with closing(connection):
        body = json.dumps({"name": BUCKET})
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/storage/v1/b?project={PROJECT}", body, headers)
        status = connection.getresponse().status
    if status != 200:
        raise RuntimeError(f"the storage emulator answered {status} to a new bucket")


def _make_topics(address: str) -> None:
    import grpc  # noqa: PLC0415
    from google.pubsub_v1 import PublisherClient  # noqa: PLC0415
    from google.pubsub_v1.services.publisher.transports import (  # noqa: PLC0415
        PublisherGrpcTransport,
    )

    with grpc.insecure_channel(address) as channel:
        client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        for topic in TOPICS:
            client.create_topic(name=f"projects/{PROJECT}/topics/{topic}")


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
