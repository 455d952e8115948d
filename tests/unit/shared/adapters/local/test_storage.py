"""``FilesystemStorage`` when processes die, disks fill up and people move files about."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from shared.adapters.local import directory
from shared.adapters.local import storage as filesystem
from shared.adapters.local.sidecar import sidecar_path
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.objects import crc32c_of
from shared.core.errors import ConfigurationError, ConflictError, ObjectExistsError, TransientError
from shared.core.ports import StoredObject

NAME = "dev/2025/04/weekly-sync_2025-04-07_16-52_audio.mp3"
OURS = {"key": "drive-a-1", "source": "drive"}
THEIRS = {"key": "drive-b-1", "source": "drive"}


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "audio")


def put(
    storage: FilesystemStorage, content: bytes | Path = b"audio", **changes: Any
) -> StoredObject:
    arguments = {"name": NAME, "content_type": "audio/mpeg", "metadata": OURS, **changes}
    return storage.put(arguments.pop("name"), content, **arguments)


def read(storage: FilesystemStorage, name: str = NAME) -> bytes:
    with storage.open(name) as file:
        return file.read()


def files(storage: FilesystemStorage) -> list[str]:
    return sorted(path.name for path in storage.root.rglob("*") if path.is_file())


def unfinished(storage: FilesystemStorage) -> list[str]:
    return [name for name in files(storage) if name.endswith(".tmp")]


# ── what people see ──


def test_a_person_sees_only_the_object(storage: FilesystemStorage) -> None:
    put(storage)
    shown = [name for name in files(storage) if not name.startswith(".")]
    assert shown == [Path(NAME).name]
    assert (storage.root / NAME).read_bytes() == b"audio"
    assert len(files(storage)) == 2


def test_delete_leaves_no_file(storage: FilesystemStorage) -> None:
    put(storage)
    storage.delete(NAME)
    assert files(storage) == []


@pytest.mark.parametrize("name", ["x" * 255, "長" * 85, "dev/" + "é" * 127])
def test_the_longest_names_have_their_sidecars(storage: FilesystemStorage, name: str) -> None:
    made = put(storage, name=name, if_generation=0)
    assert storage.stat(name) == made
    assert all(len(os.fsencode(file)) <= 255 for file in files(storage))


def test_a_name_too_long_for_the_disk_is_refused_and_read_as_absent(
    storage: FilesystemStorage,
) -> None:
    name = "x" * 256
    with pytest.raises(ValueError, match="too long for"):
        put(storage, name=name)
    assert storage.stat(name) is None
    assert files(storage) == []
    storage.delete(name)
    with pytest.raises(FileNotFoundError):
        storage.open(name)


def test_the_address_is_a_file_url(storage: FilesystemStorage) -> None:
    name = "dev/a b#c?d%é 会.mp3"
    put(storage, name=name)
    for address in (storage.url(name), storage.signed_url(name, timedelta(hours=1))):
        assert re.fullmatch(r"file:///[A-Za-z0-9._~/%-]+", address)
        assert Path(unquote(urlsplit(address).path)).read_bytes() == b"audio"


def test_a_relative_root_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = FilesystemStorage(Path("audio"))
    assert storage.url("a.mp3") == (tmp_path / "audio" / "a.mp3").as_uri()
    monkeypatch.chdir("/")
    put(storage, name="a.mp3")
    assert (tmp_path / "audio" / "a.mp3").exists()


def test_another_instance_sees_what_was_put(storage: FilesystemStorage) -> None:
    made = put(storage)
    assert FilesystemStorage(storage.root).stat(NAME) == made


# ── prepared before it is put ──


def wait_for_copy(storage: FilesystemStorage) -> int:
    """Return the number of the file that the early copy is written to."""
    deadline = time.monotonic() + 20
    while not (found := list(storage.root.rglob("*.tmp"))):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found[0].stat().st_ino


def test_a_prepared_copy_becomes_the_object(storage: FilesystemStorage, tmp_path: Path) -> None:
    content = tmp_path / "made.mp3"
    content.write_bytes(b"x" * 3_000_000)
    with storage.prepare(NAME, content):
        copied = wait_for_copy(storage)
        made = put(storage, content, if_generation=0)
    assert (storage.root / NAME).stat().st_ino == copied
    assert made.crc32c == crc32c_of(b"x" * 3_000_000)
    assert unfinished(storage) == []


def test_a_prepared_copy_is_removed_when_nothing_is_put(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    content = tmp_path / "made.mp3"
    content.write_bytes(b"x" * 3_000_000)
    with storage.prepare(NAME, content):
        wait_for_copy(storage)
    assert files(storage) == []


def test_a_file_that_changed_since_is_copied_again(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    content = tmp_path / "made.mp3"
    content.write_bytes(b"before")
    with storage.prepare(NAME, content):
        wait_for_copy(storage)
        content.write_bytes(b"afterwards")
        made = put(storage, content)
    assert (made.bytes, made.crc32c) == (10, crc32c_of(b"afterwards"))
    assert read(storage) == b"afterwards"
    assert unfinished(storage) == []


def test_a_prepared_file_may_be_put_under_another_name(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    content = tmp_path / "made.mp3"
    content.write_bytes(b"audio")
    put(storage, b"theirs", metadata=THEIRS)
    with storage.prepare(NAME, content):
        with pytest.raises(ObjectExistsError):
            put(storage, content, if_generation=0)
        for other in (f"{NAME}.2", "dev/2026/elsewhere.mp3"):
            put(storage, content, name=other, if_generation=0)
            assert read(storage, other) == b"audio"
    assert read(storage) == b"theirs"
    assert unfinished(storage) == []


def test_a_copy_that_fails_early_is_reported_by_the_put(small_disk: Path, tmp_path: Path) -> None:
    storage = FilesystemStorage(small_disk / "audio")
    content = tmp_path / "made.mp3"
    content.write_bytes(bytes(64 << 20))
    with (
        storage.prepare(NAME, content),
        pytest.raises(TransientError, match=r"disk of .* is full"),
    ):
        put(storage, content)
    assert files(storage) == []


# ── names stay inside ──


def test_a_symbolic_link_leads_nowhere_outside(storage: FilesystemStorage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    storage.root.mkdir()
    (storage.root / "link").symlink_to(outside)
    calls: list[Callable[[], Any]] = [
        lambda: put(storage, name="link/x"),
        lambda: storage.stat("link/secret"),
        lambda: storage.open("link/secret"),
        lambda: storage.delete("link/secret"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="outside"):
            call()
    assert list(storage.list()) == []
    assert list(storage.list("link/")) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_link_in_the_place_of_an_object_is_not_followed(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    storage.root.mkdir()
    (storage.root / "a").symlink_to(tmp_path / "secret")
    assert storage.stat("a") is None
    with pytest.raises(FileNotFoundError):
        storage.open("a")
    with pytest.raises(ObjectExistsError):
        put(storage, name="a", if_generation=0)
    put(storage, name="a")
    assert (tmp_path / "secret").read_text() == "secret"
    assert read(storage, "a") == b"audio"


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "audio").symlink_to(tmp_path / "disk")
    put(FilesystemStorage(tmp_path / "audio"))
    assert (tmp_path / "disk" / NAME).exists()


def test_our_own_names_are_not_given_away(storage: FilesystemStorage) -> None:
    put(storage)
    with pytest.raises(ValueError, match="reserved for the storage"):
        put(storage, name=f"dev/2025/04/{sidecar_path(Path(NAME)).name}")


def test_a_directory_in_the_place_of_an_object(storage: FilesystemStorage) -> None:
    put(storage)
    for condition in (0, None):
        with pytest.raises(ObjectExistsError):
            put(storage, name="dev/2025", if_generation=condition)
        with pytest.raises(ObjectExistsError):
            put(storage, name=f"{NAME}/below", if_generation=condition)
    assert len(files(storage)) == 2


# ── files that others put there ──


def test_a_foreign_file_is_an_object_without_a_key(storage: FilesystemStorage) -> None:
    path = storage.root / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"audio")
    found = storage.stat(NAME)
    assert found is not None
    assert (found.bytes, found.crc32c, found.content_type) == (5, crc32c_of(b"audio"), "audio/mpeg")
    assert dict(found.metadata) == {}
    assert list(storage.list()) == [found]
    with pytest.raises(ObjectExistsError):
        put(storage, if_generation=0)
    assert files(storage) == [path.name]
    with pytest.raises(ConflictError):
        put(storage, if_generation=found.generation + 1)
    made = put(storage, b"ours", if_generation=found.generation)
    assert storage.stat(NAME) == made


def test_an_object_that_was_edited_has_no_key(storage: FilesystemStorage) -> None:
    made = put(storage)
    (storage.root / NAME).write_bytes(b"AUDIO")
    found = storage.stat(NAME)
    assert found is not None
    assert found.crc32c == crc32c_of(b"AUDIO")
    assert found.generation != made.generation
    assert dict(found.metadata) == {}
    with pytest.raises(ConflictError):
        put(storage, if_generation=made.generation)


def test_an_object_whose_time_was_changed_is_still_ours(storage: FilesystemStorage) -> None:
    made = put(storage)
    os.utime(storage.root / NAME, (1, 1))
    assert storage.stat(NAME) == made
    assert put(storage, if_generation=0) == made


def test_an_object_that_a_person_removed_is_made_again_by_its_key(
    storage: FilesystemStorage,
) -> None:
    put(storage, if_generation=0)
    (storage.root / NAME).unlink()
    assert storage.stat(NAME) is None
    with pytest.raises(ObjectExistsError):
        put(storage, metadata=THEIRS, if_generation=0)
    made = put(storage, b"again", if_generation=0)
    assert storage.stat(NAME) == made


def test_a_renamed_directory_keeps_its_sidecars(
    storage: FilesystemStorage,
) -> None:
    made = put(storage)
    (storage.root / "dev").rename(storage.root / "old")
    found = storage.stat(f"old/{NAME.removeprefix('dev/')}")
    assert found is not None
    assert (found.metadata, found.generation) == (made.metadata, made.generation)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"versions": [{}]}', '{"versions": 3}', "\xff"])
def test_a_damaged_sidecar_loses_only_its_own_fields(storage: FilesystemStorage, text: str) -> None:
    put(storage)
    sidecar_path(storage.root / NAME).write_bytes(text.encode("latin-1"))
    found = storage.stat(NAME)
    assert found is not None
    assert found.crc32c == crc32c_of(b"audio")
    assert dict(found.metadata) == {}
    with pytest.raises(ObjectExistsError):
        put(storage, if_generation=0)
    made = put(storage, b"new")
    assert storage.stat(NAME) == made


def test_names_that_are_not_utf8_are_skipped(storage: FilesystemStorage) -> None:
    put(storage, name="a")
    (Path(os.fsdecode(os.fsencode(storage.root) + b"/\xff.mp3"))).write_bytes(b"x")
    assert [item.name for item in storage.list()] == ["a"]


def test_only_plain_files_are_objects(storage: FilesystemStorage) -> None:
    put(storage, name="a")
    os.mkfifo(storage.root / "pipe")
    assert storage.stat("pipe") is None
    assert [item.name for item in storage.list()] == ["a"]


# ── crashes ──

# Dies by SIGKILL at the n-th step that changes the disk, wherever that is.
CRASH = """
import os, signal, sys
from pathlib import Path
from shared.adapters.local import storage as filesystem
from shared.adapters.local.storage import FilesystemStorage

root, steps, generation, content = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
left = steps

def dying(call):
    def step(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return step

for name in ("mkdir", "replace", "rename", "fsync", "unlink", "utime"):
    setattr(os, name, dying(getattr(os, name)))
filesystem.FilesystemStorage._copy = dying(filesystem.FilesystemStorage._copy)
Path.open = dying(Path.open)
storage = FilesystemStorage(Path(root))
if generation == "delete":
    storage.delete(%(name)r)
else:
    storage.put(%(name)r, content.encode(), content_type="audio/mpeg", metadata=%(ours)r,
                if_generation=int(generation))
""" % {"name": NAME, "ours": OURS}  # noqa: UP031


def crash(root: Path, steps: int, action: str, content: str = "new content") -> bool:
    """Do it in a process that dies after ``steps`` steps; return whether it got to its end."""
    arguments = [str(root), str(steps), action, content]
    done = subprocess.run([sys.executable, "-c", CRASH, *arguments], check=False, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode == 0


def test_a_crash_at_any_step_of_a_create_heals(tmp_path: Path) -> None:
    seen = set()
    for steps in range(100):
        storage = FilesystemStorage(tmp_path / str(steps))
        finished = crash(storage.root, steps, "0")
        found = storage.stat(NAME)
        seen.add((found is not None, sidecar_path(storage.root / NAME).exists()))
        if found:
            assert read(storage) == b"new content"
            assert dict(found.metadata) == OURS
        assert [item.name for item in storage.list()] == ([NAME] if found else [])
        made = put(storage, b"new content", if_generation=0)
        assert storage.stat(NAME) == made
        assert read(storage) == b"new content"
        if finished:
            break
    assert finished
    assert steps > 8
    assert seen == {(False, False), (False, True), (True, True)}


def test_a_crash_that_left_a_claim_keeps_the_name_for_its_key(tmp_path: Path) -> None:
    claims = 0
    for steps in range(100):
        storage = FilesystemStorage(tmp_path / str(steps))
        finished = crash(storage.root, steps, "0")
        claim = sidecar_path(storage.root / NAME)
        if claim.exists() and claim.stat().st_size:
            claims += 1
            with pytest.raises(ObjectExistsError):
                put(storage, metadata=THEIRS, if_generation=0)
        else:
            put(storage, b"theirs", metadata=THEIRS, if_generation=0)
            assert read(storage) == b"theirs"
        if finished:
            break
    assert claims > 2


def test_a_crash_at_any_step_of_a_replace_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    seen = set()
    for steps in range(100):
        storage = FilesystemStorage(tmp_path / str(steps))
        old = put(storage, b"old content", metadata={**OURS, "revision": "old"})
        finished = crash(storage.root, steps, str(old.generation))
        found = storage.stat(NAME)
        assert found is not None
        content = read(storage)
        seen.add(content)
        assert found.crc32c == crc32c_of(content)
        if content == b"old content":
            assert found == old
        else:
            assert (content, found.metadata) == (b"new content", OURS)
        again = put(storage, b"third", if_generation=found.generation)
        assert storage.stat(NAME) == again
        if finished:
            break
    assert finished
    assert seen == {b"old content", b"new content"}


def test_a_crash_at_any_step_of_a_delete_heals(tmp_path: Path) -> None:
    for steps in range(20):
        storage = FilesystemStorage(tmp_path / str(steps))
        put(storage)
        finished = crash(storage.root, steps, "delete")
        storage.delete(NAME)
        put(storage, metadata=THEIRS, if_generation=0)
        if finished:
            break
    assert finished


def test_an_abandoned_copy_is_swept_and_a_young_one_is_not(storage: FilesystemStorage) -> None:
    steps = 0
    while not storage.root.exists() or not unfinished(storage):
        assert not crash(storage.root, steps, "0")
        steps += 1
    put(storage, name="dev/2025/04/other")
    (left,) = unfinished(storage)
    old = time.time() - filesystem.ABANDONED_AFTER_S - 60
    os.utime(storage.root / "dev/2025/04" / left, (old, old))
    put(FilesystemStorage(storage.root), name="dev/2025/04/third")
    assert unfinished(storage) == []


# ── processes side by side ──

RACE = """
import sys
from pathlib import Path
from shared.adapters.local.storage import FilesystemStorage
from shared.core.errors import ConflictError, ObjectExistsError

storage, me, action = FilesystemStorage(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    name = f"dev/{number}" if action == "create" else "dev/manifest.json"
    try:
        if action == "create":
            storage.put(name, me.encode(), content_type="text/plain", metadata={"key": me},
                        if_generation=0)
            print(number, flush=True)
            continue
    except ObjectExistsError:
        continue
    while True:
        there = storage.stat(name)
        content = storage.open(name).read() + me.encode()
        try:
            storage.put(name, content, content_type="text/plain", if_generation=there.generation)
            break
        except ConflictError:
            pass
"""


def race(storage: FilesystemStorage, action: str, contenders: int) -> list[str]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RACE, str(storage.root), str(number), action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(contenders)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * contenders
    return printed


def test_of_processes_that_create_one_wins(storage: FilesystemStorage) -> None:
    printed = race(storage, "create", 4)
    winners = {int(n): me for me, lines in enumerate(printed) for n in lines.split()}
    assert sum(len(lines.split()) for lines in printed) == len(winners) == 40
    for number, winner in winners.items():
        found = storage.stat(f"dev/{number}")
        assert found is not None
        assert read(storage, f"dev/{number}").decode() == found.metadata["key"] == str(winner)


def test_processes_lose_no_replacement(storage: FilesystemStorage) -> None:
    put(storage, b"", name="dev/manifest.json")
    race(storage, "replace", 4)
    assert sorted(read(storage, "dev/manifest.json").decode()) == sorted("0123" * 40)


def no_locks(*_: object) -> None:
    """Refuse a lock as a file system without locks does."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def test_without_locks_creating_is_still_exclusive(
    storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    (storage.root / "dev").mkdir(parents=True)
    sidecar_path(storage.root / "dev/x").touch()  # another is just making its claim
    with pytest.raises(ObjectExistsError):
        put(storage, name="dev/x", if_generation=0)
    put(storage, name="dev/y", metadata=THEIRS, if_generation=0)
    with pytest.raises(ObjectExistsError):
        put(storage, name="dev/y", if_generation=0)
    os.utime(sidecar_path(storage.root / "dev/x"), (1, 1))  # it has died since
    made = put(storage, name="dev/x", if_generation=0)
    assert storage.stat("dev/x") == made


def test_a_claim_that_appears_meanwhile_is_respected(
    storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks)
    utime = os.utime
    rival = FilesystemStorage(storage.root)

    def first_let_the_rival(*arguments: Any, **times: Any) -> None:
        monkeypatch.setattr(os, "utime", utime)
        put(rival, b"rival", metadata=THEIRS, if_generation=0)
        utime(*arguments, **times)

    monkeypatch.setattr(os, "utime", first_let_the_rival)  # called just before the claim
    with pytest.raises(ObjectExistsError):
        put(storage, if_generation=0)
    assert read(storage) == b"rival"
    assert unfinished(storage) == []


def test_a_stopped_owner_of_the_lock_does_not_block_others_for_ever(
    storage: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(storage)
    monkeypatch.setattr(directory, "LOCK_TIMEOUT_S", 0.1)
    with (
        directory.exclusive((storage.root / NAME).parent) as alone,
        pytest.raises(TransientError, match="locked"),
    ):
        put(storage, b"more")
    assert alone
    assert read(storage) == b"audio"
    assert unfinished(storage) == []


# ── disks and directories that fail ──


def test_a_full_disk_leaves_no_partial_file_and_names_the_fix(small_disk: Path) -> None:
    storage = FilesystemStorage(small_disk / "audio")
    old = put(storage, b"old")
    for name, condition in ((NAME, old.generation), ("dev/other", 0)):
        with pytest.raises(TransientError, match=r"disk of .* is full.*Free some space"):
            put(storage, b"x" * 2_000_000, name=name, if_generation=condition)
    assert storage.stat(NAME) == old
    assert len(files(storage)) == 2
    assert put(storage, b"x" * 1000, name="dev/other", if_generation=0)


def test_a_disk_that_fills_up_at_the_claim_leaves_no_claim(small_disk: Path) -> None:
    storage = FilesystemStorage(small_disk)
    (storage.root / "dev").mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    status = os.statvfs(small_disk)
    with (storage.root / "fill").open("wb", buffering=0) as fill:
        fill.write(b"x" * (status.f_bavail * status.f_frsize - page))
    with pytest.raises(TransientError, match="full"):
        put(storage, b"fits", name="dev/a", if_generation=0)
    assert files(storage) == ["fill"]
    (storage.root / "fill").unlink()
    assert put(storage, b"fits", name="dev/a", metadata=THEIRS, if_generation=0)


def test_a_write_that_fails_half_way_leaves_no_partial_file(storage: FilesystemStorage) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            put(storage, b"x" * 3_000_000, if_generation=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(storage) == []


def test_ctrl_c_leaves_no_partial_file(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(storage)
    assert files(storage) == []


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_file_in_place_of_the_root_is_reported(tmp_path: Path, below: str) -> None:
    (tmp_path / "audio").write_text("a file")
    storage = FilesystemStorage(tmp_path / f"audio{below}")
    with pytest.raises(ConfigurationError, match="cannot be used as a directory"):
        storage.check()
    with pytest.raises(ConfigurationError, match="cannot be used as a directory"):
        put(storage)
    assert storage.stat(NAME) is None
    assert list(storage.list()) == []


def test_a_disk_that_may_not_be_written_fails_the_check(small_disk: Path) -> None:
    storage = FilesystemStorage(small_disk / "audio")
    storage.check()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ConfigurationError, match=r"audio: Read-only"):
        storage.check()


def test_a_directory_that_goes_away_is_not_made_again(storage: FilesystemStorage) -> None:
    stored, away = put(storage, b"x"), storage.root.with_name("away")
    storage.root.rename(away)
    for call in (storage.check, lambda: put(storage, b"y", name="dev/other")):
        with pytest.raises(TransientError, match="is gone: it was removed, renamed or unmounted"):
            call()
    assert not storage.root.exists()
    away.rename(storage.root)
    storage.check()
    assert storage.stat(NAME) == stored


def test_a_disk_that_is_unmounted_fails_the_check_until_it_is_mounted(small_disk: Path) -> None:
    storage = FilesystemStorage(small_disk)
    storage.check()
    subprocess.run(["umount", str(small_disk)], check=True)
    with pytest.raises(TransientError, match="is not mounted any more"):
        storage.check()
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)
    storage.check()


def test_check_makes_the_directory(storage: FilesystemStorage) -> None:
    storage.check()
    assert storage.root.is_dir()
    assert files(storage) == []


def test_reading_makes_no_directory(storage: FilesystemStorage) -> None:
    storage.stat(NAME)
    storage.delete(NAME)
    assert list(storage.list()) == []
    assert not storage.root.exists()


def test_a_large_file_is_copied_in_little_memory(
    storage: FilesystemStorage, tmp_path: Path
) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    script = (
        "import resource, sys; from pathlib import Path;"
        "from shared.adapters.local.storage import FilesystemStorage;"
        "storage = FilesystemStorage(Path(sys.argv[1]), fsync=False);"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "storage.put('a', Path(sys.argv[2]), content_type='audio/mpeg');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    arguments = [sys.executable, "-c", script, str(storage.root), str(source)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10 * 1024  # KiB
    storage.delete("a")
