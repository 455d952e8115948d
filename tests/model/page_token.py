"""A world of one page token: a list of changes that several processes drain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from functions.drive_watch.changes import Drain
from functions.drive_watch.feeds import Budget, Feed
from functions.drive_watch.publisher import Publisher
from shared.adapters.memory import MemoryQueue
from shared.core.drive_folders import WatchedFolders
from shared.core.drive_items import Change, DriveItem
from shared.core.ports import Document
from shared.core.times import document_time
from shared.tracking.leased_document import LeasedDocument
from shared.tracking.tracker import Tracker
from tests.model.explorer import Actor, InvariantError
from tests.model.shared_parts import (
    LEASE,
    START,
    CountedDocuments,
    SteppedDocuments,
    SteppedDrive,
    SteppedQueue,
    Time,
)

STATES = "drive_state"


def change(number: int) -> Change:
    """Return the ``number``-th change: a new recording."""
    item = DriveItem(
        id=f"file-{number}",
        name=f"Call {number}",
        mime_type="video/mp4",
        created_at=START,
        size_bytes=1,
        revision=f"revision-{number}",
    )
    return Change(file_id=item.id, item=item)


@dataclass
class PageTokenWorld:
    """Processes that drain one feed at the same time, with clocks that are ``skews_s`` wrong."""

    skews_s: Sequence[float]
    changes: Sequence[Change]
    actors: Sequence[Actor] = field(init=False)

    def __post_init__(self) -> None:
        self.time = Time()
        self.documents, self.queue = CountedDocuments(), MemoryQueue()
        state = {"account": "", "drive_id": "", "page_token": "0", "full_compare_at": START}
        self.documents.create(STATES, "default", state)
        self.actors = [self._actor(number, skew) for number, skew in enumerate(self.skews_s, 1)]

    def _actor(self, number: int, skew_s: float) -> Actor:
        actor = Actor(f"drain {number}", lambda: self._drain(actor), skew_s)
        return actor

    def _drain(self, actor: Actor | None) -> None:
        documents: Any = SteppedDocuments(self.documents, actor, self._on_write)
        drive: Any = SteppedDrive(self.changes, actor)
        clock = self.time.clock(actor)
        Drain(
            Feed(),
            drive,
            WatchedFolders(drive, clock=clock),
            LeasedDocument(documents, STATES, "default", LEASE, clock),
            Publisher(
                Tracker(documents, lease=LEASE, clock=clock), SteppedQueue(self.queue, actor)
            ),
            Budget(limit_s=3600),
        ).run()

    def _on_write(
        self, actor: Actor, before: Document | None, after: Document | None, collection: str
    ) -> None:
        if collection != STATES or before is None or after is None:
            return
        if owner := after.get("lease_owner"):
            actor.owners.add(owner)
        was = before.get("lease_owner")
        expires = document_time(before.get("lease_expires_at"))
        is_live = was is not None and expires is not None and expires > self.time.clock(actor)()
        if is_live and was not in actor.owners:
            raise InvariantError(f"{actor.name} wrote under the live lease of another process")
        if after["page_token"] == before["page_token"]:
            return
        if was not in actor.owners:
            raise InvariantError(f"{actor.name} moved the page token without its lease")
        if int(after["page_token"]) < int(before["page_token"]):
            raise InvariantError("the page token moved back")
        self._check_published(int(after["page_token"]))

    def _check_published(self, token: int) -> None:
        published = {item.source_id for item in self.queue.items}
        for one in self.changes[:token]:
            assert one.item
            key = one.item.to_source_file().key
            if one.file_id not in published:
                raise InvariantError(f"the page token passed {one.file_id} before it was published")
            if self.documents.get("recordings", key) is None:
                raise InvariantError(f"the page token passed {one.file_id}, not in the tracker")

    def tick(self) -> None:
        self.time.passed += LEASE + timedelta(seconds=1)

    def state(self) -> object:
        documents = repr(sorted(self.documents._stored.items()))
        return documents, len(self.queue.items), self.time.passed

    def end(self) -> None:
        """Drain once more, as ``maintain`` does; the token has to be at the end."""
        self.time.passed += 10 * LEASE
        self._drain(None)
        state = self.documents.get(STATES, "default")
        assert state
        if state.document["page_token"] != str(len(self.changes)):
            raise InvariantError(f"the page token stays at {state.document['page_token']}")
        self._check_published(len(self.changes))
