"""A Drive that fails now and then, and dependencies that are down: refusing, or silent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.emulators import free_port, missing
from tests.proxy import Proxy, proxy_to
from tests.services import AUDIO, Cloud, Service, until

pytestmark = pytest.mark.slow(250)

#: For parts that only an emulator stands in for.
google = pytest.mark.usefixtures("emulators")


@pytest.mark.parametrize("reset", [False, True])
def test_a_drive_that_fails_one_time_in_ten_gives_the_same_bytes(
    cloud: Cloud, heavy_clip: Path, reset: bool
) -> None:
    with cloud.service() as service:
        clean = cloud.record(heavy_clip)
        assert service.push(clean).status == 204
        cloud.world.set_faults(
            error_rate=0.1, statuses=[429, 500, 503], cut_rate=0.3, reset=reset, seed=7
        )
        broken = cloud.record(heavy_clip)
        assert service.push(broken).status == 204
    results = [cloud.recording(item).audio for item in (clean, broken)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0].crc32c == results[1].crc32c
    assert cloud.recording(broken).attempts == 1


def needs_emulators(cloud: Cloud, part: str) -> None:
    """Skip the test where ``part`` is no server that a port can stand in for."""
    if not cloud.project and part != "drive":
        missing("an emulator")


@contextmanager
def silent() -> Iterator[int]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener.getsockname()[1]


@contextmanager
def refusing() -> Iterator[int]:
    yield free_port()


#: Yields a port at which a dependency is down.
Port = Callable[[], AbstractContextManager[int]]

PARTS = {
    "tracker": ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:{}"),
    "storage": ("STORAGE_EMULATOR_HOST", "http://127.0.0.1:{}"),
    "queue": ("PUBSUB_EMULATOR_HOST", "127.0.0.1:{}"),
    "drive": ("DRIVE_API_ENDPOINT", "http://127.0.0.1:{}/drive/v3/"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [refusing, silent])
@pytest.mark.parametrize("part", ["tracker", "storage", "drive"])
def test_a_dependency_that_is_down_is_a_503_within_a_minute_and_nothing_half_done(
    cloud: Cloud, clip: Path, part: str, kind: Port
) -> None:
    needs_emulators(cloud, part)
    item = cloud.record(clip)
    variable, value = PARTS[part]
    with kind() as port, cloud.service(None, **{variable: value.format(port)}) as service:
        answer = service.push(item)
        assert (answer.status, answer.body) == (503, b"")
        assert answer.seconds < 60
        assert service.ffmpegs() == []
    assert cloud.objects() == {}
    assert cloud.status(item) == ("" if part == "tracker" else "QUEUED")
    with cloud.service() as service:
        assert service.push(item).status == 204
    assert list(cloud.audio()) == [AUDIO]


@google
@pytest.mark.parametrize("kind", [refusing, silent])
@pytest.mark.parametrize("part", ["tracker", "storage", "queue"])
@pytest.mark.usefixtures("recordings_topic")
def test_health_names_the_part_that_is_down(cloud: Cloud, part: str, kind: Port) -> None:
    variable, value = PARTS[part]
    with kind() as port, cloud.service(None, **{variable: value.format(port)}) as service:
        answer = service.get("/health")
        assert answer.status == 503
        assert answer.seconds < 20  # each part has 5 s; a client left to itself has minutes
        assert answer.json["status"] == "down"
        components = answer.json["components"]
        assert [name for name, one in components.items() if not one["ok"]] == [part]
        assert components[part]["message"]
        assert service.get("/ready").status == (200 if part == "queue" else 503)
        assert service.get("/live").status == 200


def break_storage(cloud: Cloud) -> None:
    (cloud.directory / "audio").rename(cloud.directory / "away")


def break_tracker(cloud: Cloud) -> None:
    for path in cloud.directory.glob("tracker.db*"):
        path.unlink()
    (cloud.directory / "tracker.db").write_text("no database")


def break_queue(cloud: Cloud) -> None:
    Path(cloud.env["RECORDINGS_QUEUE_URL"].removeprefix("local://")).unlink()


@pytest.mark.parametrize("cloud", ["local"], indirect=True)
@pytest.mark.parametrize("breaks", [break_storage, break_tracker, break_queue])
def test_health_names_the_part_that_is_down_on_this_machine(
    cloud: Cloud, breaks: Callable[[Cloud], None]
) -> None:
    part = breaks.__name__.removeprefix("break_")

    def down(service: Service) -> list[str]:
        parts = service.get("/health").json["components"]
        return [name for name, one in parts.items() if not one["ok"]]

    with cloud.service() as service:
        # Each part is asked for 5 seconds at most, which a busy machine may take.
        until(lambda: down(service) == [])
        breaks(cloud)
        until(lambda: down(service) == [part])
        assert service.get("/ready").status == (200 if part == "queue" else 503)


@contextmanager
def behind(cloud: Cloud, part: str) -> Iterator[Proxy]:
    """Put a proxy before a part of the cloud, for services started from now on."""
    variable, value = PARTS[part]
    target = int(cloud.env[variable].removeprefix("http://").split("/")[0].split(":")[1])
    with proxy_to(target) as proxy:
        cloud.env[variable] = value.format(proxy.port)
        yield proxy


@google
@pytest.mark.parametrize("trigger", [b'"PROCESSING"', b"PROCESSING", b"DONE"])
def test_a_commit_whose_answer_is_lost_is_a_commit(
    cloud: Cloud, clip: Path, trigger: bytes
) -> None:
    item = cloud.record(clip)
    with behind(cloud, "tracker") as proxy, cloud.service() as service:
        proxy.hold(trigger.strip(b'"'), nth=2 if trigger.startswith(b'"') else 1)
        pushed = service.pushing(item)
        wanted = "DONE" if trigger == b"DONE" else "PROCESSING"
        while cloud.status(item) != wanted or not proxy.holding:
            assert not pushed.done(), "the answer was not held"
        proxy.cut()
        assert pushed.result().status == 204
        assert service.push(item).status == 204
    recording = cloud.recording(item)
    assert (recording.status.value, recording.attempts, recording.crashes) == ("DONE", 1, 0)
    assert list(cloud.audio()) == [AUDIO]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["storage", "tracker", "drive"])
def test_a_part_that_falls_silent_in_the_middle_is_a_503_within_a_minute(
    cloud: Cloud, heavy_clip: Path, part: str
) -> None:
    needs_emulators(cloud, part)
    item = cloud.record(heavy_clip)
    triggers = {"storage": b"GET /storage", "tracker": b"_audio.mp3", "drive": b"alt=media"}
    with behind(cloud, part) as proxy, cloud.service(LEASE_SECONDS="30") as service:
        proxy.swallow(triggers[part], for_ever=True)
        answer = service.push(item)
        assert answer.status == 503
        assert answer.seconds < 60
        assert cloud.audio() == {}
        proxy.pass_on()
    assert cloud.status(item) in ("QUEUED", "PROCESSING")
