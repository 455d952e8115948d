"""A service that is killed, stopped or terminated at every stage loses no recording."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from shared.adapters.memory import MemoryQueue
from shared.core.message import SourceFile
from shared.core.records import Status
from shared.tracking.requeue import Requeue
from tests.emulators import are_installed, fake_gcs_server, free_port, make_bucket
from tests.proxy import Proxy, proxy_to
from tests.services import AUDIO, Cloud, Service, runs, until

pytestmark = pytest.mark.slow(120)

LEASE_S = 3.0

#: Cloud Run kills what has not ended so long after SIGTERM. The push is answered by the half of
#: it, so that Pub/Sub delivers again soon.
GRACE_S = 10.0
ANSWER_S = 5.0


@dataclass
class Bench:
    """A cloud of which each part can be made to wait.

    On the emulators a proxy holds an answer back. On SQLite and a directory the test takes
    the lock that the service needs next; ``locks`` has them by their names.
    """

    cloud: Cloud
    clip: Path
    heavy_clip: Path
    long_clip: Path
    drive: Proxy
    gcs: Proxy | None = None
    firestore: Proxy | None = None
    locks: dict[str, Callable[[], None]] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        return (STAGES | (GOOGLE_STAGES if self.cloud.project else LOCAL_STAGES))[name]

    def lock_directory(self, name: str) -> None:
        """Take the lock of a directory of the bucket, which every write to it waits for."""
        path = self.cloud.directory / "audio" / name
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.locks[name] = partial(os.close, descriptor)

    def lock_tracker(self) -> None:
        """Take SQLite's lock of writers."""
        connection = sqlite3.connect(self.cloud.directory / "tracker.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        self.locks["tracker"] = connection.close

    def unlock(self, name: str) -> None:
        self.locks.pop(name)()

    def is_waiting(self, name: str) -> bool:
        """Return whether a hidden copy waits for its directory's lock."""
        return bool(list((self.cloud.directory / "audio" / name).glob(".*.tmp")))

    def has(self, part: str) -> bool:
        return any(part in name for name in self.cloud.objects())

    def release(self) -> None:
        """Let everything pass again."""
        for proxy in (self.gcs, self.firestore, self.drive):
            if proxy:
                proxy.pass_on()
        for name in list(self.locks):
            self.unlock(name)
        self.cloud.world.set_faults(bandwidth=None)

    def requeue(self, item: SourceFile) -> list[SourceFile]:
        """Wait for the lease's end, and return what the requeue then publishes."""
        tracker, queue = self.cloud.tracker, MemoryQueue()
        until(lambda: tracker.has_expired(self.cloud.recording(item)))
        Requeue(tracker, {"drive": queue}).run()
        return queue.items


@pytest.fixture
def bench(
    cloud: Cloud,
    clip: Path,
    heavy_clip: Path,
    long_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    with ExitStack() as stack:
        drive_port = int(cloud.env["DRIVE_API_ENDPOINT"].split(":")[2].split("/")[0])
        drive = stack.enter_context(proxy_to(drive_port))
        env = {
            **cloud.env,
            "LEASE_SECONDS": str(LEASE_S),
            "DRIVE_API_ENDPOINT": f"http://{drive.address}/drive/v3/",
        }
        if not cloud.project:
            made = replace(cloud, env=env, lease_s=LEASE_S)
            bench = Bench(made, clip, heavy_clip, long_clip, drive)
            stack.callback(bench.release)
            yield bench
            return
        port = free_port()
        gcs = stack.enter_context(proxy_to(port))
        stack.enter_context(fake_gcs_server(cloud.directory / "gcs.log", port, gcs.port))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        firestore_port = int(cloud.env["FIRESTORE_EMULATOR_HOST"].split(":")[1])
        firestore = stack.enter_context(proxy_to(firestore_port))
        bucket = make_bucket(f"http://127.0.0.1:{port}")
        env |= {
            "STORAGE_URL": f"gs://{bucket}",
            "STORAGE_EMULATOR_HOST": f"http://{gcs.address}",
            "FIRESTORE_EMULATOR_HOST": firestore.address,
        }
        made = replace(cloud, env=env, bucket=bucket, lease_s=LEASE_S)
        yield Bench(made, clip, heavy_clip, long_clip, drive, gcs, firestore)


@dataclass(frozen=True)
class Stage:
    """A stage of the work: how to pause there, and how to see that it is reached."""

    hold: Callable[[Bench], None]
    reached: Callable[[Bench, Service, SourceFile], object]
    clip: str = "clip"


def _is_processing(bench: Bench, item: SourceFile) -> bool:
    return bench.cloud.status(item) == "PROCESSING"


STAGES = {
    "claimed": Stage(
        lambda bench: bench.drive.hold(b"GET /drive/v3/files/"),
        lambda bench, _, item: _is_processing(bench, item) and bench.drive.holding,
    ),
    "downloading": Stage(
        lambda bench: bench.cloud.world.set_faults(bandwidth=6_000_000),
        lambda bench, service, item: _is_processing(bench, item) and service.ffmpegs(),
        clip="heavy_clip",
    ),
    "encoding": Stage(lambda _: None, lambda _, service, __: service.encoders(), clip="long_clip"),
}


def _proxy(bench: Bench, name: str) -> Proxy:
    proxy: Proxy = getattr(bench, name)
    return proxy


GOOGLE_STAGES = {
    "uploading": Stage(
        lambda bench: _proxy(bench, "gcs").swallow(b'_audio.mp3"'),
        lambda bench, _, __: _proxy(bench, "gcs").holding,
    ),
    "uploaded, unheard": Stage(
        lambda bench: _proxy(bench, "gcs").hold(b'_audio.mp3"'),
        lambda bench, _, __: bench.cloud.audio(),
    ),
    "uploaded": Stage(
        lambda bench: _proxy(bench, "gcs").hold(b"metadata/waveforms/"),
        lambda bench, _, __: _proxy(bench, "gcs").holding and bench.cloud.audio(),
    ),
    "logged": Stage(
        lambda bench: _proxy(bench, "gcs").hold(b"processing-logs/"),
        lambda bench, _, __: bench.has("processing-logs"),
    ),
    "finishing": Stage(
        lambda bench: _proxy(bench, "firestore").swallow(b"DONE"),
        lambda bench, _, __: _proxy(bench, "firestore").holding,
    ),
    "finished, unheard": Stage(
        lambda bench: _proxy(bench, "firestore").hold(b"DONE"),
        lambda bench, _, item: bench.cloud.status(item) == "DONE",
    ),
}

_MONTH, _WAVEFORMS = "dev/2025/01", "dev/metadata/waveforms/2025/01"
_LOGS = f"dev/metadata/processing-logs/{datetime.now(UTC):%Y/%m/%d}"


def _is_finishing(bench: Bench, *_: object) -> bool:
    """Lock the tracker while the log waits for its directory, which may then go on."""
    if _LOGS in bench.locks and bench.is_waiting(_LOGS):
        bench.lock_tracker()
        bench.unlock(_LOGS)
    return bench.has("processing-logs")


LOCAL_STAGES = {
    "uploading": Stage(
        lambda bench: bench.lock_directory(_MONTH),
        # The copy is made while the audio is verified; the name is written after that.
        lambda bench, _, item: (
            bench.is_waiting(_MONTH) and bench.cloud.recording(item).gcs_path is not None
        ),
    ),
    "uploaded": Stage(
        lambda bench: bench.lock_directory(_WAVEFORMS),
        lambda bench, _, __: bench.is_waiting(_WAVEFORMS) and bench.cloud.audio(),
    ),
    "logging": Stage(
        lambda bench: bench.lock_directory(_LOGS),
        lambda bench, _, __: bench.is_waiting(_LOGS),
    ),
    "finishing": Stage(lambda bench: bench.lock_directory(_LOGS), _is_finishing),
}

#: Everywhere what differs on this machine; what does not, there only without emulators.
CASES = (
    [("google", name) for name in (*STAGES, *GOOGLE_STAGES)]
    + [("local", name) for name in LOCAL_STAGES]
    if are_installed()
    else [("local", name) for name in (*STAGES, *LOCAL_STAGES)]
)


@pytest.mark.parametrize(("cloud", "name"), CASES, indirect=["cloud"])
def test_killed_at_any_stage_the_recording_is_finished_once(bench: Bench, name: str) -> None:
    stage = bench.stage(name)
    cloud = bench.cloud
    item = cloud.record(getattr(bench, stage.clip))
    stage.hold(bench)
    with cloud.service() as service:
        pushed = service.pushing(item)
        until(lambda: stage.reached(bench, service, item), what=name)
        processes = service.tree()
        service.kill()
        assert pushed.result().status == 0
    bench.release()
    assert all("_audio.mp3" not in one or one == AUDIO for one in cloud.objects())
    until(lambda: not any(map(runs, processes)), what="no FFmpeg is left")

    again = bench.requeue(item)
    assert [one.key for one in again] == ([] if name == "finished, unheard" else [item.key])
    with cloud.service() as service:
        assert service.push(item).status == 204
        for one in again:
            assert service.push(one).status == 204
    recording = cloud.recording(item)
    assert recording.status is Status.DONE
    assert recording.crashes == len(again)
    assert list(cloud.audio()) == [AUDIO]
    assert recording.audio is not None
    assert recording.audio.crc32c == cloud.objects()[AUDIO].crc32c
    whole = 900.0 if stage.clip == "long_clip" else 3.0
    assert abs(recording.audio.duration_s - whole) < 0.5


@pytest.mark.parametrize("name", ["claimed", "downloading", "encoding", "uploading"])
def test_sigterm_gives_the_recording_back_at_once(bench: Bench, name: str) -> None:
    stage, cloud = bench.stage(name), bench.cloud
    item = cloud.record(getattr(bench, stage.clip))
    stage.hold(bench)
    with cloud.service(LEASE_SECONDS="600") as service:
        pushed = service.pushing(item)
        until(lambda: stage.reached(bench, service, item), what=name)
        service.signal(signal.SIGTERM)
        service.signal(signal.SIGTERM)  # some supervisors are impatient
        until(lambda: cloud.status(item) == "QUEUED", GRACE_S, "given back")
        until(lambda: not service.ffmpegs(), GRACE_S, "no FFmpeg is left")
        # What waits for an answer that never comes is killed when the grace is over.
        service.kill()
        assert pushed.result().status in (503, 0)
    recording = cloud.recording(item)
    assert (recording.lease_owner, recording.lease_expires_at) == (None, None)
    assert recording.crashes == 0
    bench.release()
    with cloud.service() as service:
        assert service.push(item).status == 204
    assert cloud.status(item) == "DONE"
    assert list(cloud.audio()) == [AUDIO]


@pytest.mark.parametrize("name", ["downloading", "encoding"])
def test_sigterm_is_answered_within_the_grace(bench: Bench, name: str) -> None:
    stage = bench.stage(name)
    item = bench.cloud.record(getattr(bench, stage.clip))
    stage.hold(bench)
    with bench.cloud.service(LEASE_SECONDS="600") as service:
        pushed = service.pushing(item)
        until(lambda: stage.reached(bench, service, item))
        processes = service.tree()
        start = time.monotonic()
        service.signal(signal.SIGTERM)
        service.signal(signal.SIGTERM)
        assert pushed.result(GRACE_S).status == 503
        assert service.process.wait(GRACE_S) == 0
        assert time.monotonic() - start < GRACE_S
        assert not any(map(runs, processes))
    recording = bench.cloud.recording(item)
    assert (recording.status, recording.lease_owner) == (Status.QUEUED, None)


def test_sigterm_ends_a_download_that_trickles(bench: Bench) -> None:
    """Bytes arrive now and then, so no timeout of a read ever ends the call."""
    item = bench.cloud.record(bench.clip)
    bench.cloud.world.set_faults(bandwidth=100)
    with bench.cloud.service(LEASE_SECONDS="600") as service:
        pushed = service.pushing(item)
        until(lambda: _is_processing(bench, item))
        time.sleep(1.0)  # the download is under way
        service.signal(signal.SIGTERM)
        assert pushed.result(ANSWER_S).status == 503
        assert service.process.wait(GRACE_S) == 0
    recording = bench.cloud.recording(item)
    assert (recording.status, recording.lease_owner) == (Status.QUEUED, None)


def test_sigterm_ends_an_idle_service(bench: Bench) -> None:
    with bench.cloud.service() as service:
        service.signal(signal.SIGTERM)
        assert service.process.wait(GRACE_S) == 0


def test_a_worker_that_slept_past_its_lease_changes_nothing(bench: Bench) -> None:
    cloud = bench.cloud
    item = cloud.record(bench.long_clip)
    with cloud.service() as sleeper, cloud.service() as other:
        pushed = sleeper.pushing(item)
        until(sleeper.encoders)
        stopped = sleeper.tree()
        for process in stopped:
            process.suspend()
        (again,) = bench.requeue(item)
        assert other.push(again).status == 204
        recording, objects = cloud.recording(item), cloud.objects()
        assert recording.status is Status.DONE
        for process in reversed(stopped):
            process.resume()
        assert pushed.result().status == 204
        assert sleeper.ffmpegs() == []
    assert cloud.recording(item) == recording
    assert cloud.objects() == objects
