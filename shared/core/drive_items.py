"""Drive's files and changes as the pipeline reads them, and which files are recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from shared.core.errors import PipelineError
from shared.core.message import Source, SourceFile
from shared.core.times import parse_time

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"

_MEDIA = ("video/", "audio/")
_EPOCH = "1970-01-01T00:00:00Z"

#: The fields that ``DriveItem`` reads, as Drive's ``fields`` parameter wants them.
ITEM_FIELDS = (
    "id,name,mimeType,size,md5Checksum,headRevisionId,createdTime,parents,"
    "trashed,driveId,shortcutDetails(targetId,targetMimeType),capabilities(canDownload)"
)

_LEADS = f"mimeType contains 'video/' or mimeType contains 'audio/' or mimeType = '{SHORTCUT}'"

#: Queries of ``files.list``: recordings (empty ones are filtered later) and shortcuts that
#: may lead to more; the second one finds folders too.
LEADS_QUERY = f"trashed = false and ({_LEADS})"
TREE_QUERY = f"trashed = false and ({_LEADS} or mimeType = '{FOLDER}')"


class PageTokenError(PipelineError):
    """Drive rejected this page token: a new start token and a full scan are due."""


@dataclass(frozen=True, kw_only=True)
class DriveItem:
    """A file, folder or shortcut as one account sees it.

    ``revision`` is its ``md5Checksum``, else its ``headRevisionId``, else empty: folders,
    shortcuts and documents have none. ``parents`` is empty for a file that was shared
    without its folder. ``trashed`` is true below a trashed folder too.
    """

    id: str
    name: str
    mime_type: str
    created_at: datetime
    size_bytes: int = 0
    revision: str = ""
    parents: tuple[str, ...] = ()
    trashed: bool = False
    drive_id: str = ""
    shortcut_target: str = ""
    shortcut_mime_type: str = ""
    can_download: bool = True

    @classmethod
    def from_api(cls, file: Mapping[str, Any]) -> Self:
        """Read a ``File`` resource that was asked for with ``ITEM_FIELDS``."""
        shortcut = file.get("shortcutDetails", {})
        return cls(
            id=file["id"],
            # A lone surrogate would fail to encode and block the whole page.
            name=file.get("name", "").encode(errors="replace").decode(),
            mime_type=file.get("mimeType", ""),
            created_at=parse_time(file.get("createdTime") or _EPOCH),
            size_bytes=int(file.get("size", 0)),
            revision=file.get("md5Checksum") or file.get("headRevisionId") or "",
            parents=tuple(file.get("parents", ())),
            trashed=bool(file.get("trashed", False)),
            drive_id=file.get("driveId", ""),
            shortcut_target=shortcut.get("targetId", ""),
            shortcut_mime_type=shortcut.get("targetMimeType", ""),
            can_download=bool(file.get("capabilities", {}).get("canDownload", True)),
        )

    @property
    def is_folder(self) -> bool:
        """Whether it can contain other files."""
        return self.mime_type == FOLDER

    @property
    def leads_to_recording(self) -> bool:
        """Whether it is a shortcut to video or audio."""
        return (
            self.mime_type == SHORTCUT
            and not self.trashed
            and bool(self.shortcut_target)
            and self.shortcut_mime_type.startswith(_MEDIA)
        )

    @property
    def is_recording(self) -> bool:
        """Whether it is video or audio, not empty, and not in the trash."""
        return (
            self.mime_type.startswith(_MEDIA)
            and not self.trashed
            and self.size_bytes > 0
            and bool(self.revision)
        )

    def to_source_file(self, account: str = "") -> SourceFile:
        """Return the message for this revision, to be read as ``account``."""
        return SourceFile(
            source=Source.DRIVE.value,
            source_id=self.id,
            revision=self.revision,
            name=self.name,
            mime_type=self.mime_type,
            size_bytes=self.size_bytes,
            created_at=self.created_at,
            account=account,
        )


@dataclass(frozen=True, kw_only=True)
class FilePage:
    """One page of a listing; ``next_token`` is empty on the last one."""

    items: Sequence[DriveItem]
    next_token: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """The latest state of one file; ``item`` is ``None`` when it was removed from view."""

    file_id: str
    item: DriveItem | None


@dataclass(frozen=True, kw_only=True)
class ChangePage:
    """One page of changes, which may be empty and not the last.

    ``token`` names the next page or, after the ``last`` one, changes from now on.
    ``drives_changed``: a shared drive was joined, left or renamed.
    """

    changes: Sequence[Change]
    token: str
    last: bool
    drives_changed: bool = False


@dataclass(frozen=True, kw_only=True)
class WatchChannel:
    """A watch channel as Drive opened it; ``expires_at`` may differ from the requested time."""

    id: str
    resource_id: str
    expires_at: datetime
