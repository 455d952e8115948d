"""Telling a file that is still being written from one that is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.core.message import SourceFile


@dataclass(frozen=True)
class _Seen:
    revision: str
    since: float


class Settling:
    """Which files have kept their size and time for ``settle_s`` seconds of our watching.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self.unsettled = 0

    def settled(self, items: Iterable[SourceFile]) -> list[SourceFile]:
        """Return those of a listing that have settled; what is not listed is forgotten."""
        now = self._clock()
        before, self._seen, ready = self._seen, {}, []
        for item in items:
            seen = before.get(item.source_id)
            if seen is None or seen.revision != item.revision:
                seen = _Seen(item.revision, now)
            self._seen[item.source_id] = seen
            if now - seen.since >= self._settle_s:
                ready.append(item)
        self.unsettled = len(self._seen) - len(ready)
        return ready


def open_for_writing(paths: Iterable[bytes]) -> set[bytes]:
    """Return those of the files that a process holds open to write, as far as it shows.

    Linux shows the processes of the same user, to root all of them, but none of other
    machines; elsewhere nothing is known, and a recorder that pauses looks finished.
    """
    wanted = {os.path.realpath(path): path for path in paths}
    if not wanted:
        return set()
    return {wanted[path] for path in _written_to() if path in wanted}


def _written_to() -> Iterable[bytes]:
    for process in Path("/proc").glob("[0-9]*/fd"):
        try:
            for number in os.listdir(process):  # noqa: PTH208 - bytes of any encoding matter
                path = os.readlink(os.fsencode(process / number))  # noqa: PTH115 - as above
                if path.startswith(b"/") and _is_writable(process.parent / "fdinfo" / number):
                    yield path
        except OSError:
            continue  # another user's, or it ended meanwhile


def _is_writable(info: Path) -> bool:
    for line in info.read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
