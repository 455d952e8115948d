"""Who may read what is written on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.local.storage import FilesystemStorage


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in root.rglob("*")
    }


def write(root: Path) -> None:
    storage = FilesystemStorage(root / "audio")
    for content in (b"1", b"2"):
        storage.put("dev/2025/a.mp3", content, content_type="audio/mpeg")
    documents = SQLiteDocuments(root / "audio" / "state" / "tracker.db")
    documents.create("recordings", "a", {"x": 1})
    assert (root / "audio/state/tracker.db-wal").exists()


def test_written_files_are_private(tmp_path: Path) -> None:
    write(tmp_path)
    found = modes(tmp_path)
    assert len(found) >= 6
    for name, mode in found.items():
        assert mode == ("0o700" if (tmp_path / name).is_dir() else "0o600"), name


def test_a_directory_that_a_group_shares_stays_shared(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio").chmod(0o2775)
    write(tmp_path)
    found = modes(tmp_path / "audio")
    assert found["dev/2025/a.mp3"] == "0o640"
    assert found["dev"] == "0o2750"
    assert found["state/tracker.db"] == "0o640"
    assert modes(tmp_path)["audio"] == "0o2775"
