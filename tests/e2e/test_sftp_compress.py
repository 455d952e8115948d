"""Nightly runs on OpenSSH's server: which files are found, their audio, and the manifest."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from functions.sftp_compress.assembly import build_nightly, build_worker
from functions.sftp_compress.manifest import Manifest
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue, MemoryStorage
from shared.adapters.sftp.mirror import SftpMirror
from shared.bootstrap import Services
from shared.core.errors import ConflictError, TransientError
from shared.core.message import SourceFile
from shared.core.ports import StoredObject
from shared.core.records import Recording, Status
from shared.core.sftp_errors import ServerCode, ServerError
from shared.tracking.lease import Outcome, Result
from tests.media.clips import decoded_samples, run, speech
from tests.sftp import Sshd, sshd  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(300)

LONG_AGO = 1_700_000_000


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of stereo."""
    path = tmp_path_factory.mktemp("clips") / "two.wav"
    run(*speech(2, 48000, 2), path)
    return path.read_bytes()


@dataclass
class Nights:
    """A server, and what one machine makes of it."""

    sshd: Sshd
    directory: Path
    services: Services

    def put(self, name: str, content: bytes, mtime: int = LONG_AGO) -> Path:
        path = self.sshd.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (mtime, mtime))
        return path

    def night(self) -> tuple[dict[str, Any], list[Result]]:
        """Look at the server, and work on what was published."""
        queue = MemoryQueue()
        self.services.__dict__["sftp_queue"] = queue
        summary = build_nightly(self.services).run()
        worker = build_worker(self.services)
        return summary, [worker.process(item) for item in queue.items]

    def recording(self, path: str) -> Recording:
        found = [one for one in self.services.tracker.all() if one.source_id == path]
        return max(found, key=lambda one: str(one.queued_at))

    @property
    def manifest(self) -> dict[str, Any]:
        with self.services.storage.open("dev/compressed/manifest.json") as file:
            body: dict[str, Any] = json.loads(file.read())
        return body

    @property
    def objects(self) -> dict[str, StoredObject]:
        names = self.services.storage.list("dev/compressed/")
        return {one.name.removeprefix("dev/compressed/"): one for one in names}

    def read(self, name: str) -> bytes:
        with self.services.storage.open(f"dev/compressed/{name}") as file:
            return file.read()

    def check_manifest(self) -> None:
        """Check every line of the manifest against the objects in the bucket."""
        rows = self.manifest["files"]
        assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
        names = set(self.objects) - {"manifest.json"}
        assert {row["object"] for row in rows} == {f"dev/compressed/{name}" for name in names}
        for row in rows:
            content = self.read(row["object"].removeprefix("dev/compressed/"))
            assert row["bytes"] == len(content)
            assert row["sha256"] == hashlib.sha256(content).hexdigest()
            assert row["ratio"] == round(row["source_bytes"] / row["bytes"], 2)
        totals = self.manifest["totals"]
        assert totals["files"] == len(rows)
        for name in ("source_bytes", "bytes", "duration_s"):
            assert totals[name] == round(sum(row[name] for row in rows), 3)


def environment(server: Sshd, directory: Path, **more: str) -> dict[str, str]:
    key = (server.base / "client").read_text()
    return {
        "STORAGE_URL": str(directory / "bucket"),
        "TRACKER_URL": f"sqlite:///{directory / 'tracker.db'}",
        "SFTP_HOST": "127.0.0.1",
        "SFTP_PORT": str(server.port),
        "SFTP_REMOTE_PATH": str(server.root),
        "SFTP_CREDENTIALS": json.dumps(
            {"username": server.user, "known_hosts": server.known_hosts, "private_key": key}
        ),
        **more,
    }


def nights_of(server: Sshd, directory: Path, **more: str) -> Nights:
    services = Services.from_environment(environment(server, directory, **more))
    return Nights(server, directory, services)


@pytest.fixture
def nights(sshd: Sshd, tmp_path: Path) -> Iterator[Nights]:  # noqa: F811
    made = nights_of(sshd, tmp_path)
    yield made
    made.services._sftp_server.close()


def outcomes(results: list[Result]) -> list[Outcome]:
    return [one.outcome for one in results]


def codes(nights: Nights) -> dict[str, str]:
    return {
        one.source_id: one.error.code if one.error else one.status.value
        for one in nights.services.tracker.all()
    }


# One night, and the next.


def test_sound_becomes_small_in_its_own_directories(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav)
    nights.put("sub/dir/b.wav", wav)

    summary, results = nights.night()

    assert summary == {
        "date": summary["date"], "found": 2, "queued": 2, "known": 0, "unsettled": 0
    }  # fmt: skip
    assert outcomes(results) == [Outcome.DONE] * 2
    assert set(nights.objects) == {
        "a_compressed.wav", "sub/dir/b_compressed.wav", "manifest.json"
    }  # fmt: skip
    nights.check_manifest()
    made = nights.objects["a_compressed.wav"]
    assert made.content_type == "audio/wav"
    assert dict(made.metadata) == {
        "key": nights.recording("a.wav").key,
        "source": "sftp",
        "source_id": "a.wav",
        "revision": f"{len(wav)}-{LONG_AGO}",
        "title": "a.wav",
        "recorded_at": "2023-11-14T22:13:20Z",
        "duration_s": "2.000",
    }
    (row,) = [row for row in nights.manifest["files"] if row["source"] == "a.wav"]
    assert row["source_mtime"] == "2023-11-14T22:13:20Z"
    assert row["duration_s"] == 2.0
    path = nights.directory / "made.wav"
    path.write_bytes(nights.read("a_compressed.wav"))
    assert abs(decoded_samples(path) - 2 * 16000) < 3 * 1152
    audio = nights.recording("a.wav").audio
    assert audio is not None
    assert (audio.codec, audio.preset) == ("mp3", "compress-wav")


def test_a_night_lists_the_files_that_it_passes_over(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav)
    for number in range(25):
        nights.put(f"calls/{number:02}.sln", b"raw")

    summary, _ = nights.night()
    again, _ = nights.night()

    assert summary["found"] == 1
    for one in (summary["passed_over"], again["passed_over"]):
        assert one["count"] == 25
        assert len(one["names"]) == 20
        assert set(one["names"]) < {f"calls/{number:02}.sln" for number in range(25)}
    night = nights.services.documents.get("nightly_runs", summary["date"])
    assert night is not None
    assert night.document["passed_over"]["count"] == 25


def test_an_empty_night_names_the_files_that_are_there(nights: Nights) -> None:
    nights.put("a.sln", b"raw")

    with pytest.raises(ServerError):
        nights.night()

    (night,) = nights.services.documents.find("nightly_runs", order_by="date", limit=1)
    assert night.document["error"]["code"] == "empty_directory"
    assert night.document["passed_over"] == {"count": 1, "names": ["a.sln"]}


def test_a_second_night_does_nothing(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav)
    nights.put("bad.wav", b"RIFF0000WAVEnonsense" * 100)
    _, results = nights.night()
    assert sorted(map(str, outcomes(results))) == ["Outcome.DONE", "Outcome.FAILED"]
    before = nights.manifest, nights.objects

    summary, results = nights.night()

    assert (summary["found"], summary["queued"], summary["known"]) == (2, 0, 2)
    assert results == []
    assert (nights.manifest, nights.objects) == before
    night = nights.services.documents.get("nightly_runs", summary["date"])
    assert night is not None
    assert (night.document["queued"], night.document["error"]) == (2, None)  # of both runs


@pytest.mark.parametrize(
    ("output_format", "extension", "codec"),
    [
        ("wav", "wav", "mp3"),
        ("mp3", "mp3", "mp3"),
        ("opus", "opus", "opus"),
        ("flac", "flac", "flac"),
        ("pcm", "wav", "pcm_s16le"),
    ],
)
def test_every_output_format(
    sshd: Sshd,  # noqa: F811
    tmp_path: Path,
    wav: bytes,
    output_format: str,
    extension: str,
    codec: str,
) -> None:
    nights = nights_of(sshd, tmp_path, OUTPUT_FORMAT=output_format)
    nights.put("a.wav", wav)
    _, results = nights.night()
    assert outcomes(results) == [Outcome.DONE]
    assert f"a_compressed.{extension}" in nights.objects
    audio = nights.recording("a.wav").audio
    assert audio is not None
    assert audio.codec == codec
    nights.check_manifest()
    nights.services._sftp_server.close()


def test_a_changed_source_replaces_its_own_object(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav)
    nights.night()
    first = nights.objects["a_compressed.wav"]
    shorter = nights.directory / "shorter.wav"
    run(*speech(1, 48000, 2), shorter)
    nights.put("a.wav", shorter.read_bytes(), LONG_AGO + 5)

    summary, results = nights.night()

    assert (summary["queued"], outcomes(results)) == (1, [Outcome.DONE])
    assert set(nights.objects) == {"a_compressed.wav", "manifest.json"}
    made = nights.objects["a_compressed.wav"]
    assert made.generation != first.generation
    assert made.metadata["revision"] == f"{shorter.stat().st_size}-{LONG_AGO + 5}"
    assert nights.manifest["files"][0]["duration_s"] == 1.0
    nights.check_manifest()


def test_another_format_leaves_no_object_behind(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav)
    nights.night()
    nights.put("a.wav", wav, LONG_AGO + 5)
    later = nights_of(nights.sshd, nights.directory, OUTPUT_FORMAT="opus")
    later.night()
    assert set(later.objects) == {"a_compressed.opus", "manifest.json"}
    later.check_manifest()
    later.services._sftp_server.close()


def test_two_sources_of_one_name_get_two_objects(nights: Nights, wav: bytes) -> None:
    mp3 = nights.directory / "x.mp3"
    run(*speech(2, 48000, 2), mp3)
    nights.put("a.wav", wav)
    nights.put("a.mp3", mp3.read_bytes())
    nights.night()
    names = {nights.recording(name).gcs_path for name in ("a.wav", "a.mp3")}
    assert len(names) == 2
    nights.check_manifest()
    assert len(nights.manifest["files"]) == 2

    nights.put("a.mp3", mp3.read_bytes() + bytes(200), LONG_AGO + 9)
    nights.night()
    assert nights.recording("a.mp3").gcs_path in names  # each replaces its own
    nights.check_manifest()


def test_recently_changed_files_are_left_for_later(nights: Nights, wav: bytes) -> None:
    nights.put("a.wav", wav, int(time.time()) - 60)
    summary, results = nights.night()
    assert (summary["found"], summary["unsettled"], results) == (1, 1, [])
    os.utime(nights.sshd.root / "a.wav", (LONG_AGO, LONG_AGO))
    _, results = nights.night()
    assert outcomes(results) == [Outcome.DONE]


# What goes wrong with one file.


def test_one_bad_file_stops_no_other(nights: Nights, wav: bytes) -> None:
    names = {
        "good.wav": wav,
        "empty.wav": b"",
        "noise.wav": os.urandom(5000),
        "text.mp3": b"It is not sound at all. " * 50,
        "list.wav": b"#EXTM3U\nfile:///etc/passwd\n",
        "cut.wav": wav[: len(wav) // 4],
        "with space 'and\" more\n.wav": wav,
        "caf\udce9.wav": wav,
        "..dots.wav": wav,
        "a/..b/c.wav": wav,
    }
    for name, content in names.items():
        nights.put(name, content)
    locked = nights.put("locked.wav", wav)
    locked.chmod(0)

    _, results = nights.night()

    found = codes(nights)
    assert found == {
        "good.wav": "DONE",
        "empty.wav": "corrupt",
        "noise.wav": "corrupt",
        "text.mp3": "not_a_recording",
        "list.wav": "not_a_recording",
        "cut.wav": "truncated",
        "with space 'and\" more\n.wav": "DONE",
        "caf%E9.wav": "DONE",
        "locked.wav": "forbidden",
    }
    for name in nights.objects:
        assert "\n" not in name
        assert ".." not in name.split("/")
    nights.check_manifest()
    assert Outcome.RETRY not in outcomes(results)

    locked.chmod(0o644)
    summary, results = nights.night()
    assert (summary["queued"], outcomes(results)) == (1, [Outcome.DONE])


def test_a_file_that_changes_on_the_way_is_left_to_the_next_night(
    nights: Nights, wav: bytes
) -> None:
    nights.put("a.wav", wav)
    queue = MemoryQueue()
    nights.services.__dict__["sftp_queue"] = queue
    build_nightly(nights.services).run()
    nights.put("a.wav", wav, LONG_AGO + 50)
    (item,) = queue.items
    assert build_worker(nights.services).process(item).outcome is Outcome.SKIPPED
    assert codes(nights)["a.wav"] == "superseded"
    assert not nights.objects
    _, results = nights.night()
    assert outcomes(results) == [Outcome.DONE]


# What goes wrong with the server.


def test_an_empty_directory_is_an_error_and_recorded(nights: Nights) -> None:
    (nights.sshd.root / "notes.txt").write_text("x")
    with pytest.raises(ServerError) as raised:
        nights.night()
    assert raised.value.code is ServerCode.EMPTY_DIRECTORY
    date = datetime.now(UTC).date().isoformat()
    night = nights.services.documents.get("nightly_runs", date)
    assert night is not None
    assert night.document["error"]["code"] == "empty_directory"


# The manifest under fire.


@pytest.mark.parametrize(
    ("owner", "call"),
    [
        (Manifest, "add"),
        (Manifest, "merge"),
        (SftpMirror, "put"),  # of the merged manifest
        (FilesystemStorage, "delete"),  # of the object that was replaced
    ],
)
def test_a_kill_between_object_manifest_and_done_is_repaired(
    sshd: Sshd,  # noqa: F811
    tmp_path: Path,
    wav: bytes,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    call: str,
) -> None:
    """The second night another format is asked for, so the first one's object is replaced."""
    mirror = sshd.root / "out"
    sshd.root.chmod(0o777)
    first = nights_of(sshd, tmp_path, SFTP_MIRROR_PATH=str(mirror))
    first.put("a.wav", wav)
    first.night()
    nights = nights_of(sshd, tmp_path, SFTP_MIRROR_PATH=str(mirror), OUTPUT_FORMAT="opus")

    class Killed(BaseException):
        pass

    called = getattr(owner, call)

    def die(self: object, *arguments: object, **options: object) -> object:
        if call == "put" and arguments[0] != "manifest.json":
            return called(self, *arguments, **options)
        raise Killed

    nights.put("a.wav", wav, LONG_AGO + 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, die)
        with pytest.raises(Killed):
            nights.night()
    item = nights.recording("a.wav").to_source_file()

    assert build_worker(nights.services).process(item).outcome is Outcome.DONE

    assert nights.recording("a.wav").status is Status.DONE
    nights.check_manifest()
    assert set(nights.objects) == {"a_compressed.opus", "manifest.json"}
    assert (mirror / "manifest.json").read_bytes() == nights.read("manifest.json")
    assert list(nights.services.storage.list("dev/metadata/manifest/")) == []


def entry(number: int, item: SourceFile, stored: StoredObject) -> Any:
    from functions.sftp_compress.manifest import Entry

    source = SourceFile(**{**vars(item), "source_id": f"{number:03}.wav"})
    return Entry.of(source, stored, "0" * 64, 1.5, datetime.now(UTC))


ITEM = SourceFile(
    source="sftp",
    source_id="a.wav",
    revision="4000-1",
    name="a.wav",
    mime_type="audio/wav",
    size_bytes=4000,
    created_at=datetime.fromtimestamp(1, UTC),
)
STORED = StoredObject(name="dev/compressed/a.wav", bytes=100, crc32c="", generation=1)


def manifest_of(storage: MemoryStorage) -> Manifest:
    clock = partial(datetime.now, UTC)
    return Manifest(storage=storage, name="m.json", parts="parts/", clock=clock)


class Moody(MemoryStorage):
    """Refuses every other write as a bucket does that is written too often, or loses answers."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0

    def put(self, *arguments: Any, **options: Any) -> StoredObject:
        self.puts += 1
        if self.puts % 3 == 1:
            raise TransientError("429")
        stored = super().put(*arguments, **options)
        if self.puts % 3 == 2:
            raise ConflictError("the answer was lost, and the client tried again")
        return stored


@pytest.mark.parametrize("storage_kind", [MemoryStorage, Moody])
def test_parallel_writers_lose_no_line(storage_kind: type[MemoryStorage]) -> None:
    storage = storage_kind()
    manifest = manifest_of(storage)

    def add(number: int) -> None:
        manifest.add(entry(number, ITEM, STORED))
        manifest.merge()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    found = [row["source"] for row in manifest.rows()]
    assert found == [f"{number:03}.wav" for number in range(40)]
    assert not manifest.has_parts()
    body = json.loads(storage.open("m.json").read())
    assert body["totals"] == {
        "files": 40, "source_bytes": 160_000, "bytes": 4000, "duration_s": 60.0
    }  # fmt: skip
    assert body["files"][0]["ratio"] == 40.0


def test_a_manifest_that_cannot_be_read_is_not_written_over() -> None:
    storage = MemoryStorage()
    storage.put("m.json", b"{broken", content_type="application/json")
    manifest = manifest_of(storage)
    manifest.add(entry(1, ITEM, STORED))
    with pytest.raises(Exception, match="restore or remove"):
        manifest.merge()
    assert storage.open("m.json").read() == b"{broken"
    assert manifest.has_parts()


# The mirror.


def test_the_mirror_gets_a_copy_and_is_not_a_source(
    sshd: Sshd,  # noqa: F811
    tmp_path: Path,
    wav: bytes,
) -> None:
    mirror = sshd.root / "out" / "small"
    nights = nights_of(sshd, tmp_path, SFTP_MIRROR_PATH=str(mirror))
    nights.put("sub/a.wav", wav)
    nights.put("b.wav", wav)
    sshd.root.chmod(0o777)

    _, results = nights.night()

    assert outcomes(results) == [Outcome.DONE] * 2
    files = {str(p.relative_to(mirror)) for p in mirror.rglob("*") if p.is_file()}
    assert files == {"sub/a_compressed.wav", "b_compressed.wav", "manifest.json"}
    for name in files:
        assert (mirror / name).read_bytes() == nights.read(name)

    nights.put("b.wav", wav, LONG_AGO + 1)
    summary, _ = nights.night()
    assert (summary["found"], summary["queued"]) == (2, 1)
    assert (mirror / "manifest.json").read_bytes() == nights.read("manifest.json")
    nights.services._sftp_server.close()


def test_a_mirror_without_extensions_is_written_too(tmp_path: Path) -> None:
    from cli.demo import sftp_standin
    from shared.adapters.sftp.server import SftpServer
    from shared.adapters.sftp.session import SftpSession
    from shared.config.parsers import SftpCredentials
    from shared.config.secret import Secret

    with sftp_standin.serving(tmp_path, password="p") as at:
        credentials = SftpCredentials(
            username=at.username, known_hosts=at.known_hosts, password=Secret("p")
        )
        server = SftpServer("127.0.0.1", at.port, credentials, retry_s=1)

        def forget_extensions(session: SftpSession) -> None:
            session.extensions.clear()

        server.call(forget_extensions, b"/")
        for content in (b"first", os.urandom(3_000_000)):
            SftpMirror(server, "/deep/er").put("x/y.wav", content)
            assert (tmp_path / "deep/er/x/y.wav").read_bytes() == content
        assert [p.name for p in (tmp_path / "deep/er/x").iterdir()] == ["y.wav"]
        server.close()


def test_a_broken_line_leaves_the_mirrored_file_whole(
    sshd: Sshd,  # noqa: F811
    tmp_path: Path,
) -> None:

    server = sshd.server()
    mirror = SftpMirror(server, str(sshd.root))
    mirror.put("x.bin", b"old")
    content = os.urandom(40 << 20)
    seen = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            data = (sshd.root / "x.bin").read_bytes()
            seen.add("old" if data == b"old" else "new" if data == content else "part")

    def break_it_midway() -> None:
        unfinished = ".audio-pipeline.*.tmp"
        while not over.is_set() and not any(f.stat().st_size for f in sshd.root.glob(unfinished)):
            pass
        sshd.kill()
        broken.set()
        sshd.start()

    broken = threading.Event()
    threads = [threading.Thread(target=one) for one in (look, break_it_midway)]
    for thread in threads:
        thread.start()
    mirror.put("x.bin", content)
    over.set()
    for thread in threads:
        thread.join()
    assert broken.is_set()
    assert seen <= {"old", "new"}
    assert [one.name for one in sshd.root.iterdir()] == ["x.bin"]
    assert (sshd.root / "x.bin").read_bytes() == content
    server.close()
