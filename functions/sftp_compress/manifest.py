"""``manifest.json``: every compressed file and its source, correct under concurrent writers.

Each file writes its row as a small object of its own, a part, before its recording is DONE. A
merge puts all parts into the manifest and then removes them. So a file costs the same however
long the manifest is, and a crash at any point loses no row (``docs/adr/0020-manifest.md``).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from shared.core import untrusted_json
from shared.core.errors import ConflictError, ObjectExistsError, PipelineError, is_transient
from shared.core.message import SourceFile
from shared.core.ports import Clock, Storage, StoredObject
from shared.core.times import format_time

VERSION = 1

#: How long a writer keeps trying: one object takes about one write a second, and all
#: compressing instances write this one.
PATIENCE_S = 300.0

#: How many bytes of the manifest are rewritten in a second, on average, while a queue is long.
#: Merging takes a few percent of the time at this rate, whatever the manifest's size.
MERGED_BYTES_PER_S = 1_000_000

#: How many parts are read at a time.
_READERS = 8

#: How much of a manifest is read at a time, in characters.
_CHUNK = 1 << 16

#: The numbers of a row that have a total.
_SUMMED = ("source_bytes", "bytes", "duration_s")

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One compressed file.

    ``source`` is the path below the source directory, ``ratio`` how many times smaller
    the file has become, ``object`` the whole name in the bucket; times are RFC 3339.
    """

    source: str
    source_bytes: int
    source_mtime: str
    object: str
    bytes: int
    sha256: str
    duration_s: float
    ratio: float
    compressed_at: str

    @classmethod
    def of(
        cls, item: SourceFile, stored: StoredObject, sha256: str, duration_s: float, now: datetime
    ) -> Entry:
        """Return the entry of a source that was compressed."""
        return cls(
            source=item.source_id,
            source_bytes=item.size_bytes,
            source_mtime=format_time(item.created_at),
            object=stored.name,
            bytes=stored.bytes,
            sha256=sha256,
            duration_s=round(duration_s, 3),
            ratio=round(item.size_bytes / stored.bytes, 2),
            compressed_at=format_time(now),
        )


@dataclass(frozen=True)
class Part:
    """A row that is not merged yet, and the objects of its source that it replaces.

    ``generation`` is that of the object when the row was made, if it is known.
    """

    stored: StoredObject
    row: Row
    replaces: Sequence[str]
    generation: int | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest object ``name``, and its parts below the prefix ``parts``."""

    storage: Storage
    name: str
    parts: str
    clock: Clock
    patience_s: float = PATIENCE_S

    def add(
        self, entry: Entry, replaces: Sequence[str] = (), *, generation: int | None = None
    ) -> None:
        """Write an entry as a part.

        ``replaces`` are objects of the source under other names; the merge removes them, so
        that no row names an object that is gone. ``generation`` is the object's: the merge
        drops the row if the object was replaced since, as when this worker was frozen.
        """
        part = {"row": asdict(entry), "replaces": list(replaces), "generation": generation}
        # Of its own for each generation: a frozen worker overwrites no newer row.
        name = hashlib.sha256(f"{entry.source}\0{generation}".encode()).hexdigest()[:40]
        self._patiently(
            self.storage.put,
            f"{self.parts}{name}.json",
            json.dumps(part, ensure_ascii=False).encode(),
            content_type="application/json",
            cache_control="no-cache",
        )

    def has_parts(self) -> bool:
        """Return whether a merge has something to do."""
        return any(True for _ in self.storage.list(self.parts))

    def was_merged_recently(self) -> bool:
        """Return whether the next merge has to wait, if another file will merge later."""
        there = self.storage.stat(self.name)
        if there is None or there.updated is None:
            return False
        return self.clock() - there.updated < timedelta(seconds=there.bytes / MERGED_BYTES_PER_S)

    def merge(self, copy: Callable[[str, Path | bytes], object] | None = None) -> None:
        """Put every part into the manifest, ``copy`` that, and remove the parts.

        After a concurrent write, or when the bucket asks to slow down, it tries again. Raises
        the errors of ``copy`` and, when its time is up, those of the storage.
        """
        self._patiently(self._merge, copy)

    def _patiently(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        retrying = Retrying(
            retry=retry_if_exception(_is_worth_retrying),
            stop=stop_after_delay(self.patience_s),
            wait=wait_random_exponential(multiplier=0.05, max=5.0),
            reraise=True,
        )
        retrying(call, *arguments, **options)

    def _merge(self, copy: Callable[[str, Path | bytes], object] | None) -> None:
        # Before the parts: one that is merged and removed meanwhile makes the write fail.
        there = self.storage.stat(self.name)
        found = list(self._parts())
        if not found:
            return
        parts = self._newest(found)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "manifest.json"
            # A lone surrogate is written as JSON escapes it.
            with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
                merged = {source: part.row for source, part in parts.items()}
                changed = self._write(file, self.rows(), merged)
            if changed:
                self.storage.put(
                    self.name,
                    path,
                    content_type="application/json",
                    if_generation=there.generation if there else 0,
                    cache_control="no-cache",
                )
        copied: int | None = None
        while copy and (there := self.storage.stat(self.name)) and there.generation != copied:
            with self.storage.open(self.name) as content:
                copy("manifest.json", content.read())
            copied = there.generation  # a merge meanwhile makes another version
        for part in found:
            if part is parts.get(part.row["source"]):
                for name in part.replaces:
                    old = self.storage.stat(name)
                    if old and old.metadata.get("source_id") == part.row["source"]:
                        self.storage.delete(name, if_generation=old.generation)
            try:
                self.storage.delete(part.stored.name, if_generation=part.stored.generation)
            except ConflictError:
                continue  # written again: the next merge takes it

    def _parts(self) -> Iterator[Part]:
        """Yield every part; several are read at a time, since each is a request."""

        def read(stored: StoredObject) -> Part | None:
            try:
                with self.storage.open(stored.name) as file:
                    body = json.loads(file.read())
            except FileNotFoundError:
                return None  # merged by another process
            # Its generation is older than the content at worst; then it is not removed.
            return Part(stored, body["row"], body["replaces"], body.get("generation"))

        with ThreadPoolExecutor(_READERS) as pool:
            yield from filter(None, pool.map(read, self.storage.list(self.parts)))

    def _newest(self, found: Iterable[Part]) -> dict[str, Part]:
        """Return the part of each source whose object is the one that is there now."""

        def is_current(part: Part) -> bool:
            if part.generation is None:  # of an earlier version of this program
                return True
            there = self.storage.stat(part.row["object"])
            return there is not None and there.generation == part.generation

        parts = list(found)
        with ThreadPoolExecutor(_READERS) as pool:
            current = zip(parts, pool.map(is_current, parts), strict=True)
            return {part.row["source"]: part for part, is_it in current if is_it}

    def current_rows(self) -> Iterator[Row]:
        """Yield the rows of the manifest and of the parts, as a merge would write them."""
        parts = {source: part.row for source, part in self._newest(self._parts()).items()}
        return (row for row, _ in _merged(self.rows(), parts))

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the manifest, sorted by source, a few in memory at a time.

        Raises ``PipelineError`` when it cannot be read: starting over would lose all that
        others have written.
        """
        try:
            with self.storage.open(self.name) as raw, TextIOWrapper(raw, "utf-8") as file:
                yield from map(_checked, _read_rows(file))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PipelineError(
                f"{self.name} cannot be read ({error}): restore or remove it"
            ) from error

    def _write(self, file: TextIO, rows: Iterable[Row], parts: Mapping[str, Row]) -> bool:
        """Write the manifest; returns whether a part changed it."""
        head = {"version": VERSION, "generated_at": format_time(self.clock())}
        file.write(json.dumps(head)[:-1] + ', "files": [')
        totals: dict[str, Any] = {"files": 0, **dict.fromkeys(_SUMMED, 0)}
        changed = False
        for row, is_new in _merged(rows, parts):
            file.write(",\n" if totals["files"] else "\n")
            file.write(json.dumps(row, ensure_ascii=False))
            changed |= is_new
            totals["files"] += 1
            for name in _SUMMED:
                totals[name] += row[name]
        totals["duration_s"] = round(totals["duration_s"], 3)
        file.write(f'\n], "totals": {json.dumps(totals)}}}\n')
        return changed


def _merged(rows: Iterable[Row], parts: Mapping[str, Row]) -> Iterator[tuple[Row, bool]]:
    """Merge sorted rows with parts by source; yields each row, and whether it is new."""
    waiting = sorted(parts, reverse=True)
    for row in rows:
        while waiting and waiting[-1] < row["source"]:
            yield parts[waiting.pop()], True
        if waiting and waiting[-1] == row["source"]:
            part = parts[waiting.pop()]
            yield part, part != row
        else:
            yield row, False
    for source in reversed(waiting):
        yield parts[source], True


#: How a manifest of this program begins, of any of its versions.
_HEAD = re.compile(
    r'\s*\{\s*"version"\s*:\s*(\d+)\s*,\s*"generated_at"\s*:\s*"[^"]*"\s*,\s*"files"\s*:\s*\['
)
_BETWEEN = " \t\r\n,"


def _read_rows(file: TextIO) -> Iterator[Row]:
    """Yield the rows of a manifest; raises ``ValueError`` when it is not whole."""
    text, decoder = file.read(_CHUNK), json.JSONDecoder()
    head = _HEAD.match(text)
    if not head:  # written or edited by another program
        body = untrusted_json.parse(text + file.read())
        _check_version(body["version"])
        yield from sorted(body["files"], key=lambda row: str(row["source"]))
        return
    _check_version(int(head[1]))
    at = head.end()
    while True:
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        if text.startswith("]", at):
            break
        try:
            row, end = decoder.raw_decode(text, at)
        except ValueError:
            more = file.read(_CHUNK)
            if not more:
                raise
            text, at = text[at:] + more, 0
            continue
        yield row
        at = end
    # The totals are there, and the end.
    untrusted_json.parse('{"files": [' + text[at:] + file.read())


def _checked(row: Any) -> Row:
    """Return a row if a merge can use it; raises ``TypeError`` or ``KeyError``."""
    numbers = [row[name] for name in _SUMMED]
    if not isinstance(row, dict) or not isinstance(row["source"], str):
        raise TypeError("a row is not an object with a source")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError(f"the sizes of {row['source'][:80]!r} are not numbers")
    return row


def _check_version(version: object) -> None:
    if version != VERSION:
        raise ValueError(f"version {version!r}")


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, ConflictError | ObjectExistsError) or is_transient(error)
