"""What ``ports.Storage`` promises, over every adapter."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import pytest

from shared.core.errors import ConflictError, ObjectExistsError
from shared.core.ports import Storage, StoredObject
from tests.backends import on_every_storage

pytestmark = on_every_storage

NAME = "dev/2025/04/weekly-sync_2025-04-07_16-52_audio.mp3"
OURS = {"key": "drive-a-1", "source": "drive", "source_id": "a", "revision": "1"}
THEIRS = {**OURS, "key": "drive-b-1", "source_id": "b"}


def put(storage: Storage, content: bytes | Path = b"audio", **changes: Any) -> StoredObject:
    arguments = {"name": NAME, "content_type": "audio/mpeg", "metadata": OURS, **changes}
    return storage.put(arguments.pop("name"), content, **arguments)


def read(storage: Storage, name: str = NAME) -> bytes:
    with storage.open(name) as file:
        return file.read()


def names(storage: Storage, prefix: str = "") -> list[str]:
    return [item.name for item in storage.list(prefix)]


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def outcomes(work: Callable[[int], Any], contenders: int) -> list[Any]:
    """Run ``work(0)`` … at the same time; return what each returned, or its refusal."""
    barrier = threading.Barrier(contenders)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        except (ConflictError, ObjectExistsError) as error:
            return error

    with ThreadPoolExecutor(contenders) as pool:
        return list(pool.map(run, range(contenders)))


def winners(results: list[Any]) -> list[Any]:
    return [result for result in results if isinstance(result, StoredObject)]


# ── put, stat, open ──


def test_an_object_is_described_as_it_was_put(storage: Storage) -> None:
    made = put(storage)
    assert made.name == NAME
    assert made.bytes == 5
    assert made.crc32c == crc32c(b"audio")
    assert made.generation > 0
    assert made.content_type == "audio/mpeg"
    assert dict(made.metadata) == OURS
    assert storage.stat(NAME) == made
    assert read(storage) == b"audio"


def test_the_time_of_the_write_is_known(storage: Storage) -> None:
    put(storage)
    item = storage.stat(NAME)
    assert item is not None
    assert item.updated is not None
    assert abs(datetime.now(UTC) - item.updated) < timedelta(minutes=1)


def test_content_may_be_a_file_which_stays(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "made.mp3"
    source.write_bytes(b"from a file")
    made = put(storage, source)
    assert (made.bytes, made.crc32c) == (11, crc32c(b"from a file"))
    assert read(storage) == b"from a file"
    assert source.read_bytes() == b"from a file"


def test_a_file_may_be_prepared_before_it_is_put(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "made.mp3"
    source.write_bytes(b"from a file")
    with storage.prepare(NAME, source):
        assert storage.stat(NAME) is None
        made = put(storage, source, if_generation=0)
    assert (made.bytes, made.crc32c) == (11, crc32c(b"from a file"))
    assert storage.stat(NAME) == made
    assert read(storage) == b"from a file"
    assert source.read_bytes() == b"from a file"


def test_preparing_alone_makes_no_object(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "made.mp3"
    source.write_bytes(b"from a file")
    with storage.prepare(NAME, source):
        pass
    assert list(storage.list()) == []


def test_a_file_that_is_not_there_makes_no_object(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put(storage, tmp_path / "missing.mp3", if_generation=0)
    assert storage.stat(NAME) is None
    assert put(storage, metadata=THEIRS, if_generation=0)  # the failure does not reserve the name


@pytest.mark.parametrize("as_file", [False, True])
def test_an_empty_object(storage: Storage, tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "empty").touch()
    made = put(storage, tmp_path / "empty" if as_file else b"")
    assert (made.bytes, made.crc32c) == (0, "AAAAAA==")
    assert storage.stat(NAME) == made
    assert read(storage) == b""


def test_an_object_of_20_mb(storage: Storage, tmp_path: Path) -> None:
    content = hashlib.shake_128(b"seed").digest(20 * 1024 * 1024 + 1)
    (tmp_path / "large").write_bytes(content)
    made = put(storage, tmp_path / "large")
    assert (made.bytes, made.crc32c) == (len(content), crc32c(content))
    assert read(storage) == content


def test_an_object_is_read_from_any_place(storage: Storage) -> None:
    put(storage, bytes(range(100)))
    with storage.open(NAME) as file:
        file.seek(90)
        assert file.read(4) == bytes([90, 91, 92, 93])
        file.seek(-2, 2)
        assert file.read() == bytes([98, 99])


def test_a_missing_object(storage: Storage) -> None:
    assert storage.stat(NAME) is None
    with pytest.raises(FileNotFoundError):
        storage.open(NAME)


def test_a_name_above_an_object_is_not_an_object(storage: Storage) -> None:
    put(storage)
    assert storage.stat("dev/2025") is None
    assert storage.stat(NAME + "/more") is None
    for name in ("dev/2025", NAME + "/more"):
        with pytest.raises(FileNotFoundError):
            storage.open(name)


def test_metadata_may_be_left_out(storage: Storage) -> None:
    put(storage, metadata=None)
    item = storage.stat(NAME)
    assert item is not None
    assert dict(item.metadata) == {}


def test_metadata_is_any_text(storage: Storage) -> None:
    metadata = {"key": "sftp-1", "source_id": "Ünïcode/会議 🎧 \"x\" 'y' %0A.wav", "revision": ""}
    put(storage, metadata=metadata)
    item = storage.stat(NAME)
    assert item is not None
    assert dict(item.metadata) == metadata


# ── names ──


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "dev/会議_2025-04-07_16-52_audio.mp3",
        "dev/Ünïcode ça été.mp3",
        "dev/مؤتمر_audio.mp3",
        "dev/🎧🎙.mp3",
        'dev/it\'s "quoted" & <tagged> %2F 100%.mp3',
        "dev/.hidden/.also.mp3",
        "dev/with space /trailing.",
        "dev/~tilde+plus#hash?query=1;x:y|z*.mp3",
        "dev/back\\slash.mp3",
        "dev/...",
        "-dash",
        "dev/" + "長" * 60 + ".mp3",  # 180 bytes of UTF-8 in the longest part a slug can have
        "/".join(["part-of-a-long-name" * 5] * 5),
    ],
)
def test_names_in_any_script(storage: Storage, name: str) -> None:
    made = put(storage, name=name, if_generation=0)
    assert made.name == name
    assert storage.stat(name) == made
    assert read(storage, name) == b"audio"
    assert names(storage) == [name]
    storage.delete(name)
    assert names(storage) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".mp3", "dev/" + "長" * 100 + ".mp3"])
def test_a_part_of_300_is_kept_or_refused_at_once(storage: Storage, name: str) -> None:
    try:
        put(storage, name=name, if_generation=0)
    except ValueError:
        assert names(storage) == []
    else:
        assert read(storage, name) == b"audio"


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc/x", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/",
     "a\0b", "a\nb", "x/" * 600 + "x"],
)  # fmt: skip
def test_a_name_never_leaves_the_bucket(storage: Storage, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        put(storage, name=name)
    assert names(storage) == []


def test_names_that_differ_in_case_are_two(storage: Storage) -> None:
    put(storage, b"lower", name="dev/a.mp3")
    put(storage, b"upper", name="dev/A.mp3")
    assert (read(storage, "dev/a.mp3"), read(storage, "dev/A.mp3")) == (b"lower", b"upper")


def test_the_address_is_one_and_safe(storage: Storage) -> None:
    address = storage.url("dev/a b#c?d%.mp3")
    parts = urlsplit(storage.url("dev/a.mp3"))
    assert parts.scheme in {"gs", "file", "memory"}
    assert parts.path.endswith("a.mp3")
    assert storage.url("dev/x.mp3") != address


# ── create only ──


def test_create_refuses_another_key_and_leaves_its_object(storage: Storage) -> None:
    first = put(storage, b"first", metadata=THEIRS, if_generation=0)
    with pytest.raises(ObjectExistsError) as caught:
        put(storage, b"second", if_generation=0)
    assert caught.value.name == NAME
    assert storage.stat(NAME) == first
    assert read(storage) == b"first"


def test_create_refuses_another_key_even_with_the_same_bytes(storage: Storage) -> None:
    put(storage, metadata=THEIRS, if_generation=0)
    with pytest.raises(ObjectExistsError):
        put(storage, if_generation=0)


def test_create_again_with_the_same_bytes_and_key_is_success(storage: Storage) -> None:
    first = put(storage, if_generation=0)
    assert put(storage, if_generation=0) == first
    assert put(storage, if_generation=0, metadata={**OURS, "revision": "other"}) == first
    assert names(storage) == [NAME]


def test_create_refuses_other_bytes_of_the_same_key(storage: Storage) -> None:
    first = put(storage, b"first", if_generation=0)
    with pytest.raises(ObjectExistsError):
        put(storage, b"other", if_generation=0)
    assert storage.stat(NAME) == first


def test_without_a_key_the_same_bytes_are_not_known_as_ours(storage: Storage) -> None:
    put(storage, metadata=None, if_generation=0)
    with pytest.raises(ObjectExistsError):
        put(storage, metadata=None, if_generation=0)


def test_a_deleted_name_is_free_again(storage: Storage) -> None:
    first = put(storage, if_generation=0)
    storage.delete(NAME)
    second = put(storage, b"second", metadata=THEIRS, if_generation=0)
    assert second.generation != first.generation
    assert dict(second.metadata) == THEIRS
    assert read(storage) == b"second"


def test_of_many_that_create_one_wins(storage: Storage) -> None:
    def work(number: int) -> StoredObject:
        metadata = {**OURS, "key": f"drive-{number}-1"}
        return put(storage, f"content {number}".encode(), metadata=metadata, if_generation=0)

    results = outcomes(work, 12)
    (winner,) = winners(results)
    assert all(isinstance(item, ObjectExistsError | StoredObject) for item in results)
    assert storage.stat(NAME) == winner
    assert read(storage) == f"content {winner.metadata['key'].split('-')[1]}".encode()


def test_of_many_that_create_the_same_all_succeed(storage: Storage) -> None:
    results = outcomes(lambda _: put(storage, if_generation=0), 12)
    assert {item.generation for item in winners(results)} == {results[0].generation}
    assert len(winners(results)) == 12


# ── replace and overwrite ──


def test_replace_takes_the_generation_that_is_there(storage: Storage) -> None:
    first = put(storage, b"first", if_generation=0)
    second = put(storage, b"second!", content_type="audio/wav", if_generation=first.generation)
    assert second.generation != first.generation
    assert storage.stat(NAME) == second
    assert second.content_type == "audio/wav"
    assert read(storage) == b"second!"


def test_replace_refuses_another_generation(storage: Storage) -> None:
    first = put(storage, b"first", if_generation=0)
    second = put(storage, b"second", if_generation=first.generation)
    for generation in (first.generation, second.generation + 1):
        with pytest.raises(ConflictError):
            put(storage, b"third", if_generation=generation)
    assert storage.stat(NAME) == second
    assert read(storage) == b"second"


def test_replace_refuses_a_missing_object(storage: Storage) -> None:
    with pytest.raises(ConflictError):
        put(storage, if_generation=12345)
    assert storage.stat(NAME) is None
    assert put(storage, metadata=THEIRS, if_generation=0)  # the refusal does not reserve the name


def test_the_same_bytes_written_again_are_a_new_generation(storage: Storage) -> None:
    first = put(storage)
    second = put(storage, if_generation=first.generation)
    with pytest.raises(ConflictError):
        put(storage, if_generation=first.generation)
    assert storage.stat(NAME) == second


def test_without_a_condition_put_overwrites(storage: Storage) -> None:
    put(storage, b"first", metadata=THEIRS)
    second = put(storage, b"second", metadata=OURS)
    assert storage.stat(NAME) == second
    assert dict(second.metadata) == OURS
    assert read(storage) == b"second"


def test_quick_writes_all_have_generations_of_their_own(storage: Storage) -> None:
    made = [put(storage, bytes([number])) for number in range(20)]
    assert len({item.generation for item in made}) == 20
    assert storage.stat(NAME) == made[-1]
    assert read(storage) == bytes([19])


def test_of_many_that_replace_one_wins(storage: Storage) -> None:
    first = put(storage)

    def work(number: int) -> StoredObject:
        return put(storage, f"content {number}".encode(), if_generation=first.generation)

    results = outcomes(work, 12)
    (winner,) = winners(results)
    assert storage.stat(NAME) == winner
    assert crc32c(read(storage)) == winner.crc32c


def test_a_reader_sees_one_whole_object_while_writers_replace_it(storage: Storage) -> None:
    contents = {letter * 300_000 for letter in (b"a", b"b", b"c")}
    put(storage, b"a" * 300_000)
    stop = threading.Event()
    seen: list[bool] = []

    def look() -> None:
        while not stop.is_set():
            item = storage.stat(NAME)
            assert item is not None
            assert item.crc32c in {crc32c(content) for content in contents}
            assert dict(item.metadata) == OURS
            seen.append(read(storage) in contents)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for _ in range(5):
            for content in sorted(contents):
                put(storage, content)
        stop.set()
        looking.result()
    assert all(seen)


# ── list ──


def test_list_is_sorted_by_the_whole_name(storage: Storage) -> None:
    expected = ["a", "b-c", "b.d", "b/a", "b/c/d", "b/c-", "b0", "é", "会"]
    for name in reversed(expected):
        put(storage, name=name)
    assert names(storage) == sorted(expected)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["dev/2025/01/a", "dev/2025/02/b", "dev/2025-x", "prod/c"]),
        ("dev/", ["dev/2025-x", "dev/2025/01/a", "dev/2025/02/b"]),
        ("dev/2025", ["dev/2025-x", "dev/2025/01/a", "dev/2025/02/b"]),
        ("dev/2025/", ["dev/2025/01/a", "dev/2025/02/b"]),
        ("dev/2025/0", ["dev/2025/01/a", "dev/2025/02/b"]),
        ("dev/2025/02/b", ["dev/2025/02/b"]),
        ("dev/2025/02/b/", []),
        ("p", ["prod/c"]),
        ("staging/", []),
        ("Dev/", []),
    ],
)
def test_a_prefix_is_the_start_of_the_name(
    storage: Storage, prefix: str, expected: list[str]
) -> None:
    for name in ("dev/2025/01/a", "dev/2025/02/b", "dev/2025-x", "prod/c"):
        put(storage, name=name)
    assert names(storage, prefix) == sorted(expected)


def test_list_describes_as_stat_does(storage: Storage) -> None:
    put(storage, name="a/1", content_type="audio/wav")
    put(storage, name="a/2", metadata=THEIRS)
    assert list(storage.list("a/")) == [storage.stat("a/1"), storage.stat("a/2")]


# ── delete ──


def test_delete_removes(storage: Storage) -> None:
    put(storage)
    storage.delete(NAME)
    assert storage.stat(NAME) is None
    assert names(storage) == []


def test_delete_of_a_missing_object_succeeds(storage: Storage) -> None:
    storage.delete(NAME)
    storage.delete(NAME, if_generation=12345)
    put(storage)
    storage.delete("dev/2025")
    assert names(storage) == [NAME]


def test_delete_takes_the_generation_that_is_there(storage: Storage) -> None:
    first = put(storage)
    second = put(storage)
    with pytest.raises(ConflictError):
        storage.delete(NAME, if_generation=first.generation)
    assert storage.stat(NAME) == second
    storage.delete(NAME, if_generation=second.generation)
    assert storage.stat(NAME) is None


# ── addresses, health ──


def test_a_signed_address_is_given_for_at_most_7_days(storage: Storage) -> None:
    put(storage)
    assert "audio.mp3" in storage.signed_url(NAME, timedelta(days=7))
    for lifetime in (timedelta(days=7, seconds=1), timedelta(0)):
        with pytest.raises(ValueError, match="7 days"):
            storage.signed_url(NAME, lifetime)


def test_check_passes_and_leaves_nothing(storage: Storage) -> None:
    storage.check()
    assert names(storage) == []
