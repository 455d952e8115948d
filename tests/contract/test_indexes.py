"""The composite indexes that Terraform makes are those that the code's queries need."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from cli.commands.audit import last_nightly_run
from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from functions.drive_watch.channel import Channels
from functions.drive_watch.publisher import Publisher
from shared.adapters.local.documents import SQLiteDocuments
from shared.adapters.memory import MemoryDocuments, MemoryQueue, MemoryResults, MemoryStorage
from shared.core.drive_items import DriveItem
from shared.core.ports import Documents, Op, Versioned
from shared.core.records import Recording, Status
from shared.tracking.announcer import Announcer
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.indexes import Field, Index, Query, RecordingDocuments
from tests.paths import ROOT

FILE = ROOT / "infra" / "terraform" / "indexes.json"


RECORDING = DriveItem(
    id="1",
    name="a",
    mime_type="video/mp4",
    created_at=datetime.now(UTC),
    revision="1",
)


def run_all_queries(documents: Documents) -> None:
    """Run every query of the code. A new query must be added here."""
    announcer = Announcer(documents, MemoryResults(), "dev")
    tracker = Tracker(documents, announcer=announcer)
    list(tracker.all())
    list(tracker.recent(10))
    list(tracker.with_status(Status.FAILED, 10))
    list(tracker.with_revision("local", "1-a"))
    tracker.counts()
    tracker.is_in_flight("sftp")
    last_nightly_run(documents)
    Requeue(tracker, {"drive": MemoryQueue()}).run()
    Publisher(tracker, MemoryQueue()).publish([RECORDING], "")
    Channels(documents, "", timedelta(days=7), tracker.clock).all()
    open_all_pages(tracker)


def open_all_pages(tracker: Tracker) -> None:
    """Open the dashboard's pages with every combination of filters that has its own query."""
    for status in ("DONE", "FAILED"):
        item = RECORDING.to_source_file("")
        one = Recording.from_source_file(
            dataclasses.replace(item, revision=status.lower()), now=tracker.clock()
        )
        done = one.evolve(status=Status(status), finished_at=tracker.clock(), processing_s=1.0)
        tracker.documents.create("recordings", done.key, done.to_document())
    night = {"date": "2026-01-01", "started_at": tracker.clock(), "found": 1, "queued": 0}
    tracker.documents.create(
        "nightly_runs", "2026-01-01", night | {"finished_at": tracker.clock(), "error": None}
    )
    client = create_app(Backend(tracker=tracker, storage=MemoryStorage(), cache_s=0)).test_client()
    for path in (
        "/",
        "/recordings",
        "/recordings?status=DONE",
        "/recordings?source=drive",
        "/recordings?source=drive&status=DONE",
        "/recordings?code=corrupt",
        "/recordings?q=words",
        "/nightly",
        "/health",
        "/api/events?since=2026-01-01T00:00:00Z",
    ):
        assert client.get(path).status_code == 200, path


@pytest.fixture
def recorded() -> RecordingDocuments:
    documents = RecordingDocuments(MemoryDocuments())
    run_all_queries(cast(Documents, documents))
    return documents


def listed() -> list[Index]:
    return [
        Index(
            index["collection"],
            tuple(Field(f["path"], f.get("order") or f["array"]) for f in index["fields"]),
        )
        for index in json.loads(FILE.read_text())
    ]


def test_the_file_has_exactly_the_indexes_of_the_queries(recorded: RecordingDocuments) -> None:
    needed = {query.index for query in recorded.queries if query.index}
    assert set(listed()) == needed
    assert len(listed()) == len(needed)


def test_no_query_of_the_code_is_left_out(recorded: RecordingDocuments) -> None:
    paths = [path for top in ("shared", "functions", "cli") for path in (ROOT / top).rglob("*.py")]
    asking = {(path, name) for path in paths for name in functions_that_ask(path)}
    assert asking == recorded.callers


def test_no_query_of_the_code_reads_a_whole_collection_of_sqlite(tmp_path: Path) -> None:
    """Without a fitting index SQLite reads every document in the order of the primary key."""

    class Explained(SQLiteDocuments):
        plans: ClassVar[dict[str, str]] = {}

        def _read(self, sql: str, values: Sequence[Any]) -> list[Versioned]:
            self._explain(sql, values)
            return super()._read(sql, values)

        def _scalar(self, sql: str, values: Sequence[Any]) -> Any:
            self._explain(sql, values)
            return super()._scalar(sql, values)

        def _explain(self, sql: str, values: Sequence[Any]) -> None:
            with self._connection().use() as connection:
                rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            self.plans[sql] = "; ".join(row[3] for row in rows)

    run_all_queries(cast(Documents, Explained(tmp_path / "tracker.db")))

    whole = "USING INDEX sqlite_autoindex_documents_1 (collection=?)"
    scans = [
        sql for sql, plan in Explained.plans.items() if whole in plan or "SCAN documents" in plan
    ]
    # All recordings, for the audit; channels of Drive, of which there are a few.
    assert {sql.partition(" WHERE ")[2] for sql in scans} == {"collection = ? ORDER BY id LIMIT ?"}


def functions_that_ask(path: Path) -> set[str]:
    """Return the functions of a module that query something named documents."""
    return set(_asking(ast.parse(path.read_text()), ""))


def _asking(node: ast.AST, function: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        function = node.name
    elif isinstance(node, ast.Lambda):
        function = "<lambda>"
    elif isinstance(node, ast.Call) and queries_documents(node.func):
        yield function
    for child in ast.iter_child_nodes(node):
        yield from _asking(child, function)


def queries_documents(function: ast.expr) -> bool:
    queries = ("find", "search", "count", "total")
    if not isinstance(function, ast.Attribute) or function.attr not in queries:
        return False
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name.strip("_") == "documents"


@pytest.mark.parametrize(
    ("where", "order_by", "descending", "fields"),
    [
        ([], None, False, None),
        ([], "t", True, None),
        ([("a", Op.EQ, 1)], None, False, None),
        ([("a", Op.EQ, 1), ("b", Op.IN, [2])], None, False, None),
        ([("t", Op.GT, 1), ("t", Op.LT, 9)], "t", False, None),
        ([("a", Op.EQ, 1)], "a", False, None),
        ([("a", Op.EQ, 1)], "t", True, ["a+", "t-"]),
        ([("a", Op.IN, [1])], "t", False, ["a+", "t+"]),
        ([("a", Op.EQ, 1), ("t", Op.LT, 9)], None, False, ["a+", "t+"]),
        ([("b", Op.EQ, 1), ("a", Op.EQ, 1), ("t", Op.LT, 9)], "t", True, ["a+", "b+", "t-"]),
        ([("t", Op.LT, 9)], "u", True, ["u-", "t-"]),
        ([("u", Op.LT, 9), ("t", Op.LT, 9)], None, False, ["t+", "u+"]),
    ],
)
def test_which_queries_need_a_composite_index(
    where: list[Any], order_by: str | None, descending: bool, fields: list[str] | None
) -> None:
    index = Query("recordings", tuple(where), order_by, descending).index
    signs = {"ASCENDING": "+", "DESCENDING": "-"}
    assert (index and [field.path + signs[field.order] for field in index.fields]) == fields
