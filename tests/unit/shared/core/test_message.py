"""The message: its golden files, what it refuses, and keys that never meet."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.errors import MessageError
from shared.core.message import MAX_KEY_LENGTH, Source, SourceFile, make_key
from shared.core.times import parse_time
from tests.paths import FIXTURES

MESSAGES = FIXTURES / "messages"
GOLDEN = sorted(path for path in MESSAGES.glob("*.json") if path.name != "bad.json")
BAD = json.loads((MESSAGES / "bad.json").read_text(encoding="utf-8"))

valid_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
some_text = valid_text.filter(bool)
sources = st.sampled_from([source.value for source in Source])
zones = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))
times = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones)
items = st.builds(
    SourceFile,
    source=sources,
    source_id=some_text,
    revision=some_text,
    name=valid_text,
    mime_type=valid_text,
    size_bytes=st.integers(0, (1 << 63) - 1),
    created_at=times,
    account=valid_text,
    force=st.booleans(),
)


def read(name: str) -> SourceFile:
    return SourceFile.decode((MESSAGES / name).read_bytes())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_message_is_read_and_written_as_it_is(path: Path) -> None:
    item = SourceFile.decode(path.read_bytes())

    assert json.loads(item.encode()) == json.loads(path.read_bytes())


def test_there_are_golden_messages() -> None:
    assert len(GOLDEN) >= 6


def test_every_field_of_a_message_is_read() -> None:
    assert read("drive.json") == SourceFile(
        source="drive",
        source_id="1a2B3c4D5e6F7g8H9i0J",
        revision="9e107d9d372bb6826bd81d3542a419d6",
        name="Weekly sync - 2025/04/07 16:52 CST - Recording",
        mime_type="video/mp4",
        size_bytes=123456789,
        created_at=datetime(2025, 4, 7, 22, 52, 3, 123000, tzinfo=UTC),
        account="ann@example.com",
        force=False,
    )
    assert read("drive-force.json").force is True


def test_keys_are_the_documented_ones() -> None:
    assert read("drive.json").key == "drive-1a2B3c4D5e6F7g8H9i0J-9e107d9d372bb6826bd81d3542a419d6"
    assert read("local.json").key == "local-call.mp4-10-1760659200"
    assert read("sftp-bytes.json").key == "sftp-7868204847874d3c3172e5e40e5f701e4dc0945e"


def test_attributes_repeat_the_key_and_the_source() -> None:
    item = read("sftp.json")

    assert item.attributes() == {"key": item.key, "source": "sftp"}


@given(items)
def test_a_message_comes_back_as_it_was_sent(item: SourceFile) -> None:
    back = SourceFile.decode(item.encode())

    assert back == item
    assert back.key == item.key
    assert back.created_at.tzinfo is UTC


def test_account_and_force_may_be_left_out() -> None:
    body = json.loads((MESSAGES / "drive.json").read_bytes())
    del body["account"], body["force"]

    item = SourceFile.decode(json.dumps(body).encode())

    assert (item.account, item.force) == ("", False)


def test_fields_of_a_later_version_are_left_alone() -> None:
    body = json.loads((MESSAGES / "drive.json").read_bytes()) | {"colour": {"deep": ["blue"]}}

    assert SourceFile.decode(json.dumps(body).encode()) == read("drive.json")


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["why"])
def test_a_bad_message_is_refused_with_its_data(row: dict[str, str]) -> None:
    data = row["data"].encode()

    with pytest.raises(MessageError) as refused:
        SourceFile.decode(data)

    assert refused.value.raw == data
    assert str(refused.value)
    assert row["reason"] in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_message_deeper_than_the_parser_goes_is_refused() -> None:
    for data in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(MessageError):
            SourceFile.decode(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"\xef\xbb\xbf{}")
@example("{}".encode("utf-16"))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(MessageError):
        SourceFile.decode(data)


@given(st.sampled_from(GOLDEN), st.data())
def test_a_message_with_any_field_changed_is_read_or_refused(
    path: Path, data: st.DataObject
) -> None:
    body: dict[str, Any] = json.loads(path.read_bytes())
    name = data.draw(st.sampled_from(sorted(body)))
    body[name] = data.draw(json_values)
    message = json.dumps(body).encode()

    item = decoded(message)

    if item:
        assert SourceFile.decode(item.encode()) == item


@given(st.sampled_from(GOLDEN), st.integers(0, 500), st.integers(0, 255))
def test_a_message_with_one_byte_changed_is_read_or_refused(path: Path, at: int, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte

    decoded(bytes(data))


def decoded(data: bytes) -> SourceFile | None:
    try:
        return SourceFile.decode(data)
    except MessageError as error:
        raw = error.raw
    assert raw == data
    return None


# Keys

id_text = st.text(alphabet="ab-_.1/%é", min_size=1, max_size=8) | valid_text
revisions = st.text(alphabet="1-a_", min_size=1, max_size=6) | valid_text
parts = st.tuples(sources | st.sampled_from(["drive-a", "x", ""]), id_text, revisions)


@given(parts, parts)
@example(("sftp", "a-1", "2-3"), ("sftp", "a", "1-2-3"))
@example(("drive", "a-b", "c"), ("drive", "a", "b-c"))
@example(("sftp", "a", "1-2"), ("sftp", "a-1", "2"))
def test_two_files_never_have_one_key(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assert (make_key(*first) == make_key(*second)) == (first == second)


@given(sources | st.text(max_size=20), st.text(max_size=300), st.text(max_size=50))
@example("..", "..", "..")
@example("../../etc", "a", "b")
@example("__x__", "__", "__")
@example("a\nb", "c", "d")
@example("é" * 400, "a", "b")
def test_a_key_is_safe_as_a_document_and_a_file(source: str, source_id: str, revision: str) -> None:
    key = make_key(source, source_id, revision)

    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key, re.ASCII)
    assert len(key) <= MAX_KEY_LENGTH
    assert not re.fullmatch(r"__.*__", key)


@given(id_text, revisions)
def test_a_key_starts_with_its_source(source_id: str, revision: str) -> None:
    assert make_key("sftp", source_id, revision).startswith("sftp-")


@given(items, valid_text, st.booleans())
def test_account_and_force_make_no_other_key(item: SourceFile, account: str, force: bool) -> None:
    assert dataclasses.replace(item, account=account, force=force, name="other").key == item.key


def test_a_long_id_is_hashed_and_a_short_one_is_not() -> None:
    assert make_key("drive", "a" * 150, "1") == f"drive-{'a' * 150}-1"
    assert re.fullmatch(r"drive-[0-9a-f]{40}", make_key("drive", "a" * 200, "1"))


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-04-07T22:52:03Z", datetime(2025, 4, 7, 22, 52, 3, tzinfo=UTC)),
        ("2025-04-07t22:52:03z", datetime(2025, 4, 7, 22, 52, 3, tzinfo=UTC)),
        ("2025-04-07 22:52:03.5+02:00", datetime(2025, 4, 7, 20, 52, 3, 500000, tzinfo=UTC)),
        ("2025-04-07T22:52:03.123456789Z", datetime(2025, 4, 7, 22, 52, 3, 123456, tzinfo=UTC)),
        ("2025-04-07T22:52:03.123-05:30", datetime(2025, 4, 8, 4, 22, 3, 123000, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert parse_time(text).tzinfo is UTC


@given(st.text())
def test_other_text_than_a_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(text)


def test_a_time_without_a_zone_is_not_sent() -> None:
    item = dataclasses.replace(read("drive.json"), created_at=datetime(2025, 1, 1))

    with pytest.raises(ValueError, match="zone"):
        item.encode()


def test_a_message_too_large_for_a_document_is_refused() -> None:
    item = read(GOLDEN[0].name)
    long = dataclasses.replace(item, name="n" * (512 * 1024))
    with pytest.raises(MessageError, match="more than"):
        SourceFile.decode(long.encode())
    just = dataclasses.replace(item, name="n" * (500 * 1024))
    assert SourceFile.decode(just.encode()) == just
