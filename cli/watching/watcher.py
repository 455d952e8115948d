"""A folder as a trigger: files that have settled are queued and extracted by this process.

The tracker decides who extracts a file, so several watchers, a crash or a restart are safe
and nothing is remembered here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cli.local_runner import LocalRunner, made_otherwise
from cli.watching.settling import Settling, open_for_writing
from shared.core.errors import Code, PermanentError
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path
from shared.core.ports import Sources
from shared.service import renamed_file
from shared.tracking.lease import Outcome, Result
from shared.tracking.requeue import Requeue

#: First and longest wait before a retry after a transient error, in seconds.
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0

#: How often to look for expired leases, in seconds.
REQUEUE_EVERY_S = 15.0


@dataclass(frozen=True)
class _Retry:
    """When to try a recording again, and how often it has failed."""

    due: float
    failures: int


#: Extracts one recording and prints how it ended.
Extract = Callable[[SourceFile], Result]


class Watcher:
    """One folder, scanned from time to time.

    ``extract`` may raise the tracker's errors. ``on_left_out`` is called with files that
    cannot be read. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        root: Path,
        runner: LocalRunner,
        extract: Extract,
        settle_s: float,
        on_left_out: Callable[[Path, str], None] = lambda _path, _why: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        services = runner.app
        self._root = os.fsencode(root.absolute())
        self._sources: Sources = services.local_folder(root.absolute(), on_left_out)
        self._runner = runner
        self._queue = services.local_queue
        self._tracker = services.tracker
        self._requeue = Requeue(services.tracker, {Source.LOCAL.value: self._queue})
        self._stop = runner.stop
        self._extract = extract
        self._clock = clock
        self._settling = Settling(settle_s, clock)
        self._ended: dict[str, str] = {}
        self._retries: dict[str, _Retry] = {}
        self._requeue_at = 0.0
        self._open = 0

    @property
    def is_idle(self) -> bool:
        """Whether everything of the last scan has ended."""
        return not (self._settling.unsettled or self._retries or self._open or self._queue.items)

    def scan(self) -> None:
        """Scan once, queue the files that have settled, and extract all that is due.

        Raises ``OSError`` when the folder cannot be read, and the tracker's errors.
        """
        items = list(self._sources.list())
        paths = {item.source_id for item in items}
        self._ended = {path: rev for path, rev in self._ended.items() if path in paths}
        self._retries = {path: retry for path, retry in self._retries.items() if path in paths}
        for item in self._due(items):
            renamed_file.follow(self._tracker, self._runner.app.storage, item)
            recording = self._tracker.get(item.key)
            if recording is None or not recording.status.is_final:
                self._queue.publish([item])
                self._tracker.enqueue(item)
            elif self._runner.remake and made_otherwise(self._runner.app, recording):
                self._queue.publish([replace(item, force=True)])
            else:
                self._end(item)
        self._requeue_expired()
        while self._queue.items and not self._stop.requested():
            self._process(self._queue.items.pop(0))

    def _due(self, items: Iterable[SourceFile]) -> list[SourceFile]:
        """Return the files that have settled, are not being written to, and are not done."""
        now, due = self._clock(), []
        for item in self._settling.settled(items):
            again = self._retries.get(item.source_id)
            ended = self._ended.get(item.source_id) == item.revision
            if not ended and (again is None or again.due <= now):
                due.append(item)
        busy = open_for_writing(decode_path(item.source_id) for item in due)
        closed = []
        # In this order: bytes that a writer added before it closed the file show up now.
        for item in due:
            if decode_path(item.source_id) in busy:
                continue
            try:
                self._sources.open(item).close()
            except PermanentError as error:
                # The worker reports a file that cannot be read; the next scan shows the others.
                if error.code in (Code.SUPERSEDED, Code.GONE):
                    continue
            closed.append(item)
        self._open = len(due) - len(closed)
        return closed

    def _requeue_expired(self) -> None:
        """Queue recordings of killed processes again, but none of other folders."""
        now = self._clock()
        if now < self._requeue_at:
            return
        self._requeue_at = now + REQUEUE_EVERY_S
        queued = {item.key for item in self._queue.items}
        before = len(self._queue.items)
        self._requeue.run()
        below = self._root.rstrip(b"/") + b"/"
        self._queue.items[before:] = [
            item
            for item in self._queue.items[before:]
            if item.key not in queued and decode_path(item.source_id).startswith(below)
        ]

    def _process(self, item: SourceFile) -> None:
        result = self._extract(item)
        before = self._retries.get(item.source_id)
        failures = before.failures if before else 0
        if result.outcome is Outcome.RETRY:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * float(2 ** min(failures, 10)))
            self._retries[item.source_id] = _Retry(self._clock() + wait_s, failures + 1)
        elif result.outcome in (Outcome.BUSY, Outcome.LOST):
            # The other worker renews its lease or ends well before it: check now and then.
            wait_s = min(self._tracker.lease.total_seconds() / 3, FIRST_WAIT_S)
            self._retries[item.source_id] = _Retry(self._clock() + wait_s, failures)
        elif result.outcome is not Outcome.CANCELLED:
            self._end(item)

    def _end(self, item: SourceFile) -> None:
        self._ended[item.source_id] = item.revision
        self._retries.pop(item.source_id, None)
