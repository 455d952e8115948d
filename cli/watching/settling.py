"""Detects whether a file is still being written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.core.message import SourceFile


@dataclass(frozen=True)
class _Seen:
    state: tuple[str, datetime]  # the revision, and the time of the last write
    since: float


class Settling:
    """Which files have not changed for ``settle_s`` seconds while they were watched.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self.unsettled = 0

    def settled(self, items: Iterable[SourceFile]) -> list[SourceFile]:
        """Return the files of a scan that have settled. Files not in the scan are forgotten."""
        now = self._clock()
        before, self._seen, ready = self._seen, {}, []
        for item in items:
            seen = before.get(item.source_id)
            state = (item.revision, item.created_at)
            if seen is None or seen.state != state:
                seen = _Seen(state, now)
            self._seen[item.source_id] = seen
            if now - seen.since >= self._settle_s:
                ready.append(item)
        self.unsettled = len(self._seen) - len(ready)
        return ready


def open_for_writing(paths: Iterable[bytes]) -> set[bytes]:
    """Return the files that a process has open for writing, as far as the system shows it.

    Linux shows the processes of the same user (to root, of all users), but not those of
    other machines. Elsewhere nothing is known, and a recorder that pauses looks finished.
    """
    wanted = {os.path.realpath(path): path for path in paths}
    if not wanted:
        return set()
    return {wanted[path] for path in _paths_open_for_writing() if path in wanted}


def _paths_open_for_writing() -> Iterable[bytes]:
    for process in Path("/proc").glob("[0-9]*/fd"):
        numbers: list[str] = []
        with suppress(OSError):  # of another user, or it has ended
            numbers = os.listdir(process)  # noqa: PTH208 - bytes of any encoding matter
        for number in numbers:
            with suppress(OSError):  # this one has been closed meanwhile; the others count
                path = os.readlink(os.fsencode(process / number))  # noqa: PTH115 - as above
                if path.startswith(b"/") and _is_writable(process.parent / "fdinfo" / number):
                    yield path


def _is_writable(info: Path) -> bool:
    for line in info.read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
