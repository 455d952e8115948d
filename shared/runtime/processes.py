"""Lease owners that name their process, so that this machine can check whether it still runs."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from pathlib import Path


def new_owner() -> str:
    """Return a unique lease owner: random digits, machine, process id and its start time."""
    pid = os.getpid()
    return f"{uuid.uuid4().hex}@{_machine()}:{pid}:{_started(pid)}"


def is_alive(owner: str | None) -> bool | None:
    """Return whether the process of a lease owner runs; ``None`` if it is on another machine."""
    machine, _, process = (owner or "").partition("@")[2].partition(":")
    pid, _, started = process.partition(":")
    if machine != _machine() or not pid.isdigit():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    return _started(int(pid)) == started


def _machine() -> str:
    """Return a hash that two processes share if and only if they see each other's ids."""
    # Containers of one machine share its boot id and may share its host name; each has a
    # process namespace of its own (namespaces(7)).
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no path, an identifier
    except OSError:
        pass  # no Linux
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot (proc(5)), or empty."""
    # A process id is used again; with the start time it is unique.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return "" if state == "Z" else started
