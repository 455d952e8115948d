"""Documents of which one process at a time is the holder, by a lease like a recording's."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from shared.core.errors import ConflictError, LeaseLostError
from shared.core.ports import Clock, Document, Documents, Versioned

log = logging.getLogger(__name__)

#: The page token of each feed, its lease, and when the last full compare began.
STATES = "drive_state"
#: How far the full compare of each feed has come, and its lease.
COMPARES = "drive_compares"


@dataclass(frozen=True)
class Leased:
    """A document with a lease in it: ``lease_owner`` and ``lease_expires_at``."""

    documents: Documents
    collection: str
    doc_id: str
    lease: timedelta
    clock: Clock

    def read(self) -> Document | None:
        """Return the document, or ``None``."""
        read = self.documents.get(self.collection, self.doc_id)
        return read.document if read else None

    def create(self, document: Document) -> Document:
        """Create the document, unless there is one; returns what is there then."""
        try:
            return self.documents.create(self.collection, self.doc_id, document).document
        except ConflictError:
            return self.read() or document

    def change(self, change: Callable[[Document], Document | None]) -> None:
        """Write fields without holding the lease; ``change`` may return ``None`` to refrain."""
        while True:
            read = self.documents.get(self.collection, self.doc_id)
            fields = change(read.document) if read else None
            if read is None or fields is None:
                return
            try:
                self.documents.replace(self.collection, read, {**read.document, **fields})
            except ConflictError:
                continue
            return

    def acquire(self) -> Hold | None:
        """Take the lease; ``None`` when another has it, or there is no document."""
        owner = uuid.uuid4().hex
        while True:
            read = self.documents.get(self.collection, self.doc_id)
            if read is None:
                return None
            if read.document.get("lease_owner") == owner:
                return Hold(self, read, owner)  # the answer to our write was lost
            if self.is_held(read.document):
                return None
            try:
                return Hold(self, self._store(read, owner), owner)
            except ConflictError:
                continue

    def is_held(self, document: Document) -> bool:
        """Tell whether somebody's lease is live."""
        expires = as_time(document.get("lease_expires_at"))
        return bool(document.get("lease_owner")) and expires is not None and expires > self.clock()

    def was_abandoned(self, document: Document) -> bool:
        """Tell whether somebody's lease ran out before it was given back: a crash."""
        return bool(document.get("lease_owner")) and not self.is_held(document)

    def _store(self, read: Versioned, owner: str) -> Versioned:
        return self.documents.replace(
            self.collection, read, {**read.document, **self.leased_to(owner)}
        )

    def leased_to(self, owner: str) -> Document:
        """Return the fields of a lease from now on."""
        return {"lease_owner": owner, "lease_expires_at": self.clock() + self.lease}


class Hold:
    """The lease of one document; as a context it keeps it alive, and gives it back."""

    def __init__(self, leased: Leased, read: Versioned, owner: str) -> None:
        self._leased = leased
        self._read = read
        self._owner = owner
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._lost: LeaseLostError | None = None
        self._thread = threading.Thread(target=self._beat, name="page-token", daemon=True)

    @property
    def document(self) -> Document:
        """The document as it was read or written last."""
        return self._read.document

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._write({"lease_owner": None, "lease_expires_at": None})
        except LeaseLostError:
            pass
        except Exception as error:
            # It runs out by itself, and the next call that finds that goes on.
            log.warning("a lease could not be given back: %s", error)

    def check(self) -> None:
        """Raise ``LeaseLostError`` when another holds the document now."""
        if self._lost:
            raise self._lost

    def write(self, **fields: Any) -> None:
        """Write fields and renew the lease; raises ``LeaseLostError`` when it is not ours."""
        self.check()
        self._write(fields | self._leased.leased_to(self._owner))

    def _write(self, fields: Document) -> None:
        leased = self._leased
        with self._lock:
            while True:
                wanted = {**self._read.document, **fields}
                try:
                    self._read = leased.documents.replace(leased.collection, self._read, wanted)
                except ConflictError:
                    self._reread()
                else:
                    return

    def _reread(self) -> None:
        read = self._leased.documents.get(self._leased.collection, self._read.id)
        if read is None or read.document.get("lease_owner") != self._owner:
            raise LeaseLostError(f"another holds {self._leased.collection}/{self._read.id} now")
        self._read = read

    def _beat(self) -> None:
        while not self._over.wait(self._leased.lease.total_seconds() / 3):
            try:
                self._write(self._leased.leased_to(self._owner))
            except LeaseLostError as error:
                self._lost = error
                return
            except Exception as error:
                # The lease is ours until another takes it, however long this lasts.
                log.warning("a lease could not be renewed: %s", error)


def as_time(value: datetime | str | None) -> datetime | None:
    """Return a document's time in UTC; adapters that hold JSON give text back."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.astimezone(UTC) if value else None
