"""Two workers of one recording, of which one was frozen and has lost its lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryStorage
from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile
from shared.media import presets
from shared.service.object_writer import ObjectWriter
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl
from shared.tracking.tracker import Tracker

ITEM = SourceFile(
    source="drive",
    source_id="1a2B3c",
    revision="d41d8cd98f00b204e9800998ecf8427e",
    name="Weekly sync - 2025/01/29 10:00 CST - Recording",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=datetime(2025, 1, 29, tzinfo=UTC),
)


def test_a_late_deletion_does_not_reach_the_next_worker_s_object(tmp_path: Path) -> None:
    """A worker is frozen just before it deletes what a crashed run left of a trashed file.

    Meanwhile the file is restored, and the next worker stores the same bytes.
    """
    path, recipe = tmp_path / "audio", presets.for_compression("mp3", 16_000, 1, 32_000)
    path.write_bytes(b"audio")
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    tracker = Tracker(MemoryDocuments(), clock=lambda: now[0])
    stored: list[str] = []

    def store(claim: Claim, control: WorkControl) -> dict[str, Any]:
        made = ObjectWriter(storage, claim, control, "dev").audio(path, recipe, 1.0)
        stored.append(made.name)
        return {}

    def crash(claim: Claim, control: WorkControl) -> dict[str, Any]:
        store(claim, control)
        raise SystemExit

    def give_up(claim: Claim, control: WorkControl) -> dict[str, Any]:
        ObjectWriter(storage, claim, control, "dev").clean_up()
        raise PermanentError(Code.TRASHED, "it is in the trash")

    class Frozen(MemoryStorage):
        """A storage whose next deletion comes after another worker's run."""

        def delete(self, name: str, *, if_generation: int | None = None) -> None:
            now[0] += timedelta(minutes=2)
            lease.run(tracker, ITEM, store)
            super().delete(name, if_generation=if_generation)

    storage = Frozen()
    with pytest.raises(SystemExit):
        lease.run(tracker, ITEM, crash)
    now[0] += timedelta(minutes=2)
    lease.run(tracker, ITEM, give_up)
    recording = tracker.get(ITEM.key)
    assert recording is not None
    assert recording.status == "DONE"
    assert storage.stat(stored[-1]) is not None
