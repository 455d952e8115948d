"""Files of SFTP servers that are unlike OpenSSH, as clients' bug trackers describe them."""

# Paths here are bytes, which pathlib does not accept.
# ruff: noqa: PTH112, PTH114, PTH116, PTH118

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.sftp_compress.nightly import Nightly
from shared.adapters.memory import MemoryQueue
from shared.adapters.sftp.packets import Kind, SftpStatus
from shared.adapters.sftp.sources import SftpSources
from shared.bootstrap import Services
from shared.core.errors import Code, PermanentError
from shared.core.sftp_errors import ProtocolError, ServerCode, ServerError
from shared.tracking.claim import Claim
from tests.sftp_quirks import PASSWORD, At, Attrs, RefusedError, Sftp, quirky

pytestmark = pytest.mark.timeout(120)

LONG_AGO = 1_700_000_000
CONTENT = {
    "a.wav": os.urandom(300_001),
    "sub/b.mp3": os.urandom(70_000),
    "sub/deep/dance.wav": os.urandom(10),
    "-rw/lounge.wav": b"12345",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
    (tmp_path / "notes.txt").write_text("no audio")
    return tmp_path


def read_all(at: At, root: str = "/") -> dict[str, bytes]:
    """List, open, read and check every file, as a worker does."""
    with at.sources(root) as sources:
        items = list(sources.list())
        assert [item.key for item in items] == [item.key for item in sources.list()]
        found = {}
        for item in items:
            with closing(sources.open(item)) as file:
                found[item.source_id] = file.read(0, file.size)
                file.check_unchanged()
    return found


def without_type(one: Attrs) -> Attrs:
    return replace(one, mode=None if one.mode is None else stat.S_IMODE(one.mode))


# Servers whose replies lack or contradict something.


class NoTypes(Sftp):
    """Permissions only, and a line that starts with a question mark."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return without_type(super().attributes(kind, path))

    def long_name(self, name: bytes, path: bytes) -> bytes:
        return b"?--------- 1 0 0 1 Jan 1 00:00 " + name


class NoTypesShortLine(NoTypes):
    """SolarWinds: eight permissions in the line."""

    def long_name(self, name: bytes, path: bytes) -> bytes:
        is_directory = stat.S_ISDIR(os.stat(self.local(path)).st_mode)
        return (b"drw-rw-rw" if is_directory else b"-rw-rw-rw") + b"   1 root root 1 " + name


class NoTypesNoLine(NoTypes):
    """The line is the name, which may look like a type."""

    def long_name(self, name: bytes, path: bytes) -> bytes:
        return name


class NoModes(NoTypes):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return replace(super().attributes(kind, path), mode=None)


class BareListing(Sftp):
    """READDIR sends names alone."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        if kind == Kind.READDIR:
            return Attrs(None, None, None)
        return super().attributes(kind, path)

    def long_name(self, name: bytes, path: bytes) -> bytes:
        return b""


class OtherTimesInListing(Sftp):
    """READDIR rounds times to minutes, and FSTAT knows none."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        one = super().attributes(kind, path)
        if kind == Kind.READDIR:
            return replace(one, mtime=(one.mtime or 0) // 60 * 60)
        return replace(one, mtime=None) if kind == Kind.FSTAT else one


class OtherSizesInListing(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        one = super().attributes(kind, path)
        return replace(one, size=0) if kind in (Kind.READDIR, Kind.FSTAT) else one


class NoFstat(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        if kind == Kind.FSTAT:
            raise RefusedError(SftpStatus.FAILURE)
        return super().attributes(kind, path)


class NoLstat(Sftp):
    code: int = SftpStatus.OP_UNSUPPORTED

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        if kind == Kind.LSTAT:
            raise RefusedError(self.code)
        return super().attributes(kind, path)


class FailingLstat(NoLstat):
    code = SftpStatus.FAILURE


class NoStats(NoTypes):
    """Neither LSTAT, STAT nor FSTAT, and no types."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        if kind != Kind.READDIR:
            raise RefusedError(SftpStatus.OP_UNSUPPORTED)
        return super().attributes(kind, path)


class PoorLstat(Sftp):
    """LSTAT leaves out what STAT has."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        one = super().attributes(kind, path)
        return replace(one, size=None, mtime=None) if kind == Kind.LSTAT else one


class NoTimes(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return replace(super().attributes(kind, path), mtime=None)


class ZeroTimes(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return replace(super().attributes(kind, path), mtime=0)


class NoSizes(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return replace(super().attributes(kind, path), size=None)


class NothingKnown(NoTypes):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        super().attributes(kind, path)
        return Attrs(None, None, None)


class SmallerThanContent(Sftp):
    """A server that decrypts while reading, and reports the size on its disk."""

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        one = super().attributes(kind, path)
        return replace(one, size=(one.size or 0) // 2)


class LargerThanContent(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        one = super().attributes(kind, path)
        return replace(one, size=(one.size or 0) + 4096)


class ZeroSizes(Sftp):
    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return replace(super().attributes(kind, path), size=0)


class NoRealPath(Sftp):
    def real_path(self, path: bytes) -> bytes:
        raise RefusedError(SftpStatus.OP_UNSUPPORTED)


class FailurePastTheEnd(Sftp):
    def read(self, file: Any, offset: int, length: int) -> bytes:
        data = super().read(file, offset, length)
        if not data:
            raise RefusedError(SftpStatus.FAILURE)
        return data


class EmptyFoldersAreMissing(Sftp):
    """Its directories end with NO_SUCH_FILE."""

    def _names(self, path: bytes, names: Iterator[bytes]) -> bytes:
        try:
            return super()._names(path, names)
        except RefusedError:
            raise RefusedError(SftpStatus.NO_SUCH_FILE) from None


class OpensAnything(NoTypes):
    """AsyncSSH's server finds out what it opened when it is read."""

    def open_folder(self, path: bytes) -> Any:
        return self.late(path)

    def late(self, path: bytes) -> Iterator[bytes]:
        yield from super().open_folder(path)


class WholePaths(Sftp):
    """READDIR sends paths, with a slash after a directory's."""

    def names(self, path: bytes) -> Iterator[bytes]:
        for name in super().names(path):
            full = os.path.join(path, name)
            yield full + b"/" if os.path.isdir(self.local(full)) else full


class ReadsInOrder(Sftp):
    """Rejects a read that does not start where the last one ended, if others wait."""

    def serve(self) -> None:
        self.ends: dict[int, int] = {}
        super().serve()

    def read(self, file: Any, offset: int, length: int) -> bytes:
        if length > 1 and self.channel.recv_ready():
            raise RefusedError(SftpStatus.FAILURE)
        return super().read(file, offset, length)


class ShortReads(Sftp):
    def read(self, file: Any, offset: int, length: int) -> bytes:
        return super().read(file, offset, min(length, 1000 + offset % 3000))


class OneHandle(Sftp):
    """A second open file is refused."""

    def open_file(self, path: bytes) -> Any:
        if any(hasattr(opened, "seek") for _, opened in self.files.values()):
            raise RefusedError(SftpStatus.FAILURE)
        return super().open_file(path)


class OldVersion(Sftp):
    version = 2


@pytest.mark.parametrize(
    "sftp",
    [
        Sftp, NoTypes, NoTypesShortLine, NoTypesNoLine, NoModes, BareListing,
        OtherTimesInListing, OtherSizesInListing, NoFstat, NoLstat, FailingLstat, NoStats,
        PoorLstat, NoTimes, ZeroTimes, NoSizes, NothingKnown, SmallerThanContent,
        LargerThanContent, ZeroSizes, NoRealPath, FailurePastTheEnd, EmptyFoldersAreMissing,
        OpensAnything, WholePaths, ReadsInOrder, ShortReads, OneHandle, OldVersion,
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["/", "sub"])
def test_every_file_is_found_and_read(root: Path, sftp: type[Sftp], folder: str) -> None:
    prefix = "" if folder == "/" else f"{folder}/"
    wanted = {n.removeprefix(prefix): c for n, c in CONTENT.items() if n.startswith(prefix)}
    with quirky(root, sftp) as at:
        assert read_all(at, folder) == wanted


@pytest.mark.parametrize("sftp", [Sftp, NoTypesShortLine, BareListing, OtherTimesInListing])
def test_links_stay_out(root: Path, sftp: type[Sftp]) -> None:
    (root / "link.wav").symlink_to(root / "a.wav")
    (root / "loop").symlink_to(root)

    class Links(sftp):  # type: ignore[misc, valid-type]
        def long_name(self, name: bytes, path: bytes) -> bytes:
            if os.path.islink(self.local(path)):
                return b"lrwxrwxrwx 1 0 0 1 " + name
            return bytes(super().long_name(name, path))

    with quirky(root, Links) as at:
        assert read_all(at) == CONTENT


def test_files_without_an_audio_extension_are_named(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "sub/call.sln").write_bytes(b"raw")
    caplog.set_level(logging.INFO)

    with quirky(root, Sftp) as at, at.sources() as sources:
        assert len(list(sources.list())) == len(CONTENT)

    [record] = [one for one in caplog.records if "passed over" in one.message]
    assert record.message.endswith(": 2")
    assert record.names == ["notes.txt", "sub/call.sln"]  # type: ignore[attr-defined]


def test_a_server_without_times_is_named_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with quirky(root, NoTimes) as at, at.sources() as sources:
        revisions = {item.source_id: item.revision for item in sources.list()}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "no modification time" in warning
    assert revisions["a.wav"].startswith("300001-")


@pytest.mark.parametrize("place", [0, 150_000, 300_000])
def test_a_changed_file_without_a_time_is_another_revision(root: Path, place: int) -> None:
    with quirky(root, NoTimes) as at, at.sources() as sources:
        before = {item.source_id: item for item in sources.list()}
        with closing(sources.open(before["a.wav"])) as file:
            content = bytearray(CONTENT["a.wav"])
            content[place] ^= 1
            (root / "a.wav").write_bytes(content)
            with pytest.raises(PermanentError) as raised:
                file.check_unchanged()
            assert raised.value.code is Code.SUPERSEDED
        after = {item.source_id: item for item in sources.list()}
        assert before["a.wav"].key != after["a.wav"].key
        assert before["sub/b.mp3"].key == after["sub/b.mp3"].key


# Folders that cannot be listed.

BAD_CODES = [
    SftpStatus.FAILURE, SftpStatus.OP_UNSUPPORTED, SftpStatus.PERMISSION_DENIED,
    SftpStatus.BAD_MESSAGE, SftpStatus.NO_SUCH_FILE, 31, 999,
]  # fmt: skip


def bad_folder(code: int, where: bytes, *, late: bool) -> type[Sftp]:
    class BadFolder(Sftp):
        page = 1

        def open_folder(self, path: bytes) -> Any:
            names = super().open_folder(path)
            if path.endswith(where) and not late:
                raise RefusedError(code)
            return self.broken(names) if path.endswith(where) else names

        def broken(self, names: Iterator[bytes]) -> Iterator[bytes]:
            yield next(names)
            raise RefusedError(code)

    return BadFolder


@pytest.mark.parametrize("code", BAD_CODES)
@pytest.mark.parametrize("late", [False, True])
def test_one_bad_folder_hides_no_other(
    root: Path, code: int, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with quirky(root, bad_folder(code, b"/deep", late=late)) as at:
        start = time.monotonic()
        found = read_all(at)
        assert time.monotonic() - start < 5
    assert set(CONTENT) - set(found) <= {"sub/deep/dance.wav"}
    if not late:
        assert any("deep" in r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR)


@pytest.mark.parametrize("code", BAD_CODES)
def test_a_bad_source_directory_is_an_error_at_once(root: Path, code: int) -> None:
    with quirky(root, bad_folder(code, b"sub", late=False)) as at, at.sources("sub") as sources:
        start = time.monotonic()
        with pytest.raises(ServerError) as raised:
            list(sources.list())
        assert time.monotonic() - start < 5
    missing = code == SftpStatus.NO_SUCH_FILE
    wanted = ServerCode.MISSING_DIRECTORY if missing else ServerCode.FORBIDDEN_DIRECTORY
    assert raised.value.code is wanted


def test_an_unsupported_open_is_permanent(root: Path) -> None:
    class NoOpen(Sftp):
        def open_file(self, path: bytes) -> Any:
            raise RefusedError(SftpStatus.OP_UNSUPPORTED)

    with quirky(root, NoOpen) as at, at.sources() as sources:
        item = next(iter(sources.list()))
        with pytest.raises(PermanentError) as raised:
            sources.open(item)
    assert raised.value.code is Code.FORBIDDEN


# Servers that mean harm, or are broken.


class EndlessNames(Sftp):
    def names(self, path: bytes) -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            yield b"%d.txt" % number

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        mode = stat.S_IFDIR if path in (b"/", b"") else stat.S_IFREG
        return Attrs(1, mode | 0o644, LONG_AGO)

    def long_name(self, name: bytes, path: bytes) -> bytes:
        return b"-rw-r--r-- 1 0 0 1 " + name


class NestedForEver(Sftp):
    def names(self, path: bytes) -> Iterator[bytes]:
        yield b"again"

    def open_folder(self, path: bytes) -> Any:
        return self.names(path)

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        return Attrs(1, stat.S_IFDIR | 0o755, LONG_AGO)

    def long_name(self, name: bytes, path: bytes) -> bytes:
        return b"drwxr-xr-x 1 0 0 1 " + name


class Repeats(Sftp):
    """Never ends a directory."""

    def names(self, path: bytes) -> Iterator[bytes]:
        while True:
            page = [b".", *super().names(path)]
            yield from page + [b"."] * (self.page - len(page))


def test_names_without_end_stop_at_a_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.adapters.sftp.listing.MAX_NAMES", 5_000)
    with (
        quirky(root, EndlessNames) as at,
        at.sources() as sources,
        pytest.raises(ServerError, match="does not end") as raised,
    ):
        list(sources.list())
    assert raised.value.code is ServerCode.LISTING_LIMIT


def test_directories_nested_for_ever_stop_at_a_limit(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with quirky(root, NestedForEver) as at, at.sources() as sources:
        assert list(sources.list()) == []
    assert "too deep" in caplog.text


def test_a_listing_that_repeats_itself_is_taken_once(root: Path) -> None:
    with quirky(root, Repeats) as at:
        assert read_all(at) == CONTENT


class MoreThanAsked(Sftp):
    def read(self, file: Any, offset: int, length: int) -> bytes:
        return super().read(file, offset, length) + b"x" * 100


class NewVersion(Sftp):
    version = 6


class Greeting(Sftp):
    def serve(self) -> None:
        self.channel.sendall(b"Welcome to the machine of the accounts department!\n")
        super().serve()


class HugePacket(Sftp):
    def send(self, packet: bytes) -> None:
        self.channel.sendall(b"\x7f\xff\xff\xff" + packet)


@pytest.mark.parametrize("sftp", [MoreThanAsked, NewVersion, Greeting, HugePacket])
def test_a_broken_protocol_is_reported_at_once(root: Path, sftp: type[Sftp]) -> None:
    with quirky(root, sftp) as at, at.sources() as sources:
        start = time.monotonic()
        with pytest.raises(ProtocolError):
            [sources.open(item) for item in sources.list()]
        assert time.monotonic() - start < 5


def test_a_server_that_trickles_runs_into_a_limit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.sftp.session.SLOW_READ_S", 3.0)
    waits = threading.Event()

    class Trickles(Sftp):
        def read(self, file: Any, offset: int, length: int) -> bytes:
            if length > 1:
                waits.wait(0.02)  # ten bytes take a fifth of a second, 70,000 take minutes
            return super().read(file, offset, 1)

    with quirky(root, Trickles) as at, at.sources() as sources:
        items = {item.source_id: item for item in sources.list()}
        with closing(sources.open(items["sub/deep/dance.wav"])) as file:
            assert file.read(0, file.size) == CONTENT["sub/deep/dance.wav"]
        with (
            closing(sources.open(items["sub/b.mp3"])) as file,
            pytest.raises(PermanentError) as raised,
        ):
            file.read(0, file.size)
        assert raised.value.code is Code.TIMEOUT
        with closing(sources.open(items["-rw/lounge.wav"])) as file:
            assert file.read(0, file.size) == CONTENT["-rw/lounge.wav"]


# A server whose every answer differs.


class EverNewTimes(Sftp):
    """Reports the moment of the request, as some virtual file systems do."""

    moment = LONG_AGO

    def attributes(self, kind: Kind, path: bytes) -> Attrs:
        type(self).moment += 1
        return replace(super().attributes(kind, path), mtime=self.moment)


def test_a_run_in_which_every_file_was_superseded_fails(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "a.wav").write_bytes(CONTENT["a.wav"])
    with quirky(served, EverNewTimes) as at:
        credentials = {"username": "ann", "password": PASSWORD, "known_hosts": at.known_hosts}
        done = subprocess.run(
            [Path(sys.executable).with_name("audio-pipeline"), "compress"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "SFTP_CREDENTIALS": json.dumps(credentials),
                "SFTP_HOST": "127.0.0.1",
                "SFTP_PORT": str(at.port),
                "SFTP_REMOTE_PATH": "/",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "differed from its listing" in " ".join(done.stderr.split())


def nightly(at: At, services: Services) -> Nightly:
    return Nightly(
        sources=SftpSources(at.server(), "/"),
        tracker=services.tracker,
        queue=MemoryQueue(),
        settle=timedelta(0),
    )


def test_a_night_after_one_in_which_every_file_was_superseded_fails(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    services = Services.from_environment(
        {"TRACKER_URL": f"sqlite:///{tmp_path_factory.mktemp('tracker')}/tracker.db"}
    )
    with quirky(root) as at:
        first = nightly(at, services)
        assert first.run()["queued"] == len(CONTENT)
        for item in first.sources.list():
            claim = services.tracker.claim(item)
            assert isinstance(claim, Claim)
            claim.fail(PermanentError(Code.SUPERSEDED, "it changed"))
        with pytest.raises(ServerError) as raised:
            nightly(at, services).run()
        assert raised.value.code is ServerCode.INCONSISTENT
