"""Publishing recordings that were found: first the message, then the document."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from shared.core.drive_items import DriveItem
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import Op, Queue
from shared.core.records import COLLECTION, Recording
from shared.tracking.tracker import Tracker, requeued, utc_now

log = logging.getLogger(__name__)

_THREADS = 8
_KEYS_IN_A_QUERY = 30  # Firestore's limit for "in"

# A file that was replaced and then put back has the key of its first revision again.
_UNREADABLE = frozenset({Code.TRASHED, Code.GONE, Code.FORBIDDEN, Code.SUPERSEDED})


@dataclass(frozen=True)
class Publisher:
    """Publishes what the tracker does not know yet, and what can be read again."""

    tracker: Tracker
    queue: Queue

    def publish(
        self, items: Iterable[DriveItem], account: str, *, revive: bool = True
    ) -> list[SourceFile]:
        """Publish what is new among recordings that ``account`` reads; returns what was.

        ``revive`` starts those afresh that had ended because nobody could read them.
        Returns when all of it is published and in the tracker; raises a transient error
        when something is not, and may then be called again.
        """
        wanted = {item.to_source_file(account).key: item for item in items}
        known = self._known(list(wanted))
        new = [item.to_source_file(account) for key, item in wanted.items() if key not in known]
        self._publish_new(new)
        if revive:
            again = [wanted[key] for key, old in known.items() if _is_readable(old, wanted[key])]
            new += self._revive(again, account)
        return new

    def _known(self, keys: Sequence[str]) -> dict[str, Recording]:
        known: dict[str, Recording] = {}
        for start in range(0, len(keys), _KEYS_IN_A_QUERY):
            some = keys[start : start + _KEYS_IN_A_QUERY]
            for read in self.tracker.documents.find(COLLECTION, ("key", Op.IN, some)):
                known[read.id] = Recording.from_document(read.document)
        return known

    def _publish_new(self, items: list[SourceFile]) -> None:
        if not items:
            return
        self.queue.publish(items)
        # A write for each takes its time; hundreds of them one by one would be seconds.
        with ThreadPoolExecutor(min(_THREADS, len(items))) as pool:
            list(pool.map(self.tracker.enqueue, items))
        for item in items:
            log.info("published", extra={"key": item.key, "recording": item.name})

    def _revive(self, items: list[DriveItem], account: str) -> list[SourceFile]:
        published = []
        for item in items:
            taken = self.tracker.change(item.to_source_file().key, partial(_afresh, account))
            if taken:
                message = taken.to_source_file(force=taken.audio is not None)
                self.queue.publish([message])
                published.append(message)
                log.info("readable again", extra=taken.log_context())
        return published


def _is_readable(old: Recording, item: DriveItem) -> bool:
    """Tell whether what stood in a recording's way may be gone."""
    code = _ended_unread(old)
    return code is not None and (item.can_download or code != Code.FORBIDDEN)


def _afresh(account: str, current: Recording) -> Recording | None:
    if not _ended_unread(current):
        return None
    again = requeued(current, utc_now())
    return again.evolve(account=account, requeues=0, republished=0)


def _ended_unread(recording: Recording) -> str | None:
    """Return why a recording ended, if that was because it could not be read."""
    code = recording.error.code if recording.status.is_final and recording.error else None
    return code if code in _UNREADABLE else None
