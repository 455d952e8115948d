"""Recordings on this machine: named files, or the files of a watched folder."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shared.core.errors import Code, PermanentError, TransientError
from shared.core.filetypes import RECORDING_TYPES, mime_type
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path, encode_path

#: A revision has the hash of this many bytes at the start, in the middle and at the end.
SAMPLE_BYTES = 64 * 1024

_LATEST = datetime.max.replace(tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)

_log = logging.getLogger(__name__)

# Without O_NONBLOCK, opening a pipe would wait for a writer.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

#: Called with a file or folder that a listing skips, and why.
OnLeftOut = Callable[[Path, str], None]


class LocalFile:
    """The bytes of one revision of one local file, opened once.

    Whatever is put at its path later, a pipe or a link to another file, is not read.

    Args:
        path: The file; a link is not followed.
        revision: Its ``<size>-<hash of three samples>``; ``None`` accepts any.

    Raises ``PermanentError``: ``gone``, ``forbidden``, ``superseded``, and
    ``not_a_recording`` for a directory, a device or a pipe.
    """

    def __init__(self, path: Path, revision: str | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        with _translate_errors(path):
            self._fd: int | None = os.open(path, _OPEN_FLAGS)
            try:
                self._found = os.fstat(self._fd)
                if not stat.S_ISREG(self._found.st_mode):
                    what = "a folder" if stat.S_ISDIR(self._found.st_mode) else "a device or a pipe"
                    message = f"{_shown(path)} is {what}, not a file."
                    raise PermanentError(Code.NOT_A_RECORDING, message)
                size = self._size = self._found.st_size
                digest = hashlib.sha256()
                for offset in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
                    digest.update(self.read(max(0, offset), SAMPLE_BYTES))
                self.revision = f"{size}-{digest.hexdigest()[:32]}"
                if revision is not None and self.revision != revision:
                    raise self._superseded()
            except BaseException:
                self.close()
                raise

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
            # Without the lock, close() could free the descriptor for another file meanwhile.
            with self._lock:
                if self._fd is None:
                    raise ValueError("read of a closed file")
                piece = os.pread(self._fd, wanted, offset)
            if not piece:
                raise self._superseded()
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_unchanged(self) -> None:
        """Compare the file that is at its path now with the revision.

        Raises ``PermanentError`` (``superseded``, ``gone``, ``forbidden``), and
        ``TransientError`` when the file was written to while its revision stayed: bytes
        outside the samples may have changed after they were read.
        """
        with _translate_errors(self._path):
            if _is_same(self._path.lstat(), self._found):
                return
            with closing(LocalFile(self._path)) as now:
                if now.revision != self.revision:
                    raise self._superseded()
        if self._fd is not None and not _is_same(os.fstat(self._fd), self._found):
            raise TransientError(f"{_shown(self._path)} was modified while it was read")

    def close(self) -> None:
        """Close the file; later reads raise ``ValueError``. Idempotent."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def reopen(self) -> int:
        """Return another descriptor of the open file, with a position of its own.

        Linux opens it through ``/proc`` whatever is at the path now; elsewhere the path
        must still lead to the file. Raises ``PermanentError`` (``gone``, ``superseded``).
        """
        with self._lock, _translate_errors(self._path):
            if self._fd is None:
                raise ValueError("the file is closed")
            own = f"/proc/self/fd/{self._fd}"
            if os.path.exists(own):  # noqa: PTH110 - no path of a file
                return os.open(own, os.O_RDONLY | os.O_CLOEXEC)
            fd = os.open(self._path, _OPEN_FLAGS)
            if not os.path.sameopenfile(fd, self._fd):
                os.close(fd)
                raise self._superseded()
            return fd

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
        on_left_out: Called with each empty or unreadable file or folder of a listing.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        files: Iterable[Path] = (),
        exclude: Iterable[Path] = (),
        on_left_out: OnLeftOut = lambda _path, _why: None,
    ) -> None:
        self._root = root
        self._on_left_out = on_left_out
        # The revisions of earlier listings: a watched folder is listed every few seconds.
        self._described: dict[Path, tuple[os.stat_result, SourceFile]] = {}
        self._files = tuple(files)
        self._excluded = frozenset(os.path.realpath(path) for path in exclude)

    def describe(self, path: Path) -> SourceFile:
        """Return the message for a file as it is now.

        Raises ``PermanentError`` (``gone``, ``forbidden``, ``not_a_recording``).
        """
        with _translate_errors(path):
            # A link is followed here, where a person named it, and never later.
            target = path.resolve(strict=True) if path.is_symlink() else path
            found = target.stat()
        before = self._described.get(path)
        if before and _is_same(before[0], found):
            return before[1]
        # Only the file system knows what ".." means after a link; other links keep their names.
        plain = ".." not in target.parts
        absolute = target.absolute() if plain else target.parent.resolve() / target.name
        try:
            changed_at = datetime.fromtimestamp(found.st_mtime, UTC)
        except (ValueError, OverflowError, OSError):
            changed_at = _LATEST if found.st_mtime > 0 else _EARLIEST
        with closing(LocalFile(target)) as file:
            item = SourceFile(
                source=Source.LOCAL,
                source_id=encode_path(os.fsencode(absolute)),
                revision=file.revision,
                name=_printable(path.name),
                mime_type=mime_type(path.name),
                size_bytes=file.size,
                created_at=changed_at,
            )
        self._described[path] = found, item
        return item

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
        yield from self._readable(self._files)
        if self._root is None:
            return
        root = Path(os.path.realpath(self._root))
        if not any(str(parent) in self._excluded for parent in (root, *root.parents)):
            with os.scandir(self._root):
                pass  # os.walk would silently treat a missing root as empty
            yield from self._readable(self._found(self._root))

    def _readable(self, paths: Iterable[Path]) -> Iterator[SourceFile]:
        for path in paths:
            try:
                yield self.describe(path)
            except PermanentError as error:
                if error.code not in (Code.GONE, Code.SUPERSEDED) or path in self._files:
                    self._leave_out(path, "cannot be read")
            except OSError as error:
                self._leave_out(path, f"cannot be read ({error.strerror})")

    def _found(self, root: Path) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            self._leave_out(Path(error.filename), "cannot be read")

        for folder, folders, names in os.walk(root, onerror=unreadable):
            # The folder was reached without a link, so only the root's own path may have one.
            real = os.path.realpath(folder)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and os.path.join(real, name) not in self._excluded  # noqa: PTH118 - not UTF-8, maybe
            )
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(".") or path.suffix.lower() not in RECORDING_TYPES:
                    continue
                try:
                    found = path.lstat()
                except OSError:
                    continue  # it was removed while the folder was read
                if stat.S_ISREG(found.st_mode):
                    if found.st_size:
                        yield path
                    else:
                        self._on_left_out(path, "empty")

    def _leave_out(self, path: Path, why: str) -> None:
        _log.warning("%s %s and is skipped", _shown(path), why)
        self._on_left_out(path, why)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Return whether two looks at a path found the same file, not written to in between."""
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _shown(path: Path) -> str:
    return _printable(str(path))


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PermanentError(Code.GONE, f"There is no file {_shown(path)}.") from error
    except PermissionError as error:
        raise PermanentError(Code.FORBIDDEN, f"Permission denied: {_shown(path)}.") from error
    except OSError as error:
        # ELOOP: a link, by O_NOFOLLOW; ENXIO: a socket (open(2)).
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise PermanentError(Code.GONE, f"{_shown(path)} is no longer a file.") from error
