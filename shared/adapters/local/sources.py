"""Recordings on this machine: named files, or the files of a watched folder."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shared.core.errors import Code, PermanentError
from shared.core.filetypes import RECORDING_TYPES, mime_type
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path, encode_path

_LATEST = datetime.max.replace(tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)

_log = logging.getLogger(__name__)


class LocalFile:
    """The bytes of one revision of one local file.

    Args:
        path: The file.
        revision: Its ``<size>-<mtime in nanoseconds>``; ``None`` takes it as it is.

    Raises ``PermanentError``: ``gone``, ``forbidden``, ``superseded``, and
    ``not_a_recording`` for a directory, a device or a pipe.
    """

    def __init__(self, path: Path, revision: str | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        with _translate_errors(path):
            # Opening a pipe would wait for a writer without O_NONBLOCK.
            self._fd: int | None = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(self._fd)
            _require_file(path, found)
            self.revision = revision or _revision(found)
            self._require_unchanged(found)
        except BaseException:
            self.close()
            raise
        self._size = found.st_size

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    @property
    def local_path(self) -> Path | None:
        """Path of the file."""
        return self._path

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the file.

        Raises ``PermanentError`` (``superseded``) for a file that has become shorter.
        """
        wanted = max(0, min(length, self._size - offset))
        pieces = []
        while wanted:
            piece = self._pread(offset, wanted)
            if not piece:
                raise self._superseded()
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_unchanged(self) -> None:
        """Compare the file that is at its path now with the revision.

        Raises ``PermanentError`` (``superseded``, ``gone``, ``forbidden``).
        """
        with _translate_errors(self._path):
            self._require_unchanged(self._path.stat())
        if self._fd is not None:
            # A replacement may have the same revision while our open file changed.
            self._require_unchanged(os.fstat(self._fd))

    def close(self) -> None:
        """Close the file; later reads raise ``ValueError``. Idempotent."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _pread(self, offset: int, length: int) -> bytes:
        # Without the lock, close() could free the descriptor for another file meanwhile.
        with self._lock:
            if self._fd is None:
                raise ValueError("read of a closed file")
            return os.pread(self._fd, length, offset)

    def _require_unchanged(self, found: os.stat_result) -> None:
        if _revision(found) != self.revision:
            raise self._superseded()

    def _superseded(self) -> PermanentError:
        return PermanentError(
            Code.SUPERSEDED, f"{_shown(self._path)} has changed since it was found."
        )


class LocalSources:
    """Local recordings: ``source`` is ``local``, ``source_id`` the absolute path.

    The path is percent-encoded where it is not UTF-8 (``shared.core.naming.encode_path``).

    Args:
        root: The folder that ``list`` scans, or ``None``.
        files: Single files, in addition to the folder or instead of one; listed whatever
            their names are.
        exclude: Folders that ``list`` skips with everything below, such as the output
            folder.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        files: Iterable[Path] = (),
        exclude: Iterable[Path] = (),
    ) -> None:
        self._root = root
        self._files = tuple(files)
        self._excluded = frozenset(os.path.realpath(path) for path in exclude)

    def describe(self, path: Path) -> SourceFile:
        """Return the message for a file as it is now.

        Raises ``PermanentError`` (``gone``, ``forbidden``, ``not_a_recording``).
        """
        with _translate_errors(path):
            found = path.stat()
        _require_file(path, found)
        return _describe(path, found)

    def open(self, item: SourceFile) -> LocalFile:
        """Open the revision that ``item`` names; raises ``PermanentError``."""
        return LocalFile(Path(os.fsdecode(decode_path(item.source_id))), item.revision)

    def list(self) -> Iterator[SourceFile]:
        """Yield the named files, then the recordings below the folder.

        Below the folder these are skipped: hidden files and folders, empty files, symbolic
        links, names without an audio or video extension, and the excluded folders. A named
        file or a subfolder that cannot be read is logged and skipped; ``OSError`` is raised
        if the root itself cannot be read.
        """
        for path in self._files:
            try:
                yield self.describe(path)
            except PermanentError as error:
                _log.warning("%s", error)
        if self._root is not None and not self._is_excluded(self._root):
            with os.scandir(self._root):
                pass  # os.walk would silently treat a missing root as empty
            yield from self._found(self._root)

    def _found(self, root: Path) -> Iterator[SourceFile]:
        for folder, folders, names in os.walk(root, onerror=_log_unreadable):
            folders[:] = sorted(name for name in folders if self._enters(folder, name))
            for name in sorted(names):
                path = Path(folder, name)
                found = _recording(path)
                if found is not None:
                    yield _describe(path, found)

    def _is_excluded(self, root: Path) -> bool:
        path = Path(os.path.realpath(root))
        return any(str(parent) in self._excluded for parent in (path, *path.parents))

    def _enters(self, folder: str, name: str) -> bool:
        # The folder was reached without a link, so only the root's own path may contain one.
        path = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - not UTF-8, maybe
        return not name.startswith(".") and path not in self._excluded


def _recording(path: Path) -> os.stat_result | None:
    if path.name.startswith(".") or path.suffix.lower() not in RECORDING_TYPES:
        return None
    try:
        found = path.lstat()
    except OSError:
        return None  # it was removed while the folder was read
    return found if stat.S_ISREG(found.st_mode) and found.st_size else None


def _describe(path: Path, found: os.stat_result) -> SourceFile:
    return SourceFile(
        source=Source.LOCAL,
        source_id=encode_path(os.fsencode(_absolute(path))),
        revision=_revision(found),
        name=_printable(path.name),
        mime_type=mime_type(path.name),
        size_bytes=found.st_size,
        created_at=_time(found.st_mtime),
    )


def _absolute(path: Path) -> Path:
    # Only the file system knows what ".." means after a link; other links keep their names.
    return path.parent.resolve() / path.name if ".." in path.parts else path.absolute()


def _revision(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _LATEST if seconds > 0 else _EARLIEST


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _shown(path: Path) -> str:
    return _printable(str(path))


def _require_file(path: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
    raise PermanentError(Code.NOT_A_RECORDING, f"{_shown(path)} is {what}, not a file.")


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PermanentError(Code.GONE, f"There is no file {_shown(path)}.") from error
    except PermissionError as error:
        raise PermanentError(Code.FORBIDDEN, f"Permission denied: {_shown(path)}.") from error


def _log_unreadable(error: OSError) -> None:
    _log.warning("skipping a folder that cannot be read: %s", error)
