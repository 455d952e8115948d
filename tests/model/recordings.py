"""A world of one recording: its document, its object, its queue, and the actors around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.adapters.memory import MemoryQueue, MemoryStorage
from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile
from shared.core.ports import Document, StoredObject
from shared.core.records import Audio, Status
from shared.core.times import document_time
from shared.media import presets
from shared.service.object_writer import ObjectWriter
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl
from shared.tracking.requeue import PATIENCE, Requeue
from shared.tracking.tracker import Tracker
from tests.model.explorer import Actor, InvariantError
from tests.model.shared_parts import (
    LEASE,
    START,
    CountedDocuments,
    SteppedDocuments,
    SteppedQueue,
    SteppedStorage,
    Time,
    call,
)

ITEM = SourceFile(
    source="drive",
    source_id="1a2B3c",
    revision="d41d8cd98f00b204e9800998ecf8427e",
    name="Weekly sync - 2025/01/29 10:00 CST - Recording",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=START,
)
RECIPE = presets.for_compression("mp3", 16_000, 1, 32_000)

#: What an actor is and how wrong its clock is, in seconds.
Part = tuple[str, float]


@dataclass
class RecordingWorld:
    """One recording that ``actors`` deliver, publish, requeue or retry at the same time.

    Args:
        parts: The actors: ``deliver``, ``publish``, ``requeue``, ``retry`` (by hand),
            ``trashed`` (a delivery of a file that is in the trash) and ``restore``.
        audio: A file with the bytes that every worker makes.
        before: The document at the start: ``None``, ``QUEUED``, ``DONE``, or ``PROCESSING``
            under a lease of a process that was killed.
    """

    parts: Sequence[Part]
    audio: Path
    before: str | None = None
    actors: Sequence[Actor] = field(init=False)

    def __post_init__(self) -> None:
        self.time = Time()
        self.documents, self.storage = CountedDocuments(), MemoryStorage()
        self.queue = MemoryQueue()
        self._is_trashed = self._is_changing = any(role == "trashed" for role, _ in self.parts)
        self._may_restart = any(role in ("retry", "restore") for role, _ in self.parts)
        self._set_up()
        self.actors = [
            self._actor(f"{role} {number}", role, skew_s)
            for number, (role, skew_s) in enumerate(self.parts, 1)
        ]

    def _set_up(self) -> None:
        tracker = Tracker(self.documents, lease=LEASE, clock=lambda: START)
        if self.before:
            tracker.enqueue(ITEM)
        if self.before == "PROCESSING":
            tracker.claim(ITEM)
            self.tick()
        if self.before == "DONE":
            self._deliver(None)

    def _actor(self, name: str, role: str, skew_s: float) -> Actor:
        programs: dict[str, Callable[[], object]] = {
            "deliver": lambda: self._deliver(actor),
            "trashed": lambda: self._deliver(actor),
            "restore": lambda: self._restore(actor),
            "publish": lambda: self._publish(actor),
            "requeue": lambda: self._requeue(actor),
            "retry": lambda: self._retry(actor),
        }
        actor = Actor(name, programs[role], skew_s)
        return actor

    # What the actors do: the pipeline's own code.

    def tracker(self, actor: Actor | None) -> Tracker:
        documents: Any = SteppedDocuments(self.documents, actor, self._on_write)
        return Tracker(documents, lease=LEASE, clock=self.time.clock(actor))

    def _deliver(self, actor: Actor | None) -> None:
        storage: Any = SteppedStorage(self.storage, actor)

        def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
            writer = ObjectWriter(storage, claim, control, "dev")
            # A step only where the source changes: it is the same at each moment otherwise.
            reader = actor if self._is_changing else None
            if call(reader, "read the source", lambda: self._is_trashed):
                writer.clean_up()
                raise PermanentError(Code.TRASHED, "it is in the trash")
            stored = writer.audio(self.audio, RECIPE, 1.0)
            return {"audio": audio_of(stored), "gcs_path": stored.name}

        lease.run(self.tracker(actor), ITEM, work)

    def _publish(self, actor: Actor) -> None:
        queue = SteppedQueue(self.queue, actor)
        queue.publish([ITEM])
        self.tracker(actor).enqueue(ITEM)

    def _requeue(self, actor: Actor | None) -> None:
        call(actor, "begin", lambda: None)
        Requeue(self.tracker(actor), {"drive": SteppedQueue(self.queue, actor)}).run()

    def _retry(self, actor: Actor) -> None:
        taken = self.tracker(actor).retry(ITEM.key)
        if taken:
            SteppedQueue(self.queue, actor).publish([taken.to_source_file()])

    def _restore(self, actor: Actor) -> None:
        """Take the file out of the trash, and publish it as the drain of that change does."""

        def restore() -> None:
            self._is_trashed = False

        call(actor, "restore the source", restore)
        self._retry(actor)

    # What must be true of every write.

    def _on_write(
        self, actor: Actor, before: Document | None, after: Document | None, _collection: str
    ) -> None:
        assert after
        if after["lease_owner"]:
            actor.owners.add(after["lease_owner"])
        if before is None:
            return
        was, now = before["lease_owner"], after["lease_owner"]
        expires = document_time(before["lease_expires_at"])
        now_here = self.time.clock(actor)()
        is_live = was is not None and expires is not None and expires > now_here
        if is_live and was not in actor.owners:
            raise InvariantError(f"{actor.name} wrote under the live lease of another worker")
        if was is None and now is None and "deliver" in actor.name:
            raise InvariantError(f"{actor.name} wrote after its lease had ended")
        if before["status"] == Status.DONE and not self._may_restart:
            raise InvariantError(f"{actor.name} changed what was DONE")
        if after["status"] == Status.DONE:
            self._check_object(after, actor.name)

    def _scan(self) -> None:
        """Restart what ended unread and is readable again, as the daily scan does."""
        recording = self.tracker(None).get(ITEM.key)
        if recording and recording.status is Status.SKIPPED and not self._is_trashed:
            self.tracker(None).retry(ITEM.key)
            self.queue.publish([ITEM])

    def _check_object(self, document: Document, by: str) -> None:
        audio = document["audio"]
        there = self.storage.stat(audio["object"]) if audio else None
        if there is None or there.crc32c != audio["crc32c"]:
            raise InvariantError(f"DONE by {by} without its object")

    # The explorer's side.

    def tick(self) -> None:
        self.time.passed += LEASE + timedelta(seconds=1)

    def state(self) -> object:
        documents = repr(sorted(self.documents._stored.items()))
        objects = tuple((one.name, one.generation) for one in self.storage.list())
        return documents, objects, len(self.queue.items), self.time.passed, self._is_trashed

    def end(self) -> None:
        """Deliver and requeue until nothing is left to do; the recording has to be DONE."""
        if any(actor.is_crashed and actor.name.startswith("deliver") for actor in self.actors):
            # Not acknowledged, so it is delivered again at once; a live lease acknowledges it.
            self._deliver(None)
        for _ in range(4):
            self.time.passed += PATIENCE[-1]
            waiting = list(self.queue.items)
            self.queue.items.clear()
            for _item in waiting:
                self._deliver(None)
            self._requeue(None)
            self._scan()
        recording = self.tracker(None).get(ITEM.key)
        ends = {Status.DONE, Status.SKIPPED} if self._is_trashed else {Status.DONE}
        if recording is None and not any(role in ("deliver", "trashed") for role, _ in self.parts):
            return  # the publisher crashed first; the page token has not moved
        if recording is None or recording.status not in ends:
            status = recording.status if recording else "unknown"
            raise InvariantError(f"the recording is {status} in the end")
        keys = [one.metadata["key"] for one in self.storage.list() if "_audio" in one.name]
        if recording.status is Status.DONE:
            self._check_object(recording.to_document(), "the end")
        if keys != [ITEM.key] * (recording.status is Status.DONE):
            raise InvariantError(f"{recording.status} with {len(keys)} objects in the end")


def audio_of(stored: StoredObject) -> Audio:
    """Return the document's fields about an object."""
    return Audio(
        object=stored.name,
        bytes=stored.bytes,
        crc32c=stored.crc32c,
        duration_s=1.0,
        start_offset_s=0.0,
        codec="mp3",
        bitrate_kbps=32.0,
        preset=RECIPE.preset,
    )
