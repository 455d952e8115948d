"""A disk that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        reason = f"needs the right to mount a file system (run as root): {made.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield mounted
    # Lazily: an adapter may keep a file open for as long as pytest keeps the test's values.
    subprocess.run(["umount", "-l", str(mounted)], check=True)
