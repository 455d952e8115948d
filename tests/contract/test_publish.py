"""Objects that go into the bucket under a lease, and crashes between any two of the writes."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue, MemoryStorage
from shared.core import naming
from shared.core.errors import CancelledError, LeaseLostError, ObjectExistsError, TransientError
from shared.core.ports import Documents, Storage
from shared.core.records import Audio, Status
from shared.media.chunks import Piece
from shared.media.presets import Codec, Recipe
from shared.service.object_writer import ObjectWriter
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import Outcome, WorkControl
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.backends import on_every_storage
from tests.recordings import (
    T0,
    Counter,
    Faults,
    SettableClock,
    claimed,
    existing,
    source_file,
)

ITEM = source_file()
KEY = ITEM.key
OWN = {"key": KEY}
FOREIGN = {"key": "drive-other-rev1"}
EXPIRED = timedelta(seconds=61)


def recipe(extension: str = "mp3") -> Recipe:
    return Recipe(
        preset=extension,
        codec=Codec.MP3,
        codec_name=extension,
        muxer=extension,
        extension=extension,
        content_type="audio/mpeg",
        sample_rate=48000,
        channels=1,
        bitrate=128000,
    )


PLAIN = naming.audio_object("dev", ITEM.name, ITEM.created_at, "mp3")
SUFFIXED = naming.audio_object("dev", ITEM.name, ITEM.created_at, "mp3", KEY)


@dataclass
class Content:
    """What a run publishes: files that were made before it."""

    folder: Path
    extension: str = "mp3"
    audio: bytes = b"audio"
    chunks: tuple[bytes, ...] = (b"first", b"second")
    recipe: Recipe = field(init=False)

    def __post_init__(self) -> None:
        self.recipe = recipe(self.extension)
        self.folder.mkdir(exist_ok=True)

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def publish(self, storage: Storage, claim: Claim, control: WorkControl) -> dict[str, Any]:
        pieces = [
            Piece(path=self.file(f"{n}", data), start_s=n, end_s=n + 1.0)
            for n, data in enumerate(self.chunks)
        ]
        writer = ObjectWriter(storage, claim, control, "dev")
        stored, chunks = writer.publish(
            self.file("audio", self.audio),
            self.recipe,
            self.file("picture", b"png"),
            pieces,
            2.0,
        )
        audio = Audio(
            object=stored.name,
            bytes=stored.bytes,
            crc32c=stored.crc32c,
            duration_s=2.0,
            start_offset_s=0.0,
            codec="mp3",
            bitrate_kbps=128.0,
            preset=self.extension,
        )
        fields = {"audio": audio, "chunks": chunks, "gcs_path": stored.name}
        writer.log(T0, fields, self.recipe, {"encode": 1.0})
        return fields

    def run(self, tracker: Tracker, storage: Storage, **options: Any) -> lease.Result:
        return lease.run(
            tracker,
            ITEM,
            lambda claim, control: self.publish(storage, claim, control),
            lease.RunOptions(**options),
        )


@pytest.fixture
def tracker(clock: SettableClock) -> Tracker:
    return Tracker(MemoryDocuments(), clock=clock)


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "made")


def contents(storage: Storage) -> dict[str, bytes]:
    found = {}
    for there in storage.list():
        with storage.open(there.name) as file:
            found[there.name] = file.read()
    return found


def put(storage: Storage, name: str, data: bytes, metadata: dict[str, str]) -> None:
    storage.put(name, data, content_type="audio/mpeg", metadata=metadata, if_generation=0)


def names_beside(audio: str, extension: str, chunks: int) -> set[str]:
    index = {naming.chunks_index_object(audio)} if chunks else set()
    pieces = {naming.chunk_object(audio, n, extension) for n in range(chunks)}
    return (
        {audio, naming.waveform_object(audio), naming.log_object("dev", KEY, T0)} | pieces | index
    )


# ── names ──


@on_every_storage
def test_all_objects_are_there(tracker: Tracker, storage: Storage, content: Content) -> None:
    assert content.run(tracker, storage).outcome is Outcome.DONE
    assert set(contents(storage)) == names_beside(PLAIN, "mp3", 2)
    assert existing(tracker, KEY).gcs_path == PLAIN
    for there in storage.list():
        assert there.metadata["key"] == KEY
        about = {"title", "recorded_at", "duration_s", "source_url"}
        expected = {"key", "source", "source_id", "revision"}
        assert set(there.metadata) == (expected | about if there.name == PLAIN else expected)
    index = json.loads(contents(storage)[naming.chunks_index_object(PLAIN)])
    assert [row["bytes"] for row in index["chunks"]] == [5, 6]


@on_every_storage
def test_our_own_object_with_the_same_bytes_is_kept(
    tracker: Tracker, storage: Storage, content: Content
) -> None:
    put(storage, PLAIN, content.audio, OWN)
    before = storage.stat(PLAIN)
    content.run(tracker, storage)
    assert storage.stat(PLAIN) == before


@on_every_storage
def test_our_own_object_with_other_bytes_is_replaced(
    tracker: Tracker, storage: Storage, content: Content
) -> None:
    put(storage, PLAIN, b"older", OWN)
    content.run(tracker, storage)
    assert contents(storage)[PLAIN] == content.audio
    assert SUFFIXED not in contents(storage)


@on_every_storage
@pytest.mark.parametrize("metadata", [FOREIGN, {}])
def test_a_name_that_is_taken_gets_a_suffix(
    tracker: Tracker, storage: Storage, content: Content, metadata: dict[str, str]
) -> None:
    put(storage, PLAIN, content.audio, metadata)
    content.run(tracker, storage)
    assert set(contents(storage)) == names_beside(SUFFIXED, "mp3", 2) | {PLAIN}
    there = storage.stat(PLAIN)
    assert there is not None
    assert there.metadata == metadata
    assert existing(tracker, KEY).gcs_path == SUFFIXED


def test_a_name_taken_by_another_container_gets_a_suffix(
    tracker: Tracker, storage: Storage, content: Content
) -> None:
    """The other's audio is .opus, so only its picture has the name that ours would have."""
    put(storage, naming.waveform_object(PLAIN), b"theirs", FOREIGN)
    content.run(tracker, storage)
    assert set(contents(storage)) == names_beside(SUFFIXED, "mp3", 2) | {
        naming.waveform_object(PLAIN)
    }


@on_every_storage
def test_a_place_taken_at_the_same_time_is_left(
    tracker: Tracker, storage: Storage, content: Content
) -> None:
    """Another container's picture is written between our audio and our picture."""
    theirs = naming.waveform_object(PLAIN)

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(storage, name)

        def put(self, name: str, *args: Any, **kwargs: Any) -> Any:
            if name == theirs and storage.stat(theirs) is None:
                put(storage, theirs, b"theirs", FOREIGN)
            return storage.put(name, *args, **kwargs)

    assert content.run(tracker, cast(Storage, Racing())).outcome is Outcome.RETRY
    assert contents(storage)[theirs] == b"theirs"
    assert content.run(tracker, storage).outcome is Outcome.DONE
    assert set(contents(storage)) == names_beside(SUFFIXED, "mp3", 2) | {theirs}


def test_both_names_taken_ends_by_giving_up(
    tracker: Tracker, storage: Storage, content: Content, clock: SettableClock
) -> None:
    put(storage, PLAIN, b"theirs", FOREIGN)
    put(storage, SUFFIXED, b"theirs too", FOREIGN)
    result = content.run(tracker, storage)
    assert result.outcome is Outcome.RETRY
    assert isinstance(result.error, ObjectExistsError)
    clock.tick(timedelta(minutes=31))
    assert content.run(tracker, storage).outcome is Outcome.FAILED
    assert contents(storage) == {PLAIN: b"theirs", SUFFIXED: b"theirs too"}


def test_the_first_name_stays(tracker: Tracker, storage: Storage, content: Content) -> None:
    earlier = "dev/2025/04/named-by-older-rules_audio.mp3"
    claimed(tracker.claim(ITEM)).release(gcs_path=earlier)
    content.run(tracker, storage)
    assert set(contents(storage)) == names_beside(earlier, "mp3", 2)


@on_every_storage
def test_another_preset_leaves_nothing_of_the_one_before(
    tracker: Tracker, storage: Storage, content: Content, tmp_path: Path
) -> None:
    content.run(tracker, storage)
    tracker.retry(KEY)
    Content(tmp_path / "again", "opus", b"opus", (b"one",)).run(tracker, storage)
    opus = PLAIN.replace(".mp3", ".opus")
    assert set(contents(storage)) == names_beside(opus, "opus", 1)
    assert existing(tracker, KEY).gcs_path == opus


def test_chunks_that_are_switched_off_are_removed(
    tracker: Tracker, storage: Storage, content: Content
) -> None:
    content.run(tracker, storage)
    tracker.retry(KEY)
    content.chunks = ()
    content.run(tracker, storage)
    assert set(contents(storage)) == names_beside(PLAIN, "mp3", 0)


# ── the lease ──


class Watched:
    """Storage that checks at each write that the lease was renewed just before."""

    def __init__(self, inner: Storage, clock: SettableClock, tracker: Tracker) -> None:
        self._inner, self._clock, self._tracker = inner, clock, tracker
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._check(name)
        return self._inner.put(name, *args, **kwargs)

    def delete(self, name: str, **kwargs: Any) -> None:
        self._check(name)
        self._inner.delete(name, **kwargs)

    def _check(self, name: str) -> None:
        recording = existing(self._tracker, KEY)
        assert recording.lease_expires_at == self._clock.now + self._tracker.lease
        if name != recording.gcs_path and "_audio." in name:
            assert recording.gcs_path is not None, "the name comes before the upload"
        self.writes.append(name)
        self._clock.tick()


def test_the_lease_is_renewed_before_every_write(
    tracker: Tracker, content: Content, clock: SettableClock, tmp_path: Path
) -> None:
    storage = Watched(MemoryStorage(), clock, tracker)
    assert content.run(tracker, cast(Storage, storage)).outcome is Outcome.DONE
    tracker.retry(KEY)
    again = Content(tmp_path / "again", "opus", b"opus", ())
    assert again.run(tracker, cast(Storage, storage)).outcome is Outcome.DONE
    assert {PLAIN, naming.chunks_index_object(PLAIN)} <= set(storage.writes)
    assert storage.writes.count(PLAIN) == 2  # written, and removed


@pytest.mark.parametrize("number", range(1, 7))
def test_a_worker_that_lost_its_lease_puts_nothing_more(
    tracker: Tracker, content: Content, clock: SettableClock, number: int
) -> None:
    storage = MemoryStorage()
    seen: list[dict[str, bytes]] = []

    class Overtaken:
        count = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(storage, name)

        def put(self, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            stored = storage.put(*args, **kwargs)
            if self.count == number:
                clock.tick(EXPIRED)
                claimed(tracker.claim(ITEM))
                seen.append(contents(storage))
            return stored

    result = content.run(tracker, cast(Storage, Overtaken()))
    assert result.outcome is Outcome.LOST
    assert isinstance(result.error, LeaseLostError)
    assert [contents(storage)] == seen


def test_a_stop_comes_before_the_next_write(tracker: Tracker, content: Content) -> None:
    storage = MemoryStorage()
    result = content.run(tracker, storage, cancelled=lambda: True)
    assert result.outcome is Outcome.CANCELLED
    assert isinstance(result.error, CancelledError)
    assert contents(storage) == {}


# ── crashes ──


class Killed(BaseException):
    """The process dies here: nothing after it happens."""


def stores(kind: str, folder: Path) -> tuple[Documents, Storage]:
    if kind == "memory":
        return MemoryDocuments(), MemoryStorage()
    from shared.adapters.local.documents import SQLiteDocuments
    from shared.adapters.local.storage import FilesystemStorage

    return SQLiteDocuments(folder / "tracker.db"), FilesystemStorage(folder / "bucket")


def fresh(tracker: Tracker, storage: Storage, folder: Path) -> Content:
    return Content(folder / "made")


def name_taken(tracker: Tracker, storage: Storage, folder: Path) -> Content:
    put(storage, PLAIN, b"theirs", FOREIGN)
    put(storage, naming.waveform_object(PLAIN), b"theirs", FOREIGN)
    return Content(folder / "made")


def place_taken(tracker: Tracker, storage: Storage, folder: Path) -> Content:
    put(storage, PLAIN.replace(".mp3", ".m4a"), b"theirs", FOREIGN)
    put(storage, naming.waveform_object(PLAIN), b"theirs", FOREIGN)
    return Content(folder / "made")


def other_preset(tracker: Tracker, storage: Storage, folder: Path) -> Content:
    assert Content(folder / "made").run(tracker, storage).outcome is Outcome.DONE
    put(storage, PLAIN.replace(".mp3", ".wav"), b"theirs", FOREIGN)
    tracker.retry(KEY)
    return Content(folder / "again", "opus", b"opus", (b"one",))


def other_bytes(tracker: Tracker, storage: Storage, folder: Path) -> Content:
    put(storage, PLAIN, b"theirs", FOREIGN)
    assert Content(folder / "made").run(tracker, storage).outcome is Outcome.DONE
    tracker.retry(KEY)
    return Content(folder / "again", "mp3", b"better", (b"1", b"2", b"3"))


SCENES = {one.__name__: one for one in (fresh, name_taken, place_taken, other_preset, other_bytes)}


def foreign(storage: Storage) -> list[Any]:
    found = [there for there in storage.list() if there.metadata.get("key") != KEY]
    return [(there.name, there.crc32c, there.generation) for there in found]


# On disk only the harder case: what an error leaves, a kill leaves too.
@pytest.mark.parametrize(
    ("kind", "killed"),
    [("memory", False), ("memory", True), ("local", True)],
    ids=["memory-error", "memory-killed", "local-killed"],
)
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("done", [False, True], ids=["request lost", "answer lost"])
def test_a_crash_between_any_two_writes_heals(
    tmp_path: Path, kind: str, scene: str, done: bool, killed: bool
) -> None:
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        if not crash_and_heal(kind, scene, folder, at, done=done, killed=killed):
            break
    assert at > 8


def crash_and_heal(
    kind: str, scene: str, folder: Path, at: int, *, done: bool, killed: bool
) -> bool:
    """Break the write number ``at``, recover, check; returns whether there was such a write."""
    documents, storage = stores(kind, folder)
    clock = SettableClock()
    tracker = Tracker(documents, clock=clock)
    content = SCENES[scene](tracker, storage, folder)
    theirs = foreign(storage)
    counter = Counter()
    options: dict[str, Any] = {"at": at, "done": done, "stays_down": killed, "counter": counter}
    options["error"] = Killed if killed else lambda: TransientError("the line is dead")
    broken = Tracker(Faults(documents, **options), clock=clock)
    try:
        content.run(broken, cast(Storage, Faults(storage, **options)))
    except (Killed, TransientError):
        assert counter.count >= at
    clock.tick(EXPIRED)
    Requeue(tracker, {"drive": MemoryQueue()}).run()
    assert content.run(tracker, storage).outcome in (Outcome.DONE, Outcome.DUPLICATE)
    check_whole(tracker, storage, content)
    assert foreign(storage) == theirs
    return counter.count >= at


def check_whole(tracker: Tracker, storage: Storage, content: Content) -> None:
    recording = existing(tracker, KEY)
    assert recording.status is Status.DONE
    assert recording.audio is not None
    assert recording.gcs_path == recording.audio.object
    ours = {there.name for there in storage.list() if there.metadata.get("key") == KEY}
    made = names_beside(recording.gcs_path, content.extension, len(content.chunks))
    assert ours == made
    assert contents(storage)[recording.gcs_path] == content.audio


# ── two workers at one object, and objects that no document names ──


class Replacing(MemoryStorage):
    """Storage in which another worker replaces the object between our look and our write."""

    armed = True

    def put(self, name: str, content: Any, **options: Any) -> Any:
        if options.get("if_generation") and self.armed:
            self.armed = False
            super().put(name, b"another's", content_type="audio/mpeg", metadata=OWN)
        return super().put(name, content, **options)


def test_two_workers_that_replace_one_object_are_not_a_bug(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Replacing()
    storage.put(PLAIN, b"old", content_type="audio/mpeg", metadata=OWN)
    content = Content(tmp_path / "content")
    assert content.run(tracker, storage).outcome is Outcome.RETRY
    assert "unexpected" not in caplog.text
    assert content.run(tracker, storage).outcome is Outcome.DONE
    with storage.open(PLAIN) as file:
        assert file.read() == content.audio


def test_leftovers_of_a_crash_are_removed_when_the_recording_ends_without_audio(
    tracker: Tracker, clock: SettableClock, tmp_path: Path
) -> None:
    """A crash after the upload, then a replaced source."""
    storage = MemoryStorage()
    neighbour = PLAIN.replace("_audio.mp3", "_audio.wav")
    storage.put(neighbour, b"not ours", content_type="audio/wav", metadata=FOREIGN)

    def crash(claim: Claim, control: WorkControl) -> dict[str, Any]:
        Content(tmp_path / "content").publish(storage, claim, control)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lease.run(tracker, ITEM, crash)
    assert storage.stat(existing(tracker, KEY).gcs_path or "")
    claim = claimed(tracker.claim(ITEM))
    ObjectWriter(storage, claim, WorkControl(claim, lease.RunOptions()), "dev").clean_up()
    left = [one.name for one in storage.list() if "processing-logs" not in one.name]
    assert left == [neighbour]


def test_a_finished_recording_keeps_its_objects_when_it_fails_later(
    tracker: Tracker, tmp_path: Path
) -> None:
    storage = MemoryStorage()
    assert Content(tmp_path / "content").run(tracker, storage).outcome is Outcome.DONE
    before = [one.name for one in storage.list()]
    claim = claimed(tracker.claim(source_file(force=True)))
    ObjectWriter(storage, claim, WorkControl(claim, lease.RunOptions()), "dev").clean_up()
    assert [one.name for one in storage.list()] == before
