"""Local files: keys from their content, reads that notice changes, and search in folders."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.adapters.local.sources import SAMPLE_BYTES, LocalFile, LocalSources
from shared.core.errors import Code, PermanentError, TransientError
from shared.core.filetypes import RECORDING_TYPES, mime_type
from shared.core.message import SourceFile

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "meeting.mp4"
    path.write_bytes(CONTENT)
    return path


def code_of(error: pytest.ExceptionInfo[PermanentError]) -> str:
    assert error.value.message.endswith(".")
    return error.value.code


# Reading


def test_reading_by_range(recording: Path) -> None:
    source = LocalFile(recording)
    assert source.size == len(CONTENT)
    assert source.local_path == recording
    assert source.read(0, 10) == CONTENT[:10]
    assert source.read(25_000, 10_000) == CONTENT[25_000:]
    assert source.read(len(CONTENT), 1) == b""
    assert source.read(len(CONTENT) + 9, 1) == b""
    assert source.read(5, 0) == b""
    source.check_unchanged()
    source.close()


def test_threads_share_it(recording: Path) -> None:
    source = LocalFile(recording)
    wrong: list[int] = []

    def read(start: int) -> None:
        offsets = range(start, len(CONTENT), 97)
        wrong.extend(o for o in offsets if source.read(o, 50) != CONTENT[o : o + 50])

    threads = [threading.Thread(target=read, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    assert wrong == []


def test_closing_twice_and_reading_after(recording: Path) -> None:
    source = LocalFile(recording)
    source.close()
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)


def test_a_changed_file_is_superseded(recording: Path) -> None:
    item = LocalSources().describe(recording)
    source = LocalSources().open(item)
    recording.write_bytes(CONTENT + b"more")
    with pytest.raises(PermanentError) as error:
        source.check_unchanged()
    assert code_of(error) == Code.SUPERSEDED
    assert "meeting.mp4 has changed" in error.value.message
    with pytest.raises(PermanentError) as error:
        LocalSources().open(item)
    assert code_of(error) == Code.SUPERSEDED
    source.close()


def test_a_touched_file_keeps_its_revision(recording: Path) -> None:
    sources = LocalSources(recording.parent)
    (before,) = sources.list()
    os.utime(recording, ns=(1, 2))
    (after,) = sources.list()
    assert after.key == before.key
    LocalSources().open(before).close()


@pytest.mark.parametrize("size", [1, SAMPLE_BYTES - 1, 3 * SAMPLE_BYTES, 1_000_001])
def test_a_revision_samples_the_start_the_middle_and_the_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.mp4"
    revisions = set()
    changes = (None, 0, size // 2, size - 1)
    for at in changes:
        content = bytearray(size)
        if at is not None:
            content[at] = 1
        path.write_bytes(content)
        revisions.add(LocalFile(path).revision)
    assert len(revisions) == len(set(changes))
    assert all(re.fullmatch(rf"{size}-[0-9a-f]{{32}}", one) for one in revisions)


def test_a_file_written_to_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(10 * SAMPLE_BYTES))
    source = LocalFile(path)
    with path.open("r+b") as file:  # outside the samples: the revision stays
        file.seek(2 * SAMPLE_BYTES)
        file.write(b"new")
    os.utime(path, ns=(1, 2))
    with pytest.raises(TransientError, match="modified while it was read"):
        source.check_unchanged()
    source.close()


def test_a_file_replaced_by_one_of_the_same_revision_is_the_same(recording: Path) -> None:
    source = LocalFile(recording)
    found = recording.stat()
    other = recording.with_name("other")
    other.write_bytes(CONTENT)
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(recording)
    source.check_unchanged()
    source.close()


def test_a_file_that_shrinks_while_it_is_read(recording: Path) -> None:
    source = LocalFile(recording)
    os.truncate(recording, 1000)
    assert source.read(0, 1000) == CONTENT[:1000]
    with pytest.raises(PermanentError) as error:
        source.read(900, 200)
    assert code_of(error) == Code.SUPERSEDED
    source.close()


def test_a_removed_file_is_gone(recording: Path) -> None:
    item = LocalSources().describe(recording)
    source = LocalSources().open(item)
    recording.unlink()
    assert source.read(0, 3) == CONTENT[:3]
    for what in (
        source.check_unchanged,
        lambda: LocalSources().open(item),
        lambda: LocalSources().describe(recording),
        lambda: LocalFile(recording / "below"),
    ):
        with pytest.raises(PermanentError) as error:
            what()
        assert code_of(error) == Code.GONE
    source.close()


def test_missing_permission_is_forbidden(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermanentError) as error:
        LocalFile(recording)
    assert code_of(error) == Code.FORBIDDEN
    assert "Permission denied" in error.value.message


def test_a_folder_or_a_pipe_is_not_a_recording(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        for what in (LocalFile, LocalSources().describe):
            with pytest.raises(PermanentError) as error:
                what(path)
            assert code_of(error) == Code.NOT_A_RECORDING


# Describing


def test_a_description(recording: Path) -> None:
    os.utime(recording, ns=(0, 1_700_000_000_123_456_789))
    item = LocalSources().describe(recording)
    assert item.source == "local"
    assert item.source_id == str(recording)
    assert item.revision.startswith("25600-")
    assert item.name == "meeting.mp4"
    assert item.mime_type == "video/mp4"
    assert item.size_bytes == 25600
    assert item.created_at.astimezone(UTC).replace(microsecond=0) == datetime(
        2023, 11, 14, 22, 13, 20, tzinfo=UTC
    )
    assert SourceFile.decode(item.encode()) == item


def test_a_relative_path_is_made_absolute(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recording.parent)
    folder = recording.parent.name
    for relative in ("meeting.mp4", "./meeting.mp4", f"../{folder}/meeting.mp4"):
        assert LocalSources().describe(Path(relative)).source_id == str(recording)


def test_the_parent_of_a_linked_folder_is_the_real_one(tmp_path: Path) -> None:
    write(tmp_path, "real/deep/x", "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real/deep")
    item = LocalSources().describe(tmp_path / "link/../a.mp4")
    assert item.source_id == str(tmp_path / "real/a.mp4")
    LocalSources().open(item).close()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems hold UTF-8 only")
@pytest.mark.parametrize(
    ("raw", "name", "encoded"),
    [
        (b"caf\xe9.mp4", "caf\\xe9.mp4", "caf%E9.mp4"),
        (b"100% r\xc3\xa9al.mp4", "100% réal.mp4", "100%25 réal.mp4"),
        ("会议 🎙️\n.webm".encode(), "会议 🎙️\n.webm", "会议 🎙️\n.webm"),
        (b"%25\xff.wav", "%25\\xff.wav", "%2525%FF.wav"),
    ],
)
def test_names_that_are_not_plain(tmp_path: Path, raw: bytes, name: str, encoded: str) -> None:
    path = tmp_path / os.fsdecode(raw)
    path.write_bytes(CONTENT)
    sources = LocalSources(tmp_path)
    (item,) = sources.list()
    assert item == sources.describe(path)
    assert item.name == name
    assert item.source_id == f"{tmp_path}/{encoded}"
    assert SourceFile.decode(item.encode()) == item
    source = sources.open(item)
    assert source.read(0, 9) == CONTENT[:9]
    source.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("A.MP4", "video/mp4"), ("a.webm", "video/webm"), ("a.mkv", "video/matroska")),
        *(("a.opus", "audio/opus"), ("a.b.m4a", "audio/mp4"), ("a.wav", "audio/wav")),
        *(("a.txt", "text/plain"), ("none", "application/octet-stream"), (".mp4", None)),
    ],
)
def test_types(name: str, expected: str | None) -> None:
    assert mime_type(name) == expected or expected is None
    assert all(kind.startswith(("audio/", "video/")) for kind in RECORDING_TYPES.values())


def test_times_beyond_the_calendar(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    for seconds in (-(1 << 33), 1 << 33, 300_000_000_000):
        try:
            os.utime(path, (seconds, seconds))
        except OverflowError:
            continue
        item = LocalSources().describe(path)
        assert SourceFile.decode(item.encode()).key == item.key


# Listing


def names(sources: LocalSources) -> set[str]:
    return {item.name for item in sources.list()}


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"content")


def test_listing_finds_recordings_at_any_depth(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4", "b/c/d.WEBM", "b/e.m4a", "notes.txt", "b/list.m3u8", "b/none", "x.ass")
    assert names(LocalSources(tmp_path)) == {"a.mp4", "d.WEBM", "e.m4a"}


def test_listing_skips_hidden_empty_linked_and_excluded_files(tmp_path: Path) -> None:
    write(tmp_path, ".hidden.mp4", ".trash/a.mp4", "audio/b.mp3", "sub/audio/c.mp3", "sub/d.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "sub/d.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    left_out: list[tuple[Path, str]] = []
    sources = LocalSources(
        tmp_path,
        exclude=[tmp_path / "audio", tmp_path / "nowhere"],
        on_left_out=lambda path, why: left_out.append((path, why)),
    )
    assert names(sources) == {"c.mp3", "d.mp4"}
    assert left_out == [(tmp_path / "empty.mp4", "empty")]


def test_excluding_knows_a_folder_by_any_of_its_paths(tmp_path: Path) -> None:
    write(tmp_path, "real/audio/a.mp3", "real/b.mp4")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    for root in ("real", "alias"):
        for excluded in ("real/audio", "alias/audio", "alias/../real/audio/"):
            sources = LocalSources(tmp_path / root, exclude=[tmp_path / excluded])
            assert names(sources) == {"b.mp4"}
    for excluded in ("real", "."):
        assert names(LocalSources(tmp_path / "alias", exclude=[tmp_path / excluded])) == set()


def test_named_files_are_listed_whatever_they_are_called(
    recording: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = tmp_path / ".no extension"
    odd.write_bytes(b"x")
    sources = LocalSources(files=[tmp_path / "missing.mp4", odd, recording])
    with caplog.at_level(logging.WARNING):
        assert names(sources) == {".no extension", "meeting.mp4"}
    assert "missing.mp4" in caplog.text


def test_a_link_that_is_named_is_followed(recording: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.mp4"
    link.symlink_to(recording)
    item = LocalSources().describe(link)
    assert (item.source_id, item.name) == (str(recording), "link.mp4")
    assert item.size_bytes == len(CONTENT)
    LocalSources().open(item).close()


def test_a_missing_root_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(LocalSources(tmp_path / "missing").list())


def test_a_folder_that_may_not_be_read_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "closed/a.mp4", "open/b.mp4")
    scandir = os.scandir

    # Permissions alone would not keep root out.
    def refuse_closed(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_closed)
    with caplog.at_level(logging.WARNING):
        assert names(LocalSources(tmp_path)) == {"b.mp4"}
    assert "closed" in caplog.text


def test_a_socket_with_a_recordings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.mp4")
        assert names(LocalSources(tmp_path)) == set()


def _put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _put_link(path: Path) -> None:
    path.rename(path.with_name("moved.mp4"))
    path.symlink_to(path.with_name("moved.mp4"))


def _put_other(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"another recording")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("replace", [_put_pipe, _put_link, _put_other])
def test_a_file_that_replaces_a_recording_is_never_read(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the recording")
    sources = LocalSources()
    item = sources.describe(path)
    with closing(sources.open(item)) as source:
        replace(path)
        # As FFmpeg gets it.
        with os.fdopen(source.reopen(), "rb") as handed_over:
            assert handed_over.read() == b"the recording"
        assert source.read(0, 100) == b"the recording"
        with pytest.raises(PermanentError):
            source.check_unchanged()
    with pytest.raises(PermanentError):
        sources.open(item)
