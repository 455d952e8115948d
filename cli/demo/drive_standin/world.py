"""The state that the stand-in serves, and the scenarios that change it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.demo.drive_standin.changes import ChangeLog
from cli.demo.drive_standin.faults import Faults
from cli.demo.drive_standin.identity import Identity
from cli.demo.drive_standin.notify import Notifier, PushChannel
from cli.demo.drive_standin.state import FOLDER, SHORTCUT, Content, Drive, File, State
from cli.demo.drive_standin.times import parse_time

DEFAULT_ACCOUNT = "reader@project.iam.gserviceaccount.com"


class World:
    """Drives, accounts, changes, channels and faults; every method may be called at any time.

    ``default_account`` is who a request without credentials is taken for, when
    ``require_auth`` is false. ``sync_first`` delivers ``sync`` before ``changes.watch`` is
    answered. ``inherited_in_changes`` false keeps files that an account sees only through
    a shared folder out of its change list.
    """

    def __init__(
        self, *, require_auth: bool = True, default_account: str = DEFAULT_ACCOUNT
    ) -> None:
        self.require_auth = require_auth
        self.default_account = default_account
        self.sync_first = False
        self.inherited_in_changes = True
        self.lock = threading.RLock()
        self.state = State()
        self.log = ChangeLog()
        self.faults = Faults()
        self.notifier = Notifier()
        self.identity = Identity()
        self.channels: dict[str, PushChannel] = {}
        self.hidden: set[str] = set()
        self.requests: Counter[str] = Counter()

    def close(self) -> None:
        """End the threads that send notifications."""
        self.notifier.close()

    # Accounts and places

    def root(self, account: str) -> str:
        """Return the id of the account's My Drive, made when it is first asked for."""
        with self.lock:
            if account not in self.state.roots:
                root = self._new("My Drive", FOLDER, owner=account, parent="")
                self.state.roots[account] = root.id
                self.state.add(root)
            return self.state.roots[account]

    def create_drive(self, name: str, members: Mapping[str, str] | None = None) -> str:
        """Make a shared drive with members' roles, and return its id."""
        with self.lock:
            drive = Drive(id=_id("0A"), name=name, created=_now(), members=dict(members or {}))
            self.state.drives[drive.id] = drive
            self._changed_drive(drive, frozenset(drive.members))
            return drive.id

    def set_member(self, drive_id: str, account: str, role: str | None) -> None:
        """Set an account's role in a shared drive; ``None`` removes it."""
        with self.lock:
            drive = self.state.drives[drive_id]
            audience = frozenset(drive.members) | {account}
            if role is None:
                drive.members.pop(account, None)
            else:
                drive.members[account] = role
            self._changed_drive(drive, audience)

    def create_folder(self, name: str, *, parent: str = "", owner: str = "") -> str:
        """Make a folder below ``parent`` (a folder, a shared drive, or the owner's My Drive)."""
        return self._create(self._new(name, FOLDER, parent=parent, owner=owner))

    def create_shortcut(self, name: str, target: str, *, parent: str = "", owner: str = "") -> str:
        """Make a shortcut to ``target``."""
        file = self._new(name, SHORTCUT, parent=parent, owner=owner)
        file.shortcut_target = target
        return self._create(file)

    def create_file(
        self,
        name: str,
        *,
        content: bytes | str | Path = b"",
        md5: str | None = None,
        mime_type: str = "video/mp4",
        parent: str = "",
        owner: str = "",
        created: datetime | str | None = None,
        **flags: Any,
    ) -> str:
        """Make a file of bytes or of a path, and return its id.

        ``flags`` are fields of ``File``: ``abusive``, ``downloadable``, ``has_md5``.
        """
        body = None if mime_type.startswith("application/vnd.") else Content.of(content, md5)
        file = self._new(name, mime_type, parent=parent, owner=owner)
        file.content, file.revision = body, 1
        if created is not None:
            file.created = parse_time(created) if isinstance(created, str) else created
        for flag, value in flags.items():
            setattr(file, flag, value)
        return self._create(file)

    # Changes to files

    def rename(self, file_id: str, name: str) -> None:
        self._edit(file_id, name=name)

    def move(self, file_id: str, parent: str) -> None:
        """Move a file or folder to another folder or shared drive."""
        with self.lock:
            file = self.state.files[file_id]
            before = frozenset(self.state.access(file))
            self.state.reparent(file, parent)
            drive_id = self._drive_of(parent)
            for step in self.state.subtree(file):
                step.drive_id = drive_id
            self._changed(file, before)

    def trash(self, file_id: str) -> None:
        """Put a file or folder into the trash, with everything below it."""
        self._edit(file_id, explicitly_trashed=True)

    def restore(self, file_id: str) -> None:
        """Restore a file or folder from the trash."""
        self._edit(file_id, explicitly_trashed=False)

    def share(self, file_id: str, account: str, role: str = "reader") -> None:
        """Share a file, or a folder with everything below it, with an account."""
        with self.lock:
            file = self.state.files[file_id]
            file.grants[account] = role
            file.shared_at[account] = _now()
            self._changed(file)

    def revoke(self, file_id: str, account: str) -> None:
        """Revoke what ``share`` granted."""
        with self.lock:
            file = self.state.files[file_id]
            before = frozenset(self.state.access(file))
            file.grants.pop(account, None)
            self._changed(file, before)

    def new_revision(
        self, file_id: str, content: bytes | str | Path, md5: str | None = None
    ) -> None:
        """Replace the bytes of a file."""
        body = Content.of(content, md5)
        with self.lock:
            file = self.state.files[file_id]
            self._edit(file_id, content=body, revision=file.revision + 1, modified=_now())

    def edit(self, file_id: str, **fields: Any) -> None:
        """Set fields of ``File`` (``abusive``, ``downloadable``, ``starred`` …)."""
        self._edit(file_id, **fields)

    def delete(self, file_id: str) -> None:
        """Delete a file for good, or a folder with all below it."""
        with self.lock:
            for file in list(self.state.subtree(self.state.files[file_id])):
                before = frozenset(self.state.access(file))
                self.state.remove(file)
                self._log("file", file.id, file.drive_id, before)

    # Faults

    def expire_page_tokens(self, status: int = 410) -> None:
        """Invalidate every page token issued so far; they are answered 400, 404 or 410."""
        with self.lock:
            self.log.expire(status)

    def rate_limit(self, count: int, status: int = 403) -> None:
        """Answer the next ``count`` requests with a rate limit, 403 or 429."""
        self.faults.plan(count, status, "userRateLimitExceeded" if status == 403 else None)

    def fail_next(self, count: int, status: int, reason: str | None = None) -> None:
        """Answer the next ``count`` requests with ``status`` and ``reason``."""
        self.faults.plan(count, status, reason)

    def set_faults(self, *, seed: int | None = None, **values: Any) -> None:
        """Set fields of ``Faults``."""
        if seed is not None:
            self.faults.seed(seed)
        for name, value in values.items():
            setattr(self.faults, name, tuple(value) if name == "statuses" else value)

    def set_notifications(self, **values: Any) -> None:
        """Set fields of ``Notifier``: ``drop``, ``copies``, ``retries``, ``retry_wait_s``."""
        for name, value in values.items():
            setattr(self.notifier, name, value)

    def set_options(self, **values: Any) -> None:
        """Set ``sync_first``, ``inherited_in_changes``, ``require_auth``, ``default_account``."""
        for name, value in values.items():
            setattr(self, name, value)

    def hide_from_changes(self, file_id: str) -> None:
        """Keep a file out of every change list and notification from now on."""
        self.hidden.add(file_id)

    # Inside

    def _new(self, name: str, mime_type: str, *, parent: str, owner: str) -> File:
        drive_id = self._drive_of(parent)
        if not drive_id and parent:
            owner = owner or self.state.files[parent].owner
        owner = "" if drive_id else owner or self.default_account
        if not parent and name != "My Drive":
            parent = self.root(owner)
        now = _now()
        return File(
            id=_id("1"),
            name=name,
            mime_type=mime_type,
            created=now,
            modified=now,
            owner=owner,
            drive_id=drive_id,
            parent=parent,
        )

    def _drive_of(self, parent: str) -> str:
        if parent in self.state.drives:
            return parent
        return self.state.files[parent].drive_id if parent else ""

    def _create(self, file: File) -> str:
        with self.lock:
            self.state.add(file)
            self._changed(file)
            return file.id

    def _edit(self, file_id: str, **fields: Any) -> None:
        with self.lock:
            file = self.state.files[file_id]
            for name, value in fields.items():
                getattr(file, name)  # a misspelt field must not pass
                setattr(file, name, value)
            self._changed(file)

    def _changed(self, file: File, before: frozenset[str] = frozenset()) -> None:
        file.version += 1
        self._log("file", file.id, file.drive_id, before | frozenset(self.state.access(file)))

    def _changed_drive(self, drive: Drive, audience: frozenset[str]) -> None:
        self._log("drive", drive.id, drive.id, audience)

    def _log(self, kind: str, thing: str, drive_id: str, audience: frozenset[str]) -> None:
        self.log.append(kind, thing, drive_id, audience, _now())
        if thing in self.hidden:
            return
        now_ms = _now().timestamp() * 1000
        for channel in self.channels.values():
            if channel.expiration > now_ms and _concerns(channel, drive_id, audience):
                self.notifier.send(channel, "change")


def _concerns(channel: PushChannel, drive_id: str, audience: frozenset[str]) -> bool:
    if channel.account not in audience:
        return False
    if channel.drive_id:
        return channel.drive_id == drive_id
    return channel.all_drives or not drive_id


def _now() -> datetime:
    return datetime.now(UTC)


def _id(prefix: str) -> str:
    return prefix + uuid.uuid4().hex
