"""What ``ports.Documents`` promises of single documents, over every adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from shared.core.errors import ConflictError
from shared.core.ports import Documents, Op, Versioned
from shared.core.records import Audio, Chunk, ErrorInfo, Recording, Status
from tests.backends import on_every_database
from tests.contract.found import T0, C, as_time, ids

pytestmark = on_every_database


def outcomes(work: Callable[[int], Any], contenders: int) -> list[Any]:
    """Run ``work(0)`` … at the same time; return what each returned or its ConflictError."""
    barrier = threading.Barrier(contenders)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(contenders) as pool:
        return list(pool.map(run, range(contenders)))


def winners(results: list[Any]) -> list[Any]:
    return [result for result in results if not isinstance(result, ConflictError)]


# ── one document ──


def test_a_document_comes_back_as_it_was_written(documents: Documents) -> None:
    document = {
        "text": "naïve 会議 🎧 \"quoted\" 'single' \\ \n\t%_",
        "empty": "",
        "number": 7,
        "big": 2**53 + 1,
        "negative": -0.25,
        "yes": True,
        "no": False,
        "nothing": None,
        "list": [1, "two", None, {"three": 3}],
        "nested": {"code": "no_audio", "deep": {"er": [1.5]}},
        "no items": [],
        "no fields": {},
    }
    documents.create(C, "a", document)
    read = documents.get(C, "a")
    assert read is not None
    assert read.id == "a"
    assert read.document == document
    assert type(read.document["yes"]) is bool
    assert type(read.document["number"]) is int


def test_a_missing_document_is_none(documents: Documents) -> None:
    documents.create("other", "a", {"x": 1})
    assert documents.get(C, "a") is None


def test_create_returns_the_version_that_get_sees(documents: Documents) -> None:
    created = documents.create(C, "a", {"x": 1})
    read = documents.get(C, "a")
    assert read is not None
    assert created.document == {"x": 1}
    assert created.version == read.version


def test_create_refuses_an_existing_document_and_keeps_it(documents: Documents) -> None:
    documents.create(C, "a", {"x": 1})
    with pytest.raises(ConflictError):
        documents.create(C, "a", {"x": 2})
    assert read_field(documents, "a", "x") == 1


def test_collections_do_not_see_one_another(documents: Documents) -> None:
    documents.create(C, "a", {"x": 1})
    documents.create("drive_state", "a", {"x": 2})
    assert read_field(documents, "a", "x") == 1
    assert [item.document["x"] for item in documents.find("drive_state")] == [2]


@pytest.mark.parametrize(
    "doc_id", ["drive-1AbC_d-Ef-5d41402a", "2025-04-07", "会議-🎧", "a b%c", "x" * 200, "A", "a"]
)
def test_ids_are_kept_exactly(documents: Documents, doc_id: str) -> None:
    documents.create(C, doc_id, {"x": 1})
    assert ids(documents.find(C)) == [doc_id]
    assert documents.get(C, doc_id) is not None
    assert documents.get(C, doc_id.swapcase() + "-") is None


def test_ids_that_differ_in_case_are_two(documents: Documents) -> None:
    documents.create(C, "Key", {"x": 1})
    documents.create(C, "key", {"x": 2})
    assert read_field(documents, "Key", "x") == 1


def test_replace_writes_the_whole_document(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1, "y": 2})
    written = documents.replace(C, read, {"x": 3})
    again = documents.get(C, "a")
    assert again is not None
    assert again.document == {"x": 3}
    assert again.version == written.version != read.version


def test_replace_refuses_a_document_that_changed(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.replace(C, read, {"x": 2})
    with pytest.raises(ConflictError):
        documents.replace(C, read, {"x": 3})
    assert read_field(documents, "a", "x") == 2


def test_writes_follow_one_another_by_what_they_return(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 0})
    for number in range(1, 4):
        read = documents.replace(C, read, {"x": number})
    assert read_field(documents, "a", "x") == 3


def test_replace_refuses_a_document_that_is_gone(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.delete(C, read)
    with pytest.raises(ConflictError):
        documents.replace(C, read, {"x": 2})
    assert documents.get(C, "a") is None


def test_a_document_created_again_is_another_version(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.delete(C, read)
    documents.create(C, "a", {"x": 1})
    with pytest.raises(ConflictError):
        documents.replace(C, read, {"x": 2})
    with pytest.raises(ConflictError):
        documents.delete(C, read)
    assert read_field(documents, "a", "x") == 1


def test_delete_removes(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.delete(C, read)
    assert documents.get(C, "a") is None
    assert ids(documents.find(C)) == []


def test_delete_refuses_a_document_that_changed(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.replace(C, read, {"x": 2})
    with pytest.raises(ConflictError):
        documents.delete(C, read)
    assert read_field(documents, "a", "x") == 2


def test_delete_refuses_a_document_that_is_gone(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 1})
    documents.delete(C, read)
    with pytest.raises(ConflictError):
        documents.delete(C, read)


def test_stored_documents_are_copies(documents: Documents) -> None:
    document = {"list": [1], "nested": {"x": 1}}
    written = documents.create(C, "a", document)
    document["list"].append(2)  # type: ignore[attr-defined]
    written.document["nested"]["x"] = 2
    read = documents.get(C, "a")
    assert read is not None
    read.document["list"].append(3)
    next(documents.find(C)).document["list"].append(4)
    again = documents.get(C, "a")
    assert again is not None
    assert again.document == {"list": [1], "nested": {"x": 1}}


def test_a_large_document_is_kept(documents: Documents) -> None:
    chunks = [{"object": f"dev/2025/04/{n:03}.mp3", "start_s": n * 60.0} for n in range(2000)]
    documents.create(C, "a", {"chunks": chunks})
    assert read_field(documents, "a", "chunks") == chunks


def test_a_recording_comes_back_as_it_was(documents: Documents) -> None:
    recording = Recording(
        key="drive-a-1",
        source="drive",
        source_id="a",
        revision="1",
        name="Weekly sync - 2025/04/07 16:52 CST - Recording",
        mime_type="video/mp4",
        size_bytes=2**40,
        created_at=T0,
        status=Status.DONE,
        progress=1.0,
        lease_expires_at=T0 + timedelta(seconds=60),
        error=ErrorInfo(code="no_audio", message="nothing to hear"),
        audio=Audio(
            object="dev/2025/04/a.mp3",
            bytes=5,
            crc32c="mnG7TA==",
            duration_s=1.5,
            start_offset_s=0.0,
            codec="mp3",
            bitrate_kbps=128.0,
            preset="mp3",
        ),
        chunks=(Chunk(object="0.mp3", start_s=0.0, end_s=1.5, bytes=5),),
        updated_at=T0,
    )
    documents.create(C, recording.key, recording.to_document())
    read = documents.get(C, recording.key)
    assert read is not None
    assert Recording.from_document(read.document) == recording


def test_check_passes(documents: Documents) -> None:
    documents.check()


# ── times ──


def test_a_time_comes_back_to_the_microsecond(documents: Documents) -> None:
    zone = timezone(timedelta(hours=5, minutes=45))
    written = [T0, T0.replace(microsecond=0), T0.astimezone(zone), datetime(1970, 1, 1, tzinfo=UTC)]
    documents.create(C, "a", {"t": written, "in": {"t": T0}})
    read = documents.get(C, "a")
    assert read is not None
    assert [as_time(value) for value in read.document["t"]] == written
    assert as_time(read.document["in"]["t"]) == T0


def test_times_compare_as_instants_whatever_their_zone(documents: Documents) -> None:
    east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=-8))
    documents.create(C, "before", {"t": (T0 - timedelta(microseconds=1)).astimezone(east)})
    documents.create(C, "same", {"t": T0.astimezone(west)})
    documents.create(C, "whole", {"t": T0.replace(microsecond=0) + timedelta(seconds=1)})
    documents.create(C, "after", {"t": T0 + timedelta(days=300)})
    now = T0.astimezone(timezone(timedelta(hours=2)))
    assert ids(documents.find(C, ("t", Op.LT, now), order_by="t")) == ["before"]
    assert ids(documents.find(C, ("t", Op.LE, now), order_by="t")) == ["before", "same"]
    assert ids(documents.find(C, ("t", Op.EQ, now))) == ["same"]
    assert ids(documents.find(C, ("t", Op.GT, now), order_by="t")) == ["whole", "after"]
    assert ids(documents.find(C, ("t", Op.GE, now), order_by="t")) == ["same", "whole", "after"]
    assert ids(documents.find(C, ("t", Op.IN, [now]))) == ["same"]


# ── races ──


def test_of_many_that_create_one_wins(documents: Documents) -> None:
    results = outcomes(lambda number: documents.create(C, "a", {"owner": number}), 12)
    (winner,) = winners(results)
    assert documents.get(C, "a") == winner


def test_of_many_that_replace_one_wins(documents: Documents) -> None:
    read = documents.create(C, "a", {"owner": None})
    results = outcomes(lambda number: documents.replace(C, read, {"owner": number}), 12)
    (winner,) = winners(results)
    assert documents.get(C, "a") == winner


def test_of_replace_and_delete_one_wins(documents: Documents) -> None:
    read = documents.create(C, "a", {"x": 0})

    def work(number: int) -> Versioned | None:
        if number % 2:
            return documents.replace(C, read, {"x": number})
        documents.delete(C, read)
        return None

    (winner,) = winners(outcomes(work, 8))
    assert documents.get(C, "a") == winner


def test_no_increment_is_lost(documents: Documents) -> None:
    documents.create(C, "a", {"n": 0})

    def add_five(_: int) -> None:
        done = 0
        while done < 5:
            read = documents.get(C, "a")
            assert read is not None
            try:
                documents.replace(C, read, {"n": read.document["n"] + 1})
            except ConflictError:
                continue  # optimistic concurrency: read again, and do it again
            done += 1

    outcomes(add_five, 4)
    assert read_field(documents, "a", "n") == 20


def test_threads_write_different_documents_side_by_side(documents: Documents) -> None:
    results = outcomes(lambda n: [documents.create(C, f"{n}-{m}", {"n": n}) for m in range(5)], 8)
    assert len(winners(results)) == 8
    assert len(ids(documents.find(C))) == 40


def read_field(documents: Documents, doc_id: str, field: str) -> Any:
    read = documents.get(C, doc_id)
    assert read is not None
    return read.document[field]
