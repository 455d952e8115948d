"""``manifest.json``: every compressed file and its source, right under writers side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

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


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest object ``name``; ``check`` is called before each write and may raise."""

    storage: Storage
    name: str
    clock: Clock
    patience_s: float = PATIENCE_S

    def add(self, entry: Entry, check: Callable[[], object] = lambda: None) -> Row | None:
        """Put an entry in place of its source's earlier one, which is returned.

        A writer that came between, and a bucket that asks for patience, cost another try
        and nothing else. Raises what ``check`` or, in the end, the storage raises.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_worth_retrying),
            stop=stop_after_delay(self.patience_s),
            wait=wait_random_exponential(multiplier=0.05, max=5.0),
            reraise=True,
        )
        replaced: Row | None = retrying(self._add, entry, check)
        return replaced

    def _add(self, entry: Entry, check: Callable[[], object]) -> Row | None:
        generation, rows = self.read()
        earlier = rows.get(entry.source)
        check()
        if earlier != asdict(entry):  # else it was written, and the answer lost
            self._write({**rows, entry.source: asdict(entry)}, generation)
        return earlier

    def read(self) -> tuple[int, dict[str, Row]]:
        """Return the generation, 0 for none, and the rows by source."""
        # Asked for first: content that is newer than the generation is refused later.
        there = self.storage.stat(self.name)
        if there is None:
            return 0, {}
        with self.storage.open(self.name) as file:
            return there.generation, self._parsed(file.read())

    def _parsed(self, data: bytes) -> dict[str, Row]:
        try:
            body = untrusted_json.parse(data)
            if body["version"] != VERSION:
                raise ValueError(f"version {body['version']!r}")
            return {row["source"]: row for row in body["files"]}
        except (ValueError, KeyError, TypeError) as error:
            # To begin anew would lose all that others have written.
            raise PipelineError(
                f"{self.name} cannot be read ({error}): restore or remove it"
            ) from error

    def _write(self, rows: dict[str, Row], generation: int) -> None:
        body = {
            "version": VERSION,
            "generated_at": format_time(self.clock()),
            "files": [rows[source] for source in sorted(rows)],
            "totals": {
                "files": len(rows),
                **{
                    name: round(sum(row[name] for row in rows.values()), 3)
                    for name in ("source_bytes", "bytes", "duration_s")
                },
            },
        }
        text = json.dumps(body, ensure_ascii=False, indent=2) + "\n"
        self.storage.put(
            self.name,
            text.encode(),
            content_type="application/json",
            if_generation=generation,
            cache_control="no-cache",
        )

    def copy_to(self, put: Callable[[str, bytes | Path], object], name: str) -> None:
        """Copy the manifest elsewhere, until the newest version was copied."""
        copied: int | None = None
        while (there := self.storage.stat(self.name)) and there.generation != copied:
            with self.storage.open(self.name) as file:
                put(name, file.read())
            copied = there.generation


def _is_worth_retrying(error: BaseException) -> bool:
    return isinstance(error, ConflictError | ObjectExistsError) or is_transient(error)
