"""``manifest.json``: every compressed file and its source, correct under concurrent writers.

Each file writes its row as a small object of its own, a part, before its recording is DONE. A
merge puts all parts into the manifest and then removes them. So a file costs the same however
long the manifest is, and a crash at any point loses no row (``docs/adr/0020-manifest.md``).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from functions.sftp_compress import manifest_file
from functions.sftp_compress.manifest_file import Row
from shared.core.errors import ConflictError, ObjectExistsError, PipelineError, is_transient
from shared.core.message import SourceFile
from shared.core.ports import Clock, Storage, StoredObject
from shared.core.times import format_time

#: How long a writer keeps trying: one object takes about one write a second, and all
#: compressing instances write this one.
PATIENCE_S = 300.0

#: How many bytes of the manifest are rewritten in a second, on average, while a queue is long.
#: Merging takes a few percent of the time at this rate, whatever the manifest's size.
MERGED_BYTES_PER_S = 1_000_000

#: How many parts are read at a time.
_READERS = 8


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
                changed = manifest_file.write(file, self.rows(), merged, self.clock())
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
        return (row for row, _ in manifest_file.merged(self.rows(), parts))

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the manifest, sorted by source, a few in memory at a time.

        Raises ``PipelineError`` when it cannot be read: starting over would lose all that
        others have written.
        """
        try:
            with self.storage.open(self.name) as raw, TextIOWrapper(raw, "utf-8") as file:
                yield from manifest_file.read(file)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise PipelineError(
                f"{self.name} cannot be read ({error}): restore or remove it"
            ) from error


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, ConflictError | ObjectExistsError) or is_transient(error)
