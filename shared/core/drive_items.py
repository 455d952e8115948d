"""What Drive's answers mean to the pipeline: files, changes, and which of them are recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from shared.core.errors import PipelineError
from shared.core.message import Source, SourceFile, parse_time

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"

_MEDIA = ("video/", "audio/")

#: The fields that ``DriveItem`` reads, as Drive's ``fields`` parameter wants them.
ITEM_FIELDS = (
    "id,name,mimeType,size,md5Checksum,headRevisionId,createdTime,modifiedTime,parents,"
    "trashed,driveId,shortcutDetails(targetId,targetMimeType),capabilities(canDownload)"
)

_LEADS = f"mimeType contains 'video/' or mimeType contains 'audio/' or mimeType = '{SHORTCUT}'"

#: What ``files.list`` is asked for: recordings, of which the empty ones are left out
#: afterwards, and the shortcuts that may lead to more; and folders as well.
LEADS_QUERY = f"trashed = false and ({_LEADS})"
TREE_QUERY = f"trashed = false and ({_LEADS} or mimeType = '{FOLDER}')"


class PageTokenError(PipelineError):
    """Drive no longer takes this page token: a new start token and a full compare are due."""


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
    modified_at: datetime
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
            # Half a character in a name would stop its message, and with it the whole page.
            name=file.get("name", "").encode(errors="replace").decode(),
            mime_type=file.get("mimeType", ""),
            created_at=_time(file.get("createdTime")),
            modified_at=_time(file.get("modifiedTime")),
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
        """Whether other files may lie in it."""
        return self.mime_type == FOLDER

    @property
    def leads_to_recording(self) -> bool:
        """Whether it is a shortcut to video or sound."""
        return (
            self.mime_type == SHORTCUT
            and not self.trashed
            and bool(self.shortcut_target)
            and self.shortcut_mime_type.startswith(_MEDIA)
        )

    @property
    def is_recording(self) -> bool:
        """Whether it is video or sound, with bytes in it, and not in the trash."""
        return (
            self.mime_type.startswith(_MEDIA)
            and not self.trashed
            and self.size_bytes > 0
            and bool(self.revision)
        )

    def to_source_file(self, account: str = "") -> SourceFile:
        """Return the message that asks for this revision, read as ``account``."""
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

    ``token`` is where to go on: the next page, or after the ``last`` one the future.
    ``drives_changed`` tells of a shared drive joined, left or renamed.
    """

    changes: Sequence[Change]
    token: str
    last: bool
    drives_changed: bool = False


@dataclass(frozen=True, kw_only=True)
class WatchChannel:
    """A watch channel as Drive opened it; ``expires_at`` is Drive's word, not the one asked."""

    id: str
    resource_id: str
    expires_at: datetime


def _time(text: str | None) -> datetime:
    return parse_time(text) if text else datetime.fromtimestamp(0, UTC)
