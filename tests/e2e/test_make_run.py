"""``make run`` as README shows it, with what it needs installed already."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.emulators import missing
from tests.paths import ROOT


def make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    if not (ROOT / ".venv" / "bin" / "audio-pipeline").exists():
        missing(".venv of make setup")
    installed = [f"--assume-old=.venv/{stamp}" for stamp in (".set-up", ".set-up-to-run")]
    return subprocess.run(
        [shutil.which("make") or missing("make"), *installed, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", ["meeting.mp4", "a $name with 'quotes'.mp4"])
def test_a_file_becomes_audio(tmp_path: Path, clip: Path, name: str) -> None:
    file = tmp_path / name
    shutil.copy(clip, file)
    audio = tmp_path / "audio"
    env = {"STORAGE_URL": str(audio), "TRACKER_URL": f"sqlite:///{tmp_path}/t.db"}
    ended = make("run", f"FILE={file}", HOME=str(tmp_path), **env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list(audio.rglob("*_audio.mp3"))) == 1


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ((), "serve --demo"),
        (("EMULATORS=1",), "serve --demo --emulators"),
        (("EMULATORS=0",), "serve --demo"),
    ],
)
def test_without_a_file_it_runs_the_demonstration(arguments: tuple[str, ...], command: str) -> None:
    ended = make("--dry-run", "run", *arguments)
    assert f"audio-pipeline {command}; fi" in ended.stdout, ended.stderr
