"""Notices that a directory which was in use has gone, as after an unmount or a rename."""

from __future__ import annotations

import os
from pathlib import Path

from shared.core.errors import TransientError


class KnownDirectory:
    """A directory that may be created once, and must not be created again.

    Created again, it would be on the wrong disk: the system would go on with an empty
    tracker and write audio to the wrong place. So a directory that this process has
    used and that is missing now is an error until it is back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._was_there = False
        self._was_mounted = False

    def check(self) -> None:
        """Raise ``TransientError`` if the directory was there before and is not now."""
        is_there = self._path.is_dir()
        if self._was_there and not self._path.exists():
            raise TransientError(f"{self._path} is gone: it was removed, renamed or unmounted")
        is_mounted = is_there and os.path.ismount(self._path)
        if self._was_mounted and not is_mounted:
            raise TransientError(f"{self._path} is not mounted any more")
        self._was_there |= is_there
        self._was_mounted |= is_mounted
