"""A folder for the files of one piece of work, and a broom for those of processes that died."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Names only the folders made here: whatever else is called after the program is not ours
#: to sweep, a folder of benchmarks, say.
_PREFIX = "audio-pipeline-work-"

#: A folder is left alone for so long after it was made: its owner may be about to lock it.
_SETTLED_S = 60.0


@contextmanager
def work_directory() -> Iterator[Path]:
    """Yield a new folder that is gone afterwards, even if the process is killed.

    Then another one sweeps it up: the owner holds a lock on it, which the system takes
    back when the process ends, however it ends.
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
    """Remove the folders of processes that have died."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another's, in use, or swept by someone else just now
            _sweep(path)


def _sweep(path: Path) -> None:
    found = path.lstat()
    if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _SETTLED_S:
        return
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(lock)
