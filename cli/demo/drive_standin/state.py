"""The drives' content: files, shared drives and permissions."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
APPS = "application/vnd.google-apps."


@dataclass(frozen=True)
class Content:
    """The bytes of one revision: in memory, or a file that is read when it is asked for."""

    size: int
    md5: str
    data: bytes | None = None
    path: Path | None = None

    @classmethod
    def of(cls, source: bytes | str | Path, md5: str | None = None) -> Content:
        """Describe bytes or a file; with ``md5`` a large file need not be read."""
        if isinstance(source, bytes):
            return cls(len(source), md5 or hashlib.md5(source).hexdigest(), data=source)  # noqa: S324
        path = Path(source)
        if md5 is None:
            with path.open("rb") as file:
                md5 = hashlib.file_digest(file, "md5").hexdigest()
        return cls(path.stat().st_size, md5, path=path)

    def open(self) -> BinaryIO:
        """Open the bytes for reading."""
        return self.path.open("rb") if self.path else io.BytesIO(self.data or b"")


@dataclass(kw_only=True)
class File:
    """One file, folder or shortcut. ``owner`` is empty in a shared drive."""

    id: str
    name: str
    mime_type: str
    created: datetime
    modified: datetime
    owner: str = ""
    drive_id: str = ""
    parent: str = ""
    explicitly_trashed: bool = False
    grants: dict[str, str] = field(default_factory=dict)
    shared_at: dict[str, datetime] = field(default_factory=dict)
    content: Content | None = None
    revision: int = 0
    has_md5: bool = True
    shortcut_target: str = ""
    starred: bool = False
    abusive: bool = False
    downloadable: bool = True
    version: int = 1

    @property
    def head_revision_id(self) -> str:
        """Return the id of the content's revision, as opaque as Drive's."""
        seed = f"{self.id}/{self.revision}".encode()
        return "0B" + hashlib.sha256(seed).hexdigest()[:40]


@dataclass(kw_only=True)
class Drive:
    """A shared drive and the roles of its members."""

    id: str
    name: str
    created: datetime
    members: dict[str, str] = field(default_factory=dict)


class State:
    """Files and shared drives by id, with their tree."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.drives: dict[str, Drive] = {}
        self.children: dict[str, dict[str, None]] = {}
        self.roots: dict[str, str] = {}

    def add(self, file: File) -> None:
        self.files[file.id] = file
        self.children.setdefault(file.parent, {})[file.id] = None

    def remove(self, file: File) -> None:
        del self.files[file.id]
        self.children[file.parent].pop(file.id, None)

    def reparent(self, file: File, parent: str) -> None:
        """Move a file to another folder or shared drive."""
        self.children[file.parent].pop(file.id, None)
        file.parent = parent
        self.children.setdefault(parent, {})[file.id] = None

    def lineage(self, file: File) -> Iterator[File]:
        """Yield the file and its folders, innermost first."""
        here: File | None = file
        while here is not None:
            yield here
            here = self.files.get(here.parent)

    def subtree(self, file: File) -> Iterator[File]:
        """Yield the file and all below it."""
        yield file
        for child in tuple(self.children.get(file.id, ())):
            yield from self.subtree(self.files[child])

    def trashed(self, file: File) -> bool:
        """Return whether the file or a folder above it was trashed."""
        return any(step.explicitly_trashed for step in self.lineage(file))

    def access(self, file: File) -> dict[str, str]:
        """Return the role of every account that sees the file, inherited ones too."""
        roles: dict[str, str] = {}
        for step in self.lineage(file):
            for account, role in step.grants.items():
                roles.setdefault(account, role)
            if step.owner:
                roles[step.owner] = "owner" if step is file else roles.get(step.owner, "writer")
        drive = self.drives.get(file.drive_id)
        return (drive.members | roles) if drive else roles

    def sees(self, account: str, file: File) -> bool:
        """Return whether the account may see the file."""
        return account in self.access(file)
