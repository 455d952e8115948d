"""A folder as the trigger: what settles in it is published, and extracted by this process.

Whatever several watchers, a crash or a restart do, the tracker decides who extracts a
file, so nothing here needs to be remembered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cli.local_runner import Extraction
from cli.watching.settling import Settling, open_for_writing
from shared.core.errors import Code, PermanentError
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path
from shared.core.ports import Sources
from shared.tracking.lease import Outcome, Result
from shared.tracking.requeue import Requeue

#: First and longest wait before a transient failure is tried again, in seconds.
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0

#: How often leases that ran out are looked for, in seconds.
HEAL_EVERY_S = 15.0


@dataclass(frozen=True)
class _Again:
    """When to try a recording again, and how often it has failed."""

    due: float
    failures: int


#: Extracts one recording and tells people of it.
Extract = Callable[[SourceFile], Result]


class Watcher:
    """One folder, looked at from time to time.

    ``extract`` may raise what the tracker met. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        root: Path,
        extraction: Extraction,
        extract: Extract,
        settle_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        services = extraction.app.services
        self._root = os.fsencode(root.absolute())
        self._sources: Sources = services.local_folder(root.absolute())
        self._queue = services.local_queue
        self._tracker = services.tracker
        self._requeue = Requeue(services.tracker, {Source.LOCAL.value: self._queue})
        self._stop = extraction.stop
        self._extract = extract
        self._clock = clock
        self._settling = Settling(settle_s, clock)
        self._ended: dict[str, str] = {}
        self._again: dict[str, _Again] = {}
        self._heal_at = 0.0
        self._open = 0

    @property
    def is_idle(self) -> bool:
        """Whether all that was there at the last look has ended."""
        return not (self._settling.unsettled or self._again or self._open or self._queue.items)

    def look(self) -> None:
        """Look once, publish what has settled, and extract all that is due.

        Raises ``OSError`` when the folder cannot be read, and what the tracker met.
        """
        listed = list(self._sources.list())
        self._forget({item.source_id for item in listed})
        self._publish(self._due(listed))
        self._heal()
        while self._queue.items and not self._stop.requested():
            self._take(self._queue.items.pop(0))

    def _forget(self, listed: set[str]) -> None:
        self._ended = {path: rev for path, rev in self._ended.items() if path in listed}
        self._again = {path: again for path, again in self._again.items() if path in listed}

    def _due(self, listed: Iterable[SourceFile]) -> list[SourceFile]:
        now = self._clock()
        due = [item for item in self._settling.settled(listed) if self._is_due(item, now)]
        busy = open_for_writing(decode_path(item.source_id) for item in due)
        # Asked in this order: what its writer added and closed since the listing shows now.
        closed = [
            item
            for item in due
            if decode_path(item.source_id) not in busy and self._is_unchanged(item)
        ]
        self._open = len(due) - len(closed)
        return closed

    def _is_unchanged(self, item: SourceFile) -> bool:
        try:
            self._sources.open(item).close()
        except PermanentError as error:
            # What may not be read is told of by the worker; the rest the next listing shows.
            return error.code not in (Code.SUPERSEDED, Code.GONE)
        return True

    def _is_due(self, item: SourceFile, now: float) -> bool:
        if self._ended.get(item.source_id) == item.revision:
            return False
        again = self._again.get(item.source_id)
        return again is None or again.due <= now

    def _publish(self, items: Iterable[SourceFile]) -> None:
        for item in items:
            recording = self._tracker.get(item.key)
            if recording is not None and recording.status.is_final:
                self._end(item)
                continue
            self._queue.publish([item])
            self._tracker.enqueue(item)

    def _heal(self) -> None:
        """Publish again what a killed process has left; another folder's is not ours to do."""
        now = self._clock()
        if now < self._heal_at:
            return
        self._heal_at = now + HEAL_EVERY_S
        listed = {item.key for item in self._queue.items}
        before = len(self._queue.items)
        self._requeue.run()
        stale = self._queue.items[before:]
        self._queue.items[before:] = [
            item for item in stale if item.key not in listed and self._is_below(item)
        ]

    def _is_below(self, item: SourceFile) -> bool:
        return decode_path(item.source_id).startswith(self._root.rstrip(b"/") + b"/")

    def _take(self, item: SourceFile) -> None:
        result = self._extract(item)
        if result.outcome is Outcome.RETRY:
            self._postpone(item, self._backoff(item), failed=True)
        elif result.outcome in (Outcome.BUSY, Outcome.LOST):
            self._postpone(item, self._until_lease_ends(), failed=False)
        elif result.outcome is not Outcome.CANCELLED:
            self._end(item)

    def _end(self, item: SourceFile) -> None:
        self._ended[item.source_id] = item.revision
        self._again.pop(item.source_id, None)

    def _postpone(self, item: SourceFile, wait_s: float, *, failed: bool) -> None:
        before = self._again.get(item.source_id)
        failures = (before.failures if before else 0) + failed
        self._again[item.source_id] = _Again(self._clock() + wait_s, failures)

    def _backoff(self, item: SourceFile) -> float:
        before = self._again.get(item.source_id)
        doublings = min(before.failures if before else 0, 10)
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * float(2**doublings))

    def _until_lease_ends(self) -> float:
        # Its holder renews it or ends well before: looking now and then is enough.
        return min(self._tracker.lease.total_seconds() / 3, FIRST_WAIT_S)
