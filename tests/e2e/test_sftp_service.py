"""``nightly`` and ``compress`` as processes under functions-framework, killed at any moment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.google.documents import FirestoreDocuments
from shared.adapters.google.storage import GCSStorage
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue
from shared.bootstrap import Services
from shared.core.message import SourceFile
from shared.core.records import Recording, Status
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.emulators import free_port
from tests.media.clips import run, speech
from tests.paths import ROOT
from tests.services import Answer, Service, ask, envelope, start_function, until
from tests.sftp import Sshd, sshd  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow(80)

LONG_AGO = 1_700_000_000
LEASE_S = 3


@dataclass
class Site:
    """A server, a bucket, a tracker, and the environment that names them."""

    sshd: Sshd
    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = (self.sshd.base / "client").read_text()
        secret = {
            "username": self.sshd.user,
            "known_hosts": self.sshd.known_hosts,
            "private_key": key,
        }
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LOG_FORMAT": "json",
            "STORAGE_URL": str(self.directory / "bucket"),
            "TRACKER_URL": f"sqlite:///{self.directory / 'tracker.db'}",
            "LEASE_SECONDS": str(LEASE_S),
            "ENCODE_WORKERS": "1",
            "SFTP_HOST": "127.0.0.1",
            "SFTP_PORT": str(self.sshd.port),
            "SFTP_REMOTE_PATH": str(self.sshd.root),
            "SFTP_CREDENTIALS": json.dumps(secret),
            **self.env,
        }

    def put(self, name: str, content: bytes) -> None:
        path = self.sshd.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))

    @contextmanager
    def service(self, target: str, **env: str) -> Iterator[Service]:
        service = self.start(target, **env)
        try:
            yield service
        finally:
            service.close()

    def start(self, target: str, **env: str) -> Service:
        """Start an instance and wait until it answers; it answers GET with 405."""
        return start_function(
            "sftp_compress",
            target,
            directory=self.directory,
            env={**self.env, **env},
            is_up=lambda service: service.get("/").status == 405,
        )


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path) -> Site:  # noqa: F811
    return Site(sshd, tmp_path)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Half a second."""
    path = tmp_path_factory.mktemp("clips") / "short.wav"
    run(*speech(0.5, 16000, 1), path)
    return path.read_bytes()


# What is answered.


def test_a_night_is_answered_with_its_counts(site: Site, short: bytes) -> None:
    site.put("a.wav", short)
    with site.service("nightly") as nightly:
        answer = nightly.post(b"{}")
        assert answer.status == 200
        assert {**answer.json, "date": ""} == {
            "date": "", "found": 1, "queued": 1, "known": 0, "unsettled": 0
        }  # fmt: skip


def errors(site: Site, **env: str) -> Answer:
    with site.service("nightly", **env) as nightly:
        return nightly.post(b"{}", timeout_s=60)


def test_each_error_of_a_night_has_a_code(site: Site) -> None:
    other = site.sshd.make_key("other") and (site.sshd.base / "other.pub").read_text()
    secret = json.loads(site.env["SFTP_CREDENTIALS"])
    wrong_host = {**secret, "known_hosts": f"[127.0.0.1]:{site.sshd.port} {other}"}
    wrong_key = {**secret, "private_key": (site.sshd.base / "other").read_text()}
    for code, env in {
        "empty_directory": {},
        "missing_directory": {"SFTP_REMOTE_PATH": "/nowhere"},
        "host_key": {"SFTP_CREDENTIALS": json.dumps(wrong_host)},
        "authentication": {"SFTP_CREDENTIALS": json.dumps(wrong_key)},
    }.items():
        answer = errors(site, **env)
        assert (answer.status, answer.json["error"]["code"]) == (500, code)
        assert "PRIVATE KEY" not in answer.json["error"]["message"]


def test_an_unreachable_server_is_reported_within_a_minute(site: Site) -> None:
    answer = errors(site, SFTP_PORT=str(free_port()))
    assert (answer.status, answer.json["error"]["code"]) == (500, "unreachable")
    assert answer.seconds < 60


@pytest.mark.parametrize("target", ["nightly", "compress"])
def test_a_wrong_environment_ends_it_at_once(site: Site, target: str) -> None:
    with pytest.raises(AssertionError, match="cannot start") as told:
        site.start(target, SFTP_PORT="abc", CHANNELS="9", SFTP_CREDENTIALS="hunter2")
    for wrong in ("SFTP_PORT is not", "CHANNELS is", "SFTP_CREDENTIALS is not JSON"):
        assert wrong in str(told.value)
    assert "hunter2" not in str(told.value)


# As on a first deployment, where the server and the secret are not set yet.
UNSET = {"SFTP_HOST": "", "SFTP_CREDENTIALS": "{}"}


def test_a_night_without_a_server_names_the_variables(site: Site) -> None:
    answer = errors(site, **UNSET)
    assert (answer.status, answer.json["error"]["code"]) == (500, "configuration")
    for name in UNSET:
        assert f"{name} is not set" in answer.json["error"]["message"]


def test_files_wait_for_the_server_to_be_named(site: Site, short: bytes) -> None:
    site.put("a.wav", short)
    (item,) = listed(site)
    with site.service("compress", **UNSET) as compress:
        assert compress.post(b"{not an envelope").status == 204
        assert compress.push(item).status == 503
        assert compress.push(item).status == 503
        assert "SFTP_HOST is not set" in compress.log
    assert tracker(site).get(item.key) is None  # no claim of it is used up
    with site.service("compress") as compress:
        assert compress.push(item).status == 204
    assert tracker(site).get(item.key).status is Status.DONE  # type: ignore[union-attr]


def test_the_entry_points_load_nothing_before_they_are_called(site: Site) -> None:
    code = (
        "import functions.sftp_compress.main, sys;"
        "print([m for m in sys.modules if m.split('.')[0] in ('paramiko', 'flask', 'tenacity')"
        # Of the media engine the settings need the table of presets, and what that imports.
        " or m.startswith(('google.cloud.', 'google.api_core', 'imageio_ffmpeg'))"
        " or m.startswith('shared.media.') and m not in"
        " ('shared.media.presets', 'shared.media.formats', 'shared.media.formats.mp3_rates')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=site.env, cwd=ROOT, capture_output=True, check=True
    )
    assert said.stdout.strip() == b"[]"


def test_poison_is_acknowledged_and_a_server_that_is_away_is_not(site: Site, short: bytes) -> None:
    site.put("a.wav", short)
    item = listed(site)[0]
    with site.service("compress") as compress:
        assert compress.post(b"{not an envelope").status == 204
        assert compress.post(envelope(b'{"schema": 99}')).status == 204
        drive = SourceFile(**{**vars(item), "source": "drive"})
        assert compress.push(drive).status == 204
        site.sshd.kill()
        answer = compress.push(item)
        assert (answer.status, answer.seconds < 60) == (503, True)
        site.sshd.start()
        assert compress.push(item).status == 204
        assert tracker(site).get(item.key).status is Status.DONE  # type: ignore[union-attr]
        assert compress.push(item).status == 204  # once more: a duplicate


def listed(site: Site) -> list[SourceFile]:
    sources = Services.from_environment(site.env).sftp_sources
    return list(sources.list())


def tracker(site: Site) -> Tracker:
    return Tracker(SQLiteDocuments(site.directory / "tracker.db"))


# In the cloud.


def test_a_night_in_the_cloud(
    sshd: Sshd,  # noqa: F811
    tmp_path: Path,
    short: bytes,
    firestore_emulator: str,
    pubsub_emulator: str,
    gcs_emulator: str,
    firestore_project: str,
    pubsub_project: str,
    gcs_bucket: str,
) -> None:
    from tests.pubsub import make_topic, pull

    subscription = make_topic(pubsub_project, "sftp-files")
    site = Site(
        sshd,
        tmp_path,
        {
            "STORAGE_URL": f"gs://{gcs_bucket}",
            "TRACKER_URL": f"firestore://{firestore_project}/(default)",
            "SFTP_QUEUE_URL": f"pubsub://{pubsub_project}/sftp-files",
            "FIRESTORE_EMULATOR_HOST": firestore_emulator,
            "PUBSUB_EMULATOR_HOST": pubsub_emulator,
            "STORAGE_EMULATOR_HOST": gcs_emulator,
            "GOOGLE_CLOUD_PROJECT": firestore_project,
        },
    )
    for number in range(4):
        site.put(f"{number}.wav", short)
    with site.service("nightly") as nightly:
        assert nightly.post(b"{}").json["queued"] == 4
    messages = pull(subscription, 4)
    with site.service("compress") as one, site.service("compress") as other:
        answers = [
            service.pushing(SourceFile.decode(message.data))
            for message, service in zip(messages, [one, other] * 2, strict=True)
        ]
        assert [answer.result().status for answer in answers] == [204] * 4
    storage = GCSStorage(gcs_bucket)
    with storage.open("dev/compressed/manifest.json") as file:
        assert json.load(file)["totals"]["files"] == 4
    found = Tracker(FirestoreDocuments(firestore_project)).all()
    assert [one.status for one in found] == [Status.DONE] * 4


# Killed and restarted.


class Deliveries:
    """The queue's part: a message that is not acknowledged is delivered again."""

    def __init__(self, services: list[Service]) -> None:
        self.services = services
        self.waiting: deque[SourceFile] = deque()
        self.acknowledged = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        """Deliver until nothing is left, one message at a time to each instance."""
        threads = [
            threading.Thread(target=self._deliver, args=(index,))
            for index in range(len(self.services))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _deliver(self, index: int) -> None:
        while True:
            with self._lock:
                if not self.waiting:
                    return
                item = self.waiting.popleft()
            body = envelope(item.encode())
            answer = ask(self.services[index].url, body, 120)
            with self._lock:
                if answer.status == 204:
                    self.acknowledged += 1
                else:
                    self.waiting.append(item)
            if answer.status != 204:
                time.sleep(0.1)  # the queue's own backoff


COUNT, CORRUPT = 300, 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_is_killed(site: Site, short: bytes) -> None:
    broken = short[:44] + b"RIFF" + b"\x00" * 40
    for number in range(COUNT):
        bad = number % (COUNT // CORRUPT) == 7
        site.put(f"{number % 7}/{number:03}.wav", broken[:30] if bad else short)
    with site.service("nightly") as nightly:
        assert nightly.post(b"{}").json["queued"] == COUNT
    services = [site.start("compress") for _ in range(2)]
    deliveries = Deliveries(services)
    deliveries.waiting.extend(listed(site))
    trouble = threading.Thread(target=make_trouble, args=(site, services, deliveries))
    trouble.start()
    try:
        settle(site, deliveries)
    finally:
        trouble.join()
        for service in services:
            service.close()

    found = list(tracker(site).all())
    assert Counter(one.status for one in found) == {
        Status.DONE: COUNT - CORRUPT, Status.FAILED: CORRUPT
    }  # fmt: skip
    assert {one.error.code for one in found if one.error} == {"corrupt"}
    check_manifest(site, found)
    before = state(site)
    with site.service("nightly") as nightly:
        again = nightly.post(b"{}").json
    assert (again["found"], again["queued"]) == (COUNT, 0)
    assert state(site) == before


def make_trouble(site: Site, services: list[Service], deliveries: Deliveries) -> None:
    """Kill the server twice and each instance once, spread over the work."""
    for step in range(4):
        until(lambda: deliveries.acknowledged > (step + 1) * COUNT // 6, 600)  # noqa: B023
        if step % 2:
            site.sshd.kill()
            site.sshd.start()
        else:
            index = step // 2
            services[index].kill()
            services[index] = site.start("compress")


def settle(site: Site, deliveries: Deliveries) -> None:
    """Deliver, and let the requeue find what a crash has left, until all has ended."""
    records = Tracker(SQLiteDocuments(site.directory / "tracker.db"))
    end = time.monotonic() + 800
    while time.monotonic() < end:
        deliveries.run()
        queue = MemoryQueue()
        Requeue(records, {"sftp": queue}).run()
        deliveries.waiting.extend(queue.items)
        if all(one.status.is_final for one in records.all()):
            return
        time.sleep(0.5)
    raise AssertionError("it does not come to an end")


def check_manifest(site: Site, found: list[Recording]) -> None:
    storage = FilesystemStorage(site.directory / "bucket")
    with storage.open("dev/compressed/manifest.json") as file:
        body: dict[str, Any] = json.load(file)
    rows = {row["source"]: row for row in body["files"]}
    done = {one.source_id: one for one in found if one.status is Status.DONE}
    assert set(rows) == set(done)
    assert body["totals"]["files"] == len(done)
    for source, one in done.items():
        with storage.open(rows[source]["object"]) as file:
            content = file.read()
        assert rows[source]["sha256"] == hashlib.sha256(content).hexdigest()
        assert (one.gcs_path, one.audio.bytes) == (rows[source]["object"], len(content))  # type: ignore[union-attr]
    names = {one.name for one in storage.list("dev/compressed/")}
    assert names == {row["object"] for row in rows.values()} | {"dev/compressed/manifest.json"}


def state(site: Site) -> Any:
    storage = FilesystemStorage(site.directory / "bucket")
    return (
        sorted((one.name, one.generation) for one in storage.list()),
        sorted((one.key, one.status, one.attempts) for one in tracker(site).all()),
    )
