"""Checks the free space of a disk before work fills it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from shared.core.errors import TransientError


def require_space(places: Iterable[tuple[Path, str]], needed: int) -> None:
    """Raise ``TransientError`` unless each place has ``needed`` bytes free.

    Args:
        places: Directories, which need not exist, each with the variable that sets it.
        needed: An estimate in bytes.
    """
    for path, variable in places:
        existing = next(one for one in (path, *path.parents) if one.exists())
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise TransientError(
                f"the disk is full: {path} has {free / 1e6:.1f} MB free and about "
                f"{needed / 1e6:.1f} MB are needed; free some space, or set {variable} to "
                "another place"
            )
