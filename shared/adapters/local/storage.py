"""Object storage in a directory: plain files that people can browse, with a bucket's guarantees."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import google_crc32c

from shared.adapters.local import directory
from shared.adapters.local.early_copy import EarlyCopy
from shared.adapters.local.modes import create_directory, create_file
from shared.adapters.local.sidecar import (
    HIDDEN,
    UNFINISHED,
    Sidecar,
    Version,
    hidden_path,
    sidecar_path,
)
from shared.adapters.local.vanishing import KnownDirectory
from shared.adapters.objects import (
    check_generation,
    check_lifetime,
    check_name,
    encode_crc32c,
    is_replay,
)
from shared.core.errors import ConfigurationError, ObjectExistsError
from shared.core.ports import StoredObject

#: An unfinished copy that was not written to for this long belongs to a dead process.
ABANDONED_AFTER_S = 3600.0

#: Where the file system has no locks, an unreadable claim this old may be taken over.
_CLAIM_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class _Staged:
    path: Path
    bytes: int
    crc32c: str


class FilesystemStorage:
    """``ports.Storage`` in the directory ``root``, created at the first write.

    A write makes a hidden copy beside the object, ``fsync``, a sidecar (created with
    ``O_EXCL``, which claims the object's name), a rename, and ``fsync`` of the directory.
    The sidecar stores what the file cannot: content type, metadata, checksum, generation.
    A file without a sidecar is an object too, without a key; it is read to describe it.

    A lock on the directory enforces all conditions between processes of one machine. On a
    mount without locks, or one shared by machines, creation is as exclusive as ``O_EXCL``
    is there, and two concurrent replacements of one generation can both succeed. No hard
    links are used. Symbolic links are not listed, and not followed out of ``root``.
    A ``root`` that was there and has gone is never created again (``KnownDirectory``).

    ``fsync=False`` is for tests and scratch directories: a power loss may undo a write.
    """

    def __init__(self, root: Path, fsync: bool = True) -> None:
        self.root = Path(root).absolute()
        self._fsync = fsync
        self._known_root = KnownDirectory(self.root)
        self._swept: set[Path] = set()
        self._early: dict[Path, EarlyCopy[_Staged]] = {}

    def url(self, name: str) -> str:
        """Return the object's ``file://`` address, percent-encoded."""
        return (self.root / check_name(name)).as_uri()

    def put(
        self,
        name: str,
        content: Path | bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] | None = None,
        if_generation: int | None = None,
        cache_control: str = "private, max-age=3600",
    ) -> StoredObject:
        """Write an object whole, under the conditions of ``ports.Storage.put``.

        The content is copied, in 1 MiB of memory. Raises ``TransientError`` if the disk is
        full or ``root`` has gone, ``ObjectExistsError`` also for a directory of that name,
        and ``ValueError`` for a name that is too long for the file system.
        """
        path = self._path(name)
        wanted = Version(
            content_type=content_type,
            cache_control=cache_control,
            metadata=dict(metadata or {}),
        )
        opened = BytesIO(content) if isinstance(content, bytes) else content.open("rb", buffering=0)
        early = self._early.get(content) if isinstance(content, Path) else None
        with opened, directory.translate_errors(name, self.root):
            source = cast(BinaryIO, opened)
            self._make_parent(path)
            ready = early.result() if early and early.directory == path.parent else None
            with (
                nullcontext(ready) if ready else self._staged(path, source) as staged,
                directory.exclusive(path.parent) as is_locked,
            ):
                wanted = replace(wanted, bytes=staged.bytes, crc32c=staged.crc32c)
                return self._commit(path, name, staged, wanted, if_generation, is_locked)

    @contextmanager
    def prepare(self, name: str, content: Path) -> Iterator[None]:
        """Copy the file in the background, to a hidden file in the directory of the object."""
        path = self._path(name)

        def copy(check: Callable[[], None]) -> _Staged:
            self._make_parent(path)
            target = _unfinished_path(path)
            try:
                with content.open("rb", buffering=0) as source:
                    return self._copy(cast(BinaryIO, source), target, check)
            except BaseException:
                target.unlink(missing_ok=True)
                raise

        self._early[content] = early = EarlyCopy(content, path.parent, copy)
        try:
            yield
        finally:
            del self._early[content]
            early.close()

    def stat(self, name: str) -> StoredObject | None:
        """Return the object, or ``None``."""
        return self._describe(self._path(name), name)

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises ``FileNotFoundError``."""
        path = self._path(name)
        if directory.file_status(path) is None:
            raise FileNotFoundError(name)
        return path.open("rb")

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with ``prefix``, sorted by name."""
        parent = prefix.rpartition("/")[0]
        try:
            # The path of a name below it, since only directories may be links that lead out.
            start = self._path(f"{parent}/x").parent if parent else self.root
        except ValueError:  # no object can have such a name
            return
        yield from self._walk(start, f"{parent}/" if parent else "", prefix)

    def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Remove an object; succeeds if there is none. Raises ``ConflictError``."""
        path = self._path(name)
        if not path.parent.is_dir():
            return
        with directory.exclusive(path.parent):
            if if_generation is not None:
                there = self._describe(path, name)
                if there is None:
                    return
                check_generation(name, there, if_generation)
            # The object first: a crash then leaves a claim, which the same key can take over.
            if directory.file_status(path):
                path.unlink(missing_ok=True)
            if not os.path.lexists(path):
                sidecar_path(path).unlink(missing_ok=True)
            self._sync(path.parent)

    def signed_url(self, name: str, lifetime: timedelta) -> str:
        """Return the ``file://`` address, which plays on this machine only."""
        check_lifetime(lifetime)
        return self.url(name)

    def check(self) -> None:
        """Raise unless a file can be written to the directory, which is created if missing.

        ``ConfigurationError`` if that is not permitted, ``TransientError`` if the disk is full
        or the directory was there before and has gone.
        """
        with directory.translate_errors("a test file", self.root):
            self._make_root()
            try:
                with self._staged(self.root / "check", BytesIO(b"x")):
                    pass
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise ConfigurationError([f"{self.root}: {error.strerror}"]) from error
                raise

    # ── names ──

    def _path(self, name: str) -> Path:
        if any(part.startswith(HIDDEN) for part in check_name(name).split("/")):
            raise ValueError(f"a name reserved for the storage itself: {name[:200]!r}")
        path = self.root / name
        parent = Path(os.path.realpath(path.parent))
        if not parent.is_relative_to(os.path.realpath(self.root)):
            raise ValueError(f"a name outside {self.root}: {name[:200]!r}")
        return path

    def _walk(self, where: Path, above: str, prefix: str) -> Iterator[StoredObject]:
        for entry in directory.entries(where, HIDDEN):
            name = above + entry
            if name.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from self._walk(where / entry, name, prefix)
            elif name.startswith(prefix):
                described = self._describe(where / entry, name)
                if described:
                    yield described

    # ── reading ──

    def _describe(self, path: Path, name: str) -> StoredObject | None:
        # The file first, then the sidecar: a writer writes the sidecar first, so the sidecar
        # read here describes the file, unless the file changed again meanwhile.
        status = directory.file_status(path)
        while status is not None:
            sidecar = Sidecar.read(path) or Sidecar()
            version = sidecar.by_status(status)
            if version:
                return version.describe(name)
            crc32c = directory.checksum(path)
            before, status = status, directory.file_status(path)
            if directory.is_same(before, status):
                version = sidecar.by_checksum(before.st_size, crc32c)
                return (version or Version.of_foreign(path, before, crc32c)).describe(name)
        return None

    # ── writing ──

    def _make_root(self) -> None:
        self._known_root.check()
        try:
            self._make_directory(self.root)
            self._known_root.check()
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise ConfigurationError(
                [f"{self.root} cannot be used as a directory: {error.strerror}"]
            ) from error

    def _make_parent(self, path: Path) -> None:
        """Create the directory of an object, and remove what dead processes left there."""
        self._make_root()
        self._make_directory(path.parent)
        if path.parent not in self._swept:
            self._swept.add(path.parent)
            for entry in path.parent.iterdir():
                if entry.name.startswith(HIDDEN) and entry.name.endswith(UNFINISHED):
                    directory.remove_older(entry, ABANDONED_AFTER_S)

    def _make_directory(self, path: Path) -> None:
        missing = []
        while not path.is_dir():
            missing.append(path)
            if path == path.parent:
                break
            path = path.parent
        for one in reversed(missing):
            create_directory(one)
        # After the last one, since the first of these often writes what the others ask for.
        for one in missing:
            self._sync(one.parent)

    @contextmanager
    def _staged(self, path: Path, source: BinaryIO) -> Iterator[_Staged]:
        staged = _unfinished_path(path)
        try:
            yield self._copy(source, staged)
        finally:
            staged.unlink(missing_ok=True)  # after a successful rename it is gone already

    def _copy(
        self, source: BinaryIO, target: Path, check: Callable[[], None] = lambda: None
    ) -> _Staged:
        size = crc = 0
        with open(target, "xb", opener=create_file) as file:
            while block := source.read(directory.BLOCK):
                check()
                file.write(block)
                crc = google_crc32c.extend(crc, block)
                size += len(block)
            file.flush()
            check()
            if self._fsync:
                os.fsync(file.fileno())
        return _Staged(target, size, encode_crc32c(crc))

    def _commit(
        self,
        path: Path,
        name: str,
        staged: _Staged,
        wanted: Version,
        if_generation: int | None,
        is_locked: bool,
    ) -> StoredObject:
        while True:
            there, before = self._describe(path, name), Sidecar.read(path)
            if there and if_generation == 0 and is_replay(there, wanted.metadata, wanted.crc32c):
                return there
            if if_generation:
                check_generation(name, there, if_generation)
            elif if_generation == 0 and (
                os.path.lexists(path) or not _is_free(before, path, wanted, is_locked)
            ):
                raise ObjectExistsError(name)
            # The generation is the time of the write, always increasing, and becomes the
            # file's mtime, so that size and mtime identify the sidecar's version of it.
            used = max(there.generation if there else 0, before.generation if before else 0)
            generation = max(time.time_ns(), used + 1)
            os.utime(staged.path, ns=(generation, generation))
            mtime_ns = staged.path.stat().st_mtime_ns
            stamped = replace(wanted, generation=generation, mtime_ns=mtime_ns)
            kept = before.only(there.generation) if there and before else ()
            if not self._claim(path, Sidecar((stamped, *kept)), new=before is None):
                continue
            self._sync(path.parent)
            try:
                staged.path.replace(path)
            except OSError:
                if before is None:
                    sidecar_path(path).unlink(missing_ok=True)  # give the claimed name back
                raise
            self._sync(path.parent)
            return stamped.describe(name)

    def _claim(self, path: Path, sidecar: Sidecar, *, new: bool) -> bool:
        content = BytesIO(sidecar.encode(path))
        if not new:
            with self._staged(path, content) as staged:
                staged.path.replace(sidecar_path(path))
            return True
        try:
            self._copy(content, sidecar_path(path))
        except FileExistsError:  # only without locks: another writer was faster
            return False
        except OSError:
            sidecar_path(path).unlink(missing_ok=True)
            raise
        return True

    def _sync(self, where: Path) -> None:
        if self._fsync:
            directory.sync(where)


def _unfinished_path(path: Path) -> Path:
    return hidden_path(path, f".{secrets.token_hex(8)}{UNFINISHED}")


def _is_free(sidecar: Sidecar | None, path: Path, wanted: Version, is_locked: bool) -> bool:
    if sidecar is None:
        return True
    if sidecar.versions:
        return sidecar.key == wanted.metadata.get("key")
    # With the lock, no other process is writing this claim: its writer is dead.
    return is_locked or time.time() - sidecar_path(path).stat().st_mtime > _CLAIM_TIMEOUT_S
