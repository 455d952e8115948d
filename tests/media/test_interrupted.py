"""Work that is stopped, starved or killed: a clean end, and no process or file left behind."""

from __future__ import annotations

import _thread
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.core.errors import Code, TransientError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource
from shared.core.records import Status
from shared.media import parallel_mp3
from shared.media.ffmpeg import sandbox
from shared.tracking.lease import Outcome
from tests.media import clips
from tests.media.containers import CountingSource
from tests.media.rig import RangeSources, Rig
from tests.paths import ROOT
from tests.services import until

Shelf = Callable[[str], Path]
PRESETS = ["mp3", "copy", "opus", "whisper"]


def descendants() -> set[psutil.Process]:
    """Return every process that this one has started, and those that they have."""
    return set(psutil.Process().children(recursive=True))


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the work a directory for temporary files, and check that it leaves nothing.

    Interrupted work is waited for only briefly. On a busy machine it cleans up in its own
    thread after that, and so does a read that hung.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # Other fixtures have threads and processes too, and may end them meanwhile.
    threads, processes = set(threading.enumerate()), descendants()
    descriptors = psutil.Process().num_fds()
    yield temporary
    until(lambda: not set(threading.enumerate()) - threads, what="the end of all threads")
    until(lambda: not descendants() - processes, what="the end of all processes")
    assert not list(temporary.iterdir())
    assert psutil.Process().num_fds() <= descriptors


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording that takes seconds to encode."""
    path = tmp_path_factory.mktemp("minutes") / "minutes.mkv"
    clips.run(*clips.speech(30, 48000, 1), "-c:a", "flac", path.with_name("one.mkv"))
    clips.run("-stream_loop", "5", "-i", path.with_name("one.mkv"), "-c", "copy", path)
    return path


def children() -> list[psutil.Process]:
    """Return the FFmpeg processes that run."""
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            if "ffmpeg" in one.name():
                found.append(one)
    return found


def when_running(act: Callable[[], None], count: int = 1) -> threading.Thread:
    """Call ``act`` as soon as ``count`` FFmpegs run."""

    def wait() -> None:
        deadline = time.monotonic() + 20
        while len(children()) < count and time.monotonic() < deadline:
            time.sleep(0.001)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("preset", ["mp3", "opus", "whisper"])
def test_cancelled_midway(preset: str, minutes: Path, worker: Rig) -> None:
    stop = threading.Event()
    worker.cancelled = stop.is_set
    worker.on_progress = lambda fraction: stop.set() if fraction else None

    started = time.monotonic()
    made = worker.extract(minutes, preset)

    assert made.result.outcome is Outcome.CANCELLED
    assert made.recording.status is Status.QUEUED
    assert not list(made.storage.list())
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("ctrl_c_interrupts")
@pytest.mark.parametrize(
    "owner", ["subprocess.Popen", "shared.media.source.range_server.RangeServer"]
)
def test_interrupted_between_a_start_and_the_note_of_it(
    owner: str, minutes: Path, worker: Rig
) -> None:
    sandbox.features()  # starts processes too, at its first call
    monkeypatch = pytest.MonkeyPatch()
    module, _, name = owner.rpartition(".")
    start = getattr(sys.modules[module], name)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()  # once is enough
        started = start(*args, **kwargs)
        _thread.interrupt_main()  # its own thread may be one that cannot send signals
        return started

    worker.sources = RangeSources
    monkeypatch.setattr(owner, interrupted)

    with pytest.raises(KeyboardInterrupt):
        worker.extract(minutes)


@pytest.mark.usefixtures("ctrl_c_interrupts")
@pytest.mark.parametrize("delay_s", [0.0, 0.15, 0.5])
@pytest.mark.parametrize("served", [False, True])
def test_interrupted_from_the_keyboard(
    delay_s: float, served: bool, minutes: Path, worker: Rig
) -> None:
    worker.sources = RangeSources if served else worker.sources

    def interrupt() -> None:
        time.sleep(delay_s)  # not for order: to be hit at different places
        _thread.interrupt_main()

    thread = when_running(interrupt)
    with pytest.raises(KeyboardInterrupt):
        worker.extract(minutes)
    thread.join()


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_does_not_fail_the_recording(
    seed: int, minutes: Path, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_mp3, "SEGMENT_BLOCKS", 8)
    chance = random.Random(seed)

    def kill() -> None:
        time.sleep(chance.random() * 0.6)  # not for order: to be hit at different places
        running = children()
        if running:
            number = chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
            with suppress(psutil.NoSuchProcess):
                chance.choice(running).send_signal(number)

    thread = when_running(kill, count=1 + seed % 3)
    made = worker.extract(minutes)
    thread.join()

    # FFmpeg takes SIGTERM for a wish to end early, in good order: never take that for the whole.
    assert made.result.outcome in (Outcome.RETRY, Outcome.DONE), made.result
    if made.result.outcome is Outcome.DONE:
        assert made.audio.duration_s == pytest.approx(180, abs=0.1)
    else:
        assert made.recording.status is Status.QUEUED


@pytest.mark.parametrize("preset", PRESETS)
def test_a_full_disk(preset: str, minutes: Path, worker: Rig) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        made = worker.extract(minutes, preset)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    assert made.result.outcome is Outcome.RETRY, made.result
    assert not list(made.storage.list())


def test_a_disk_without_space(minutes: Path, worker: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.media import encode

    class FullWriter(encode._Mp3Writer):
        def write(self, data: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(encode, "_Mp3Writer", FullWriter)

    assert worker.extract(minutes).result.outcome is Outcome.RETRY


class SilentSource(CountingSource):
    """Answers up to its middle, and then blocks until it is closed."""

    def __init__(self, path: Path) -> None:
        self._closed = threading.Event()
        super().__init__(path, before_read=self._answer)

    def _answer(self, offset: int, length: int) -> None:
        if offset + length > self.size // 2:
            self._closed.wait(20)
            raise TransientError("closed")

    def close(self) -> None:
        self._closed.set()
        super().close()


class SilentSources(RangeSources):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[SilentSource] = []

    def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
        file = super().open(item)
        file.close()
        self.opened.append(SilentSource(Path(item.source_id)))
        return self.opened[-1]


@pytest.mark.parametrize("preset", ["mp3", "copy"])
def test_a_source_that_does_not_answer_may_do_so_later(
    preset: str, minutes: Path, worker: Rig
) -> None:
    made = worker.extract(minutes, preset, sources=SilentSources(), stall_s=1)

    assert made.result.outcome is Outcome.RETRY, made.result


class SlowSources(RangeSources):
    """6 MB/s, one read after the other."""

    def open(self, item: SourceFile) -> ByteSource:  # type: ignore[override]
        line = threading.Lock()

        def carry(offset: int, length: int) -> None:
            with line:
                time.sleep(length / 6e6)

        return CountingSource(Path(item.source_id), before_read=carry)


def test_a_slow_source_is_not_a_stalled_one(worker: Rig, tmp_path: Path) -> None:
    clip = tmp_path / "heavy.mkv"
    picture = ["-f", "lavfi", "-i", "color=s=320x240:r=25:d=24", "-pix_fmt", "yuv420p"]
    clips.run(*clips.speech(24, 48000, 1), *picture, "-c:v", "rawvideo", "-c:a", "aac", clip)
    assert clip.stat().st_size > 60e6  # 10 s to read, several times the limit

    made = worker.extract(clip, "copy", sources=SlowSources(), stall_s=3)

    assert made.audio.duration_s == pytest.approx(24, abs=0.1)


def test_an_ffmpeg_that_stands_still_is_tried_once_more(minutes: Path, worker: Rig) -> None:
    def stop() -> None:
        for one in children():
            one.suspend()

    worker.on_progress = lambda fraction: stop() if fraction else None

    made = worker.extract(minutes, "whisper", stall_s=1)

    # The second time it would be FAILED: tests/contract/test_lease.py.
    assert made.result.outcome is Outcome.RETRY
    made.ended_as(Status.QUEUED, Code.TIMEOUT)


_EXTRACT = """
import sys, time
from pathlib import Path
from tests.media.rig import Rig

def report(fraction):
    if fraction and reported.append(fraction) is None and len(reported) == 1:
        print("in progress", flush=True)
        time.sleep(0.5)  # the encoder goes on

reported = []
rig = Rig(Path(sys.argv[2]), on_progress=report)
made = rig.extract(Path(sys.argv[1]), "whisper", stall_s=6)
print(made.result.outcome.name, made.recording.error, flush=True)
"""


@pytest.mark.parametrize("first", ["the process", "FFmpeg"])
def test_time_in_which_the_process_itself_was_frozen_does_not_count(
    first: str, minutes: Path, tmp_path: Path
) -> None:
    """All of it is stopped for longer than FFmpeg may stand still, as when CPU is taken away."""
    command = [sys.executable, "-c", _EXTRACT, str(minutes), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "in progress\n"
        main = psutil.Process(process.pid)
        main.suspend()
        children = main.children(recursive=True)
        for child in children:
            child.suspend()
        time.sleep(9.0)
        frozen = [main, *children] if first == "the process" else [*children, main]
        for one in frozen:
            one.resume()
        assert children
        assert process.stdout.read() == "DONE None\n"


def test_nothing_leaks_over_many_runs(shelf: Shelf, worker: Rig) -> None:
    clip = shelf("tenth.wav")
    for _ in range(8):
        assert worker.extract(clip).audio.bytes
