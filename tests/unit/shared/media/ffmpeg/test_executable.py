from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from shared.core.errors import ConfigurationError
from shared.media.ffmpeg.executable import executable


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Makes IMAGEIO_FFMPEG_EXE a program that prints a first line of ``-version``."""

    def make(line: str, name: str = "ffmpeg") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
        executable.cache_clear()
        return path

    yield make
    executable.cache_clear()


# The forms of Debian, of johnvansickle.com, and of BtbN's and gyan.dev's builds.
@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("ffmpeg version 5.1.6-0+deb12u1 Copyright (c) 2000-2024", "5.1.6-0+deb12u1"),
        ("ffmpeg version 7.0.2-static https://johnvansickle.com/ffmpeg/", "7.0.2-static"),
        ("ffmpeg version n7.1.1-6-g48c0f071d4-20250405 Copyright (c)", "7.1.1-6-g48c0f071d4"),
    ],
)
def test_an_old_ffmpeg_is_refused(stand_in: Callable[[str], Path], line: str, version: str) -> None:
    path = stand_in(line)

    with pytest.raises(ConfigurationError) as caught:
        executable()

    [problem] = caught.value.problems
    assert f"FFmpeg {version}" in problem
    assert f"({path}) is too old, version 8 or later is needed" in problem
    assert "unset IMAGEIO_FFMPEG_EXE" in problem


@pytest.mark.parametrize(
    "line",
    [
        "ffmpeg version 8.0 Copyright (c) 2000-2025 the FFmpeg developers",
        "ffmpeg version n9.0.2-17-g2a571b6068-20260930 Copyright (c)",
        "ffmpeg version 10.0 Copyright (c)",
        # From git, without a release's number.
        "ffmpeg version N-121000-g7321e4b950 Copyright (c)",
        "ffmpeg version 2026-01-07-git-af6a1dd0b2-full_build-www.gyan.dev",
    ],
)
def test_a_later_ffmpeg_is_accepted(stand_in: Callable[[str], Path], line: str) -> None:
    path = stand_in(line)

    assert executable() == str(path)


def test_a_bundled_ffmpeg_is_known_by_its_name(stand_in: Callable[..., Path]) -> None:
    stand_in("never printed", name="ffmpeg-win32-v4.2.2.exe")

    with pytest.raises(ConfigurationError, match=r"FFmpeg 4\.2\.2 "):
        executable()


def test_an_ffmpeg_that_cannot_be_run_is_one_problem(stand_in: Callable[..., Path]) -> None:
    path = stand_in("")
    path.chmod(0o644)

    with pytest.raises(ConfigurationError, match=r"cannot run FFmpeg: .*ffmpeg"):
        executable()


_FOUND_WITHOUT_A_PROCESS = """
import sys
started = []
sys.addaudithook(lambda name, _: name.startswith("subprocess") and started.append(name))
from shared.media.ffmpeg.executable import executable
print(executable(), started, "imageio_ffmpeg" in sys.modules)
"""


def test_the_bundled_ffmpeg_is_found_without_starting_it() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "IMAGEIO_FFMPEG_EXE"}
    printed = subprocess.run(
        [sys.executable, "-c", _FOUND_WITHOUT_A_PROCESS],
        env=environ, capture_output=True, text=True, check=True,
    ).stdout.split(maxsplit=1)  # fmt: skip

    assert printed == [imageio_ffmpeg.get_ffmpeg_exe(), "[] False\n"]
