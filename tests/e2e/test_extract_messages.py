"""Messages that can never be understood are acknowledged, logged and counted."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core.message import SourceFile
from tests.services import Cloud, Service, envelope, until

REJECTED = "audio_extract_messages_rejected_total"

GOOD = SourceFile(
    source="drive",
    source_id="1a2b3c",
    revision="d41d8cd98f00b204e9800998ecf8427e",
    name="a",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=datetime(2025, 1, 29, tzinfo=UTC),
)


def wrapped(data: bytes) -> bytes:
    return json.dumps({"message": {"data": base64.b64encode(data).decode()}}).encode()


def changed(**fields: Any) -> bytes:
    """Return a message like the good one but for ``fields``."""
    return envelope(json.dumps({**json.loads(GOOD.encode()), **fields}).encode())


POISON: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "a huge number": b"1" * 10_000,
    "no message": b"{}",
    "message of another type": b'{"message": "hello"}',
    "no data": b'{"message": {}}',
    "data of another type": b'{"message": {"data": 5}}',
    "bad base64": b'{"message": {"data": "%%%"}}',
    "base64 of another alphabet": b'{"message": {"data": "__8="}}',
    "empty data": wrapped(b""),
    "data not JSON": wrapped(b"hello"),
    "data deep": wrapped(b"[" * 100_000),
    "10 MB": b"x" * 10_000_000,
    "10 MB of data": wrapped(b"\0" * 10_000_000),
    "10 MB of name": changed(name="n" * 10_000_000),
    "unknown schema": changed(schema=2),
    "schema true": changed(schema=True),
    "another key": changed(key="drive-x-y"),
    "source of nobody": changed(source="ftp"),
    "force as a number": changed(force=1),
    "size as text": changed(size_bytes="1"),
    "negative size": changed(size_bytes=-1),
    "size without end": changed(size_bytes=1 << 80),
    "size NaN": changed(size_bytes=float("nan")),
    "time without a zone": changed(created_at="2025-01-29T00:00:00"),
    "an account that is not configured": changed(account="boss@example.com"),
    "no time": changed(created_at="yesterday"),
    "half a character": changed(name="\ud800"),
    "attempt of another type": json.dumps(
        {"message": {"data": "%"}, "deliveryAttempt": {"a": 1}}
    ).encode(),
}


@pytest.fixture
def service(cloud: Cloud) -> Iterator[Service]:
    with cloud.service() as service:
        yield service


def test_poison_is_acknowledged_logged_and_counted(cloud: Cloud, service: Service) -> None:
    for count, (name, body) in enumerate(POISON.items(), start=1):
        answer = service.post(body)
        assert (answer.status, answer.body) == (204, b""), name
        assert service.metric(REJECTED) == count, name
    lines = [line for line in service.log_lines if "raw" in line]
    assert len(lines) == len(POISON)
    assert {line["severity"] for line in lines} == {"ERROR"}
    raws = dict(zip(POISON, (line["raw"] for line in lines), strict=True))
    assert raws["not JSON"] == "{"
    assert raws["10 MB"] == "x" * 4096
    assert len(raws["10 MB of name"]) <= 4096
    assert "Traceback" not in service.log
    assert list(cloud.tracker.all()) == []
    assert cloud.objects() == {}


def test_poison_among_the_dead_letters_too(service: Service) -> None:
    for name, body in POISON.items():
        assert service.post(body, "/dead-letter").status == 204, name
    assert service.metric(REJECTED) == len(POISON)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(json.loads(GOOD.encode()), JSON) | {"more": JSON}
)


@pytest.fixture
def fuzzed(service: Service) -> Service:
    return service


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"message": value}).encode())
    | JSON.map(lambda value: json.dumps({"message": {"data": value}}).encode())
    | st.binary(max_size=200).map(wrapped)
    | JSON.map(lambda value: wrapped(json.dumps(value).encode()))
    | FIELDS.filter(lambda fields: "revision" in fields).map(lambda fields: changed(**fields))
)
def test_fuzzed_envelopes_are_acknowledged(fuzzed: Service, body: bytes) -> None:
    before = fuzzed.metric(REJECTED)
    answer = fuzzed.post(body)
    assert (answer.status, answer.body) == (204, b"")
    assert fuzzed.metric(REJECTED) == before + 1


def test_odd_but_whole_messages_end_as_gone(cloud: Cloud, service: Service) -> None:
    """A well-formed message is processed, whatever its names and ids contain."""
    odd = ["..", "a/b", "a?b=c#d", "a b", "%2e%2e", "\u202e", "x" * 5000, "__x__", "é", "\n"]
    for source_id in odd:
        item = SourceFile(**{**vars(GOOD), "source_id": source_id, "name": source_id})
        assert service.push(item).status == 204, source_id
        recording = cloud.recording(item)
        assert recording.error is not None
        assert recording.error.code == "gone", source_id
    until(lambda: service.metric("audio_extract_active_downloads") == 0)
