"""Who may read what is written on this machine: its owner, or the group of a shared directory.

Recordings are private. A directory with the setgid bit (``chmod g+s``) is the usual sign
that a group shares it: what is created in it may be read by the group too. An access
control list of the directory's own (``setfacl -d``) applies in any case.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def create_file(path: str | Path, flags: int) -> int:
    """Open a file as ``os.open`` does: 0600, or 0640 where a group shares its directory."""
    return os.open(path, flags, 0o640 if _is_shared(Path(path).parent) else 0o600)


def create_directory(path: Path) -> None:
    """Create a directory, if it is missing: 0700, or 0750 where a group shares its parent."""
    path.mkdir(mode=0o750 if _is_shared(path.parent) else 0o700, exist_ok=True)


def _is_shared(directory: Path) -> bool:
    try:
        return bool(directory.stat().st_mode & stat.S_ISGID)
    except OSError:
        return False
