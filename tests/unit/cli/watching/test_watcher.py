import os
from datetime import timedelta
from pathlib import Path

import pytest

from cli.app import App
from cli.local_runner import LocalRunner
from cli.stop import Stop
from cli.watching.watcher import FIRST_WAIT_S, REQUEUE_EVERY_S, Watcher
from functions.extract_audio.assembly import build_worker
from shared.core.message import Source, SourceFile
from shared.core.records import Status
from shared.core.times import utc_now
from shared.tracking.lease import Outcome, Result
from tests.recordings import claimed


class Rig:
    """A folder, a tracker, a clock, and an extraction whose outcomes the test chooses."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "recordings"
        self.root.mkdir()
        environ = {
            "STORAGE_URL": str(self.root / "audio"),
            "TRACKER_URL": f"sqlite:///{tmp_path}/tracker.db",
        }
        self.app = App.from_environment(environ)
        self.now = 1000.0
        self.extracted: list[str] = []
        self.outcomes: list[Outcome] = []

    def watcher(self, settle_s: float = 0) -> Watcher:
        runner = LocalRunner(self.app, build_worker(self.app, Source.LOCAL), Stop())
        return Watcher(self.root, runner, self.extract, settle_s, clock=lambda: self.now)

    def extract(self, item: SourceFile) -> Result:
        self.extracted.append(item.name)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.DONE
        claim = claimed(self.app.tracker.claim(item))
        if outcome is Outcome.DONE:
            claim.finish(Status.DONE)
        else:
            claim.release()
        return Result(outcome)

    def write(self, name: str, content: bytes = b"x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def statuses(self) -> list[Status]:
        return [recording.status for recording in self.app.tracker.all()]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_new_file_is_extracted_once(rig: Rig) -> None:
    watcher = rig.watcher()
    rig.write("a.mp4")
    rig.write("below/b.webm")

    watcher.scan()
    watcher.scan()

    assert rig.extracted == ["a.mp4", "b.webm"]
    assert watcher.is_idle


def test_hidden_unfinished_and_own_files_are_left_alone(rig: Rig) -> None:
    for name in (".a.mp4", ".hidden/a.mp4", "a.mp4.part", "a.tmp", "audio/dev/a.mp3", "a.txt"):
        rig.write(name)

    rig.watcher().scan()

    assert rig.extracted == []


def test_a_restart_does_nothing_again(rig: Rig) -> None:
    rig.write("a.mp4")
    rig.watcher().scan()

    rig.watcher().scan()

    assert rig.extracted == ["a.mp4"]


def test_a_changed_file_is_another_recording(rig: Rig) -> None:
    watcher = rig.watcher()
    rig.write("a.mp4")
    watcher.scan()
    rig.write("a.mp4", b"longer")

    watcher.scan()

    assert rig.extracted == ["a.mp4", "a.mp4"]
    assert rig.statuses() == [Status.DONE, Status.DONE]


def test_a_touched_file_is_the_same_recording(rig: Rig) -> None:
    watcher = rig.watcher()
    path = rig.write("a.mp4")
    watcher.scan()
    os.utime(path, ns=(1, 2))

    watcher.scan()
    rig.watcher().scan()

    assert rig.extracted == ["a.mp4"]


def test_a_renamed_file_is_the_same_recording_and_a_copy_is_another(rig: Rig) -> None:
    watcher = rig.watcher()
    path = rig.write("a.mp4")
    watcher.scan()
    path.rename(rig.root / "b.mp4")
    watcher.scan()
    assert rig.extracted == ["a.mp4"]
    [document] = rig.app.tracker.all()
    assert (document.name, document.status) == ("b.mp4", Status.DONE)

    rig.write("copy.mp4")
    watcher.scan()
    assert rig.extracted == ["a.mp4", "copy.mp4"]


def test_a_file_that_settles_is_queued_not_before(rig: Rig) -> None:
    watcher = rig.watcher(settle_s=5)
    rig.write("a.mp4")
    watcher.scan()
    assert rig.statuses() == []
    assert not watcher.is_idle

    rig.now += 5
    watcher.scan()

    assert rig.statuses() == [Status.DONE]


def test_a_file_open_for_writing_is_not_taken(rig: Rig) -> None:
    watcher = rig.watcher()
    with rig.write("a.mp4").open("ab"):
        watcher.scan()
        assert rig.extracted == []
        assert not watcher.is_idle

    watcher.scan()

    assert rig.extracted == ["a.mp4"]


def test_transient_failures_are_retried_after_growing_waits(rig: Rig) -> None:
    watcher = rig.watcher()
    rig.outcomes = [Outcome.RETRY, Outcome.RETRY]
    rig.write("a.mp4")
    watcher.scan()
    assert not watcher.is_idle

    rig.now += FIRST_WAIT_S
    watcher.scan()
    rig.now += FIRST_WAIT_S
    watcher.scan()
    assert len(rig.extracted) == 2  # the second wait is twice the first
    rig.now += FIRST_WAIT_S
    watcher.scan()

    assert len(rig.extracted) == 3
    assert rig.statuses() == [Status.DONE]
    assert watcher.is_idle


def test_a_killed_process_s_recording_ends_though_its_file_is_gone(rig: Rig) -> None:
    path = rig.write("a.mp4")
    _crash(rig, path)
    path.unlink()

    rig.watcher().scan()

    assert rig.extracted == ["a.mp4"]
    assert rig.statuses() == [Status.DONE]


def test_crashed_recordings_of_another_folder_are_left_alone(rig: Rig, tmp_path: Path) -> None:
    other = tmp_path / "recordings of others"
    other.mkdir()
    (other / "a.mp4").write_bytes(b"x")
    _crash(rig, other / "a.mp4")

    rig.watcher().scan()

    assert rig.extracted == []
    assert rig.statuses() == [Status.QUEUED]


def test_leases_are_looked_at_only_now_and_then(rig: Rig) -> None:
    watcher = rig.watcher()
    watcher.scan()
    path = rig.write("a.mp4")
    _crash(rig, path)
    path.unlink()

    watcher.scan()
    assert rig.extracted == []
    rig.now += REQUEUE_EVERY_S
    watcher.scan()

    assert rig.extracted == ["a.mp4"]


def test_a_folder_that_is_gone_is_an_error(rig: Rig) -> None:
    watcher = rig.watcher()
    rig.root.rmdir()

    with pytest.raises(FileNotFoundError):
        watcher.scan()


def _crash(rig: Rig, path: Path) -> None:
    """Leave the document of a recording as a process does that is killed at work."""
    tracker = rig.app.tracker
    item = rig.app.local_sources.describe(path)
    tracker.claim(item)
    expired = utc_now() - timedelta(seconds=1)
    tracker.change(item.key, lambda current: current.evolve(lease_expires_at=expired))
