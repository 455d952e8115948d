"""The tracker's records: one ``Recording`` per (source, source_id, revision)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote

from shared.core.message import Source, SourceFile
from shared.core.times import document_time
from shared.core.titles import local_time, read_title
from shared.core.words import index_words

COLLECTION = "recordings"


class Status(StrEnum):
    """The state of a recording."""

    QUEUED = "QUEUED"  # published, waiting for a worker
    PROCESSING = "PROCESSING"  # a worker has a lease on it
    DONE = "DONE"  # its audio is in the bucket, verified
    FAILED = "FAILED"  # ended without audio, because something is wrong
    SKIPPED = "SKIPPED"  # ended without audio, and nothing is wrong

    @property
    def is_final(self) -> bool:
        """Whether no worker processes the recording unless someone asks for it."""
        return self in (Status.DONE, Status.FAILED, Status.SKIPPED)


@dataclass(frozen=True, kw_only=True)
class ErrorInfo:
    """Why a recording ended without audio, or how its last attempt failed."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Audio:
    """The audio object of a recording.

    ``crc32c`` is base64 of the big-endian checksum, as Cloud Storage writes it.
    ``start_offset_s`` is how much later than the recording its audio track starts.
    """

    object: str
    bytes: int
    crc32c: str
    duration_s: float
    start_offset_s: float
    codec: str
    bitrate_kbps: float
    preset: str


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One piece of the audio for a speech model, in seconds from the audio's start."""

    object: str
    start_s: float
    end_s: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One document of the collection ``recordings``; times are UTC.

    ``progress`` is the fraction done, 0 to 1. ``attempts`` counts claims, ``crashes`` expired
    leases, ``republished`` messages of the requeue since the last claim, ``requeues`` how
    often it was restarted after it had failed.
    ``silent``: no sample of the audio is above -60 dBFS. ``announced_at`` is when the results
    topic accepted its end, ``announce_after`` when the requeue announces it instead of the
    worker, ``None`` when there is nothing to announce.
    """

    key: str
    source: str
    source_id: str
    revision: str
    name: str
    mime_type: str
    size_bytes: int
    created_at: datetime
    status: Status = Status.QUEUED
    account: str = ""
    runner: str = "push"
    progress: float = 0.0
    attempts: int = 0
    crashes: int = 0
    republished: int = 0
    requeues: int = 0
    first_claimed_at: datetime | None = None
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    error: ErrorInfo | None = None
    audio: Audio | None = None
    chunks: tuple[Chunk, ...] = field(default=())
    gcs_path: str | None = None
    gcs_url: str | None = None
    upload_timestamp: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    announced_at: datetime | None = None
    announce_after: datetime | None = None
    processing_s: float | None = None
    silent: bool | None = None

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded: local time as its name gives it, else ``created_at``."""
        title = read_title(self.name)
        return (
            local_time(self.name, self.created_at) if title.time or title.date else self.created_at
        )

    @property
    def source_url(self) -> str | None:
        """The page of the recording in Google Drive; ``None`` for other sources."""
        if self.source != Source.DRIVE:
            return None
        return f"https://drive.google.com/file/d/{quote(self.source_id, safe='')}/view"

    @property
    def words(self) -> tuple[str, ...]:
        """The words that find it: of its name, its date and the account that can read it."""
        return index_words(self.recorded_at.date().isoformat(), self.name, self.account)

    @classmethod
    def from_source_file(cls, item: SourceFile, *, now: datetime) -> Self:
        """Return the QUEUED document of a message that was just published."""
        return cls(
            key=item.key,
            source=item.source,
            source_id=item.source_id,
            revision=item.revision,
            name=item.name,
            mime_type=item.mime_type,
            size_bytes=item.size_bytes,
            created_at=item.created_at,
            account=item.account,
            queued_at=now,
            updated_at=now,
        )

    def to_source_file(self, *, force: bool = False) -> SourceFile:
        """Return the message that asks for this recording again."""
        return SourceFile(
            source=self.source,
            source_id=self.source_id,
            revision=self.revision,
            name=self.name,
            mime_type=self.mime_type,
            size_bytes=self.size_bytes,
            created_at=self.created_at,
            account=self.account,
            force=force,
        )

    def evolve(self, **changes: Any) -> Self:
        """Return a copy with ``changes``."""
        return dataclasses.replace(self, **changes)

    def to_document(self) -> dict[str, Any]:
        """Return the fields as a document: plain values, ``datetime`` for times."""
        # Not asdict() for the whole: it copies every value deeply, ten times as slow.
        document = {name: getattr(self, name) for name in _FIELDS}
        return document | {
            "status": self.status.value,
            "error": dataclasses.asdict(self.error) if self.error else None,
            "audio": dataclasses.asdict(self.audio) if self.audio else None,
            "chunks": [dataclasses.asdict(chunk) for chunk in self.chunks],
            "words": list(self.words),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a document; fields that a newer version added are ignored."""
        values = _known(cls, document)
        values["status"] = Status(values["status"])
        for name in _TIMES & values.keys():
            values[name] = document_time(values[name])
        for name, kind in (("error", ErrorInfo), ("audio", Audio)):
            if values.get(name) is not None:
                values[name] = kind(**_known(kind, values[name]))
        chunks = values.get("chunks") or ()
        values["chunks"] = tuple(Chunk(**_known(Chunk, chunk)) for chunk in chunks)
        return cls(**values)

    def log_context(self) -> dict[str, Any]:
        """Return the fields of every log line about this recording."""
        return {
            "key": self.key,
            "source": self.source,
            "source_id": self.source_id,
            "recording": self.name,
            "status": self.status.value,
            "attempts": self.attempts,
        }


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}
    return {name: value for name, value in document.items() if name in names}


_FIELDS = tuple(each.name for each in dataclasses.fields(Recording))
_TIMES = {
    "created_at",
    "first_claimed_at",
    "lease_expires_at",
    "upload_timestamp",
    "queued_at",
    "started_at",
    "finished_at",
    "updated_at",
    "announced_at",
    "announce_after",
}
