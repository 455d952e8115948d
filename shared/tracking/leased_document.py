"""Optimistic writes, and documents that one process at a time may work on, under a lease.

Recordings, page tokens and the progress of full scans all use these rules:

- A write succeeds only if the document is still what was read. After a conflict it is read
  again and the change is computed again, so a change must be safe to compute twice.
- The lease is two fields, ``lease_owner`` and ``lease_expires_at``. The owner is new each
  time. Expiry alone takes nothing away; only another owner does.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Self

from shared.core.errors import ConflictError, LeaseLostError
from shared.core.ports import Clock, Document, Documents, Versioned
from shared.core.times import document_time, time_as_json
from shared.runtime.processes import new_owner

log = logging.getLogger(__name__)

#: Returns what to write in place of a document (``None``: there is none yet), or ``None``
#: to leave it alone.
Change = Callable[[Document | None], Document | None]

#: How often a heartbeat checks for a request to stop, in seconds.
_LOOK_EVERY_S = 0.5


def write_document(
    documents: Documents,
    collection: str,
    doc_id: str,
    change: Change,
    *,
    read: Versioned | None = None,
    only_writer: bool = False,
) -> Versioned | None:
    """Create or replace a document by ``change``; the only read-change-replace loop.

    ``read`` saves the first read when the document was read or written before. Returns what
    is stored afterwards, or ``None`` when ``change`` left the document alone.

    The client may send a write twice and lose the first answer; the second then meets a
    conflict with our own write. With ``only_writer``, a document equal to the wanted one is
    recognised as that; any other caller might take another process's equal write for its own.
    """
    read = read or documents.get(collection, doc_id)
    wanted: Document | None = None
    while True:
        if only_writer and read and wanted and _as_text(read.document) == _as_text(wanted):
            return read
        wanted = change(read.document if read else None)
        if wanted is None:
            return None
        try:
            if read is None:
                return documents.create(collection, doc_id, wanted)
            return documents.replace(collection, read, wanted)
        except ConflictError:
            read = documents.get(collection, doc_id)


def delete_document(documents: Documents, collection: str, doc_id: str) -> None:
    """Remove a document whatever its state; one that is not there is success."""
    while read := documents.get(collection, doc_id):
        with suppress(ConflictError):
            documents.delete(collection, read)
            return


def _as_text(document: Document) -> str:
    # Some databases return times as text, in exactly this format.
    as_json = partial(time_as_json, timespec="microseconds")
    return json.dumps(document, default=as_json, sort_keys=True)


def is_leased(document: Document, clock: Clock) -> bool:
    """Return whether a process has the document's lease, and it has not expired."""
    expires = document_time(document.get("lease_expires_at"))
    return bool(document.get("lease_owner")) and expires is not None and expires > clock()


@dataclass(frozen=True)
class LeasedDocument:
    """One document that one process at a time may work on."""

    documents: Documents
    collection: str
    doc_id: str
    duration: timedelta
    clock: Clock

    def read(self) -> Document | None:
        """Return the document, or ``None``."""
        read = self.documents.get(self.collection, self.doc_id)
        return read.document if read else None

    def create(self, document: Document) -> Document:
        """Create the document unless it exists; returns what is there afterwards."""
        try:
            return self.documents.create(self.collection, self.doc_id, document).document
        except ConflictError:
            return self.read() or document

    def change(self, change: Callable[[Document], Document | None]) -> None:
        """Write fields without having the lease; ``change`` may return ``None`` to refrain."""

        def changed(current: Document | None) -> Document | None:
            fields = None if current is None else change(current)
            return None if current is None or fields is None else {**current, **fields}

        write_document(self.documents, self.collection, self.doc_id, changed)

    def was_abandoned(self, document: Document) -> bool:
        """Return whether a lease expired before it was released: its process crashed."""
        return bool(document.get("lease_owner")) and not is_leased(document, self.clock)

    def acquire(self, take: Change | None = None) -> Lease | None:
        """Take the lease; ``None`` when it is refused.

        ``take`` returns the document to write with the lease, or ``None`` to refuse. By
        default a missing document and one that another process has are refused.
        """
        owner = new_owner()

        def leased(current: Document | None) -> Document | None:
            if current and current.get("lease_owner") == owner:
                return current  # our answer was lost, and another write came between
            if take:
                wanted = take(current)
            else:
                wanted = None if current and is_leased(current, self.clock) else current
            return None if wanted is None else {**wanted, **self.lease_fields(owner)}

        read = write_document(self.documents, self.collection, self.doc_id, leased)
        return Lease(self, read, owner) if read else None

    def lease_fields(self, owner: str) -> Document:
        """Return the fields of a lease that starts now."""
        return {"lease_owner": owner, "lease_expires_at": self.clock() + self.duration}


class Lease:
    """The lease of one document, while this process has it. Threads may share it.

    As a context it has a heartbeat, and releases the lease at the end.
    """

    def __init__(self, leased: LeasedDocument, read: Versioned, owner: str) -> None:
        self.leased = leased
        self._read = read
        self._owner = owner
        self._lock = threading.Lock()
        self.heartbeat = Heartbeat(self.write, leased.duration)

    @property
    def document(self) -> Document:
        """The document as this process read or wrote it last."""
        return self._read.document

    def __enter__(self) -> Self:
        self.heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heartbeat.stop()
        try:
            self.update(lambda current: {**current, "lease_owner": None, "lease_expires_at": None})
        except LeaseLostError:
            pass
        except Exception as error:
            # The lease expires by itself, and the next call takes over.
            log.warning("could not release a lease: %s", error)

    def check(self) -> None:
        """Raise ``LeaseLostError`` when a heartbeat found that another process has the lease."""
        if self.heartbeat.lost:
            raise self.heartbeat.lost

    def write(self, **fields: Any) -> None:
        """Write fields and renew the lease; raises ``LeaseLostError``."""
        self.check()
        self.update(lambda current: {**current, **fields})

    def update(self, change: Callable[[Document], Document]) -> None:
        """Renew the lease and write what ``change`` makes of the document.

        ``change`` may drop the lease again. Raises ``LeaseLostError`` when the lease is no
        longer ours or the document is gone.
        """
        leased = self.leased
        where = f"{leased.collection}/{leased.doc_id}"

        def changed(current: Document | None) -> Document:
            if current is None:
                raise LeaseLostError(f"{where} was deleted")
            if current.get("lease_owner") != self._owner:
                raise LeaseLostError(f"our lease of {where} has ended")
            return change({**current, **leased.lease_fields(self._owner)})

        with self._lock:
            written = write_document(
                leased.documents,
                leased.collection,
                leased.doc_id,
                changed,
                read=self._read,
                only_writer=True,
            )
            assert written
            self._read = written


class Heartbeat(threading.Thread):
    """Renews a lease every third of its duration, until ``stop`` or until the lease is lost.

    ``on_look``, if given, is called every half second.
    """

    def __init__(
        self,
        renew: Callable[[], object],
        duration: timedelta,
        on_look: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._renew = renew
        self._on_look = on_look
        self._every_s = duration.total_seconds() / 3
        self._over = threading.Event()
        self.lost: LeaseLostError | None = None

    def run(self) -> None:
        renew_at = time.monotonic() + self._every_s
        while not self.lost and not self._over.wait(min(_LOOK_EVERY_S, self._every_s)):
            try:
                self._on_look()
                if not self.lost and time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + self._every_s
                    self._renew()
            except LeaseLostError as error:
                self.lost = error
            except Exception as error:
                # The lease is ours until another process takes it, however long this lasts.
                log.warning("could not renew a lease: %s", error)

    def stop(self) -> None:
        """Stop, and wait until no renewal is under way."""
        self._over.set()
        self.join()
