"""``SQLiteDocuments`` between processes, with other programs' files and with what people do."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.local.documents import SQLiteDocuments
from shared.core.errors import ConfigurationError, TransientError, is_transient
from shared.core.ports import Op

T0 = datetime(2025, 4, 7, 16, 52, tzinfo=UTC)

PREAMBLE = """
import os, sys
from pathlib import Path
from shared.adapters.local.documents import SQLiteDocuments
from shared.core.errors import ConflictError
print("ready", flush=True)
sys.stdin.readline()
me = sys.argv[2]
"""

CREATE = """
for number in range(30):
    documents = SQLiteDocuments(Path(sys.argv[1]) / f"{number // 3}" / "tracker.db")
    try:
        documents.create("recordings", str(number), {"owner": me})
        print(number, flush=True)
    except ConflictError:
        pass
"""

REPLACE = """
documents = SQLiteDocuments(Path(sys.argv[1]) / "tracker.db")
done = 0
while done < 60:
    read = documents.get("recordings", "a")
    try:
        documents.replace("recordings", read, {"n": read.document["n"] + 1})
    except ConflictError:
        continue
    done += 1
"""

FORK = """
documents = SQLiteDocuments(Path(sys.argv[1]) / "tracker.db")
documents.create("recordings", "parent", {})
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        documents.create("recordings", f"child {number}", {})
        del documents
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
documents.create("recordings", "parent again", {})
"""

COUNT = """
documents = SQLiteDocuments(Path(sys.argv[1]) / "tracker.db")
read = documents.create("recordings", me, {"n": 0})
for number in range(1, 1_000_000):
    read = documents.replace("recordings", read, {"n": number})
    print(number, flush=True)
"""


def start(script: str, directory: Path, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, str(directory), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def race(script: str, directory: Path, contenders: int) -> list[str]:
    """Run the script in several processes at once; return what each printed."""
    processes = [start(script, directory, str(number)) for number in range(contenders)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * contenders
    return printed


@pytest.fixture
def documents(tmp_path: Path) -> SQLiteDocuments:
    return SQLiteDocuments(tmp_path / "tracker.db")


# ── processes ──


def test_of_processes_that_create_one_wins_even_in_a_new_file(tmp_path: Path) -> None:
    printed = race(CREATE, tmp_path, 5)
    won = sorted(int(number) for lines in printed for number in lines.split())
    assert won == list(range(30))


def test_processes_lose_no_increment(tmp_path: Path, documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {"n": 0})
    race(REPLACE, tmp_path, 4)
    read = documents.get("recordings", "a")
    assert read is not None
    assert read.document == {"n": 240}


def test_a_forked_process_has_a_connection_of_its_own(
    tmp_path: Path, documents: SQLiteDocuments
) -> None:
    race(FORK, tmp_path, 1)
    expected = ["child 0", "child 1", "child 2", "parent", "parent again"]
    assert [item.id for item in documents.find("recordings")] == expected


def test_a_finished_write_survives_the_death_of_its_writer(
    tmp_path: Path, documents: SQLiteDocuments
) -> None:
    for round_number in range(5):
        process = start(COUNT, tmp_path, str(round_number))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        for _ in range(5 + 7 * round_number):
            finished = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        # Not communicate(), which reads the pipe past the lines that readline() has buffered.
        finished = max([finished, *(int(line) for line in process.stdout.read().split())])
        process.communicate()
        read = documents.get("recordings", str(round_number))
        assert read is not None
        assert finished <= read.document["n"] <= finished + 1
    with sqlite3.connect(documents.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


# ── the file ──


def test_nothing_is_made_before_the_first_call(tmp_path: Path) -> None:
    documents = SQLiteDocuments(tmp_path / "audio" / "deep" / "tracker.db")
    assert list(tmp_path.iterdir()) == []
    documents.check()
    assert documents.path.exists()


def test_a_relative_path_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    documents = SQLiteDocuments(Path("audio/tracker.db"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    documents.create("recordings", "a", {})
    assert (tmp_path / "audio" / "tracker.db").exists()


@pytest.mark.parametrize("name", [":memory:", "a b?c#d%.db", "会議.db"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    SQLiteDocuments(tmp_path / name).create("recordings", "a", {})
    assert (tmp_path / name).stat().st_size > 0


def test_another_instance_sees_what_was_written(documents: SQLiteDocuments) -> None:
    created = documents.create("recordings", "a", {"x": 1})
    assert SQLiteDocuments(documents.path).get("recordings", "a") == created


def test_a_file_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    documents = SQLiteDocuments(tmp_path / "audio" / "tracker.db")
    documents.create("recordings", "a", {})
    for file in (tmp_path / "audio").iterdir():
        file.unlink()
    documents.create("recordings", "a", {})
    assert SQLiteDocuments(documents.path).get("recordings", "a") is not None


def test_a_directory_that_goes_away_is_not_made_again(tmp_path: Path) -> None:
    folder, away = tmp_path / "audio", tmp_path / "away"
    documents = SQLiteDocuments(folder / "tracker.db")
    documents.create("recordings", "a", {"x": 1})
    folder.rename(away)
    calls: list[Callable[[], object]] = [
        documents.check,
        lambda: documents.get("recordings", "a"),
        lambda: documents.create("recordings", "b", {}),
    ]
    for call in calls:
        with pytest.raises(TransientError, match="audio is gone"):
            call()
    assert not folder.exists()
    away.rename(folder)
    documents.check()
    found = documents.get("recordings", "a")
    assert found is not None
    assert found.document == {"x": 1}


def test_a_file_replaced_meanwhile_is_the_one_that_counts(tmp_path: Path) -> None:
    documents = SQLiteDocuments(tmp_path / "tracker.db")
    backup = SQLiteDocuments(tmp_path / "backup.db")
    documents.create("recordings", "new", {})
    backup.create("recordings", "old", {})
    with sqlite3.connect(backup.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{documents.path}{suffix}").unlink()
    shutil.copy(backup.path, tmp_path / "restored.db")
    (tmp_path / "restored.db").replace(documents.path)
    assert [item.id for item in documents.find("recordings")] == ["old"]


def test_readers_do_not_wait_for_a_writer(documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {"x": 1})
    connection = sqlite3.connect(documents.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    read = documents.get("recordings", "a")
    connection.execute("ROLLBACK")
    connection.close()
    assert read is not None


# ── what cannot be used ──


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert not is_transient(caught.value)
    (problem,) = caught.value.problems
    return problem


def test_a_file_that_is_not_a_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    path.write_bytes(b"ID3" + bytes(5000))
    assert refusal(SQLiteDocuments(path).check) == f"{path} is not a database"
    assert refusal(lambda: SQLiteDocuments(path).get("a", "b")) == f"{path} is not a database"
    assert path.read_bytes() == b"ID3" + bytes(5000)


def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE history (url TEXT)")
    connection.close()
    before = path.read_bytes()
    problem = refusal(lambda: SQLiteDocuments(path).create("recordings", "a", {}))
    assert problem == f"{path} is a database of another program"
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused(documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {"x": "y" * 50_000})
    with sqlite3.connect(documents.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    damaged = documents.path.with_name("damaged.db")
    content = documents.path.read_bytes()
    damaged.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert "damaged" in refusal(lambda: SQLiteDocuments(damaged).get("recordings", "a"))


def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracker.db").mkdir()
    assert "cannot open" in refusal(SQLiteDocuments(tmp_path / "tracker.db").check)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audio").write_text("a file")
    assert "cannot open" in refusal(SQLiteDocuments(tmp_path / "audio" / "tracker.db").check)


def test_a_disk_that_may_not_be_written_is_refused(small_disk: Path) -> None:
    SQLiteDocuments(small_disk / "tracker.db").create("recordings", "a", {})
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for path in (small_disk / "tracker.db", small_disk / "new.db", small_disk / "new" / "new.db"):
        refusal(SQLiteDocuments(path).check)


def test_a_database_that_stays_locked_is_transient(documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {})
    connection = sqlite3.connect(documents.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="locked"):
        documents.check()
    connection.execute("ROLLBACK")
    connection.close()
    documents.check()


def test_a_full_disk_is_transient_and_loses_nothing(small_disk: Path) -> None:
    documents = SQLiteDocuments(small_disk / "tracker.db")
    written: list[str] = []

    def fill() -> None:
        for number in range(1000):
            documents.create("recordings", f"{number:03}", {"x": "y" * 20_000})
            written.append(f"{number:03}")

    with pytest.raises(TransientError, match="full"):
        fill()
    assert len(written) > 5
    for instance in (documents, SQLiteDocuments(documents.path)):
        assert [item.id for item in instance.find("recordings")] == written


# ── values and queries ──


def test_a_time_without_a_zone_is_refused(documents: SQLiteDocuments) -> None:
    with pytest.raises(ValueError, match="zone"):
        documents.create("recordings", "a", {"t": T0.replace(tzinfo=None)})
    assert documents.get("recordings", "a") is None


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object()])
def test_values_that_json_lacks_are_refused(documents: SQLiteDocuments, value: object) -> None:
    with pytest.raises(TypeError, match="cannot contain"):
        documents.create("recordings", "a", {"x": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_nan_and_infinity_are_refused(documents: SQLiteDocuments, value: object) -> None:
    with pytest.raises(ValueError):
        documents.create("recordings", "a", {"x": value})
    assert documents.get("recordings", "a") is None


@pytest.mark.parametrize("field", ["", "a'b", "a..b", ".a", "a-b", "$", "a) OR (1", "é"])
def test_a_field_is_only_a_name(documents: SQLiteDocuments, field: str) -> None:
    with pytest.raises(ValueError, match="not a field's name"):
        documents.find("recordings", (field, Op.EQ, 1))
    with pytest.raises(ValueError, match="not a field's name"):
        documents.find("recordings", order_by=field or "'")


@pytest.mark.parametrize(
    "where", [("a", "!=", 1), ("a", Op.LT, None), ("a", Op.EQ, [1]), ("a", Op.GT, True)]
)
def test_a_comparison_that_no_database_makes_is_refused(
    documents: SQLiteDocuments, where: Any
) -> None:
    with pytest.raises(ValueError):
        documents.find("recordings", where)


def test_no_values_match_nothing(documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {"x": 1})
    assert list(documents.find("recordings", ("x", Op.IN, []))) == []


def test_lists_and_objects_are_not_text(documents: SQLiteDocuments) -> None:
    documents.create("recordings", "a", {"x": [1]})
    documents.create("recordings", "b", {"x": {"y": 1}})
    assert list(documents.find("recordings", ("x", Op.EQ, "[1]"))) == []
    assert list(documents.find("recordings", ("x", Op.GE, ""))) == []


@pytest.mark.parametrize(
    ("where", "order_by", "index"),
    [
        ([("status", Op.EQ, "FAILED")], "updated_at", "documents_status_updated_at"),
        (
            [("status", Op.EQ, "PROCESSING"), ("lease_expires_at", Op.LT, T0)],
            "lease_expires_at",
            "documents_status_lease_expires_at",
        ),
        (
            [("status", Op.EQ, "QUEUED"), ("updated_at", Op.LT, T0)],
            None,
            "documents_status_updated_at",
        ),
        ([], "updated_at", "documents_updated_at"),
    ],
)
def test_the_queries_of_the_tracker_use_an_index(
    documents: SQLiteDocuments, where: Any, order_by: str | None, index: str
) -> None:
    asked: list[str] = []
    with documents._connection().use() as connection:
        connection.set_trace_callback(asked.append)
    list(documents.find("recordings", *where, order_by=order_by, descending=True, limit=20))
    with documents._connection().use() as connection:
        connection.set_trace_callback(None)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}").fetchall()
    assert index in str(plan)


_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["DONE", "FAILED", "", "[]", None, 1, ["DONE"]]),
        "error": st.sampled_from([None, "corrupt", {"code": "corrupt"}, {"code": None}, {}]),
    },
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | _BODIES), max_size=12))
def test_counts_are_those_of_the_documents(writes: list[tuple[str, dict[str, Any] | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        documents = SQLiteDocuments(Path(folder) / "tracker.db")
        for doc_id, body in writes:
            read = documents.get("recordings", doc_id)
            if body is None:
                if read:
                    documents.delete("recordings", read)
            elif read:
                documents.replace("recordings", read, body)
            else:
                documents.create("recordings", doc_id, body)
        documents.create("elsewhere", "a", {"status": "DONE", "error": {"code": "corrupt"}})
        failed, corrupt = ("status", Op.EQ, "FAILED"), ("error.code", Op.EQ, "corrupt")
        for where in [
            [("status", Op.EQ, status)] for status in ("DONE", "FAILED", "", "[]", None, 1)
        ] + [[failed, corrupt], [corrupt], [failed, ("error.code", Op.EQ, None)], []]:
            found = len(list(documents.find("recordings", *where)))
            assert documents.count("recordings", *where) == found


def test_counting_by_status_reads_no_document(documents: SQLiteDocuments) -> None:
    asked: list[str] = []
    documents.create("recordings", "a", {"status": "DONE"})
    with documents._connection().use() as connection:
        connection.set_trace_callback(asked.append)
    assert documents.count("recordings", ("status", Op.EQ, "DONE")) == 1
    assert documents.count("recordings", ("error.code", Op.EQ, "x"), ("status", Op.EQ, "y")) == 0
    with documents._connection().use() as connection:
        connection.set_trace_callback(None)
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in asked]
    assert plans
    assert all("document_counts" in str(plan) for plan in plans)
    assert not any("documents USING" in str(plan) for plan in plans)


@pytest.mark.parametrize("common", [1, 4, 100])
def test_common_and_rare_words_are_found_alike(
    tmp_path: Path, common: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.local.documents._COMMON", common)
    documents = SQLiteDocuments(tmp_path / "tracker.db")
    for number in range(6):
        when = datetime(2026, 1, 1 + number // 2, tzinfo=UTC)
        words = [["weekly", "weeks"], ["other"]][number % 3 == 2]
        documents.create("recordings", str(number), {"words": words, "updated_at": when})
    documents.create("recordings", "without a time", {"words": ["weekly"]})
    documents.create("elsewhere", "9", {"words": ["weekly"], "updated_at": datetime.now(UTC)})
    seen: list[str] = []
    after = None
    while page := list(documents.search("recordings", "week", limit=2, after=after)):
        seen += [read.id for read in page]
        after = datetime.fromisoformat(page[-1].document["updated_at"]), page[-1].id
    assert seen == ["4", "3", "1", "0"]
