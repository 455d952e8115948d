"""The command as people install it: a fresh environment, away from the checkout."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.artefact.archives import clean, run, virtual_environment
from tests.media.clips import run as ffmpeg
from tests.media.clips import speech
from tests.paths import ROOT

# The first test waits for pip.
pytestmark = pytest.mark.slow(25)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    return (
        virtual_environment(folder / "venv", str(ROOT), cwd=folder, with_pip=True)
        / "audio-pipeline"
    )


def test_a_plain_install_works_from_extract_to_audit(installed: Path, tmp_path: Path) -> None:
    clip = tmp_path / "meeting.mp4"
    ffmpeg(*speech(2, 44100, 1), "-c:a", "aac", clip)

    for arguments in (["doctor"], ["extract", "meeting.mp4"], ["status"], ["audit"]):
        done = run([str(installed), *arguments], tmp_path, clean(HOME=str(tmp_path)))
        assert done.returncode == 0, done.stdout + done.stderr
    cost = run([str(installed), "cost", "--hours", "1", "--json"], tmp_path, clean())
    assert json.loads(cost.stdout)["hours"] == 1
    help_text = run([str(installed), "compress", "--help"], tmp_path, clean()).stdout
    assert "sftp://" in help_text


def test_the_command_in_the_error_installs_the_cloud_extra(installed: Path, tmp_path: Path) -> None:
    environ = clean(STORAGE_URL="gs://bucket", GOOGLE_CLOUD_PROJECT="p", HOME=str(tmp_path))
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = run([str(installed), "extract", "a.mp4"], tmp_path, environ)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    command = done.stderr.partition("Run: ")[2].splitlines()[0]
    assert "audio-pipeline[cloud]" in command

    subprocess.run([*shlex.split(command), "--dry-run", "--quiet"], cwd=tmp_path, check=True)
