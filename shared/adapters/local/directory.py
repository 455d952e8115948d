"""Locks, file access and error translation for object storage in a directory."""

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

#: How long to wait for another writer's lock, which is normally held for milliseconds.
LOCK_TIMEOUT_S = 30.0

#: Bytes of a file in memory at a time.
BLOCK = 1024 * 1024

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.ENOLCK}


@contextmanager
def exclusive(directory: Path) -> Iterator[bool]:
    """Lock ``directory`` against other writers on this machine.

    Yields whether it is locked: network and mounted file systems may lack locks, or have
    them for this machine only. The system releases the lock of a process that dies.
    Raises ``TransientError`` if another process keeps it for 30 seconds.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    is_locked: bool | None = None
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while is_locked is None:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_locked = True
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise TransientError(f"another process keeps {directory} locked") from error
                time.sleep(0.005)  # flock() has no timeout, and its holder may be stopped
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                is_locked = False
        yield is_locked
    finally:
        os.close(opened)


def sync(directory: Path) -> None:
    """Make the names in ``directory`` survive a power loss, where the file system can."""
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a directory may be writable but not readable
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(opened)


@contextmanager
def translate_errors(name: str, root: Path) -> Iterator[None]:
    """Raise the pipeline's errors for system errors in writing the object ``name``."""
    try:
        yield
    except FileNotFoundError as error:
        raise TransientError(f"the directory of {name} was removed meanwhile") from error
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
            raise ValueError(f"a name that is too long for {root}: {name[:200]!r}…") from error
        raise


def file_status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file; ``None`` for anything else or nothing."""
    try:
        status = path.lstat()
    except PermissionError:
        raise
    except OSError:  # missing, below a file, or a name that is too long
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def is_same(one: os.stat_result, other: os.stat_result | None) -> bool:
    """Return whether both describe the same file, unchanged."""
    return other is not None and (one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def checksum(path: Path) -> str:
    """Return a file's CRC32C in base64; empty if the file is gone."""
    crc = 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                crc = google_crc32c.extend(crc, block)
    except FileNotFoundError:
        return ""
    return encode_crc32c(crc)


def entries(where: Path, hidden: str) -> list[str]:
    """Return the names in a directory, sorted like object names.

    The name of a directory ends with a slash, so that it sorts where the names below it
    do. Names that start with ``hidden`` or are not UTF-8 are skipped.
    """
    try:
        with os.scandir(where) as found:
            names = [entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # os.scandir() returns the bytes of a name that is not UTF-8 as lone surrogates.
    return sorted(
        name
        for name in names
        if not name.startswith(hidden) and name == name.encode(errors="replace").decode()
    )


def remove_older(path: Path, seconds: float) -> None:
    """Remove a file that was not written to for ``seconds``, unless it is gone already."""
    try:
        if time.time() - path.stat().st_mtime > seconds:
            path.unlink()
    except FileNotFoundError:
        pass
