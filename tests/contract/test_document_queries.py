"""What ``ports.Documents`` promises of queries, over every adapter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.core.ports import Cursor, Document, Documents, Op
from tests.backends import on_every_database
from tests.contract.found import T0, C, as_time, ids

pytestmark = on_every_database


# ── find ──


@pytest.fixture
def filled(documents: Documents) -> Documents:
    contents: dict[str, Document] = {
        "a": {"status": "DONE", "n": 1, "error": None, "flag": True},
        "b": {"status": "FAILED", "n": 2, "error": {"code": "corrupt"}, "flag": False},
        "c": {"status": "FAILED", "n": 3.5, "error": {"code": "gave_up"}},
        "d": {"status": "QUEUED", "n": 10, "error": {"message": "no code"}},
        "e": {"status": "QUEUED"},
        "f": {"status": None, "n": None},
        "g": {"status": "done", "n": "2"},
    }
    for doc_id, document in contents.items():
        documents.create(C, doc_id, document)
    return documents


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("status", Op.EQ, "FAILED")], "bc"),
        ([("status", Op.EQ, "DONE")], "a"),
        ([("status", Op.EQ, "LOST")], ""),
        ([("status", Op.EQ, None)], "f"),
        ([("status", Op.IN, ["DONE", "QUEUED", "LOST"])], "ade"),
        ([("status", Op.IN, ["LOST"])], ""),
        ([("n", Op.LT, 3.5)], "ab"),
        ([("n", Op.LE, 3.5)], "abc"),
        ([("n", Op.GT, 2)], "cd"),
        ([("n", Op.GE, 2)], "bcd"),
        ([("n", Op.EQ, 2)], "b"),
        ([("n", Op.EQ, 2.0)], "b"),
        ([("n", Op.EQ, "2")], "g"),
        ([("n", Op.IN, [1, 10])], "ad"),
        ([("n", Op.GT, 1), ("n", Op.LE, 3.5)], "bc"),
        ([("status", Op.EQ, "FAILED"), ("n", Op.GT, 2)], "c"),
        ([("error.code", Op.EQ, "corrupt")], "b"),
        ([("error.code", Op.IN, ["gave_up", "dead_letter"])], "c"),
        ([("error.code", Op.EQ, "gave_up"), ("status", Op.EQ, "FAILED")], "c"),
        ([("error.code.more", Op.EQ, "corrupt")], ""),
        ([("error", Op.EQ, None)], "a"),
        ([("flag", Op.EQ, True)], "a"),
        ([("flag", Op.EQ, False)], "b"),
        ([("flag", Op.EQ, 1)], ""),
        ([("n", Op.EQ, True)], ""),
        ([("missing", Op.EQ, "x")], ""),
        ([("missing", Op.EQ, None)], ""),
        ([("missing", Op.LT, 1)], ""),
        ([], "abcdefg"),
    ],
)
def test_find_compares(filled: Documents, where: list[Any], expected: str) -> None:
    assert sorted(ids(filled.find(C, *where))) == list(expected)


@pytest.mark.parametrize("hostile", ["' OR 1=1 --", '"', "%", "_", "DONE' --", "\\"])
def test_a_value_is_only_a_value(filled: Documents, hostile: str) -> None:
    assert ids(filled.find(C, ("status", Op.EQ, hostile))) == []
    filled.create(C, "x", {"status": hostile})
    assert ids(filled.find(C, ("status", Op.EQ, hostile))) == ["x"]


def test_find_and_get_return_the_same(filled: Documents) -> None:
    assert list(filled.find(C, ("n", Op.EQ, 1))) == [filled.get(C, "a")]


def test_a_found_document_can_be_replaced(filled: Documents) -> None:
    read = next(filled.find(C, ("n", Op.EQ, 1)))
    filled.replace(C, read, {"status": "QUEUED"})
    assert sorted(ids(filled.find(C, ("status", Op.EQ, "QUEUED")))) == ["a", "d", "e"]


def test_documents_may_change_while_they_are_gone_through(filled: Documents) -> None:
    for read in filled.find(C, ("status", Op.EQ, "FAILED")):
        filled.replace(C, read, {**read.document, "status": "QUEUED"})
    assert ids(filled.find(C, ("status", Op.EQ, "FAILED"))) == []


def test_order_is_by_value_and_skips_documents_without_the_field(documents: Documents) -> None:
    contents: dict[str, Document] = {"a": {"n": 10}, "b": {"n": 9}, "c": {}, "d": {"n": 1.5}}
    for doc_id, document in contents.items():
        documents.create(C, doc_id, document)
    assert ids(documents.find(C, order_by="n")) == ["d", "b", "a"]
    assert ids(documents.find(C, order_by="n", descending=True)) == ["a", "b", "d"]


def test_order_has_null_first(documents: Documents) -> None:
    contents: dict[str, Document] = {"a": {"n": 1}, "b": {"n": None}, "c": {}}
    for doc_id, document in contents.items():
        documents.create(C, doc_id, document)
    assert ids(documents.find(C, order_by="n")) == ["b", "a"]
    assert ids(documents.find(C, order_by="n", descending=True)) == ["a", "b"]


def test_text_is_ordered_by_code_point(documents: Documents) -> None:
    for doc_id, name in {"1": "b", "2": "B", "3": "é", "4": "会", "5": "🎧", "6": ""}.items():
        documents.create(C, doc_id, {"name": name})
    assert ids(documents.find(C, order_by="name")) == ["6", "2", "1", "3", "4", "5"]


def test_order_by_a_nested_field_and_a_time(documents: Documents) -> None:
    for number, doc_id in enumerate("cab"):
        documents.create(C, doc_id, {"in": {"t": T0 + timedelta(seconds=number)}})
    documents.create(C, "without", {"in": None})
    assert ids(documents.find(C, order_by="in.t")) == ["c", "a", "b"]


def test_equal_values_are_ordered_by_id(documents: Documents) -> None:
    for doc_id in "cab":
        documents.create(C, doc_id, {"n": 1})
    assert ids(documents.find(C, order_by="n")) == ["a", "b", "c"]


def test_equal_values_are_ordered_by_id_in_the_same_direction(documents: Documents) -> None:
    for doc_id in "cab":
        documents.create(C, doc_id, {"n": 1})
    assert ids(documents.find(C, order_by="n", descending=True)) == ["c", "b", "a"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_follow_one_another_without_gap_or_repeat(
    documents: Documents, descending: bool, size: int
) -> None:
    for doc_id, seconds in {"d": 1, "a": 2, "b": 2, "c": 2, "e": 3}.items():
        changed = T0 + timedelta(seconds=seconds)
        documents.create(C, doc_id, {"updated_at": changed, "kind": "x"})
    documents.create(C, "other", {"updated_at": T0 + timedelta(seconds=2), "kind": "y"})
    seen: list[str] = []
    after: Cursor | None = None
    while page := list(
        documents.find(
            C,
            ("kind", Op.EQ, "x"),
            order_by="updated_at",
            descending=descending,
            limit=size,
            after=after,
        )
    ):
        assert len(page) <= size
        seen += ids(page)
        after = as_time(page[-1].document["updated_at"]), page[-1].id
    assert seen == (["e", "c", "b", "a", "d"] if descending else ["d", "a", "b", "c", "e"])


def test_a_cursor_works_though_its_document_is_gone(documents: Documents) -> None:
    for number in range(3):
        documents.create(C, str(number), {"n": number})
    gone = documents.get(C, "1")
    assert gone is not None
    documents.delete(C, gone)
    assert ids(documents.find(C, order_by="n", after=(1, "1"))) == ["2"]
    assert ids(documents.find(C, order_by="n", after=(0.5, "x"))) == ["2"]


@pytest.mark.parametrize("descending", [False, True])
def test_a_page_continues_after_a_whole_second(documents: Documents, descending: bool) -> None:
    start = T0.replace(microsecond=0)
    for second in range(3):
        moment = start + timedelta(seconds=second)
        documents.create(C, str(second), {"updated_at": moment})
    after = (start + timedelta(seconds=1), "1")
    found = documents.find(C, order_by="updated_at", descending=descending, after=after)
    assert ids(found) == ["0" if descending else "2"]


# ── counting ──


def test_count_counts_the_documents_that_match(filled: Documents) -> None:
    everything = list(filled.find(C))
    failed = [read for read in everything if read.document.get("status") == "FAILED"]
    assert filled.count(C) == len(everything)
    assert filled.count(C, ("status", Op.EQ, "FAILED")) == len(failed) > 0
    assert filled.count(C, ("status", Op.EQ, "NONE")) == 0
    assert filled.count("nowhere") == 0


def test_text_that_looks_like_a_list_is_not_one(documents: Documents) -> None:
    documents.create(C, "list", {"x": ["a"]})
    documents.create(C, "text", {"x": '["a"]'})
    documents.create(C, "object", {"x": {"a": 1}})
    documents.create(C, "number", {"x": 1})
    documents.create(C, "digit", {"x": "1"})
    assert documents.count(C, ("x", Op.EQ, '["a"]')) == 1
    assert documents.count(C, ("x", Op.EQ, '{"a":1}')) == 0
    assert documents.count(C, ("x", Op.EQ, "1")) == 1


def test_total_adds_up_numbers_only(documents: Documents) -> None:
    for doc_id, value in {"a": 1, "b": 2.5, "c": None, "d": "9", "e": True}.items():
        documents.create(C, doc_id, {"n": value, "kind": "x"})
    documents.create(C, "f", {"kind": "x"})
    documents.create(C, "g", {"n": 100, "kind": "y"})
    assert documents.total(C, "n", ("kind", Op.EQ, "x")) == 3.5
    assert documents.total(C, "n") == 103.5
    assert documents.total("nowhere", "n") == 0


# ── search ──


def found(documents: Documents, prefix: str, limit: int = 10) -> list[str]:
    return ids(documents.search(C, prefix, limit=limit))


def test_search_finds_words_by_their_start_latest_first(documents: Documents) -> None:
    for seconds, words in enumerate([["weekly", "sync"], ["wedding"], ["sync", "weeks"], []]):
        changed = T0 + timedelta(seconds=seconds)
        documents.create(C, str(seconds), {"words": words, "updated_at": changed})
    documents.create("other", "9", {"words": ["weekly"], "updated_at": T0})
    documents.create(C, "without", {"updated_at": T0})
    assert found(documents, "week") == ["2", "0"]
    assert found(documents, "we") == ["2", "1", "0"]
    assert found(documents, "weekly") == ["0"]
    assert found(documents, "eekly") == []
    assert found(documents, "we", limit=2) == ["2", "1"]
    assert found(documents, "Week") == []


def test_a_document_with_two_words_of_one_start_is_found_once(documents: Documents) -> None:
    documents.create(C, "a", {"words": ["weekly", "weeks", "week"], "updated_at": T0})
    assert found(documents, "week") == ["a"]


@pytest.mark.parametrize("word", ["会議", "ça", "naïve", "🎧", "a%b_c", "it's", "x" * 32])
def test_words_are_any_text(documents: Documents, word: str) -> None:
    documents.create(C, "a", {"words": [word], "updated_at": T0})
    assert found(documents, word[0]) == found(documents, word) == ["a"]
    assert found(documents, word[:-1] + "?") == []


def test_search_follows_every_change(documents: Documents) -> None:
    read = documents.create(C, "a", {"words": ["old", "same"], "updated_at": T0})
    documents.create(C, "b", {"words": ["same"], "updated_at": T0 + timedelta(seconds=1)})
    later = T0 + timedelta(seconds=2)
    read = documents.replace(C, read, {"words": ["new", "same"], "updated_at": later})
    assert (found(documents, "old"), found(documents, "new")) == ([], ["a"])
    assert found(documents, "same") == ["a", "b"]
    read = documents.replace(C, read, {"updated_at": later})
    assert found(documents, "new") == []
    read = documents.replace(C, read, {"words": ["back"], "updated_at": later})
    again = documents.get(C, "a")
    assert again is not None
    assert set(again.document) == {"words", "updated_at"}
    documents.delete(C, again)
    assert found(documents, "back") == []


def test_pages_of_a_search_follow_one_another(documents: Documents) -> None:
    for doc_id, seconds in {"a": 1, "b": 2, "c": 2, "d": 3}.items():
        changed = T0 + timedelta(seconds=seconds)
        documents.create(C, doc_id, {"words": ["sync"], "updated_at": changed})
    seen: list[str] = []
    after: Cursor | None = None
    while page := list(documents.search(C, "sy", limit=1, after=after)):
        seen += ids(page)
        after = as_time(page[-1].document["updated_at"]), page[-1].id
    assert seen == ["d", "c", "b", "a"]


def test_limit_takes_the_first(documents: Documents) -> None:
    for number in range(5):
        documents.create(C, str(number), {"n": number, "kind": ["even", "odd"][number % 2]})
    assert ids(documents.find(C, order_by="n", limit=2)) == ["0", "1"]
    assert ids(documents.find(C, order_by="n", descending=True, limit=2)) == ["4", "3"]
    assert ids(documents.find(C, ("kind", Op.EQ, "odd"), order_by="n", limit=1)) == ["1"]
    assert len(ids(documents.find(C, limit=3))) == 3
    assert len(ids(documents.find(C, limit=50))) == 5


def test_the_tracker_finds_leases_that_ran_out(documents: Documents) -> None:
    for seconds, status in (
        (-1, "PROCESSING"),
        (-2, "PROCESSING"),
        (1, "PROCESSING"),
        (-3, "DONE"),
    ):
        documents.create(
            C,
            f"{status}{seconds}",
            {"status": status, "lease_expires_at": T0 + timedelta(seconds=seconds)},
        )
    documents.create(C, "none", {"status": "PROCESSING", "lease_expires_at": None})
    found = documents.find(
        C,
        ("status", Op.EQ, "PROCESSING"),
        ("lease_expires_at", Op.LT, T0),
        order_by="lease_expires_at",
    )
    assert ids(found) == ["PROCESSING-2", "PROCESSING-1"]
