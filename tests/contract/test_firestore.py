"""What Firestore's adapter promises beyond its port: lost answers, contention, long lists."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from shared.adapters.google import documents as firestore
from shared.adapters.google.documents import FirestoreDocuments
from shared.core.errors import ConflictError
from shared.core.message import SourceFile
from shared.core.ports import Op
from shared.tracking.claim import Claim
from shared.tracking.tracker import Tracker
from tests.proxy import Proxy, answer_lost, proxy_to

C = "recordings"
CONTENDERS = 20
T0 = datetime(2025, 4, 7, 16, 52, 0, 123456, tzinfo=UTC)
ITEM = SourceFile(
    source="drive",
    source_id="file",
    revision="5d41402a",
    name="Weekly sync",
    mime_type="video/mp4",
    size_bytes=1,
    created_at=T0,
)


@pytest.fixture
def documents(firestore_project: str) -> FirestoreDocuments:
    return FirestoreDocuments(firestore_project)


@pytest.fixture
def proxy(firestore_emulator: str) -> Iterator[Proxy]:
    with proxy_to(int(firestore_emulator.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
def through(
    documents: FirestoreDocuments,
    firestore_project: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> FirestoreDocuments:
    """The same documents, by way of the proxy."""
    documents.check()  # connected past the proxy, since a client reads the environment once
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", proxy.address)
    adapter = FirestoreDocuments(firestore_project)
    adapter.check()
    return adapter


def contend(work: object, documents: FirestoreDocuments) -> list[int]:
    """Return which of the contenders, all at the same moment, did not meet a conflict."""
    documents.check()
    barrier = threading.Barrier(CONTENDERS)

    def run(number: int) -> bool:
        barrier.wait()
        try:
            work(number)  # type: ignore[operator]
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(CONTENDERS) as pool:
        results = list(pool.map(run, range(CONTENDERS)))
    return [n for n, won in enumerate(results) if won]


def test_one_of_twenty_creates(documents: FirestoreDocuments) -> None:
    winners = contend(lambda n: documents.create(C, "a", {"owner": n}), documents)
    read = documents.get(C, "a")
    assert read is not None
    assert winners == [read.document["owner"]]


def test_one_of_twenty_replaces(documents: FirestoreDocuments) -> None:
    first = documents.create(C, "a", {"owner": None})
    winners = contend(lambda n: documents.replace(C, first, {"owner": n}), documents)
    read = documents.get(C, "a")
    assert read is not None
    assert winners == [read.document["owner"]]


def test_a_create_whose_answer_is_lost_is_a_conflict(
    documents: FirestoreDocuments, through: FirestoreDocuments, proxy: Proxy
) -> None:
    with (
        answer_lost(proxy, lambda: documents.get(C, "a") is not None),
        pytest.raises(ConflictError),
    ):
        through.create(C, "a", {"x": 1})
    read = documents.get(C, "a")
    assert read is not None
    assert read.document == {"x": 1}


def test_a_replace_whose_answer_is_lost_is_a_conflict(
    documents: FirestoreDocuments, through: FirestoreDocuments, proxy: Proxy
) -> None:
    first = documents.create(C, "a", {"x": 1})
    with answer_lost(proxy, lambda: documents.get(C, "a") != first), pytest.raises(ConflictError):
        through.replace(C, first, {"x": 2})
    read = documents.get(C, "a")
    assert read is not None
    assert read.document == {"x": 2}


def test_a_claim_whose_answer_is_lost_is_won(
    documents: FirestoreDocuments, through: FirestoreDocuments, proxy: Proxy
) -> None:
    created = lambda: documents.get(C, ITEM.key) is not None  # noqa: E731
    with answer_lost(proxy, created, trigger=ITEM.name.encode()):
        claim = Tracker(through).claim(ITEM)
    assert isinstance(claim, Claim)
    assert claim.recording.attempts == 1


def test_a_long_list_comes_in_pages_without_a_gap(
    documents: FirestoreDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firestore, "PAGE", 4)
    for number in range(10):
        kind = ["even", "odd"][number % 2]
        documents.create(C, f"{number:02}", {"n": -number, "same": 1, "kind": kind})
    ids = [f"{number:02}" for number in range(10)]
    assert [read.id for read in documents.find(C)] == ids
    assert [read.id for read in documents.find(C, order_by="n")] == ids[::-1]
    assert [read.id for read in documents.find(C, order_by="same", descending=True)] == ids[::-1]
    assert [read.id for read in documents.find(C, ("n", Op.LE, -3), order_by="n", limit=6)] == (
        ids[:3:-1]
    )
    assert [read.id for read in documents.find(C, ("n", Op.LT, 0))] == ids[:0:-1]
    assert [read.id for read in documents.find(C, ("kind", Op.EQ, "odd"))] == ids[1::2]
    assert len(list(documents.find(C, limit=4))) == 4
    assert len(list(documents.find(C, limit=8))) == 8


def test_a_list_goes_on_where_the_line_was_cut(
    documents: FirestoreDocuments,
    through: FirestoreDocuments,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(firestore, "PAGE", 4)
    for number in range(10):
        documents.create(C, f"{number:02}", {"n": number})
    found = through.find(C)
    first = [next(found).id for _ in range(4)]
    proxy.hold()
    proxy.cut()
    assert first + [read.id for read in found] == [f"{number:02}" for number in range(10)]


def test_names_of_fields_may_be_any_text(documents: FirestoreDocuments) -> None:
    read = documents.create(C, "a", {"x": 1})
    document = {"a.b": {"c.d": 1, "`": {}}, "会議 🎧": [], "with space": {}, "1": "`"}
    read = documents.replace(C, read, document)
    assert documents.get(C, "a") == read
    assert documents.replace(C, read, {"a": {"b": 2}}) == documents.get(C, "a")


def test_changes_to_the_caller_s_copy_change_nothing(documents: FirestoreDocuments) -> None:
    read = documents.create(C, "a", {"x": 1, "y": 2})
    del read.document["y"]
    documents.replace(C, read, read.document)
    again = documents.get(C, "a")
    assert again is not None
    assert again.document == {"x": 1}


def test_times_are_plain_ones(documents: FirestoreDocuments) -> None:
    documents.create(C, "a", {"t": T0, "list": [{"t": T0}]})
    read = documents.get(C, "a")
    assert read is not None
    times = [read.document["t"], read.document["list"][0]["t"]]
    assert times == [T0, T0]
    assert {type(value) for value in times} == {datetime}
    assert pickle.loads(pickle.dumps(read.document)) == read.document


def test_databases_are_apart(firestore_project: str) -> None:
    FirestoreDocuments(firestore_project).create(C, "a", {"x": 1})
    other = FirestoreDocuments(firestore_project, "archive")
    assert other.get(C, "a") is None
    other.create(C, "a", {"x": 2})


def test_a_client_made_before_a_fork_works_after_it(firestore_project: str) -> None:
    """In a process of its own: threads of the test runner would not survive a fork."""
    import subprocess
    import sys

    code = """
import os
from shared.adapters.google.documents import FirestoreDocuments
documents = FirestoreDocuments(os.environ["PROJECT"])
pid = os.fork()
documents.create("recordings", f"child-{pid == 0}", {"x": 1})
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(read.id for read in documents.find("recordings")) == ["child-False", "child-True"]
"""
    env = {**os.environ, "PROJECT": firestore_project}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=env)
