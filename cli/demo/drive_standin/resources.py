"""Files and drives as Drive's JSON, seen by one account."""

from __future__ import annotations

from typing import Any

from cli.demo.drive_standin.state import APPS, Drive, File, State
from cli.demo.drive_standin.times import format_time

WRITERS = {"owner", "organizer", "fileOrganizer", "writer"}


def file_json(state: State, file: File, account: str) -> dict[str, Any]:
    """Return a file's fields that the stand-in supports; absent ones are left out."""
    role = state.access(file).get(account, "reader")
    writes = role in WRITERS
    shared = file.shared_at.get(account)
    known: dict[str, Any] = {
        "kind": "drive#file",
        "id": file.id,
        "name": file.name,
        "mimeType": file.mime_type,
        "starred": file.starred,
        "trashed": state.trashed(file),
        "explicitlyTrashed": file.explicitly_trashed,
        "parents": _parents(state, file, account),
        "spaces": ["drive"],
        "version": str(file.version),
        "createdTime": format_time(file.created),
        "modifiedTime": format_time(file.modified),
        "shared": bool(file.drive_id) or len(state.access(file)) > 1,
        "ownedByMe": file.owner == account,
        "writersCanShare": not file.drive_id,
        "copyRequiresWriterPermission": not file.downloadable,
        "viewersCanCopyContent": file.downloadable,
        "capabilities": {
            "canCopy": file.downloadable,
            "canDownload": file.downloadable,
            "canEdit": writes,
            "canReadRevisions": writes,
        },
        "driveId": file.drive_id,
        "owners": [_user(file.owner, account)] if file.owner else [],
        "sharedWithMeTime": format_time(shared) if shared and account in file.grants else "",
        "shortcutDetails": _shortcut(state, file),
        **_content(file),
    }
    return {name: value for name, value in known.items() if value not in ("", [], None)}


def _parents(state: State, file: File, account: str) -> list[str]:
    # Drive names the parent only to those who can see it.
    if file.parent in state.drives:
        return [file.parent] if account in state.drives[file.parent].members else []
    parent = state.files.get(file.parent)
    return [parent.id] if parent and state.sees(account, parent) else []


def _user(email: str, account: str) -> dict[str, Any]:
    return {
        "kind": "drive#user",
        "displayName": email.partition("@")[0],
        "emailAddress": email,
        "me": email == account,
        "permissionId": str(sum(email.encode()) * 10**14),
    }


def _shortcut(state: State, file: File) -> dict[str, Any] | None:
    if not file.shortcut_target:
        return None
    target = state.files.get(file.shortcut_target)
    mime_type = {"targetMimeType": target.mime_type} if target else {}
    return {"targetId": file.shortcut_target, **mime_type}


def _content(file: File) -> dict[str, Any]:
    if file.content is None or file.mime_type.startswith(APPS):
        return {}
    _, dot, extension = file.name.rpartition(".")
    return {
        "size": str(file.content.size),
        "quotaBytesUsed": str(file.content.size),
        "md5Checksum": file.content.md5 if file.has_md5 else "",
        "headRevisionId": file.head_revision_id,
        "originalFilename": file.name,
        "fileExtension": extension if dot else "",
        "fullFileExtension": extension if dot else "",
    }


def drive_json(drive: Drive) -> dict[str, Any]:
    """Return a shared drive."""
    return {
        "kind": "drive#drive",
        "id": drive.id,
        "name": drive.name,
        "createdTime": format_time(drive.created),
        "hidden": False,
    }


class Seen:
    """One file as one account's query sees it."""

    def __init__(self, state: State, file: File, account: str) -> None:
        self._state, self._file, self._account = state, file, account

    def text(self, field: str) -> str:
        """Return a text or time field."""
        file = self._file
        return {
            "name": file.name,
            "mimeType": file.mime_type,
            "shortcutDetails.targetId": file.shortcut_target,
            "modifiedTime": file.modified.isoformat(),
            "createdTime": file.created.isoformat(),
        }[field]

    def flag(self, field: str) -> bool:
        if field == "trashed":
            return self._state.trashed(self._file)
        if field == "sharedWithMe":
            return self._account in self._file.grants and self._file.owner != self._account
        return self._file.starred

    def collection(self, field: str) -> frozenset[str]:
        """Return parents, or the accounts of a role."""
        if field == "parents":
            return frozenset({self._file.parent})
        if field == "owners":
            return frozenset({self._file.owner})
        access = self._state.access(self._file)
        return frozenset(
            who for who, role in access.items() if (role in WRITERS) == (field == "writers")
        )
