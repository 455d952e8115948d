"""Runs a command and measures its cost: wall time, processor time, memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one run took. ``memory_mb`` is the peak of its whole process tree."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def run(
    command: Sequence[str | Path], environ: Mapping[str, str] | None = None, *, memory: bool = False
) -> Cost:
    """Run a command to its end; ``memory`` samples its process tree, which costs a little."""
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(environ or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    sampler = _Sampler(process.pid) if memory else None
    status = process.wait()
    wall_s, after = time.perf_counter() - start, os.times()
    if status:
        raise RuntimeError(f"{command[0]} ended with status {status}")
    cpu_s = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Cost(wall_s, cpu_s, sampler.stop() if sampler else 0.0)


class _Sampler:
    """Adds up the proportional set sizes of a process tree: shared pages count once."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_kb = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(0.1):
            self._peak_kb = max(self._peak_kb, sum(map(_pss_kb, _tree(self._pid))))

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._peak_kb / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [(task / "children").read_text().split() for task in tasks]
    except OSError:
        return
    for child in {int(one) for group in children for one in group}:
        # Between fork and exec a child shows its parent's memory, all of it, once more.
        if _command(child) != _command(pid):
            yield from _tree(child)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
