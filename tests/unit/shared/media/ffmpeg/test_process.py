from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from shared.core.errors import (
    CancelledError,
    Code,
    PermanentError,
    TransientError,
)
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
