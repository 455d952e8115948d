"""The methods of the API, each from typed parameters to JSON or to a file's bytes."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from cli.demo.drive_standin import query, resources
from cli.demo.drive_standin.changes import ChangeEntry
from cli.demo.drive_standin.channels import open_channel
from cli.demo.drive_standin.errors import ApiError, invalid, not_found
from cli.demo.drive_standin.request import Request
from cli.demo.drive_standin.state import APPS, File
from cli.demo.drive_standin.times import format_time
from cli.demo.drive_standin.world import World


class Api:
    """Answers calls from a world. Answers are JSON values, or a ``File`` whose bytes to send."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._snapshots: OrderedDict[str, list[str]] = OrderedDict()
        self._ids = itertools.count(1)
        self.methods: dict[str, Callable[[Request], Any]] = {
            "files.get": self.files_get,
            "files.list": self.files_list,
            "changes.getStartPageToken": self.start_page_token,
            "changes.list": self.changes_list,
            "changes.watch": self.changes_watch,
            "channels.stop": self.channels_stop,
            "drives.get": self.drives_get,
            "drives.list": self.drives_list,
            "about.get": self.about,
        }

    # files

    def files_get(self, request: Request) -> dict[str, Any] | File:
        """Return metadata, or the file itself for ``alt=media``."""
        with self.world.lock:
            state, file_id = self.world.state, request["fileId"]
            if file_id == "root":
                file_id = self.world.root(request.account)
            file = state.files.get(file_id)
            if file is None or not state.sees(request.account, file):
                raise not_found(file_id)
            if file.drive_id and not request["supportsAllDrives"]:
                raise not_found(file_id)
            if request["alt"] != "media":
                return resources.file_json(state, file, request.account)
            if file.content is None or file.mime_type.startswith(APPS):
                message = "Only files with binary content can be downloaded."
                raise ApiError(403, "fileNotDownloadable", message, location="alt")
            if not file.downloadable:
                message = "This file cannot be downloaded by the user."
                raise ApiError(403, "cannotDownloadFile", message)
            if file.abusive and not request["acknowledgeAbuse"]:
                message = (
                    "This file has been identified as malware or spam and cannot be downloaded."
                )
                raise ApiError(403, "cannotDownloadAbusiveFile", message)
            return file

    def files_list(self, request: Request) -> dict[str, Any]:
        """Return one page of the files that match ``q``."""
        with self.world.lock:
            size = request["pageSize"]
            snapshot, start = self._snapshot(request)
            ids = self._snapshots[snapshot]
            found = [self.world.state.files.get(i) for i in ids[start : start + size]]
            files = [
                resources.file_json(self.world.state, file, request.account)
                for file in found
                if file is not None
            ]
            answer = {"kind": "drive#fileList", "incompleteSearch": False, "files": files}
            if start + size < len(ids):
                answer["nextPageToken"] = f"~!!~{snapshot}~{start + size}"
            return answer

    def _snapshot(self, request: Request) -> tuple[str, int]:
        if request["pageToken"]:
            _, _, rest = request["pageToken"].partition("~!!~")
            snapshot, _, start = rest.partition("~")
            if snapshot not in self._snapshots or not start.isdigit():
                raise invalid("pageToken")
            return snapshot, int(start)
        snapshot = str(next(self._ids))
        self._snapshots[snapshot] = [file.id for file in self._search(request)]
        while len(self._snapshots) > 1000:
            self._snapshots.popitem(last=False)
        return snapshot, 0

    def _search(self, request: Request) -> list[File]:
        state = self.world.state
        within = self._corpus(request)
        text: str | None = request["q"]
        root = self.world.root(request.account)
        wanted = query.parse(text and text.replace("'root' in parents", f"'{root}' in parents"))
        ids = (
            state.files
            if wanted.parents is None
            else [child for parent in wanted.parents for child in state.children.get(parent, ())]
        )
        files = [
            file
            for file in map(state.files.__getitem__, ids)
            if within(file)
            and state.sees(request.account, file)
            and wanted.matches(resources.Seen(state, file, request.account))
        ]
        for key in reversed((request["orderBy"] or "").split(",")):
            name, _, direction = key.strip().partition(" ")
            if name:
                if name not in _SORT or direction not in ("", "desc"):
                    raise invalid("orderBy")
                files = sorted(files, key=_SORT[name], reverse=direction == "desc")
        return files

    def _corpus(self, request: Request) -> Callable[[File], bool]:
        drive_id, corpora = request["driveId"], request["corpora"] or "user"
        everything = request["includeItemsFromAllDrives"]
        if everything and not request["supportsAllDrives"]:
            message = "includeItemsFromAllDrives needs supportsAllDrives."
            raise ApiError(403, "teamDrivesSupportRequired", message, location="supportsAllDrives")
        if (corpora == "drive") != bool(drive_id):
            message = "The driveId parameter must be specified if and only if corpora is drive."
            raise ApiError(400, "invalid", message, location="driveId")
        if corpora in ("drive", "allDrives") and not everything:
            message = f"corpora {corpora} needs includeItemsFromAllDrives."
            raise ApiError(403, "teamDrivesIncludeRequired", message, location="corpora")
        if drive_id:
            self._member(request, drive_id)
            return lambda file: file.drive_id == drive_id
        return lambda file: everything or not file.drive_id

    def _member(self, request: Request, drive_id: str) -> None:
        drive = self.world.state.drives.get(drive_id)
        if drive is None or request.account not in drive.members:
            message = f"Shared drive not found: {drive_id}"
            raise ApiError(404, "notFound", message, location="driveId")

    # changes

    def start_page_token(self, request: Request) -> dict[str, Any]:
        """Return the token of the present."""
        with self.world.lock:
            drive_id = self._changes_drive(request)
            token = self.world.log.token(request.account, drive_id)
            return {"kind": "drive#startPageToken", "startPageToken": token}

    def changes_list(self, request: Request) -> dict[str, Any]:
        """Return one page of changes; it may be empty and not the last."""
        with self.world.lock:
            log, account = self.world.log, request.account
            drive_id = self._changes_drive(request)
            sequence = log.sequence(account, drive_id, request["pageToken"])
            entries = log.page(sequence, request["pageSize"])
            changes = [self._change(entry, request) for entry in entries]
            last = entries[-1].sequence + 1 if entries else log.next
            name = "newStartPageToken" if last >= log.next else "nextPageToken"
            return {
                "kind": "drive#changeList",
                name: log.token(account, drive_id, last),
                "changes": [change for change in changes if change],
            }

    def _changes_drive(self, request: Request) -> str:
        drive_id: str = request["driveId"] or ""
        if drive_id:
            if not request["supportsAllDrives"]:
                message = "driveId needs supportsAllDrives."
                raise ApiError(403, "teamDrivesSupportRequired", message, location="driveId")
            self._member(request, drive_id)
        return drive_id

    def _change(self, entry: ChangeEntry, request: Request) -> dict[str, Any] | None:
        if not self._listed(entry, request):
            return None
        change = {
            "kind": "drive#change",
            "type": entry.kind,
            "changeType": entry.kind,
            "time": format_time(entry.time),
            "removed": False,
            "fileId" if entry.kind == "file" else "driveId": entry.id,
        }
        if entry.drive_id:
            change["driveId"] = entry.drive_id
        now = self._present(entry, request.account)
        if now is None:
            change["removed"] = True
            return change if request["includeRemoved"] else None
        return change | {entry.kind: now}

    def _listed(self, entry: ChangeEntry, request: Request) -> bool:
        world = self.world
        if entry.id in world.hidden or not world.log.is_latest(entry):
            return False
        if request.account not in entry.audience:
            return False
        if request["driveId"]:
            return bool(entry.drive_id == request["driveId"])
        if entry.drive_id:
            return bool(request["includeItemsFromAllDrives"] and request["supportsAllDrives"])
        file = world.state.files.get(entry.id)
        is_own = file is None or request.account in {file.owner, *file.grants}
        return is_own or world.inherited_in_changes

    def _present(self, entry: ChangeEntry, account: str) -> dict[str, Any] | None:
        state = self.world.state
        if entry.kind == "drive":
            drive = state.drives.get(entry.id)
            return resources.drive_json(drive) if drive and account in drive.members else None
        file = state.files.get(entry.id)
        if file is None or not state.sees(account, file):
            return None
        return resources.file_json(state, file, account)

    # channels

    def changes_watch(self, request: Request) -> dict[str, Any]:
        """Open a channel; ``sync`` is sent to its address."""
        with self.world.lock:
            drive_id = self._changes_drive(request)
            self.world.log.sequence(request.account, drive_id, request["pageToken"])
            channel = open_channel(request, drive_id)
            if channel.id in self.world.channels:
                message = f"Channel id {channel.id} not unique"
                raise ApiError(400, "channelIdNotUnique", message)
            self.world.channels[channel.id] = channel
            self.world.notifier.send(channel, "sync")
        if self.world.sync_first:
            self.world.notifier.settle()
        return channel.to_json()

    def channels_stop(self, request: Request) -> None:
        """Close a channel; a wrong id or resource id is 404."""
        with self.world.lock:
            channel = self.world.channels.get(request.body.get("id", ""))
            if channel is None or channel.resource_id != request.body.get("resourceId"):
                message = f"Channel '{request.body.get('id')}' not found for project 'project'"
                raise ApiError(404, "notFound", message)
            del self.world.channels[channel.id]

    # drives and about

    def drives_get(self, request: Request) -> dict[str, Any]:
        """Return a shared drive."""
        with self.world.lock:
            self._member(request, request["driveId"])
            return resources.drive_json(self.world.state.drives[request["driveId"]])

    def drives_list(self, request: Request) -> dict[str, Any]:
        """Return the shared drives that the account is a member of, in pages."""
        with self.world.lock:
            every = self.world.state.drives.values()
            mine = [drive for drive in every if request.account in drive.members]
            start, size = int(request["pageToken"] or 0), request["pageSize"]
            drives = [resources.drive_json(drive) for drive in mine[start : start + size]]
            more = {"nextPageToken": str(start + size)} if start + size < len(mine) else {}
            return {"kind": "drive#driveList", "drives": drives, **more}

    def about(self, request: Request) -> dict[str, Any]:
        """Return the caller."""
        if not request["fields"]:
            message = "The 'fields' parameter is required for this method."
            raise ApiError(400, "required", message, location="fields")
        user = {
            "kind": "drive#user",
            "displayName": request.account.partition("@")[0],
            "emailAddress": request.account,
            "me": True,
        }
        return {"kind": "drive#about", "user": user}


_SORT: dict[str, Callable[[File], Any]] = {
    "createdTime": lambda file: file.created,
    "modifiedTime": lambda file: file.modified,
    "name": lambda file: file.name,
    "name_natural": lambda file: file.name,
    "folder": lambda file: file.mime_type != "application/vnd.google-apps.folder",
    "starred": lambda file: not file.starred,
}
