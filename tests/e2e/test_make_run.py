"""``make run`` as README shows it, with what it needs installed already."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import check_installed, missing
from tests.paths import ROOT
from tests.services import BIN


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for both demonstrations: the second finds the recordings of the first."""
    return make_checkout(tmp_path_factory.mktemp("used") / "checkout")


def make_checkout(folder: Path) -> Path:
    """Make a folder with what ``make run`` needs of a checkout."""
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


def make(checkout: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    installed = [f"--assume-old=.venv/{stamp}" for stamp in (".set-up", ".set-up-to-run")]
    return subprocess.run(
        [shutil.which("make") or missing("make"), *installed, *arguments],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.parametrize("name", ["meeting.mp4", "a $name with 'quotes'.mp4"])
def test_a_file_becomes_audio(tmp_path: Path, checkout: Path, clip: Path, name: str) -> None:
    file = tmp_path / name
    shutil.copy(clip, file)
    ended = make(checkout, "run", f"FILE={file}", HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list((checkout / "audio").rglob("*_audio.mp3"))) == 1


def test_no_other_word_starts_the_emulators(checkout: Path) -> None:
    ended = make(checkout, "--dry-run", "run", "EMULATORS=0")
    assert "audio-pipeline serve --demo; fi" in ended.stdout, ended.stderr


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home and a temporary folder, which the demonstration must leave empty."""
    home, temporary = tmp_path / "home", Path("/tmp") / f"t{os.getpid()}"
    home.mkdir()
    temporary.mkdir()
    try:
        yield {"HOME": str(home), "TMPDIR": str(temporary)}
        assert list(home.iterdir()) == []
        assert list(temporary.iterdir()) == []
    finally:
        shutil.rmtree(temporary)


class TestDemo:
    def test_without_a_terminal_it_ends_well_and_leaves_nothing_behind(
        self, used: Path, places: dict[str, str]
    ) -> None:
        before = {path.name for path in used.iterdir()} - {"audio-pipeline-demo"}
        ended = make(used, "run", **places)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        steps = [line.split()[1] for line in ended.stdout.splitlines() if line[2:3] == ":"]
        assert set(steps) >= {"new", "notified", "queued", "encoding", "verified", "published"}
        for outcome in ("SKIPPED no_audio", "FAILED truncated", "All 8 ended as expected"):
            assert outcome in ended.stdout
        assert {path.name for path in used.iterdir()} == before | {"audio-pipeline-demo"}
        audio = list((used / "audio-pipeline-demo/audio/dev").rglob("*_audio.mp3"))
        assert len(audio) == 3

    def test_on_emulators_of_the_cloud_s_services(self, used: Path, places: dict[str, str]) -> None:
        check_installed()
        ended = make(used, "run", "EMULATORS=1", **places)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "All 8 ended as expected. The audio is in gs://" in ended.stdout
        assert not (used / "audio-pipeline-demo" / "audio").exists()
