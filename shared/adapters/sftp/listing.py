"""Finds the audio files below a directory of an SFTP server, whatever the server reports."""

from __future__ import annotations

import logging
import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from shared.adapters.sftp.packets import (
    DISCONNECTED,
    MISSING,
    REFUSED,
    Attributes,
    DirectoryEntry,
    FileType,
    StatusError,
)
from shared.adapters.sftp.server import SftpServer, translate_errors
from shared.adapters.sftp.session import SftpSession
from shared.core.errors import Code, PermanentError, TransientError
from shared.core.filetypes import is_audio_name
from shared.core.naming import encode_path
from shared.core.ports import MAX_PASSED_OVER, PassedOver
from shared.core.sftp_errors import ServerCode, ServerError

#: Limits of one listing: a server can send names for ever, or directories in directories.
MAX_NAMES = 1_000_000
MAX_DEPTH = 32
MAX_S = 1800.0

# The line of `ls -l`: a type, then permissions, of which SolarWinds sends eight
# (github.com/apache/mina-sshd issue 489). Some servers repeat the name instead.
_LONG_NAME = re.compile(rb"([-dlbcps])[-rwxsStT]{8,9}[-rwxsStT+.@ ]\s*", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundFile:
    """An audio file: its path below the root, and its attributes by LSTAT."""

    path: bytes
    attributes: Attributes


@dataclass
class AudioFiles:
    """The audio files below ``root``, listed once.

    Skipped are hidden names, links, devices, names that could lead elsewhere, the
    directory ``exclude``, and names without an audio extension, which are logged and counted
    in ``passed_over``. A directory or file that cannot be read is logged as an error and hides no
    other.
    """

    server: SftpServer
    root: bytes
    exclude: bytes = b""
    passed_over: PassedOver = field(default_factory=PassedOver)
    _names: int = 0
    _deadline: float = field(default_factory=lambda: time.monotonic() + MAX_S)

    def all(self) -> Iterator[FoundFile]:
        """Yield each file once.

        Raises ``ServerError`` (``missing_directory``, ``forbidden_directory``,
        ``listing_limit``) and ``UnreachableError``.
        """
        excluded = self._check_root()
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            for file_type, found in self._entries(folder):
                if file_type is not FileType.DIRECTORY:
                    yield found
                elif found.path == excluded:
                    continue
                elif found.path.count(b"/") + 1 >= MAX_DEPTH:
                    _log.error("skipping %s: it is too deep", encode_path(found.path))
                else:
                    waiting.append(found.path)
        if self.passed_over.count:
            _log.info(
                "files without an audio extension passed over: %d",
                self.passed_over.count,
                extra={"names": self.passed_over.names},
            )

    def _check_root(self) -> bytes | None:
        """Open the root; returns the excluded directory relative to it, if it is below."""
        try:
            real = self.server.call(self._real_root, self.root)
        except PermanentError as error:
            raise self._unusable(error) from error
        if not self.exclude:
            return None
        try:
            excluded = self.server.call(lambda s: s.real_path(self.exclude), self.exclude)
        except PermanentError:
            return None  # it is created with the first file written there
        if real == excluded:
            raise ServerError(
                ServerCode.FORBIDDEN_DIRECTORY,
                "SFTP_MIRROR_PATH leads to the source directory, which is never changed",
            )
        prefix = real.rstrip(b"/") + b"/"
        return excluded.removeprefix(prefix) if excluded.startswith(prefix) else None

    def _real_root(self, session: SftpSession) -> bytes:
        try:
            session.check_directory(self.root)
        except StatusError as error:
            if error.code in MISSING | REFUSED | DISCONNECTED:
                raise
            # FAILURE has no reason; LSTAT may.
            with suppress(StatusError):
                if session.attributes_of(self.root).type is FileType.REGULAR:
                    raise PermanentError(Code.GONE, str(error)) from error
            raise PermanentError(Code.FORBIDDEN, str(error)) from error
        try:
            return session.real_path(self.root)
        except StatusError:
            return posixpath.normpath(self.root)  # a server without REALPATH

    def _unusable(self, error: PermanentError) -> ServerError:
        root = encode_path(self.root)
        if error.code is Code.GONE:
            return ServerError(
                ServerCode.MISSING_DIRECTORY, f"the server has no source directory {root}"
            )
        return ServerError(
            ServerCode.FORBIDDEN_DIRECTORY,
            f"the source directory {root} cannot be read: {error.message}",
        )

    def _entries(self, folder: bytes) -> Iterator[tuple[FileType, FoundFile]]:
        path = posixpath.join(self.root, folder)
        session = self.server.call(lambda session: session, path)
        first: bytes | None = None
        try:
            # Not retried half-way: what was yielded already would come again.
            with translate_errors(path):
                if folder and _is_link(session, path):
                    return  # replaced since its parent was read
                for page in session.pages(path):
                    self._names += len(page)
                    if self._names > MAX_NAMES or time.monotonic() > self._deadline:
                        raise ServerError(
                            ServerCode.LISTING_LIMIT,
                            f"the listing of {encode_path(path)} does not end: stopped after"
                            f" {self._names} names; a run takes {MAX_NAMES} names and"
                            f" {MAX_S:.0f} s at most",
                        )
                    visible = [entry for entry in page if _is_visible(_name(entry.name, path))]
                    if not visible:
                        continue
                    if visible[0].name == first:
                        _log.warning("the listing of %s repeats itself", encode_path(path))
                        return
                    first = first or visible[0].name
                    self._note_others(folder, path, visible)
                    yield from _identified(session, path, folder, visible)
        except (PermanentError, TransientError) as error:
            if session.is_broken:
                raise
            if not folder:
                failure = PermanentError(Code.FORBIDDEN, str(error))
                raise self._unusable(failure) from error
            _log.error("skipping a directory: %s: %s", encode_path(path), error)

    def _note_others(self, folder: bytes, path: bytes, page: list[DirectoryEntry]) -> None:
        """Note the files whose names are not those of audio."""
        files = [_name(one.name, path) for one in page if _type_of(one) is FileType.REGULAR]
        others = [name for name in files if not is_audio_name(shown(name))]
        self.passed_over.count += len(others)
        room = MAX_PASSED_OVER - len(self.passed_over.names)
        self.passed_over.names += [
            encode_path(posixpath.join(folder, one)) for one in others[:room]
        ]


def _is_link(session: SftpSession, path: bytes) -> bool:
    try:
        return session.attributes_of(path).type is FileType.OTHER
    except StatusError as error:
        if error.code in DISCONNECTED:
            raise
        return False  # OPENDIR decides


def _identified(
    session: SftpSession, path: bytes, folder: bytes, page: list[DirectoryEntry]
) -> Iterator[tuple[FileType, FoundFile]]:
    """Yield the directories and audio files of a page, with attributes by LSTAT."""
    named = [(_name(entry.name, path), entry) for entry in page]
    wanted = [
        (name, _type_of(entry)) for name, entry in named if _may_matter(name, _type_of(entry))
    ]
    unknown = [name for name, known in wanted if known is not FileType.DIRECTORY]
    found = dict(
        zip(
            unknown,
            session.attributes_of_all([posixpath.join(path, name) for name in unknown]),
            strict=True,
        )
    )
    for name, listed_type in wanted:
        one = found.get(name, Attributes())
        full = posixpath.join(path, name)
        reported = None if isinstance(one, StatusError) else one.type
        file_type = reported or listed_type
        if file_type is None:
            try:
                session.check_directory(full)
                file_type = FileType.DIRECTORY
            except StatusError as error:
                if error.code in DISCONNECTED:
                    raise
                file_type = FileType.REGULAR
        below = posixpath.join(folder, name)
        if file_type is FileType.DIRECTORY:
            yield file_type, FoundFile(below, Attributes())
        elif file_type is FileType.REGULAR and is_audio_name(shown(name)):
            if isinstance(one, StatusError):
                if one.code in MISSING:
                    continue  # removed since the directory was read
                _log.warning("no attributes of %s: %s", encode_path(full), one)
                one = Attributes()
            yield file_type, FoundFile(below, one)


def _name(name: bytes, folder: bytes) -> bytes:
    """Return a name without the path or the trailing slash that some servers add."""
    prefix = folder.rstrip(b"/") + b"/"
    return name.removeprefix(prefix).removesuffix(b"/")


def _is_visible(name: bytes) -> bool:
    # Only a hostile server sends a name with a slash or a NUL.
    return bool(name) and not name.startswith(b".") and b"/" not in name and b"\0" not in name


def _may_matter(name: bytes, file_type: FileType | None) -> bool:
    if file_type is FileType.REGULAR:
        return is_audio_name(shown(name))
    return file_type is not FileType.OTHER


def _type_of(entry: DirectoryEntry) -> FileType | None:
    if entry.attributes.type is not None:
        return entry.attributes.type
    if entry.name.endswith(b"/"):
        return FileType.DIRECTORY
    match = _LONG_NAME.match(entry.long_name)
    if match is None:
        return None
    types = {b"-": FileType.REGULAR, b"d": FileType.DIRECTORY}
    return types.get(match[1].lower(), FileType.OTHER)


def shown(name: bytes) -> str:
    """Return a name as text, with bytes that are not UTF-8 written out."""
    return name.decode(errors="backslashreplace")
