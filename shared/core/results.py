"""``ResultEvent``: the CloudEvents message about a recording that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from shared.core.records import Recording, Status
from shared.core.times import format_time, time_as_json

#: The media type of structured JSON (CloudEvents, "JSON Event Format", section 3).
MEDIA_TYPE = "application/cloudevents+json"

_TYPES = {
    Status.DONE: "audio.ready",
    Status.FAILED: "recording.failed",
    Status.SKIPPED: "recording.skipped",
}

#: Fields of the document that only the pipeline itself needs.
_INTERNAL = frozenset({"lease_owner", "lease_expires_at", "announce_after"})


@dataclass(frozen=True, kw_only=True)
class ResultEvent:
    """One end of one recording (CloudEvents 1.0).

    ``id`` is the key and the time of the end, so a repeat has the same ``id``. ``data`` is the
    document without the fields of its lease.
    """

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, recording: Recording, env: str) -> Self:
        """Describe a recording that has ended; ``env`` is ``PIPELINE_ENV``."""
        assert recording.finished_at is not None
        document = recording.to_document()
        return cls(
            id=f"{recording.key}@{format_time(recording.finished_at)}",
            type=_TYPES[recording.status],
            source=env,
            subject=recording.key,
            time=recording.finished_at,
            data={name: value for name, value in document.items() if name not in _INTERNAL},
        )

    @property
    def context(self) -> dict[str, str]:
        """The attributes of the event, without its data."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": format_time(self.time),
        }

    def encode(self) -> bytes:
        """Return the event as structured JSON in UTF-8."""
        body = {**self.context, "datacontenttype": "application/json", "data": self.data}
        return json.dumps(body, ensure_ascii=False, default=time_as_json).encode()
