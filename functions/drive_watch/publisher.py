"""Publishes recordings that were found: first the message, then the document."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.core.drive_items import DriveItem
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import Op, Queue
from shared.core.records import COLLECTION, Recording
from shared.tracking.tracker import Tracker, requeued

log = logging.getLogger(__name__)

_THREADS = 8
_KEYS_IN_A_QUERY = 30  # Firestore's limit for "in"

# A file that was replaced and then put back has the key of its first revision again.
_UNREADABLE = frozenset(
    {Code.TRASHED, Code.GONE, Code.FORBIDDEN, Code.SUPERSEDED, Code.NOT_WATCHED}
)


@dataclass(frozen=True)
class Publisher:
    """Publishes recordings that the tracker does not know, and those readable again."""

    tracker: Tracker
    queue: Queue

    def publish(
        self, items: Iterable[DriveItem], account: str, *, revive: bool = True
    ) -> list[SourceFile]:
        """Publish what is new among recordings that ``account`` reads; returns what was.

        ``revive`` restarts recordings that ended because they could not be read. Returns
        when all of them are published and in the tracker. Raises a transient error when
        one is not; call it again then.
        """
        wanted = {item.to_source_file(account).key: item for item in items}
        if not wanted:
            return []
        known: dict[str, Recording] = {}
        keys = list(wanted)
        for start in range(0, len(keys), _KEYS_IN_A_QUERY):
            some = keys[start : start + _KEYS_IN_A_QUERY]
            for read in self.tracker.documents.find(COLLECTION, ("key", Op.IN, some)):
                known[read.id] = Recording.from_document(read.document)
        new = [item.to_source_file(account) for key, item in wanted.items() if key not in known]
        if new:
            self.queue.publish(new)
            # One write each: in parallel, since hundreds one after another take seconds.
            with ThreadPoolExecutor(min(_THREADS, len(new))) as pool:
                list(pool.map(self.tracker.enqueue, new))
        for message in new:
            log.info("published", extra={"key": message.key, "recording": message.name})
        return [*new, *self._revive(known, wanted, account)] if revive else new

    def _revive(
        self, known: Mapping[str, Recording], items: Mapping[str, DriveItem], account: str
    ) -> list[SourceFile]:
        def restarted(current: Recording) -> Recording | None:
            if not _ended_unread(current):
                return None
            again = requeued(current, self.tracker.clock())
            return again.evolve(account=account, requeues=0)

        published = []
        for key, old in known.items():
            code = _ended_unread(old)
            if code is None or (code == Code.FORBIDDEN and not items[key].can_download):
                continue
            taken = self.tracker.change(key, restarted)
            if taken:
                message = taken.to_source_file(force=taken.audio is not None)
                self.queue.publish([message])
                published.append(message)
                log.info("readable again", extra=taken.log_context())
        return published


def _ended_unread(recording: Recording) -> str | None:
    """Return why a recording ended, if it ended because it could not be read."""
    code = recording.error.code if recording.status.is_final and recording.error else None
    return code if code in _UNREADABLE else None
