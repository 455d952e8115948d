"""Results as a receiver sees them: after kills, refusals, and by the example of the document."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.webhook import WebhookResults
from shared.config.secret import Secret
from shared.core.records import Recording, Status
from shared.core.results import ResultEvent
from shared.tracking.announcer import Announcer
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.emulators import free_port
from tests.media.clips import run, speech
from tests.paths import FIXTURES, ROOT
from tests.receiver import Received, Receiver, receiving
from tests.services import until

COMMAND = Path(sys.executable).with_name("audio-pipeline")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "Weekly sync.mp4"
    run(*speech(2.0, 16_000, 1), "-c:a", "aac", path)
    return path


class Killer:
    """Kills the command and its children at an event, once."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def strike(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.send_signal(signal.SIGKILL)
        process.wait()


def extract(folder: Path, clip: Path, url: str, **more: str) -> subprocess.Popen[bytes]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [COMMAND, "extract", str(clip)],
        cwd=folder,
        env={**environ, "LANG": "C.UTF-8", "RESULTS_QUEUE_URL": url, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def later(folder: Path, url: str) -> Tracker:
    """Return the tracker of a requeue that runs two minutes from now."""
    documents = SQLiteDocuments(folder / "audio" / "tracker.db")

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=2)

    announcer = Announcer(documents, WebhookResults(url, [Secret(SECRET)]), "dev", clock=clock)
    return Tracker(documents, clock=clock, announcer=announcer)


def only_document(tracker: Tracker) -> Recording:
    (found,) = tracker.all()
    return found


@pytest.mark.parametrize("moment", ["before the message", "after the message"])
def test_a_kill_between_done_and_the_note_of_it_is_healed(
    tmp_path: Path, clip: Path, moment: str
) -> None:
    killer = Killer()

    def after(_: Received) -> int:
        if moment == "after the message":
            killer.strike()
        return 204

    def before() -> None:
        if moment == "before the message":
            killer.strike()

    with receiving(Receiver(answer=after, on_connect=before)) as receiver:
        killer.process = process = extract(tmp_path, clip, receiver.url)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        tracker = later(tmp_path, receiver.url)
        killed = only_document(tracker)
        assert (killed.status, killed.announced_at) == (Status.DONE, None)
        until(lambda: receiver.accepted or moment == "before the message")
        sent = len(receiver.accepted)
        Requeue(tracker, {}).run()
        Requeue(tracker, {}).run()
        assert len(receiver.accepted) == sent + 1
        assert {one.event["id"] for one in receiver.accepted} == {ResultEvent.of(killed, "dev").id}
        assert only_document(tracker).announced_at is not None


def refused(_: Received) -> int:
    return 500


def slow(_: Received) -> int:
    time.sleep(20)
    return 204


@pytest.mark.parametrize("answer", [refused, slow, lambda _: 404])
def test_a_receiver_that_fails_never_fails_the_recording(
    tmp_path: Path, clip: Path, answer: Callable[[Received], int]
) -> None:
    with receiving(Receiver(answer=answer)) as receiver:
        process = extract(tmp_path, clip, receiver.url)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        tracker = later(tmp_path, receiver.url)
        one = only_document(tracker)
        assert (one.status, one.announced_at) == (Status.DONE, None)
        receiver.answer = lambda _: 204
        receiver.accepted.clear()
        Requeue(tracker, {}).run()
        assert receiver.types == ["audio.ready"]


def test_the_command_announces_each_end_signed(tmp_path: Path, clip: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(clip.read_bytes()[:2000])
    with receiving() as receiver:
        for path in (clip, bad):
            extract(tmp_path, path, receiver.url, RESULTS_SECRET=SECRET).communicate(timeout=120)
        assert receiver.types == ["audio.ready", "recording.failed"]
        assert all(one.headers["webhook-signature"] for one in receiver.accepted)
        done = receiver.accepted[0].event
        assert (done["source"], done["subject"]) == ("dev", done["data"]["key"])
        assert done["data"]["gcs_url"].startswith("file://")


def test_the_documented_receiver_prints_events_and_refuses_forgeries(
    tmp_path: Path,
) -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    port = free_port()
    environ = {"PATH": os.environ["PATH"], "RESULTS_SECRET": SECRET, "PORT": str(port)}
    url = f"http://127.0.0.1:{port}/"
    done = Recording.from_document(json.loads((FIXTURES / "documents" / "done.json").read_text()))
    event = ResultEvent.of(done, "dev")
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            genuine = WebhookResults(url, [Secret(SECRET)])

            def is_up() -> bool:
                with contextlib.suppress(OSError):
                    genuine.check()
                    return True
                return False

            until(is_up)
            forged = "whsec_" + base64.b64encode(bytes(32)).decode()
            with pytest.raises(Exception, match="401"):
                WebhookResults(url, [Secret(forged)]).publish(event)
            # A secret that is being replaced: the receiver still has the old one.
            WebhookResults(url, [Secret(forged), Secret(SECRET)]).publish(event)
            assert process.stdout
            assert process.stdout.readline() == f"{done.name} {done.gcs_url}\n"
        finally:
            process.kill()
