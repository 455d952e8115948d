"""Files on OpenSSH's SFTP server: found under any name, and read byte for byte."""

from __future__ import annotations

import gc
import logging
import os
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from paramiko import SSHException

from cli.demo import sftp_standin
from shared.adapters.sftp.packets import Attributes
from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.sources import SftpSources
from shared.config.parsers import SftpCredentials
from shared.config.secret import Secret
from shared.core.errors import Code, PermanentError, PipelineError
from shared.core.message import SourceFile
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.media.source.range_server import serve
from tests.services import until
from tests.sftp import Sshd, sshd, sshd_running  # noqa: F401 - a fixture

# A thread of paramiko logs a broken connection when it ends.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shared_sshd() -> Iterator[Sshd]:
    """One server for tests that do not stop it and keep to their own folder."""
    with sshd_running() as server:
        yield server


@pytest.fixture
def folder(shared_sshd: Sshd, request: pytest.FixtureRequest) -> Path:
    """A directory of the server's for this test alone."""
    path = shared_sshd.root / re.sub(r"\W", "_", request.node.name)
    path.mkdir()
    return path


def listed(server: Sshd, folder: Path, exclude: str = "") -> dict[str, SourceFile]:
    with server.sources(root=str(folder), exclude=exclude) as sources:
        items = list(sources.list())
    found = {item.source_id: item for item in items}
    assert len(found) == len(items)
    return found


def only(server: Sshd, folder: Path) -> SourceFile:
    (item,) = listed(server, folder).values()
    return item


def server_code(error: PipelineError) -> ServerCode:
    assert isinstance(error, ServerError | UnreachableError)
    return error.code


# What is found.


def test_sound_is_found_below_the_directory_and_nothing_else(
    shared_sshd: Sshd, folder: Path
) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "Deep one.WAV").write_bytes(b"12345")
    (folder / "top.mp3").write_bytes(b"1")
    for name in ("notes.txt", ".hidden.wav", "film.mp4", "no-extension"):
        (folder / name).write_bytes(b"1")
    os.utime(folder / "top.mp3", (1_700_000_000, 1_700_000_000))

    found = listed(shared_sshd, folder)

    assert set(found) == {"a/b/Deep one.WAV", "top.mp3"}
    item = found["top.mp3"]
    assert (item.revision, item.size_bytes, item.mime_type) == ("1-1700000000", 1, "audio/mpeg")
    assert item.created_at.timestamp() == 1_700_000_000


def test_links_are_not_followed_and_a_loop_ends(shared_sshd: Sshd, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "one.wav").write_bytes(b"1")
    (folder / "real" / "loop").symlink_to(folder)
    (folder / "alias.wav").symlink_to(folder / "real" / "one.wav")
    (folder / "dangling.wav").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.wav")

    assert set(listed(shared_sshd, folder)) == {"real/one.wav"}


ODD_NAMES = [
    b"plain.wav",
    b"with space.wav",
    b"with'quote\".wav",
    b"new\nline.wav",
    b"caf\xe9.wav",
    b"\xff\xfe.wav",
    b"100%41.wav",
    "Grüße 会议 🎙.wav".encode(),
    b"a..wav",
    b"$(reboot);`id`.wav",
    b"-rf.wav",
    b"back\\slash.wav",
]


def test_names_of_any_bytes_are_found_and_read(shared_sshd: Sshd, folder: Path) -> None:
    odd_folder = folder / os.fsdecode(b"dir\xe9")
    odd_folder.mkdir()
    for index, name in enumerate(ODD_NAMES):
        for place in (folder, odd_folder):
            (place / os.fsdecode(name)).write_text(str(index))

    with shared_sshd.sources(root=str(folder)) as sources:
        read = []
        for item in sources.list():
            with closing(sources.open(item)) as source:
                read.append(int(source.read(0, 100)))

    assert sorted(read) == sorted([*range(len(ODD_NAMES))] * 2)


def test_a_directory_that_grows_is_listed_by_pages(shared_sshd: Sshd, folder: Path) -> None:
    for index in range(1500):
        (folder / f"{index:05}-{'x' * 60}.wav").touch()
    with shared_sshd.sources(root=str(folder)) as sources:
        # Objects are counted, not bytes: Python's table of interned strings may grow meanwhile,
        # by 4 MB at once.
        before = attributes_in_memory()
        counts = [
            attributes_in_memory() - before
            for index, _ in enumerate(sources.list())
            if index % 500 == 499
        ]
    assert len(counts) == 3
    assert max(counts) < 500  # OpenSSH sends pages of 100


def attributes_in_memory() -> int:
    return sum(isinstance(item, (Attributes, SourceFile)) for item in gc.get_objects())


def test_a_mirror_below_the_source_is_skipped(shared_sshd: Sshd, folder: Path) -> None:
    for name in ("sub/mirror", "sub/mirrored", "other"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.wav").write_bytes(b"1")
    (folder.parent / f"{folder.name}-link").symlink_to(folder)

    for mirror in (folder / "sub" / "mirror", folder.parent / f"{folder.name}-link/sub/mirror"):
        found = listed(shared_sshd, folder, exclude=str(mirror))
        assert set(found) == {"sub/mirrored/x.wav", "other/x.wav"}
    elsewhere = listed(shared_sshd, folder / "sub", exclude=str(folder / "other"))
    assert set(elsewhere) == {"mirror/x.wav", "mirrored/x.wav"}


def test_a_mirror_that_leads_to_the_source_is_refused(shared_sshd: Sshd, folder: Path) -> None:
    link = folder.parent / f"{folder.name}-link"
    link.symlink_to(folder)
    with pytest.raises(ServerError, match="leads to the source"):
        listed(shared_sshd, folder, exclude=str(link))


def test_a_directory_that_may_not_be_read_hides_no_other(
    shared_sshd: Sshd, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "locked", "z"):
        (folder / name).mkdir()
        (folder / name / "x.wav").write_bytes(b"1")
    (folder / "locked").chmod(0)

    assert set(listed(shared_sshd, folder)) == {"a/x.wav", "z/x.wav"}

    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "locked" in record.getMessage()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _: None, ServerCode.MISSING_DIRECTORY),
        (lambda path: path.write_bytes(b""), ServerCode.MISSING_DIRECTORY),
        (lambda path: path.mkdir(mode=0), ServerCode.FORBIDDEN_DIRECTORY),
    ],
    ids=["missing", "a file", "locked"],
)
def test_a_source_directory_that_cannot_be_used_is_an_error(
    shared_sshd: Sshd, folder: Path, make: object, code: ServerCode
) -> None:
    make(folder / "source")  # type: ignore[operator]
    with pytest.raises(ServerError) as raised:
        listed(shared_sshd, folder / "source")
    assert raised.value.code is code


# What is read.


def test_every_range_has_the_bytes_of_the_file(shared_sshd: Sshd, folder: Path) -> None:
    content = os.urandom(3_000_001)
    (folder / "x.wav").write_bytes(content)
    with shared_sshd.sources(root=str(folder)) as sources:
        with closing(sources.open(next(iter(sources.list())))) as source:
            assert source.size == len(content)
            for start, length in [(0, 1), (0, 4 << 20), (131_071, 131_074), (2_999_999, 99)]:
                assert source.read(start, length) == content[start : start + length]
            assert source.read(len(content), 5) == b""
            assert source.read(0, 0) == b""
            source.check_unchanged()
        with pytest.raises(ValueError, match="closed"):
            source.read(0, 1)
        source.close()


def test_threads_share_a_file_and_a_connection(shared_sshd: Sshd, folder: Path) -> None:
    content = os.urandom(8 << 20)
    (folder / "x.wav").write_bytes(content)
    wrong: list[int] = []
    with shared_sshd.sources(root=str(folder)) as sources:
        item = next(iter(sources.list()))
        with closing(sources.open(item)) as source:

            def read(offset: int) -> None:
                if source.read(offset, 1 << 20) != content[offset : offset + (1 << 20)]:
                    wrong.append(offset)

            threads = [threading.Thread(target=read, args=(n << 20,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert shared_sshd.connections() == 1
    assert not wrong


def change(path: Path) -> None:
    path.write_bytes(b"other content")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (change, Code.SUPERSEDED),
        (lambda path: os.utime(path, (1, 1)), Code.SUPERSEDED),
        (Path.unlink, Code.GONE),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), Code.GONE),
        (lambda path: (path.unlink(), path.mkdir()), Code.GONE),
    ],
    ids=["content", "time", "deleted", "a link", "a directory"],
)
def test_another_revision_is_reported(
    shared_sshd: Sshd, folder: Path, damage: object, code: Code
) -> None:
    path = folder / "x.wav"
    path.write_bytes(b"content")
    item = only(shared_sshd, folder)
    with shared_sshd.sources(root=str(folder)) as sources:
        with closing(sources.open(item)) as source:
            damage(path)  # type: ignore[operator]
            with pytest.raises(PermanentError) as raised:
                source.check_unchanged()
            assert raised.value.code is code
        with pytest.raises(PermanentError) as raised:
            sources.open(item)
        assert raised.value.code is code


def test_a_file_that_becomes_shorter_is_superseded(shared_sshd: Sshd, folder: Path) -> None:
    path = folder / "x.wav"
    path.write_bytes(bytes(1000))
    item = only(shared_sshd, folder)
    with shared_sshd.sources(root=str(folder)) as sources, closing(sources.open(item)) as source:
        os.truncate(path, 10)
        with pytest.raises(PermanentError) as raised:
            source.read(0, 1000)
    assert raised.value.code is Code.SUPERSEDED


def test_a_file_that_may_not_be_read_is_forbidden(shared_sshd: Sshd, folder: Path) -> None:
    (folder / "x.wav").write_bytes(b"1")
    (folder / "x.wav").chmod(0)
    item = only(shared_sshd, folder)
    with shared_sshd.sources(root=str(folder)) as sources, pytest.raises(PermanentError) as raised:
        sources.open(item)
    assert raised.value.code is Code.FORBIDDEN


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/x.wav", "a/../../x.wav", "a//b.wav", "."])
def test_no_message_leads_out_of_the_source_directory(
    shared_sshd: Sshd, folder: Path, path: str
) -> None:
    (folder / "x.wav").write_bytes(b"1")
    item = only(shared_sshd, folder)
    outside = SourceFile(**{**vars(item), "source_id": path})
    with shared_sshd.sources(root=str(folder)) as sources, pytest.raises(PermanentError) as raised:
        sources.open(outside)
    assert raised.value.code is Code.FORBIDDEN


# Broken lines.


def test_reading_goes_on_where_the_server_was_killed(sshd: Sshd) -> None:  # noqa: F811
    content = os.urandom(64 << 20)
    (sshd.root / "x.wav").write_bytes(content)
    with sshd.sources() as sources, closing(sources.open(next(iter(sources.list())))) as source:
        read = bytearray()
        for step in range(64):
            if step in (10, 40):
                threading.Thread(target=restart, args=(sshd,)).start()
            read += source.read(len(read), 1 << 20)
        source.check_unchanged()
    assert read == content


def restart(server: Sshd) -> None:
    server.kill()
    server.start()


def test_a_revision_that_changed_while_disconnected_is_reported(sshd: Sshd) -> None:  # noqa: F811
    path = sshd.root / "x.wav"
    path.write_bytes(bytes(100))
    with sshd.sources() as sources, closing(sources.open(next(iter(sources.list())))) as source:
        sshd.kill()
        path.write_bytes(bytes(200))
        sshd.start()
        with pytest.raises(PermanentError) as raised:
            source.read(0, 100)
    assert raised.value.code is Code.SUPERSEDED


def test_a_server_that_stays_away_is_transient_in_time(sshd: Sshd) -> None:  # noqa: F811
    (sshd.root / "x.wav").write_bytes(bytes(100))
    server = sshd.server(retry_s=1.0)
    sources = SftpSources(server, str(sshd.root))
    with closing(sources.open(next(iter(sources.list())))) as source:
        sshd.kill()
        start = time.monotonic()
        with pytest.raises(UnreachableError):
            source.read(0, 100)
    assert time.monotonic() - start < 10
    server.close()


def test_an_idle_connection_is_given_back(
    sshd: Sshd,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.adapters.sftp.server.IDLE_S", 0.2)
    (sshd.root / "x.wav").write_bytes(b"1")
    with sshd.sources() as sources:
        list(sources.list())
        assert sshd.connections() == 1
        until(lambda: not sshd.connections(), what="the end of the connection")
        assert len(list(sources.list())) == 1


# Authentication, and the server's identity.


@pytest.mark.parametrize("error", [EOFError(), SSHException("timed out"), OSError(9, "x")])
def test_closing_a_connection_whose_transport_is_dead_raises_nothing(
    sshd: Sshd,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """An idle connection is closed by a timer, where nothing would catch the error."""
    escaped: list[BaseException | None] = []
    monkeypatch.setattr("threading.excepthook", lambda args: escaped.append(args.exc_value))
    monkeypatch.setattr("shared.adapters.sftp.server.IDLE_S", 0.2)

    def die(_: object) -> None:
        raise error

    server = sshd.server()
    server.call(lambda session: session.real_path(b"."), b".")
    connection = server._connection
    assert connection
    connection._transport._send_message = die
    until(lambda: server._connection is None)
    until(lambda: connection.is_broken and not connection._transport.is_active())
    assert escaped == []


def login(port: int, credentials: SftpCredentials) -> None:
    server = SftpServer("127.0.0.1", port, credentials, retry_s=0.5)
    try:
        list(SftpSources(server, "/").list())
    finally:
        server.close()


@pytest.mark.parametrize(
    ("kind", "options", "passphrase"),
    [
        ("ed25519", ("-t", "ed25519", "-N", ""), ""),
        ("ed25519 locked", ("-t", "ed25519", "-N", "se same"), "se same"),
        ("ecdsa", ("-t", "ecdsa", "-b", "384", "-N", ""), ""),
        ("ecdsa pem", ("-t", "ecdsa", "-b", "256", "-m", "PEM", "-N", "sesame"), "sesame"),
        ("rsa", ("-t", "rsa", "-b", "2048", "-N", ""), ""),
        ("rsa pem", ("-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""), ""),
        ("rsa pkcs8", ("-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "sesame"), "sesame"),
        ("open key, passphrase", ("-t", "ed25519", "-N", ""), "not needed"),
    ],
)
def test_every_kind_of_key_is_accepted(
    shared_sshd: Sshd, folder: Path, kind: str, options: tuple[str, ...], passphrase: str
) -> None:
    text = shared_sshd.make_key("extra", *options)
    shared_sshd.authorize("extra")
    server = shared_sshd.server(shared_sshd.with_key(text, passphrase))
    assert list(SftpSources(server, str(folder)).list()) == [], kind
    server.close()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "wrong"])
def test_a_locked_key_asks_for_a_passphrase(shared_sshd: Sshd, kind: str, passphrase: str) -> None:
    form = ("-m", "PEM") if kind == "rsa" else ()
    text = shared_sshd.make_key("locked", "-t", kind, *form, "-N", "right one")
    with pytest.raises(ServerError, match="passphrase") as raised:
        login(shared_sshd.port, shared_sshd.with_key(text, passphrase))
    assert raised.value.code is ServerCode.AUTHENTICATION
    assert "wrong" not in str(raised.value).split("passphrase")[-1]


def test_an_unknown_key_is_rejected(shared_sshd: Sshd) -> None:
    with pytest.raises(ServerError, match="rejected the login") as raised:
        login(shared_sshd.port, shared_sshd.with_key(shared_sshd.make_key("stranger")))
    assert raised.value.code is ServerCode.AUTHENTICATION


def test_a_password_lets_in_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(bytes(300_000))
    with sftp_standin.serving(tmp_path, username="ann", password="right") as at:
        for password in ("right", "wrong"):
            credentials = SftpCredentials(
                username="ann", known_hosts=at.known_hosts, password=Secret(password)
            )
            server = SftpServer("127.0.0.1", at.port, credentials, retry_s=0.5)
            sources = SftpSources(server, "/")
            if password == "right":
                (item,) = sources.list()
                with closing(sources.open(item)) as source:
                    assert source.read(0, 300_000) == bytes(300_000)
            else:
                with pytest.raises(ServerError, match="ann") as raised:
                    list(sources.list())
                assert raised.value.code is ServerCode.AUTHENTICATION
                assert "wrong" not in str(raised.value)
            server.close()


def hashed(server: Sshd) -> str:
    import paramiko

    name = paramiko.HostKeys.hash_host(f"[127.0.0.1]:{server.port}")
    return f"{name} {(server.base / 'host.pub').read_text()}"


def test_the_pinned_key_is_accepted_however_it_is_written(shared_sshd: Sshd, folder: Path) -> None:
    line = shared_sshd.known_hosts
    name, _, key = line.partition(" ")
    other = shared_sshd.make_key("another") and (shared_sshd.base / "another.pub").read_text()
    text = (shared_sshd.base / "client").read_text()
    for known in (
        line,
        f"# a comment\n\nelsewhere {other}\n{line}",
        f"elsewhere,{name} {key}",
        f"[127.*]:{shared_sshd.port} {key}",
        hashed(shared_sshd),
        f"{name} {other}{line}",
    ):
        server = shared_sshd.server(shared_sshd.with_key(text, known_hosts=known))
        assert list(SftpSources(server, str(folder)).list()) == []
        server.close()


def test_any_other_host_key_stops_everything(shared_sshd: Sshd) -> None:
    name, _, key = shared_sshd.known_hosts.partition(" ")
    shared_sshd.make_key("another")
    other = (shared_sshd.base / "another.pub").read_text()
    text = (shared_sshd.base / "client").read_text()
    for known, words in (
        (f"{name} {other}", "intercepting"),
        (f"elsewhere {key}", "administrator for the key"),
        (f"127.0.0.1 {key}", "administrator for the key"),
        (f"!{name},* {key}", "administrator for the key"),
        (f"@revoked {name} {key}{name} {key}", "revokes"),
    ):
        with pytest.raises(ServerError, match=words) as raised:
            login(shared_sshd.port, shared_sshd.with_key(text, known_hosts=known))
        assert raised.value.code is ServerCode.HOST_KEY
        assert "SHA256:" in str(raised.value)


def test_a_closed_port_is_transient(shared_sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match="connection refused"):
        login(port, shared_sshd.credentials)


def test_a_silent_server_is_transient_in_time(
    shared_sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.sftp.login.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(UnreachableError):
            login(silent.getsockname()[1], shared_sshd.credentials)
    assert time.monotonic() - start < 10


def test_a_slow_reader_buffers_little(shared_sshd: Sshd, folder: Path) -> None:
    path = folder / "x.wav"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    item = only(shared_sshd, folder)
    with shared_sshd.sources(root=str(folder)) as sources, closing(sources.open(item)) as source:
        source.read(0, 1 << 20)
        tracemalloc.start()
        try:
            with serve(source) as server:
                for offset in range(0, 100 << 20, 4 << 20):
                    server.source.read(offset, 4 << 20)
                    time.sleep(0.02)  # an encoder that is slower than the line
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert 40 << 20 < peak < 64 << 20  # the line is faster indeed, and is held back
