"""drive_watch as it is deployed: processes under functions-framework, asked over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.demo.drive_standin import notify as standin_notify
from cli.demo.drive_standin.errors import READONLY
from functions.drive_watch.channel import CHANNELS
from shared.adapters.memory import MemoryStorage
from shared.core.message import SourceFile
from shared.tracking.lease import Outcome, run
from tests.drive.processes import Balancer, instance, post
from tests.drive.rig import Rig, make_rig
from tests.drive.standin import OWNER, READER
from tests.paths import ROOT
from tests.services import until

pytestmark = pytest.mark.slow(55)

HEAVY = ["google.auth", "google.cloud.firestore", "googleapiclient", "grpc", "requests"]
RUNNER = "runner@project.iam.gserviceaccount.com"


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path, on="google") as rig:
        yield rig


def good_headers(rig: Rig) -> dict[str, str]:
    (channel,) = rig.world.channels.values()
    return standin_notify.headers(channel, "change", 2)


def test_importing_the_function_loads_no_client() -> None:
    """They would be most of a cold start; the first request that needs one loads it."""
    script = (
        "import sys, functions.drive_watch.main\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestNotify:
    @pytest.fixture
    def url(self, rig: Rig, tmp_path: Path) -> Iterator[str]:
        """The address of an instance that a channel notifies; as deployed, it knows no own one."""
        with instance(rig, "notify", tmp_path) as running:
            rig.configure(WEBHOOK_URL=running.url)
            assert rig.maintain().failures == {}
            yield running.url
            rig.world.notifier.settle()

    @pytest.mark.parametrize("rig", ["google", "local"], indirect=True)
    def test_recordings_are_published_after_a_notification(self, rig: Rig, url: str) -> None:
        for number in range(5):
            rig.video(f"{number}.mp4")
        assert rig.world.notifier.settle()
        assert {d.status for d in rig.world.notifier.deliveries} == {204}
        assert len(rig.messages(5)) == 5

    def test_forged_requests_are_refused_before_anything_is_written(
        self, rig: Rig, url: str
    ) -> None:
        assert rig.world.notifier.settle()  # the sync of the new channel is recorded
        rig.world.set_notifications(drop=True)
        rig.video("a.mp4")
        good = good_headers(rig)
        before = rig.state(), sum(rig.world.requests.values()), self.channels(rig)
        without = {name: text for name, text in good.items() if name != "X-Goog-Channel-ID"}
        wrong = {
            "no channel": (without, b"", "POST", "", {403}),
            "token": (good | {"X-Goog-Channel-Token": "x" * 43}, b"", "POST", "", {403}),
            "resource": (good | {"X-Goog-Resource-ID": "another"}, b"", "POST", "", {403}),
            "header of 1 MB": (good | {"X-Much": "x" * 1_000_000}, b"", "POST", "", {0, 400, 431}),
            "many headers": (
                good | {f"X-{number}": "x" for number in range(1000)},
                b"",
                "POST",
                "",
                {0, 400, 431},
            ),
            "body": (good, b"x" * 1_000_000, "POST", "", {413}),
            "get": (good, None, "GET", "", {405}),
            "put": (good, b"", "PUT", "", {405}),
            "delete": (good, None, "DELETE", "", {405}),
            "path": (good, b"", "POST", "maintain", {404}),
        }
        for name, (headers, body, method, path, statuses) in wrong.items():
            status, _ = post(url + path, body, headers, method)  # type: ignore[arg-type]
            assert status in statuses, name
        assert (rig.state(), sum(rig.world.requests.values()), self.channels(rig)) == before
        assert post(url, b"", good)[0] == 204
        assert rig.names() == ["a.mp4"]

    @staticmethod
    def channels(rig: Rig) -> list[Any]:
        return [read.document for read in rig.services.documents.find(CHANNELS)]

    def test_a_failure_is_500_and_moves_nothing(self, rig: Rig, url: str) -> None:
        rig.world.set_notifications(drop=True)
        rig.video("a.mp4")
        before = rig.state()["page_token"]
        rig.world.fail_next(1, 403, "accessNotConfigured")
        assert post(url, b"", good_headers(rig)) == (500, b"")
        assert rig.state()["page_token"] == before
        assert post(url, b"", good_headers(rig)) == (204, b"")

    def test_a_void_page_token_is_followed_by_a_full_compare(self, rig: Rig, url: str) -> None:
        rig.world.set_notifications(drop=True)
        rig.video("lost.mp4")
        rig.world.expire_page_tokens()
        assert post(url, b"", good_headers(rig))[0] == 204
        assert rig.names() == ["lost.mp4"]
        assert rig.state()["full_compare_at"] is not None


def test_sigterm_gives_the_lease_back_at_once(rig: Rig, tmp_path: Path) -> None:
    with instance(rig, "notify", tmp_path) as running:
        rig.configure(WEBHOOK_URL=running.url)
        rig.maintain()
        rig.world.set_notifications(drop=True)
        for number in range(600):
            rig.video(f"{number}.txt", mime_type="text/plain")
        rig.world.set_faults(latency_s=1.0)
        answers: list[int] = []
        sent = threading.Thread(
            target=lambda: answers.append(post(running.url, b"", good_headers(rig))[0])
        )
        sent.start()
        until(lambda: rig.state()["lease_owner"])
        running.terminate()
        until(lambda: rig.state()["lease_owner"] is None, 10, "the lease given back")
        sent.join()
        assert answers == [500]
    rig.world.set_faults(latency_s=0.0)
    assert rig.drain() == 0
    assert rig.state()["lease_owner"] is None


class TestMaintain:
    def test_its_bodies_and_its_summary(self, rig: Rig, tmp_path: Path) -> None:
        rig.video("a.mp4")
        with instance(rig, "maintain", tmp_path) as running:
            for body in (b"{", b"[]", b'{"only": "drain"}', b'{"full": 1}', b'{"ful": true}'):
                assert post(running.url, body)[0] == 400, body
            assert post(running.url, b"", method="GET")[0] == 405
            status, body = post(running.url, b"{}")
            assert status == 200
            assert json.loads(body) == {
                "channel": {"default": {"state": "off"}},
                "channel_hours_left": None,
                "compare": {"default": "done"},
                "found": 1,
                "published": 1,
                "requeued": 0,
                "left": [],
                "failures": {},
            }
            status, body = post(running.url, b'{"only": "requeue"}')
            assert (status, json.loads(body)["channel"]) == (200, {})
            status, body = post(running.url, b'{"full": true}')
            assert (status, json.loads(body)["compare"]) == (200, {"default": "done"})

    def test_credentials_of_cloud_run(self, rig: Rig, tmp_path: Path) -> None:
        """Its own account impersonates the one that reads, for each subject, without keys."""
        from tests.drive.google_hosts import google_hosts

        identity = rig.world.identity
        identity.impersonators = {READER: {RUNNER}}
        identity.delegations = {READER: {READONLY}}
        rig.video("of the runner.mp4", owner=RUNNER)
        rig.video("of Ana.mp4", owner=OWNER)
        host = rig.standin.server.url.removeprefix("http://")
        with google_hosts(rig.standin.server, tmp_path) as hosts:
            environ = {
                **hosts,
                "GCE_METADATA_HOST": host,
                "GCE_METADATA_IP": host,
                "GOOGLE_APPLICATION_CREDENTIALS": "",
                "DRIVE_SERVICE_ACCOUNT": READER,
                "DRIVE_SUBJECTS": OWNER,
            }
            with instance(rig, "maintain", tmp_path, environ) as running:
                status, body = post(running.url, b"{}")
                assert (status, json.loads(body)["failures"]) == (200, {})
                assert rig.names() == ["of Ana.mp4"]
                identity.delegations = {}
                identity.revoke_tokens()
                status, body = post(running.url, b"{}")
                assert status == 500
                assert OWNER in json.loads(body)["failures"]


@pytest.mark.slow
def test_a_burst_to_four_processes_one_of_which_dies(rig: Rig, tmp_path: Path) -> None:
    """1,000 changes, 250 of them recordings, 250 notifications, each delivered twice."""
    with ExitStack() as stack:
        environ = {"LEASE_SECONDS": "3"}
        four = [stack.enter_context(instance(rig, "notify", tmp_path, environ)) for _ in range(4)]
        balancer = Balancer([one.port for one in four])
        stack.callback(balancer.close)
        rig.configure(WEBHOOK_URL=balancer.url, LEASE_SECONDS="3")
        rig.maintain()
        rig.world.notifier.settle()
        for one in four:
            assert post(one.url, b"", good_headers(rig))[0] == 204
        expected = make_changes(rig, 500, notified=False)
        begun = rig.state()["page_token"]
        rig.world.set_faults(latency_s=0.4)
        sent = threading.Thread(target=post, args=(four[0].url, b"", good_headers(rig)))
        sent.start()
        until(lambda: rig.state()["lease_owner"])
        expected |= make_changes(rig, 500, notified=True)
        until(lambda: rig.state()["page_token"] != begun)
        four[0].kill()
        sent.join()
        killed_at = rig.state()["page_token"]
        assert rig.state()["lease_owner"], "it held the lease when it died"
        rig.world.set_faults(latency_s=0.0)
        assert rig.world.notifier.settle()
        until(lambda: rig.watch.state(rig.feed).was_abandoned(rig.state()) or not held(rig), 10)
        rig.minute()
    assert int(rig.state()["page_token"]) > int(killed_at)
    assert {recording.source_id for recording in rig.recordings()} == expected
    items = [SourceFile.decode(json.dumps(message).encode()) for message in rig.messages(250)]
    assert {item.source_id for item in items} == expected
    notified = [d for d in rig.world.notifier.deliveries if d.state == "change"]
    assert len(notified) >= 500
    assert len(extract_all(rig, items)) == 250


def held(rig: Rig) -> bool:
    return bool(rig.state()["lease_owner"])


def make_changes(rig: Rig, count: int, *, notified: bool) -> set[str]:
    """Make changes, each fourth a recording; the half of them that is notified, is so twice."""
    recordings = set()
    for number in range(count):
        rig.world.set_notifications(drop=not notified or number % 2 == 1, copies=2)
        if number % 4 == 0:
            recordings.add(rig.video(f"{count} {number} {notified}.mp4"))
        else:
            rig.video(f"{number}.txt", mime_type="text/plain")
    return recordings


def extract_all(rig: Rig, items: list[SourceFile]) -> list[str]:
    """Work on every message as a worker does, some of them twice; return the objects."""
    storage, tracker = MemoryStorage(), rig.services.tracker

    def work(item: SourceFile) -> Outcome:
        def put(*_: object) -> dict[str, Any]:
            storage.put(
                f"{item.key}.mp3",
                item.key.encode(),
                content_type="audio/mpeg",
                metadata={"key": item.key},
                if_generation=0,
            )
            return {}

        return run(tracker, item, put).outcome

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(work, items + items[:50]))
    assert outcomes.count(Outcome.DONE) == len({item.key for item in items})
    return [stored.name for stored in storage.list()]


@pytest.mark.slow
def test_a_full_compare_of_20_000_files_in_3_000_folders(rig: Rig, tmp_path: Path) -> None:
    """Each call ends in time, and the next goes on where it stopped."""
    folder = rig.world.create_folder("Google Meet")
    then = datetime.now(UTC) - timedelta(days=9)
    meetings = [rig.world.create_folder(f"{number}", parent=folder) for number in range(3000)]
    for number in range(20_000):
        # Few are recordings: a fifth of a second of the emulator's CPU for each ten of them.
        kind = "video/mp4" if number % 40 == 0 else "text/plain"
        made = rig.video(f"{number}.mp4", parent=meetings[number % 3000], mime_type=kind)
        rig.world.state.files[made].created = rig.world.state.files[made].modified = then
    limit_s = 3.0  # two or three parts here; TestParts in test_drive_maintain.py forces more
    rig.configure(DRIVE_FOLDER_IDS=folder, WATCH_LIMIT_SECONDS=f"{limit_s:g}")
    parts: list[dict[str, Any]] = []
    with instance(rig, "maintain", tmp_path) as running:
        while not parts or parts[-1]["compare"] != {"default": "done"}:
            start = time.monotonic()
            body = b'{"only": "requeue"}' if parts else b"{}"
            status, answer = post(running.url, body)
            parts.append(json.loads(answer))
            assert status == 200
            assert time.monotonic() - start < limit_s + 30  # on a busy machine
            assert len(parts) < 100
    assert sum(part["found"] for part in parts) == 500
    assert len(rig.recordings()) == 500
    # 3,000 folders in queries of 40, and not one of them asked twice.
    assert rig.world.requests["files.list"] < 3000 / 40 + 20_000 / 500 + len(parts) + 10
