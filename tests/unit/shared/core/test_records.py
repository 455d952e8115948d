"""The tracker's records: the golden document, round trips, and what other versions wrote."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from hypothesis import given
from hypothesis import strategies as st

from shared.core.message import SourceFile
from shared.core.records import Audio, Chunk, ErrorInfo, Recording, Status
from tests.paths import FIXTURES

DONE = json.loads((FIXTURES / "documents" / "done.json").read_text(encoding="utf-8"))
NOW = datetime(2025, 4, 7, 23, 0, tzinfo=UTC)
# Section 6 of the design: people query and script against these.
DOCUMENTED = set(
    """
    key source source_id revision name mime_type size_bytes created_at status account runner
    progress attempts crashes republished requeues first_claimed_at lease_owner lease_expires_at
    error audio chunks gcs_path gcs_url upload_timestamp queued_at started_at finished_at
    updated_at announced_at announce_after processing_s silent words
    """.split()  # noqa: SIM905
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.floats(0, 1e6)
zones = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones)
maybe_time = st.none() | times
audio = st.builds(
    Audio, object=text, bytes=st.integers(0, 1 << 50), crc32c=text, duration_s=numbers,
    start_offset_s=numbers, codec=text, bitrate_kbps=numbers, preset=text,
)  # fmt: skip
chunks = st.builds(
    Chunk, object=text, start_s=numbers, end_s=numbers, bytes=st.integers(0, 1 << 40)
)
recordings = st.builds(
    Recording,
    key=text, source=text, source_id=text, revision=text, name=text, mime_type=text,
    size_bytes=st.integers(0, 1 << 62), created_at=times, status=st.sampled_from(Status),
    account=text, runner=st.sampled_from(["push", "job"]), progress=st.floats(0, 1),
    attempts=st.integers(0, 9), crashes=st.integers(0, 9), republished=st.integers(0, 9),
    requeues=st.integers(0, 9), first_claimed_at=maybe_time, lease_owner=st.none() | text,
    lease_expires_at=maybe_time, error=st.none() | st.builds(ErrorInfo, code=text, message=text),
    audio=st.none() | audio, chunks=st.lists(chunks, max_size=3).map(tuple),
    gcs_path=st.none() | text, gcs_url=st.none() | text, upload_timestamp=maybe_time,
    queued_at=maybe_time, started_at=maybe_time, finished_at=maybe_time, updated_at=maybe_time,
    announced_at=maybe_time, announce_after=maybe_time,
    processing_s=st.none() | numbers, silent=st.none() | st.booleans(),
)  # fmt: skip


def as_json(value: object) -> str:
    return json.dumps(value, default=lambda time: time.isoformat())


def item(**changes: Any) -> SourceFile:
    plain = SourceFile(
        source="drive", source_id="abc", revision="1", name="Sync", mime_type="video/mp4",
        size_bytes=10, created_at=NOW - timedelta(hours=1), account="ann@example.com",
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def test_the_fields_of_a_document_are_the_documented_ones() -> None:
    document = Recording.from_source_file(item(), now=NOW).to_document()

    assert set(document) == DOCUMENTED
    assert {f.name for f in dataclasses.fields(Recording)} | {"words"} == DOCUMENTED


def test_the_golden_document_is_read_and_written_as_it_is() -> None:
    recording = Recording.from_document(DONE)

    assert json.loads(as_json(recording.to_document())) == DONE
    assert recording.status is Status.DONE
    assert recording.audio is not None
    assert recording.audio.duration_s == 3600.512
    assert recording.chunks[1].start_s == 1800.25
    assert recording.created_at == datetime(2025, 4, 7, 22, 52, 3, tzinfo=UTC)


@given(recordings)
def test_a_recording_comes_back_as_it_was_stored(recording: Recording) -> None:
    assert Recording.from_document(recording.to_document()) == recording


@given(recordings)
def test_a_recording_comes_back_from_a_store_of_json(recording: Recording) -> None:
    back = Recording.from_document(json.loads(as_json(recording.to_document())))

    assert back == recording
    assert back.created_at.tzinfo is UTC


@given(recordings)
def test_a_document_contains_only_plain_values_and_times(recording: Recording) -> None:
    document = recording.to_document()

    assert type(document["status"]) is str
    assert_plain(document)


def assert_plain(value: object) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            assert_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            assert_plain(inner)
    else:
        assert value is None or type(value) in (str, int, float, bool, datetime)


def test_firestore_s_own_time_becomes_a_plain_one() -> None:
    document = Recording.from_source_file(item(), now=NOW).to_document()
    document["created_at"] = DatetimeWithNanoseconds(  # type: ignore[no-untyped-call]
        2025, 4, 7, nanosecond=123456789, tzinfo=UTC
    )

    created = Recording.from_document(document).created_at

    assert type(created) is datetime
    assert created == datetime(2025, 4, 7, 0, 0, 0, 123456, tzinfo=UTC)


def test_fields_of_a_later_version_are_ignored_at_every_depth() -> None:
    later = json.loads(json.dumps(DONE))
    later["colour"] = "blue"
    later["audio"]["loudness_lufs"] = -23
    later["chunks"][0]["sha256"] = "00"

    assert Recording.from_document(later) == Recording.from_document(DONE)


def test_fields_that_an_earlier_version_lacked_have_defaults() -> None:
    document = {k: v for k, v in DONE.items() if k not in ("requeues", "chunks", "runner")}

    recording = Recording.from_document(document)

    assert (recording.requeues, recording.chunks, recording.runner) == (0, (), "push")


def test_an_unknown_status_is_an_error() -> None:
    with pytest.raises(ValueError, match="PAUSED"):
        Recording.from_document({**DONE, "status": "PAUSED"})


def test_reading_a_document_changes_nothing_in_it() -> None:
    document = json.loads(json.dumps(DONE))

    Recording.from_document(document)

    assert document == DONE


def test_a_new_document_is_queued_with_the_fields_of_the_message() -> None:
    recording = Recording.from_source_file(item(force=True), now=NOW)

    assert recording.status is Status.QUEUED
    assert recording.key == item().key
    assert (recording.queued_at, recording.updated_at) == (NOW, NOW)
    assert (recording.attempts, recording.lease_owner, recording.finished_at) == (0, None, None)


@given(st.booleans())
def test_a_document_gives_its_message_back(force: bool) -> None:
    recording = Recording.from_source_file(item(), now=NOW)

    assert recording.to_source_file(force=force) == item(force=force)


def test_evolve_makes_another_and_leaves_the_first() -> None:
    first = Recording.from_source_file(item(), now=NOW)

    second = first.evolve(status=Status.DONE, progress=1.0)

    assert (first.status, second.status) == (Status.QUEUED, Status.DONE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        second.progress = 0.5  # type: ignore[misc]
    with pytest.raises(TypeError):
        first.evolve(colour="blue")


@pytest.mark.parametrize("status", list(Status))
def test_only_three_statuses_are_final(status: Status) -> None:
    assert status.is_final == (status.value in {"DONE", "FAILED", "SKIPPED"})
    assert status.value == status.name


def test_a_log_line_names_its_recording_and_keeps_other_fields() -> None:
    context = Recording.from_source_file(item(), now=NOW).log_context()

    assert context["key"] == item().key
    assert context["recording"] == "Sync"
    # 'name' and 'message' are the log record's own, and logging refuses them as extras.
    assert not {"name", "message", "args", "module", "asctime"} & context.keys()
