"""The compression worker beside others: revisions of one file, and a night of many files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from functions.sftp_compress import manifest, nightly
from functions.sftp_compress.worker import CompressionWorker
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryDocuments, MemoryStorage
from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource, Mirror, Queue, Sources, Storage, StoredObject
from shared.tracking.lease import Outcome
from shared.tracking.tracker import Tracker
from tests.backends import on_every_storage
from tests.media.clips import run as ffmpeg
from tests.media.containers import CountingSource

NAME = "day/take.wav"
OBJECT = "dev/compressed/day/take_compressed.wav"


@dataclass
class Server:
    """A directory as an SFTP server lists it, by size and time."""

    folder: Path
    #: Called once, after the next check that a source is unchanged.
    after_check: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def item(self, name: str = NAME) -> SourceFile:
        status = (self.folder / name).stat()
        modified = int(status.st_mtime)
        return SourceFile(
            source="sftp",
            source_id=name,
            revision=f"{status.st_size}-{modified}",
            name=name.rpartition("/")[2],
            mime_type="audio/wav",
            size_bytes=status.st_size,
            created_at=datetime.fromtimestamp(modified, UTC),
        )

    def put(self, seconds: float, modified: int) -> SourceFile:
        path = self.folder / NAME
        path.parent.mkdir(exist_ok=True)
        ffmpeg("-f", "lavfi", "-i", f"sine=300:d={seconds}:r=16000", path)
        os.utime(path, (modified, modified))
        return self.item()

    def list(self) -> Iterator[SourceFile]:
        yield self.item()

    def open(self, item: SourceFile) -> ByteSource:
        server = self

        class Source(CountingSource):
            def check_unchanged(self) -> None:
                if server.item(item.source_id) != item:
                    raise PermanentError(Code.SUPERSEDED, "it was replaced")
                if server.after_check:
                    server.after_check.pop()()

        if self.item(item.source_id) != item:
            raise PermanentError(Code.SUPERSEDED, "it was replaced")
        return Source(self.folder / item.source_id)


def rows(worker: CompressionWorker) -> Mapping[str, Any]:
    worker.merge_manifest(now=True)
    return {row["source"]: row for row in worker.manifest.rows()}


def build(server: Server, storage: Storage, mirror: Mirror | None = None) -> CompressionWorker:
    return CompressionWorker(
        tracker=Tracker(MemoryDocuments(), lease=timedelta(hours=1)),
        storage=storage,
        sources={"sftp": server},
        mirror=mirror,
    )


@pytest.fixture
def worker(storage: Storage, tmp_path: Path) -> CompressionWorker:
    return build(Server(tmp_path / "server"), storage)


def server_of(worker: CompressionWorker) -> Server:
    server = worker.sources["sftp"]
    assert isinstance(server, Server)
    return server


def is_of(worker: CompressionWorker, stored: StoredObject | None, item: SourceFile) -> bool:
    assert stored
    with worker.storage.open(stored.name) as file:
        sha256 = hashlib.sha256(file.read()).hexdigest()
    row = rows(worker)[NAME]
    is_in_manifest = (row["source_bytes"], row["sha256"]) == (item.size_bytes, sha256)
    return stored.metadata["revision"] == item.revision and is_in_manifest


@on_every_storage
@pytest.mark.parametrize("had_earlier", [False, True], ids=["first", "replaces an earlier one"])
def test_an_older_revision_does_not_replace_a_newer_one(
    worker: CompressionWorker, had_earlier: bool
) -> None:
    """It is frozen between its check of the source and the upload, within its lease."""
    server = server_of(worker)
    if had_earlier:
        assert worker.process(server.put(0.5, 1_000)).outcome is Outcome.DONE
    older, newer = server.put(1.0, 2_000), []

    def replaced() -> None:
        newer.append(server.put(2.0, 3_000))
        assert worker.process(newer[0]).outcome is Outcome.DONE

    server.after_check.append(replaced)
    assert worker.process(older).outcome is Outcome.RETRY
    assert is_of(worker, worker.storage.stat(OBJECT), newer[0])
    result = worker.process(older)
    assert result.outcome is Outcome.SKIPPED
    assert result.recording
    assert result.recording.error
    assert result.recording.error.code == Code.SUPERSEDED
    assert is_of(worker, worker.storage.stat(OBJECT), newer[0])


@pytest.mark.parametrize("is_merged", [False, True])
def test_an_older_revision_does_not_replace_a_newer_one_s_row(
    tmp_path: Path, is_merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is frozen between its upload and its row of the manifest."""
    pause: list[Callable[[], object]] = []

    class Frozen(FilesystemStorage):
        def put(self, name: str, *arguments: Any, **options: Any) -> StoredObject:
            if "/metadata/manifest/" in name and pause:
                pause.pop()()
            return super().put(name, *arguments, **options)

    server = Server(tmp_path / "server")
    worker = build(server, Frozen(tmp_path / "audio"))
    if not is_merged:  # the older revision is in flight, and the merge is left to it
        assert worker.process(server.put(0.5, 1_000)).outcome is Outcome.DONE
        monkeypatch.setattr(manifest, "MERGED_BYTES_PER_S", 0.01)
    older, newer = server.put(1.0, 2_000), []

    def replaced() -> None:
        newer.append(server.put(2.0, 3_000))
        assert worker.process(newer[0]).outcome is Outcome.DONE

    pause.append(replaced)
    assert worker.process(older).outcome in (Outcome.DONE, Outcome.RETRY)
    assert is_of(worker, worker.storage.stat(OBJECT), newer[0])


def test_an_older_revision_does_not_replace_a_newer_one_s_copy(tmp_path: Path) -> None:
    """It is frozen between its upload and the copy to the mirror."""
    pause: list[Callable[[], object]] = []
    copies: dict[str, bytes] = {}

    class Frozen:
        def put(self, name: str, content: Path | bytes) -> None:
            if pause:
                pause.pop()()
            copies[name] = content.read_bytes() if isinstance(content, Path) else content

    server, storage = Server(tmp_path / "server"), MemoryStorage()
    worker = build(server, storage, mirror=Frozen())
    older = server.put(1.0, 2_000)
    pause.append(lambda: worker.process(server.put(2.0, 3_000)))
    worker.process(older)
    assert copies["day/take_compressed.wav"] == storage.open(OBJECT).read()


@pytest.mark.parametrize("code", [Code.TRASHED, Code.GONE, Code.NOT_WATCHED, Code.SUPERSEDED])
def test_a_file_that_returns_before_its_end_is_written_is_not_skipped(
    code: Code, tmp_path: Path
) -> None:
    """Drive's change came while the worker had the recording, so no other will come."""
    away = [True]

    class Returning(Server):
        def open(self, item: SourceFile) -> ByteSource:
            if away:
                away.pop()
                raise PermanentError(code, "it was away at this moment")
            return super().open(item)

    server = Returning(tmp_path / "server")
    worker = build(server, MemoryStorage())
    item = server.put(0.5, 1_000)
    assert worker.process(item).outcome is Outcome.RETRY
    assert worker.process(item).outcome is Outcome.DONE


def test_a_file_that_differs_whenever_it_is_looked_at_is_skipped(tmp_path: Path) -> None:

    class Restless(Server):
        def open(self, item: SourceFile) -> ByteSource:
            source = super().open(item)

            def changed() -> None:
                raise PermanentError(Code.SUPERSEDED, "it reports another size")

            source.check_unchanged = changed  # type: ignore[method-assign]
            return source

    server = Restless(tmp_path / "server")
    worker = build(server, MemoryStorage())
    item = server.put(0.5, 1_000)
    assert worker.process(item).outcome is Outcome.RETRY
    assert worker.process(item).outcome is Outcome.SKIPPED


def test_files_that_a_slow_scan_finds_one_by_one_are_merged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is compressed before the scan finds the next: none of them is the night's last."""
    merges: list[str] = []

    class Counting(FilesystemStorage):
        def put(self, name: str, *arguments: Any, **options: Any) -> StoredObject:
            merges.extend([name] * name.endswith("/manifest.json"))
            return super().put(name, *arguments, **options)

    server = Server(tmp_path / "server")
    worker = build(server, Counting(tmp_path / "audio"))
    assert worker.process(server.put(0.5, 1_000)).outcome is Outcome.DONE
    assert merges == [OBJECT.replace("day/take_compressed.wav", "manifest.json")]
    monkeypatch.setattr(manifest, "MERGED_BYTES_PER_S", 0.01)  # as if it were long

    class AtOnce:
        """A queue with an idle worker; it delivers before the scan goes on."""

        def publish(self, items: Sequence[SourceFile]) -> None:
            for item in items:
                assert worker.process(item).outcome is Outcome.DONE

    class Slow:
        """A server whose listing takes longer than each file; a page of the scan is one."""

        def list(self) -> Iterator[SourceFile]:
            for number in range(4):
                copy = server.folder / f"{number}.wav"
                copy.write_bytes((server.folder / NAME).read_bytes())
                yield server.item(f"{number}.wav")

    monkeypatch.setattr(nightly, "PAGE", 1)
    summary = nightly.Nightly(
        sources=cast(Sources, Slow()),
        tracker=worker.tracker,
        queue=cast(Queue, AtOnce()),
        settle=timedelta(0),
    ).run()
    assert summary["queued"] == 4
    assert len(merges) == 2
    assert [row["source"] for row in worker.manifest.rows()] == [
        *(f"{number}.wav" for number in range(4)), NAME
    ]  # fmt: skip
    assert not worker.manifest.has_parts()
