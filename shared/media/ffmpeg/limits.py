"""How much of the machine one FFmpeg may use, so that a broken file cannot harm other work."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

#: The most memory that FFmpeg needs for any recording, and the least that it can work with.
_MOST_MEMORY, _LEAST_MEMORY = 2 << 30, 256 << 20

#: Bytes of a disk that stay free when FFmpeg fills it: other work needs room to fail cleanly.
_RESERVE_BYTES = 64 << 20

#: Descriptors: FFmpeg opens its inputs and outputs, a few at a time.
_DESCRIPTORS = 64

#: A user's threads on the whole machine, so it has to be far above what a desktop has. Root is
#: exempt (setrlimit(2)); there the filter of system calls is what keeps new processes away.
_THREADS = 16384


def memory_share(available: int) -> int:
    """Return how many bytes one FFmpeg may use of those that the machine has.

    Half, because others and this program work beside it.
    """
    return max(_LEAST_MEMORY, min(_MOST_MEMORY, available // 2))


@cache
def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory of this container or, outside of one, of this machine."""
    found = []
    with suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _limit_files(root):
        # "max", no number, is no limit in version 2; version 1 has a number beyond any memory.
        with suppress(OSError, ValueError):
            found.append(int(path.read_text()))
    return min(found, default=2 * _MOST_MEMORY)


def _limit_files(root: Path) -> Iterator[Path]:
    """Yield the files that limit this process's memory, in cgroups of version 1 and 2.

    A limit of any group above counts too. Where a container sees only its own groups, the path
    is one of the host's, and the limit is found at the top (cgroups(7), /proc/PID/cgroup).
    """
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                top, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            group = top / path.lstrip("/")
            for directory in (group, *group.parents):
                yield directory / name
                if directory == top:
                    break


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one FFmpeg. Times in seconds."""

    wall_s: float = 3600.0
    stall_s: float = 60.0
    memory_bytes: int = field(default_factory=lambda: memory_share(available_memory()))

    @classmethod
    def for_duration(cls, duration_s: float | None, max_duration_s: float) -> Self:
        """Return limits for a recording of this length, processed at half of its real speed.

        If the length is unknown, that of the longest allowed recording counts.
        """
        return cls(wall_s=300 + 2 * min(duration_s or max_duration_s, max_duration_s))

    def apply(self, pid: int, directory: Path | None) -> None:
        """Limit a process that was just started; it may write only to the disk of ``directory``.

        Limits belong to a process, not to a thread, so they cannot be inherited. FFmpeg loads
        for some milliseconds before it opens a file.
        """
        if sys.platform != "linux":
            return
        import resource  # noqa: PLC0415

        cpu = int(self.wall_s * (os.cpu_count() or 1))
        room = 0
        if directory:
            disk = shutil.disk_usage(directory)
            # A file system in memory can have no size of its own.
            room = max(0, disk.free - _RESERVE_BYTES) if disk.total else resource.RLIM_INFINITY
        limits: dict[int, tuple[int, int]] = {
            resource.RLIMIT_DATA: (self.memory_bytes, self.memory_bytes),
            resource.RLIMIT_CPU: (cpu, cpu + 10),
            resource.RLIMIT_NOFILE: (_DESCRIPTORS, _DESCRIPTORS),
            resource.RLIMIT_FSIZE: (room, room),
            resource.RLIMIT_NPROC: (_THREADS, _THREADS),
            resource.RLIMIT_CORE: (0, 0),
        }
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or a sandbox forbids it
            for name, (soft, hard) in limits.items():
                # The user of this program may have set lower ones.
                given = resource.prlimit(pid, name)
                resource.prlimit(pid, name, (_lower(soft, given[0]), _lower(hard, given[1])))


def _lower(one: int, other: int) -> int:
    """Return the lower of two limits, where -1 (``RLIM_INFINITY``) is none."""
    return max(one, other) if -1 in (one, other) else min(one, other)
