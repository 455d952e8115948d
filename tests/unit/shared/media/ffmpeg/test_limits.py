from __future__ import annotations

import resource
from pathlib import Path

import psutil
import pytest

from shared.media.ffmpeg.limits import Limits, available_memory, memory_share
from shared.media.ffmpeg.process import Job

PACED = ["-re", "-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"]
MB, GB = 1 << 20, 1 << 30


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Write the files of /proc and /sys that name a container's memory."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        # Version 2, in a container that sees only its own group.
        ("0::/\n", {"sys/fs/cgroup/memory.max": "1073741824\n"}, GB),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max\n"}, None),
        # A service of systemd, limited itself or by its slice.
        ("0::/a.slice/b.service\n", {"sys/fs/cgroup/a.slice/b.service/memory.max": "536870912\n",
                                     "sys/fs/cgroup/a.slice/memory.max": "max\n"}, GB // 2),
        ("0::/a.slice/b.service\n", {"sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
                                     "sys/fs/cgroup/a.slice/memory.max": "268435456\n"}, GB // 4),
        # Version 1: the path is the host's, and the limit is at the top.
        ("4:cpu:/docker/x\n3:memory:/docker/x\n",
         {"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, GB),
        ("3:memory:/docker/x\n",
         {"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1073741824\n",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, GB),
        ("3:memory:/\n",
         {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        # Both at once, as systemd sets up by default on older systems.
        ("3:hugetlb,memory:/x\n0::/x\n",
         {"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n"}, GB),
        ("", {}, None),
    ],
)  # fmt: skip
def test_the_memory_of_a_container(
    groups: str, files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    whole = psutil.virtual_memory().total

    found = available_memory(machine(tmp_path, groups, files))

    assert found == (expected or pytest.approx(whole, rel=0.05))


def test_a_system_without_groups_has_its_memory(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == pytest.approx(psutil.virtual_memory().total, rel=0.05)


@pytest.mark.parametrize(
    ("available", "share"), [(GB, 512 * MB), (2 * GB, GB), (64 * GB, 2 * GB), (300 * MB, 256 * MB)]
)
def test_one_process_may_use_half(available: int, share: int) -> None:
    assert memory_share(available) == share


def test_every_process_is_limited(tmp_path: Path) -> None:
    with Job(Limits(), directory=tmp_path) as job:
        process = psutil.Process(job.start(PACED).pid)
        limits = {
            name: process.rlimit(getattr(psutil, f"RLIMIT_{name}"))[1]
            for name in ("DATA", "CORE", "NOFILE", "FSIZE", "NPROC")
        }

    assert limits["DATA"] == memory_share(available_memory())
    assert limits["CORE"] == 0
    assert limits["NOFILE"] == 64
    assert 0 < limits["FSIZE"] < psutil.disk_usage(str(tmp_path)).free
    assert 0 < limits["NPROC"] <= 16384


def test_one_without_a_directory_writes_no_files() -> None:
    with Job(Limits()) as job:
        process = psutil.Process(job.start(PACED).pid)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)


def test_no_limit_is_raised(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with Job(Limits(), directory=tmp_path) as job:
            process = psutil.Process(job.start(PACED).pid)
            assert process.rlimit(psutil.RLIMIT_FSIZE)[0] == 1_000_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
