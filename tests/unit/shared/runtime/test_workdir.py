from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shared.runtime.workdir import sweep, work_directory


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def age(path: Path) -> None:
    os.utime(path, (0, 0))


def test_the_folder_is_gone_afterwards() -> None:
    with work_directory() as directory:
        (directory / "audio.mp3").write_bytes(b"sound")
    assert not directory.exists()


def test_a_folder_in_use_is_not_swept() -> None:
    with work_directory() as directory:
        age(directory)
        sweep()
        assert directory.is_dir()


def test_the_folder_of_a_killed_process_is_swept(temporary: Path) -> None:
    code = (
        "import os, signal\n"
        "from shared.runtime.workdir import work_directory\n"
        "with work_directory() as directory:\n"
        "    (directory / 'audio.mp3').write_bytes(b'sound')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = {**os.environ, "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=False)
    (left,) = temporary.glob("audio-pipeline-work-*")
    age(left)

    with work_directory():
        assert not left.exists()


def test_a_folder_just_made_is_left_to_its_owner(temporary: Path) -> None:
    fresh = temporary / "audio-pipeline-work-fresh"
    fresh.mkdir()
    sweep()
    assert fresh.is_dir()


def test_only_our_own_folders_are_removed(temporary: Path) -> None:
    other = temporary / "audio-pipeline-benchmarks"
    other.mkdir()
    age(other)
    sweep()
    assert other.is_dir()


def test_a_link_is_not_followed(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    precious = tmp_path_factory.mktemp("precious")
    (precious / "file").write_bytes(b"mine")
    link = temporary / "audio-pipeline-work-link"
    link.symlink_to(precious)
    os.utime(link, (0, 0), follow_symlinks=False)
    sweep()
    assert (precious / "file").exists()
