"""The manifest and its parts: what is merged, when, and what readers see in between."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.sftp_compress import manifest as module
from functions.sftp_compress import manifest_file
from functions.sftp_compress.manifest import Entry, Manifest
from shared.adapters.memory import MemoryStorage
from shared.core.errors import PipelineError

NAME = "dev/compressed/manifest.json"
PARTS = "dev/metadata/manifest/compressed/"
sources = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def entry(source: str, number: int = 1) -> Entry:
    return Entry(
        source=source,
        source_bytes=1000 * number,
        source_mtime="2025-01-01T00:00:00Z",
        object=f"dev/compressed/{number}.wav",
        bytes=100 * number,
        sha256="0" * 64,
        duration_s=1.25,
        ratio=10.0,
        compressed_at="2025-01-02T00:00:00Z",
    )


def manifest_of(storage: MemoryStorage, now: datetime | None = None) -> Manifest:
    moment = now or datetime.now(UTC)
    return Manifest(storage=storage, name=NAME, parts=PARTS, clock=lambda: moment)


def body(storage: MemoryStorage) -> dict[str, Any]:
    found = json.loads(storage.open(NAME).read())
    assert isinstance(found, dict)
    return found


@given(st.lists(st.dictionaries(sources, st.integers(1, 9), max_size=5), max_size=5))
def test_it_equals_one_dictionary_of_all_rows(nights: list[dict[str, int]]) -> None:
    storage, expected = MemoryStorage(), {}
    manifest = manifest_of(storage)
    for night in nights:
        for source, number in night.items():
            manifest.add(entry(source, number))
            expected[source] = asdict(entry(source, number))
        rows = [expected[source] for source in sorted(expected)]
        assert list(manifest.current_rows()) == rows
        manifest.merge()
        assert not manifest.has_parts()
        assert list(manifest.rows()) == list(manifest.current_rows()) == rows
        if rows:
            found = body(storage)
            assert list(found) == ["version", "generated_at", "files", "totals"]
            assert found["files"] == rows
            assert found["totals"] == {
                "files": len(rows),
                "source_bytes": sum(row["source_bytes"] for row in rows),
                "bytes": sum(row["bytes"] for row in rows),
                "duration_s": round(sum(row["duration_s"] for row in rows), 3),
            }


def test_an_object_is_removed_only_after_the_manifest_names_its_successor() -> None:
    storage = MemoryStorage()
    mine, other = {"source_id": "a.wav"}, {"source_id": "b.wav"}
    storage.put("dev/compressed/a.opus", b"x", content_type="a/b", metadata=mine)
    storage.put("dev/compressed/b.opus", b"x", content_type="a/b", metadata=other)
    manifest = manifest_of(storage)
    manifest.add(entry("a.wav"), ["dev/compressed/a.opus", "dev/compressed/b.opus", "gone"])
    assert storage.stat("dev/compressed/a.opus")
    manifest.merge()
    assert storage.stat("dev/compressed/a.opus") is None
    assert storage.stat("dev/compressed/b.opus"), "another source's"


def test_a_part_that_is_written_during_a_merge_is_merged_next() -> None:
    storage = MemoryStorage()
    manifest = manifest_of(storage)
    manifest.add(entry("a.wav", 1))
    manifest.merge(copy=lambda *_: manifest.add(entry("a.wav", 2)))
    assert [row["bytes"] for row in manifest.rows()] == [100]
    assert manifest.has_parts()
    manifest.merge()
    assert [row["bytes"] for row in manifest.rows()] == [200]


def test_an_older_row_never_replaces_a_newer_one_of_a_merge_that_was_faster() -> None:
    """The slower merge has read the old part when the faster one is done with a new one."""
    slow = MemoryStorage()
    manifest = manifest_of(slow)
    manifest.add(entry("a.wav", 1))
    real = slow.put
    calls: list[str] = []

    def put(name: str, *arguments: Any, **options: Any) -> Any:
        if name == NAME and not calls:
            calls.append(name)
            manifest.add(entry("a.wav", 2))
            manifest.merge()
        return real(name, *arguments, **options)

    slow.put = put  # type: ignore[method-assign]
    manifest.merge()
    assert [row["bytes"] for row in manifest.rows()] == [200]


def test_a_merge_without_news_writes_nothing_but_copies() -> None:
    """A process died between the write and the copy."""
    storage = MemoryStorage()
    manifest = manifest_of(storage)
    manifest.add(entry("a.wav"))
    manifest.merge()
    before = storage.stat(NAME)
    manifest.add(entry("a.wav"))
    copied: list[bytes] = []
    manifest.merge(copy=lambda _, content: copied.append(bytes(content)))
    assert storage.stat(NAME) == before
    assert copied == [storage.open(NAME).read()]
    assert not manifest.has_parts()


def test_a_long_manifest_is_merged_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    manifest = manifest_of(storage)
    assert not manifest.was_merged_recently()
    manifest.add(entry("a.wav"))
    manifest.merge()
    monkeypatch.setattr(module, "MERGED_BYTES_PER_S", 10)
    there = storage.stat(NAME)
    assert there
    assert there.updated
    seconds = timedelta(seconds=there.bytes / 10)
    assert manifest_of(
        storage, there.updated + seconds - timedelta(seconds=1)
    ).was_merged_recently()
    assert not manifest_of(storage, there.updated + seconds).was_merged_recently()


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_it_is_read_in_pieces_of_any_size(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_file, "_CHUNK", max(chunk, 100))
    storage = MemoryStorage()
    manifest = manifest_of(storage)
    names = [f"Réunion 🎧 {number}.wav" for number in range(20)]
    for name in names:
        manifest.add(entry(name))
    manifest.merge()
    monkeypatch.setattr(manifest_file, "_CHUNK", chunk)
    assert sorted(row["source"] for row in manifest.rows()) == sorted(names)


def test_a_manifest_of_an_earlier_version_is_read() -> None:
    storage = MemoryStorage()
    earlier = {
        "version": 1,
        "generated_at": "2025-01-01T00:00:00Z",
        "files": [asdict(entry(name)) for name in ("a", "b")],
        "totals": {"files": 2, "source_bytes": 2000, "bytes": 200, "duration_s": 2.5},
    }
    storage.put(NAME, json.dumps(earlier, indent=2).encode(), content_type="application/json")
    manifest = manifest_of(storage)
    manifest.add(entry("c"))
    manifest.merge()
    assert [row["source"] for row in body(storage)["files"]] == ["a", "b", "c"]


def test_a_manifest_that_another_program_wrote_is_read_and_sorted() -> None:
    storage = MemoryStorage()
    files = [asdict(entry(name)) for name in ("b", "a")]
    text = json.dumps({"files": files, "totals": {}, "version": 1})
    storage.put(NAME, text.encode(), content_type="application/json")
    assert [row["source"] for row in manifest_of(storage).rows()] == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-3],
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"{broken",
        lambda text: b"[]",
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b"totals", b'x" "totals'),
        lambda text: text.replace(b'"a.wav"', b'"\xff"'),
    ],
)
def test_one_that_is_not_whole_is_not_written_over(change: Any) -> None:
    storage = MemoryStorage()
    manifest = manifest_of(storage)
    manifest.add(entry("a.wav"))
    manifest.merge()
    broken = change(storage.open(NAME).read())
    storage.put(NAME, broken, content_type="application/json")
    manifest.add(entry("b.wav"))
    with pytest.raises(PipelineError, match="restore or remove it"):
        manifest.merge()
    assert storage.open(NAME).read() == broken
    assert manifest.has_parts()
