"""The hidden file beside an object in a directory, with what the file itself cannot store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from shared.core import untrusted_json
from shared.core.ports import StoredObject

#: Prefix of the storage's own files: sidecars and unfinished copies.
HIDDEN = ".audio-pipeline."
UNFINISHED = ".tmp"


def hidden_path(path: Path, ending: str) -> Path:
    """Return a hidden path beside ``path``, of a fixed length."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
    return path.with_name(f"{HIDDEN}{digest}{ending}")


def sidecar_path(path: Path) -> Path:
    """Return the path of the sidecar of the object at ``path``."""
    return hidden_path(path, ".json")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an object, identified by ``mtime_ns`` and ``bytes``."""

    content_type: str
    cache_control: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    crc32c: str = ""
    generation: int = 0
    mtime_ns: int = 0

    @classmethod
    def of_foreign(cls, path: Path, status: os.stat_result, crc32c: str) -> Version:
        """Describe a file that has no sidecar, or one for other content."""
        return cls(
            bytes=status.st_size,
            crc32c=crc32c,
            generation=max(1, status.st_mtime_ns),
            mtime_ns=status.st_mtime_ns,
            content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            cache_control="",
        )

    def describe(self, name: str) -> StoredObject:
        """Return this version of the object ``name`` as the port's type."""
        return StoredObject(
            name=name,
            bytes=self.bytes,
            crc32c=self.crc32c,
            generation=self.generation,
            content_type=self.content_type,
            metadata=dict(self.metadata),
            updated=datetime.fromtimestamp(self.mtime_ns / 1e9, UTC),
        )


@dataclass(frozen=True)
class Sidecar:
    """The versions that the object may have: the newest, and the one that it replaces.

    The sidecar is written before the object, which is created and replaced by a rename. So
    after a crash in between, one of the versions is the true one; a sidecar without an
    object is a claim on its name. No versions: its writer died while making the claim.
    """

    versions: tuple[Version, ...] = ()

    @property
    def key(self) -> str | None:
        """The ``key`` of the newest version."""
        return self.versions[0].metadata.get("key") if self.versions else None

    @property
    def generation(self) -> int:
        """The highest generation that the object may have."""
        return max((version.generation for version in self.versions), default=0)

    def only(self, generation: int) -> tuple[Version, ...]:
        """Return the version of that generation, or nothing."""
        return tuple(version for version in self.versions if version.generation == generation)

    def by_status(self, status: os.stat_result) -> Version | None:
        """Return the version with the file's size and mtime, if there is exactly one."""
        found = [
            version
            for version in self.versions
            if (version.bytes, version.mtime_ns) == (status.st_size, status.st_mtime_ns)
        ]
        return found[0] if len(found) == 1 else None

    def by_checksum(self, size: int, crc32c: str) -> Version | None:
        """Return the newest version with these bytes; a copy of the file may lose its mtime."""
        matching = (v for v in self.versions if (v.bytes, v.crc32c) == (size, crc32c))
        return next(matching, None)

    def encode(self, path: Path) -> bytes:
        """Return the content of the sidecar of the object at ``path``."""
        body = {
            "schema": 1,
            "file": path.name,
            "versions": [dataclasses.asdict(version) for version in self.versions],
        }
        return json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"

    @classmethod
    def read(cls, path: Path) -> Sidecar | None:
        """Read the sidecar of the object at ``path``; ``None`` when there is none."""
        try:
            data = sidecar_path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = {each.name for each in dataclasses.fields(Version)}
        try:
            items = untrusted_json.parse(data)["versions"]
            return cls(
                tuple(
                    Version(**{name: value for name, value in item.items() if name in known})
                    for item in items
                )
            )
        except (ValueError, KeyError, TypeError):
            return cls()
