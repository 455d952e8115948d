"""A temporary folder for one recording's work, removed even after its process crashed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Only folders made here have this prefix; other folders with the program's name are kept.
_PREFIX = "audio-pipeline-work-"

#: A newer folder is kept: its owner may be about to lock it.
_SETTLED_S = 60.0


@contextmanager
def work_directory() -> Iterator[Path]:
    """Yield a new folder that is removed afterwards, even if the process is killed.

    Another process then removes it: the owner has a lock on it, which the system releases
    when the process ends for any reason.
    """
    sweep()
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of processes that no longer run."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, in use, or already removed
            found = path.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _SETTLED_S:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
