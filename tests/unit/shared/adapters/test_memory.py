"""What is special about the adapters in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from shared.adapters.memory import MemoryDocuments, MemoryQueue
from shared.core.errors import TransientError
from shared.core.message import SourceFile
from shared.core.ports import Op

T0 = datetime(2025, 4, 7, 16, 52, tzinfo=UTC)
ITEM = SourceFile(
    source="drive",
    source_id="a",
    revision="1",
    name="n",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=T0,
)


def test_times_come_back_in_utc() -> None:
    documents = MemoryDocuments()
    documents.create("c", "a", {"t": T0.astimezone(timezone(timedelta(hours=9)))})
    read = documents.get("c", "a")
    assert read is not None
    assert read.document["t"].tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        MemoryDocuments().create("c", "a", {"t": T0.replace(tzinfo=None)})


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), {1: "x"}])
def test_values_that_json_lacks_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        MemoryDocuments().create("c", "a", {"x": value})


@pytest.mark.parametrize("where", [("a", "!=", 1), ("a", Op.LT, None)])
def test_a_comparison_that_no_database_makes_is_refused(where: Any) -> None:
    documents = MemoryDocuments()
    documents.create("c", "a", {"a": 1})
    with pytest.raises(ValueError):
        list(documents.find("c", where))


def test_no_values_match_nothing() -> None:
    documents = MemoryDocuments()
    documents.create("c", "a", {"x": 1})
    assert list(documents.find("c", ("x", Op.IN, []))) == []


def test_values_of_different_kinds_have_an_order() -> None:
    documents = MemoryDocuments()
    for doc_id, value in {"a": "text", "b": 1, "c": None, "d": T0, "e": True, "f": [1]}.items():
        documents.create("c", doc_id, {"x": value})
    assert [item.id for item in documents.find("c", order_by="x")] == list("cebdaf")


def test_a_queue_delivers_decoded_messages_in_the_publishers_thread() -> None:
    delivered: list[SourceFile] = []
    queue = MemoryQueue(delivered.append)
    queue.publish([ITEM, ITEM])
    assert delivered == [ITEM, ITEM]
    assert delivered[0] is not ITEM
    assert queue.items == []


def test_without_a_consumer_messages_gather() -> None:
    queue = MemoryQueue()
    queue.publish([ITEM])
    assert queue.items == [ITEM]


def test_errors_of_the_consumer_reach_the_publisher() -> None:
    def refuse(_: SourceFile) -> None:
        raise TransientError("later")

    with pytest.raises(TransientError, match="later"):
        MemoryQueue(refuse).publish([ITEM])
