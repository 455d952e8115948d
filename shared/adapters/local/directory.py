"""What a directory must do for a bucket: its locks, its files, and what it says when it is full."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c

from shared.adapters.objects import encode_crc32c
from shared.core.errors import ObjectExistsError, TransientError

#: How long to wait for another writer in the same directory, which takes milliseconds.
LOCK_TIMEOUT_S = 30.0

#: So much of a file is in memory at a time.
BLOCK = 1024 * 1024

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.ENOLCK}


@contextmanager
def exclusive(directory: Path) -> Iterator[bool]:
    """Keep others on this machine from writing in ``directory``.

    Yields whether that is so: network and mounted file systems may know no locks, or only
    this machine's. The system takes the lock from a process that dies.
    Raises ``TransientError`` when another holds it for 30 seconds.
    """
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _lock(opened, directory)
    finally:
        os.close(opened)


def _lock(opened: int, directory: Path) -> bool:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TransientError(f"another process keeps {directory} locked") from error
            time.sleep(0.005)  # flock() knows no deadline, and its holder may be stopped
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        else:
            return True


def sync(directory: Path) -> None:
    """Make the names in ``directory`` last through a loss of power, where it can."""
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # one may write to a directory and yet not read it
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(opened)


@contextmanager
def translated(name: str, root: Path) -> Iterator[None]:
    """Turn what the system says about writing the object ``name`` into the pipeline's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise TransientError(f"somebody removed the directory of {name} meanwhile") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        # A file where the name wants a directory, or the other way round.
        raise ObjectExistsError(name) from error
    except OSError as error:
        if error.errno in _FULL:
            raise TransientError(
                f"the disk of {root} is full; {name} was not written. Free some space there,"
                " or set STORAGE_URL to another place"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise ValueError(f"a name longer than {root} can hold: {name[:200]!r}…") from error
        raise


def file_status(path: Path) -> os.stat_result | None:
    """Return what the system knows of a plain file; ``None`` for anything else or nothing."""
    try:
        status = path.lstat()
    except PermissionError:
        raise
    except OSError:  # not there, below a file, or a name too long to be there
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def is_same(one: os.stat_result, other: os.stat_result | None) -> bool:
    """Tell whether a file is the one that it was, unwritten."""
    return other is not None and (one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def checksum(path: Path) -> str:
    """Return a file's CRC32C in base64; empty for one that is gone."""
    crc = 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                crc = google_crc32c.extend(crc, block)
    except FileNotFoundError:
        return ""
    return encode_crc32c(crc)


def entries(where: Path, hidden: str) -> list[str]:
    """Return the names in a directory, sorted as the names of objects are.

    A directory's ends with a slash, so that it sorts where the names below it do. Left out
    are those that start with ``hidden``, and bytes that are not UTF-8.
    """
    try:
        with os.scandir(where) as found:
            names = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if not name.startswith(hidden) and _is_text(name))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def remove_older(path: Path, seconds: float) -> None:
    """Remove a file that nobody has written to for so long; one that is gone is fine."""
    try:
        if time.time() - path.stat().st_mtime > seconds:
            path.unlink()
    except FileNotFoundError:
        pass
