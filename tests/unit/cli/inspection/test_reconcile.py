import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from cli.inspection.reconcile import (
    missing_audio,
    orphans,
    stale,
    tally,
    waiting,
    wrong_manifest,
)
from cli.inspection.snapshot import Snapshot
from shared.adapters.memory import MemoryStorage
from shared.core.message import SourceFile
from shared.core.records import Audio, Chunk, Recording, Status

NOW = datetime(2025, 4, 7, tzinfo=UTC)
NAME = "dev/2025/04/a_audio.mp3"


def item(number: int = 1, revision: str = "1-1") -> SourceFile:
    return SourceFile(
        source="local",
        source_id=f"/{number}.mp4",
        revision=revision,
        name=f"{number}.mp4",
        mime_type="video/mp4",
        size_bytes=1,
        created_at=NOW,
    )


def recording(status: Status, number: int = 1) -> Recording:
    return Recording.from_source_file(item(number), now=NOW).evolve(status=status)


def snapshot(recordings: Iterable[Recording]) -> Snapshot:
    return Snapshot(one.to_document() for one in recordings)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def done(storage: MemoryStorage) -> Recording:
    one = recording(Status.DONE)
    metadata = {"key": one.key, "source_id": one.source_id}
    stored = storage.put(NAME, b"audio", content_type="audio/mpeg", metadata=metadata)
    audio = Audio(
        object=NAME,
        bytes=stored.bytes,
        crc32c=stored.crc32c,
        duration_s=1,
        start_offset_s=0,
        codec="mp3",
        bitrate_kbps=128,
        preset="mp3",
    )
    return one.evolve(audio=audio)


def test_every_seen_recording_is_done_skipped_failed_or_in_flight() -> None:
    known = snapshot(recording(status, number) for number, status in enumerate(Status))

    result = tally([item(number) for number in range(len(Status))], known)

    assert result.seen == 5
    assert (result.by_status[Status.DONE], result.in_flight) == (1, 2)
    assert result.problems == []


def test_a_revision_that_the_tracker_does_not_know_is_a_problem() -> None:
    one = recording(Status.DONE)

    result = tally([item(), item(revision="2-2"), item(2, "3-3")], snapshot([one]))

    assert [problem.name for problem in result.problems] == ["1.mp4", "2.mp4"]


def test_a_renamed_file_is_found_by_its_revision() -> None:
    one = recording(Status.DONE)
    known = snapshot([one, recording(Status.DONE, 3).evolve(revision="2-2")])

    result = tally([item(2)], known)

    assert (result.by_status[Status.DONE], result.problems) == (1, [])
    assert [unseen.source_id for unseen in known.unseen("local")] == ["/3.mp4"]


def test_an_expired_lease_is_a_problem() -> None:
    fresh = recording(Status.PROCESSING, 1).evolve(lease_expires_at=NOW - timedelta(minutes=1))
    old = recording(Status.PROCESSING, 2).evolve(lease_expires_at=NOW - timedelta(minutes=3))

    assert [problem.recording for problem in stale(snapshot([fresh, old]), NOW)] == [old]


def test_unchanged_audio_is_not_a_problem(storage: MemoryStorage, done: Recording) -> None:
    assert list(missing_audio(snapshot([done, recording(Status.FAILED, 2)]), storage)) == []


def test_missing_audio_is_a_problem(storage: MemoryStorage, done: Recording) -> None:
    storage.delete(NAME)

    assert "gone" in next(missing_audio(snapshot([done]), storage)).what


def test_audio_that_changed(storage: MemoryStorage, done: Recording) -> None:
    storage.put(NAME, b"oidua", content_type="audio/mpeg", metadata={"key": done.key})

    assert "changed after it was verified" in next(missing_audio(snapshot([done]), storage)).what


def test_audio_of_another_recording(storage: MemoryStorage, done: Recording) -> None:
    metadata = {"key": "local-other", "source_id": "/other.mp4"}
    storage.put(NAME, b"audio", content_type="audio/mpeg", metadata=metadata)

    assert "another recording" in next(missing_audio(snapshot([done]), storage)).what


def test_audio_that_a_newer_revision_replaced(storage: MemoryStorage, done: Recording) -> None:
    metadata = {"key": "local-newer", "source_id": done.source_id}
    storage.put(NAME, b"newer", content_type="audio/mpeg", metadata=metadata)

    assert list(missing_audio(snapshot([done]), storage)) == []


def test_a_chunk_that_is_gone(storage: MemoryStorage, done: Recording) -> None:
    chunk = Chunk(object="dev/2025/04/a_audio.chunks/000.mp3", start_s=0, end_s=1, bytes=3)
    storage.put(chunk.object, b"abc", content_type="audio/mpeg")
    done = done.evolve(chunks=(chunk,))
    assert list(missing_audio(snapshot([done]), storage)) == []

    storage.delete(chunk.object)

    assert "chunk" in next(missing_audio(snapshot([done]), storage)).what


def test_done_without_audio_in_its_document(storage: MemoryStorage) -> None:
    assert list(missing_audio(snapshot([recording(Status.DONE)]), storage))


class TestOrphans:
    """From the objects to the documents: what no document names."""

    @staticmethod
    def found(storage: MemoryStorage, *known: Recording) -> list[str]:
        by_key = {one.key: one for one in known}
        return [one.name for one in orphans(snapshot(known), storage.list("dev/"), by_key.get)]

    def test_an_object_named_by_a_document_is_not_an_orphan(
        self, storage: MemoryStorage, done: Recording
    ) -> None:
        own = {"key": done.key}
        picture = "dev/metadata/waveforms/2025/04/a_audio.png"
        for name in (picture, f"dev/metadata/processing-logs/2025/04/07/{done.key}.json"):
            storage.put(name, b"x", content_type="image/png", metadata=own)
        storage.put("dev/compressed/manifest.json", b"{}", content_type="application/json")
        assert self.found(storage, done) == []

    def test_an_object_of_a_recording_that_ended_without_audio(
        self, storage: MemoryStorage, done: Recording
    ) -> None:
        assert self.found(storage, done.evolve(status=Status.SKIPPED, audio=None)) == [NAME]

    def test_an_object_of_a_recording_in_flight_is_not_an_orphan(
        self, storage: MemoryStorage, done: Recording
    ) -> None:
        for status in (Status.QUEUED, Status.PROCESSING):
            assert self.found(storage, done.evolve(status=status, audio=None)) == []

    def test_an_object_that_the_tracker_does_not_know(
        self, storage: MemoryStorage, done: Recording
    ) -> None:
        assert self.found(storage) == [NAME]

    def test_a_chunk_of_an_earlier_run(self, storage: MemoryStorage, done: Recording) -> None:
        left = NAME.replace(".mp3", ".chunks/000.mp3")
        storage.put(left, b"x", content_type="audio/mpeg", metadata={"key": done.key})
        assert self.found(storage, done) == [left]

    def test_a_recording_finished_meanwhile_is_not_an_orphan(
        self, storage: MemoryStorage, done: Recording
    ) -> None:
        """``known`` was read before the objects were listed."""
        assert list(orphans(snapshot([]), storage.list(), {done.key: done}.get)) == []


class TestManifest:
    """The manifest's rows against the documents of SFTP files."""

    @pytest.fixture
    def compressed(self, done: Recording) -> Recording:
        return done.evolve(source="sftp", source_id="a.wav", finished_at=NOW)

    ROW: ClassVar[dict[str, object]] = {"source": "a.wav", "object": NAME, "bytes": 5}

    @staticmethod
    def found(rows: dict[str, dict[str, object]], *known: Recording) -> list[str]:
        return [one.name for one in wrong_manifest(snapshot(known), rows.values())]

    def test_a_row_for_each_done_file_is_right(self, compressed: Recording) -> None:
        assert self.found({"a.wav": self.ROW}, compressed) == []

    def test_a_missing_row(self, compressed: Recording) -> None:
        assert self.found({}, compressed) == ["a.wav"]

    def test_a_row_of_nothing(self) -> None:
        assert self.found({"a.wav": self.ROW}) == ["a.wav"]

    @pytest.mark.parametrize("wrong", [{"object": "dev/b.wav"}, {"bytes": 6}])
    def test_a_row_of_another_object(self, compressed: Recording, wrong: dict[str, object]) -> None:
        assert self.found({"a.wav": self.ROW | wrong}, compressed) == ["a.wav"]

    def test_the_newest_revision_counts(self, compressed: Recording) -> None:
        assert compressed.audio
        older = compressed.evolve(
            key="sftp-older",
            revision="1-0",
            finished_at=NOW - timedelta(days=1),
            audio=dataclasses.replace(compressed.audio, bytes=4),
        )
        for known in ([older, compressed], [compressed, older]):
            assert self.found({"a.wav": self.ROW}, *known) == []

    def test_a_file_that_is_compressed_now_is_left_alone(self, compressed: Recording) -> None:
        working = compressed.evolve(status=Status.PROCESSING, audio=None)
        assert self.found({"a.wav": self.ROW}, working) == []

    def test_many_sources_are_compared_side_by_side(self, compressed: Recording) -> None:
        known = [
            compressed.evolve(key=f"sftp-{name}", source_id=name)
            for name in ("z.wav", "B.wav", "é.wav", "a.wav", "😀.wav")
        ]
        names = sorted(["B.wav", "a.wav", "é.wav", "b.wav", "\uffff.wav"])
        rows = {name: self.ROW | {"source": name} for name in names}
        assert self.found(rows, *known) == ["b.wav", "z.wav", "\uffff.wav", "😀.wav"]

    def test_other_sources_have_no_rows(self, done: Recording) -> None:
        assert self.found({}, done) == []


def test_files_that_wait_for_the_next_night_are_left_out() -> None:
    old, new = item(1), item(2)
    known = snapshot([])
    before = NOW - timedelta(seconds=1)
    assert list(waiting([old], known, NOW)) == [old]
    assert list(waiting([new], known, before)) == []
    assert list(waiting([new], snapshot([recording(Status.DONE, 2)]), before)) == [new]
    assert list(waiting([new], known, None)) == [new]  # there was no night yet
