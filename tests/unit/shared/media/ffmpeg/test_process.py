from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest

from shared.core.errors import (
    CancelledError,
    Code,
    ConfigurationError,
    PermanentError,
    TransientError,
)
from shared.media.ffmpeg import process as ffmpeg
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.process import Job

FOREVER = ["-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"]
PACED = ["-re", *FOREVER]


def reason(job: Job) -> Exception:
    with job:
        process = job.start(PACED, ours=True)
        with pytest.raises((PermanentError, CancelledError, TransientError)) as caught:
            process.wait()
    return caught.value


def test_a_standstill_ends_it() -> None:
    error = reason(Job(Limits(stall_s=0.3)))

    assert isinstance(error, PermanentError)
    assert error.code is Code.TIMEOUT


def test_a_limit_of_time_ends_it() -> None:
    error = reason(Job(Limits(wall_s=0.3)))

    assert isinstance(error, PermanentError)
    assert error.code is Code.TIMEOUT


def test_a_request_ends_it() -> None:
    assert isinstance(reason(Job(Limits(), lambda: True)), CancelledError)


def test_leaving_ends_every_process() -> None:
    with Job(Limits()) as job:
        pids = [job.start(PACED).pid for _ in range(3)]
        assert all(map(psutil.pid_exists, pids))
    assert not any(map(psutil.pid_exists, pids))


def test_one_that_is_started_while_the_job_ends_is_ended_too() -> None:
    children = set(psutil.Process().children())
    with Job(Limits()) as job:
        job.stop(CancelledError("enough"))
        with pytest.raises(CancelledError):
            job.start(PACED)
    assert not set(psutil.Process().children()) - children


def test_processor_time_is_limited() -> None:
    with Job(Limits(wall_s=1)) as job:
        limits = psutil.Process(job.start(PACED).pid).rlimit(psutil.RLIMIT_CPU)

    assert 0 < limits[0] <= psutil.cpu_count() < limits[1]


def test_memory_is_limited(tmp_path: Path) -> None:
    with Job(Limits(memory_bytes=64 << 20)) as job:
        source = ["-f", "lavfi", "-i", "color=s=15000x15000:d=1"]
        process = job.start([*source, "-f", "null", "-"])
        with pytest.raises((PermanentError, TransientError)):
            process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not bind processes")
@pytest.mark.parametrize("slot", [0, 1, 5])
def test_it_is_kept_on_one_processor(slot: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    with Job(Limits()) as job:
        pid = job.start(PACED, slot=slot).pid
        assert os.sched_getaffinity(pid) == {allowed[slot % len(allowed)]}
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_it_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    with Job(Limits()) as job:
        started = job.start(
            ["-re", "-f", "lavfi", "-i", "anullsrc", "-f", "s16le", "-"], stdout=True
        )
        next(started.blocks())
        process = psutil.Process(started.pid)
        assert set(process.environ()) == {"GLIBC_TUNABLES"}  # how it allocates memory
        assert str(Path(f"/proc/{process.pid}/fd/0").readlink()) == "/dev/null"


def test_two_hundred_runs_leave_nothing() -> None:
    descriptors, threads = psutil.Process().num_fds(), set(threading.enumerate())
    children = set(psutil.Process().children())
    started = time.monotonic()
    with Job(Limits()) as job:
        for _ in range(200):
            process = job.start(["-version"], stdin=True, stdout=True)
            assert b"".join(process.blocks())
            process.wait()
            job.forget(process)
    # Other tests' servers may run beside this one, and let go of theirs meanwhile.
    assert psutil.Process().num_fds() <= descriptors
    assert not set(threading.enumerate()) - threads
    assert not set(psutil.Process().children()) - children
    assert time.monotonic() - started < 60


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Makes IMAGEIO_FFMPEG_EXE a program that prints a first line of ``-version``."""

    def make(line: str, name: str = "ffmpeg") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
        ffmpeg.executable.cache_clear()
        return path

    yield make
    ffmpeg.executable.cache_clear()


# The forms of Debian, of johnvansickle.com, and of BtbN's and gyan.dev's builds.
@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("ffmpeg version 5.1.6-0+deb12u1 Copyright (c) 2000-2024", "5.1.6-0+deb12u1"),
        ("ffmpeg version 7.0.2-static https://johnvansickle.com/ffmpeg/", "7.0.2-static"),
        ("ffmpeg version n7.1.1-6-g48c0f071d4-20250405 Copyright (c)", "7.1.1-6-g48c0f071d4"),
    ],
)
def test_an_old_ffmpeg_is_refused(stand_in: Callable[[str], Path], line: str, version: str) -> None:
    path = stand_in(line)

    with pytest.raises(ConfigurationError) as caught:
        ffmpeg.executable()

    [problem] = caught.value.problems
    assert f"FFmpeg {version}" in problem
    assert f"({path}) is too old, version 8 or later is needed" in problem
    assert "unset IMAGEIO_FFMPEG_EXE" in problem


@pytest.mark.parametrize(
    "line",
    [
        "ffmpeg version 8.0 Copyright (c) 2000-2025 the FFmpeg developers",
        "ffmpeg version n9.0.2-17-g2a571b6068-20260930 Copyright (c)",
        "ffmpeg version 10.0 Copyright (c)",
        # From git, without a release's number.
        "ffmpeg version N-121000-g7321e4b950 Copyright (c)",
        "ffmpeg version 2026-01-07-git-af6a1dd0b2-full_build-www.gyan.dev",
    ],
)
def test_a_later_ffmpeg_is_accepted(stand_in: Callable[[str], Path], line: str) -> None:
    path = stand_in(line)

    assert ffmpeg.executable() == str(path)


def test_a_bundled_ffmpeg_is_known_by_its_name(stand_in: Callable[..., Path]) -> None:
    stand_in("never printed", name="ffmpeg-win32-v4.2.2.exe")

    with pytest.raises(ConfigurationError, match=r"FFmpeg 4\.2\.2 "):
        ffmpeg.executable()


def test_an_ffmpeg_that_cannot_be_run_is_one_problem(stand_in: Callable[..., Path]) -> None:
    path = stand_in("")
    path.chmod(0o644)

    with pytest.raises(ConfigurationError, match=r"cannot run FFmpeg: .*ffmpeg"):
        ffmpeg.executable()


_FOUND_WITHOUT_A_PROCESS = """
import sys
started = []
sys.addaudithook(lambda name, _: name.startswith("subprocess") and started.append(name))
from shared.media.ffmpeg.process import executable
print(executable(), started, "imageio_ffmpeg" in sys.modules)
"""


def test_the_bundled_ffmpeg_is_found_without_starting_it() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "IMAGEIO_FFMPEG_EXE"}
    printed = subprocess.run(
        [sys.executable, "-c", _FOUND_WITHOUT_A_PROCESS],
        env=environ, capture_output=True, text=True, check=True,
    ).stdout.split(maxsplit=1)  # fmt: skip

    assert printed == [imageio_ffmpeg.get_ffmpeg_exe(), "[] False\n"]
