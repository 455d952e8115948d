"""Finds the FFmpeg to run, and refuses one that is too old or does not start."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from shared.core.errors import ConfigurationError
from shared.media.ffmpeg.sandbox import Sandbox

#: The probe needs ``-print_graphs_format``, which came with FFmpeg 8.0 (its source,
#: fftools/graph/graphprint.c).
MIN_VERSION = 8

# As FFmpeg prints its release, or as imageio-ffmpeg names its binary. A build from git prints a
# commit or a date instead, and is accepted.
_VERSION = re.compile(r"\Affmpeg version n?(\d+)\.(\S+)")
_BUNDLED_VERSION = re.compile(r"\Affmpeg-.*-v(\d+)\.([\d.]*\d)")


@cache
def executable() -> str:
    """Return the path of FFmpeg: the bundled one, or the one in ``IMAGEIO_FFMPEG_EXE``.

    Raises ``ConfigurationError`` when there is none, when it cannot be run or is too old.
    """
    try:
        path = os.environ.get("IMAGEIO_FFMPEG_EXE") or _bundled() or _installed()
        # The bundled one has its version in its name, which saves a cold start a process.
        version = _BUNDLED_VERSION.match(Path(path).name) or _VERSION.match(_printed_version(path))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise ConfigurationError([f"cannot run FFmpeg: {error}"]) from error
    if version and int(version[1]) < MIN_VERSION:
        fix = (
            "unset IMAGEIO_FFMPEG_EXE to use the bundled one"
            if os.environ.get("IMAGEIO_FFMPEG_EXE")
            else "install imageio-ffmpeg 0.8 or later, or set IMAGEIO_FFMPEG_EXE"
        )
        raise ConfigurationError([
            f"FFmpeg {version[1]}.{version[2]} ({path}) is too old, version {MIN_VERSION} or later "
            f"is needed: {fix}"
        ])  # fmt: skip
    return path


def _bundled() -> str:
    """Return the path of the FFmpeg in the package ``imageio-ffmpeg``, or empty.

    The package's own function starts FFmpeg to try it, and costs every command 50 ms.
    """
    package = find_spec("imageio_ffmpeg")
    folders = (package and package.submodule_search_locations) or ()
    found = [str(one) for folder in folders for one in Path(folder).glob("binaries/ffmpeg-*")]
    return found[0] if len(found) == 1 else ""


def _installed() -> str:
    """Return the FFmpeg of this system, where the package has none for it."""
    import imageio_ffmpeg  # noqa: PLC0415

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def check_executable() -> None:
    """Raise ``ConfigurationError`` when FFmpeg is too old, or cannot be run in its sandbox."""
    path = executable()
    try:
        process = Sandbox().start(
            [path, "-version"], env={}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, printed = process.communicate(timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError([f"cannot run FFmpeg ({path}) in its sandbox: {error}"]) from error
    if process.returncode:
        reason = printed.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise ConfigurationError([f"cannot run FFmpeg ({path}) in its sandbox: {reason}"])


def _printed_version(path: str) -> str:
    command = [path, "-version"]
    run = subprocess.run(command, env={}, capture_output=True, timeout=20, check=True)
    return run.stdout.decode(errors="replace")
