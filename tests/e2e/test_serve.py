"""``audio-pipeline serve`` as people run it: one command, killed and stopped at any moment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from shared.core.records import Recording, Status
from tests.services import BIN, envelope, item_of, until
from tests.serving import Serve, Site, site

pytestmark = pytest.mark.slow(100)

NAME = "Weekly sync - 2025/01/29 10:00 CST - Recording"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Serve]:
    """One with two extractors that looks at Drive once and then waits for the webhook.

    It watches one folder, and finds a recording outside of it that an earlier run had queued.
    """
    with site(tmp_path_factory.mktemp("running")) as made:
        folder = made.world.create_folder("Watched")
        earlier = record(made, clip, "of an earlier run")
        made.tracker.enqueue(item_of(earlier, clip, "of an earlier run"))
        made.env |= {"SWEEP_MINUTES": "1440", "DRIVE_FOLDER_IDS": folder}
        with made.serve("--workers=2") as serve:
            yield serve


def record(machine: Site, clip: Path, name: str = NAME, **more: str) -> str:
    return str(machine.world.create_file(name, content=str(clip), mime_type="video/mp4", **more))


def has_ended(machine: Site, name: str = NAME) -> bool:
    return machine.statuses().get(name) in ("DONE", "SKIPPED", "FAILED")


class TestServing:
    def test_a_recording_becomes_audio_by_the_webhook(self, running: Serve, clip: Path) -> None:
        machine = running.site
        until(lambda: machine.world.state()["channels"])
        until(lambda: "maintained" in running.log)
        record(machine, clip, parent=machine.env["DRIVE_FOLDER_IDS"])
        until(lambda: has_ended(machine))
        assert machine.statuses()[NAME] == "DONE"
        assert machine.audio() == ["dev/2025/01/weekly-sync_2025-01-29_10-00_audio.mp3"]

    def test_queued_recordings_of_an_earlier_run_are_published_again(self, running: Serve) -> None:
        # Only the start publishes it: no sweep looks outside the watched folder.
        until(lambda: has_ended(running.site, "of an earlier run"))

    def test_a_watched_folder_is_a_source(self, machine: Site, clip: Path) -> None:
        for name in ("WEBHOOK_URL", "DRIVE_API_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS"):
            del machine.env[name]
        folder = machine.directory / "Recordings"
        folder.mkdir()
        with machine.serve(f"--watch={folder}"):
            shutil.copy(clip, folder / "meeting.mp4")
            until(lambda: has_ended(machine, "meeting.mp4"))
        assert machine.statuses() == {"meeting.mp4": "DONE"}


class TestThePort:
    def test_only_the_webhook_and_the_dashboard_answer(self, running: Serve, clip: Path) -> None:
        file_id = record(running.site, clip, "forged")
        push = envelope(item_of(file_id, clip, "forged").encode())
        for path in ("/extract", "/compress", "/maintain", "/nightly", "/extract/dead-letter"):
            assert running.post(path, push).status == 403, path
            assert running.get(path).status == 403, path
        assert running.post("/", push).status in (403, 404, 405)
        assert running.post("/notify").status == 403  # forged: no channel has this token
        page = running.get("/", Accept="text/html").body.decode()
        assets = re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js|svg)[^"]*)"', page)
        assert len(assets) >= 3
        assert {running.get(path).status for path in assets} == {200}
        assert "forged" not in running.site.statuses()

    def test_health_lists_every_part(self, running: Serve) -> None:
        answer = running.get("/health")
        assert answer.status == 200
        assert answer.json["status"] == "ok"
        parts = {"ffmpeg", "storage", "tracker", "queue", "maintain", "extract-1", "extract-2"}
        assert parts <= answer.json["components"].keys()
        assert running.get("/live").status == 200
        text = running.get("/metrics").body.decode()
        assert re.search(r'audio_extract_files_processed_total{status="DONE"} \d', text)
        # The dashboard's own are not hidden by the extractors'.
        assert re.search(r'audio_dashboard_recordings{status="DONE"} \d', text)
        assert "audio_dashboard_component_up{component=" in text

    def test_another_port_is_taken_and_named(self, machine: Site) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            ended = run_serve(machine, f"--port={number}")
        assert ended.returncode == 1
        assert f"{number}" in ended.stderr

    def test_without_a_source_it_names_the_variables(self, machine: Site) -> None:
        machine.env = {name: machine.env[name] for name in ("PATH", "HOME")}
        ended = run_serve(machine)
        assert ended.returncode == 2
        for hint in ("GOOGLE_APPLICATION_CREDENTIALS", "SFTP_HOST", "--watch", "--demo"):
            assert hint in ended.stderr
        assert not (machine.directory / "audio").exists()

    def test_wrong_settings_are_refused_at_the_start(self, machine: Site) -> None:
        machine.env |= {"SCHEDULE": "daily", "TIME_ZONE": "Mars/Olympus", "SWEEP_MINUTES": "0"}
        ended = run_serve(machine)
        assert ended.returncode == 2
        for variable in ("SCHEDULE", "TIME_ZONE", "SWEEP_MINUTES"):
            assert variable in ended.stderr

    @pytest.mark.parametrize(
        ("variable", "value"),
        [("SCHEDULE", "61 * * * *"), ("RECORDINGS_QUEUE_URL", "pubsub://project/topic")],
    )
    def test_a_setting_that_only_serve_refuses_is_named(
        self, machine: Site, variable: str, value: str
    ) -> None:
        machine.env[variable] = value
        ended = run_serve(machine)
        assert ended.returncode == 2
        assert variable in ended.stderr


def run_serve(machine: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "audio-pipeline"), "serve", *arguments],
        cwd=machine.directory,
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_leases_of_two_workers_are_released_within_three_seconds(
        self, machine: Site, long_clip: Path, number: int
    ) -> None:
        del machine.env["WEBHOOK_URL"]  # so that the sweep finds them
        with machine.serve("--workers=2", SWEEP_MINUTES="0.03") as serve:
            for name in ("1.mkv", "2.mkv"):
                record(machine, long_clip, name)
            until(lambda: len(list(machine.tracker.with_status(Status.PROCESSING))) == 2)
            serve.tree()
            start = time.monotonic()
            serve.process.send_signal(number)
            queued = until(lambda: both_queued(machine), every_s=0.02)
            released_s = time.monotonic() - start
            assert serve.process.wait(30) == 0
            assert serve.left() == []
        assert [recording.lease_owner for recording in queued] == [None, None]
        assert released_s < 3


def both_queued(machine: Site) -> list[Recording]:
    queued = list(machine.tracker.with_status(Status.QUEUED))
    return queued if len(queued) == 2 else []


class TestKilling:
    def test_a_killed_process_is_started_again_and_none_outlives_the_parent(
        self, machine: Site, tiny_clip: Path, long_clip: Path
    ) -> None:
        with machine.serve(SWEEP_MINUTES="0.05") as serve:
            for kind in ("extract_audio", "maintain", "front"):
                killed = serve.find("cli.child", kind)
                assert killed, kind
                for one in killed:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
                record(machine, tiny_clip, f"{kind}.mp4")
                until(lambda: has_ended(machine, f"{kind}.mp4"))  # noqa: B023
                until(serve.is_ready)
            assert set(machine.statuses().values()) == {"DONE"}
            record(machine, long_clip, "long.mkv")
            until(lambda: list(machine.tracker.with_status(Status.PROCESSING)))
            serve.kill()
            until(lambda: not serve.left(), 30, "the end of the children")
        assert machine.statuses()["long.mkv"] == "QUEUED"

    @pytest.mark.slow
    def test_two_hundred_at_once_while_serve_is_killed_five_times(
        self, machine: Site, tiny_clip: Path
    ) -> None:
        machine.env["LEASE_SECONDS"] = "4"
        machine.env["SWEEP_MINUTES"] = "0.05"
        names = [f"Call {number} - 2025/01/29 10:00 CST - Recording" for number in range(200)]
        serve = machine.start("--workers=2")
        try:
            until(serve.is_ready)
            for name in names:
                record(machine, tiny_clip, name)
            for round_ in range(1, 6):
                until(lambda: count_ended(machine) >= 25 * round_, 400, every_s=0.2)  # noqa: B023
                serve.kill()
                serve = machine.start("--workers=2")
            until(lambda: count_ended(machine) == len(names), 500, every_s=0.2)
        finally:
            serve.close()
        assert set(machine.statuses().values()) == {"DONE"}
        assert sorted(machine.statuses()) == sorted(names)
        assert len(machine.audio()) == len(names)


def count_ended(machine: Site) -> int:
    return len(list(machine.tracker.with_status(Status.DONE)))


@pytest.mark.slow
def test_idling_leaks_nothing(machine: Site) -> None:
    """Two hundred turns of the clock, as many as it has in hours."""
    with machine.serve(SWEEP_MINUTES="0.005") as serve:
        until(lambda: turns(serve) > 40, every_s=0.2)
        before = usage(serve)
        until(lambda: turns(serve) > 200, 400, every_s=0.5)
        after = usage(serve)
    assert after.keys() == before.keys(), "a process ended, or one more is there"
    for pid, (descriptors, rss, name) in after.items():
        assert descriptors <= before[pid][0] + 3, name
        assert rss <= before[pid][1] * 1.1 + 4e6, name


def turns(serve: Serve) -> int:
    return serve.log.count('"maintained"')


def usage(serve: Serve) -> dict[int, tuple[int, int, str]]:
    """Return descriptors, memory and command of each process."""
    found = {}
    for one in serve.tree():
        with suppress(psutil.Error):
            command = " ".join(one.cmdline()[-4:])
            found[one.pid] = (one.num_fds(), one.memory_info().rss, command)
    return found


class TestDemo:
    def test_without_emulators_it_names_the_missing_programs(self, tmp_path: Path) -> None:
        ended = subprocess.run(
            [str(BIN / "audio-pipeline"), "serve", "--demo", "--emulators"],
            cwd=tmp_path,
            env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2
        for hint in ("make test-tools", "Java", "https://cloud.google.com/sdk/docs/install"):
            assert hint in ended.stderr

    def test_a_folder_that_is_not_the_demonstration_s_is_left_alone(self, tmp_path: Path) -> None:
        precious = tmp_path / "audio-pipeline-demo" / "audio" / "precious.mp3"
        precious.parent.mkdir(parents=True)
        precious.write_bytes(b"precious")
        ended = subprocess.run(
            [str(BIN / "audio-pipeline"), "serve", "--demo"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        assert "not made by a demonstration" in ended.stderr
        assert precious.read_bytes() == b"precious"
