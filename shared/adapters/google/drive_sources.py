"""Recordings in Google Drive, read by range."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from shared.adapters.google.drive_auth import drive_credentials
from shared.adapters.google.drive_client import DriveClient
from shared.adapters.google.drive_http import Responses
from shared.core.drive_folders import Listing, WatchedFolders
from shared.core.drive_items import DriveItem
from shared.core.errors import Code, PermanentError
from shared.core.message import SourceFile


class DriveClients:
    """One ``DriveClient`` per account, created at first use.

    Args:
        service_account: ``DRIVE_SERVICE_ACCOUNT``, or empty for our own credentials.
        endpoint: ``DRIVE_API_ENDPOINT``, or empty for Google's.
        retry_s: How long a failing request is retried; 30 seconds by default.
    """

    def __init__(
        self, *, service_account: str = "", endpoint: str = "", retry_s: float | None = None
    ) -> None:
        self._service_account = service_account
        self._endpoint = endpoint
        self._retry_s = retry_s
        self._clients: dict[str, DriveClient] = {}
        self._lock = threading.Lock()

    def __call__(self, account: str = "") -> DriveClient:
        """Return the client for ``account``: a subject, or empty for our own credentials."""
        with self._lock:
            if account not in self._clients:
                self._clients[account] = DriveClient(
                    account,
                    partial(drive_credentials, self._service_account, account),
                    endpoint=self._endpoint,
                    retry_s=self._retry_s,
                )
            return self._clients[account]


class DriveSources:
    """``ports.Sources`` for recordings in Drive.

    Args:
        clients: Gives the client of an account.
        subjects: ``DRIVE_SUBJECTS``; with none, what is shared with the service account.
        drive_ids: ``DRIVE_IDS``, read as the first subject.
        folder_ids: ``DRIVE_FOLDER_IDS``; with none, everything the accounts see is listed.
        since: ``BACKFILL_SINCE``; older recordings are not listed.
    """

    def __init__(
        self,
        clients: DriveClients,
        *,
        subjects: Sequence[str] = (),
        drive_ids: Sequence[str] = (),
        folder_ids: Sequence[str] = (),
        since: date | None = None,
    ) -> None:
        self._clients = clients
        self._accounts = tuple(subjects) or ("",)
        self._drive_ids = tuple(drive_ids)
        self._folder_ids = tuple(folder_ids)
        self._since = since
        self._watched: dict[str, WatchedFolders] = {}

    def open(self, item: SourceFile) -> DriveFile:
        """Open the revision that ``item`` names; see ``ports.Sources``.

        Raises ``PermanentError`` (``forbidden``) for an account that is not configured, and
        (``not_watched``) for a file that is not watched now: a message alone must not decide
        what is read, and as whom.
        """
        if item.account and item.account not in self._accounts:
            message = f"{_called(item)} would be read as an account that is not configured"
            raise PermanentError(Code.FORBIDDEN, message)
        client = self._clients(item.account)
        now = client.get(item.source_id)
        _check_readable(now, item)
        if item.account not in self._watched:
            self._watched[item.account] = WatchedFolders(
                self._clients(item.account),
                self._folder_ids,
                # Only the first account reads the shared drives.
                drive_ids=self._drive_ids if item.account == self._accounts[0] else (),
            )
        if not self._watched[item.account].reach(now):
            message = f"{_called(item)} is not in a watched folder"
            raise PermanentError(Code.NOT_WATCHED, message)
        return DriveFile(client, item, now.size_bytes)

    def list(self) -> Iterator[SourceFile]:
        """Yield every watched recording once, however many accounts see it."""
        corpora = [(account, "") for account in self._accounts]
        corpora += [(self._accounts[0], drive_id) for drive_id in self._drive_ids]
        seen: set[str] = set()
        for account, drive_id in corpora:
            listing = Listing(
                self._clients(account), self._folder_ids, drive_id=drive_id, since=self._since
            )
            for item in listing:
                if item.id not in seen:
                    seen.add(item.id)
                    yield item.to_source_file(account)


class DriveFile:
    """The bytes of one revision of a file; ``ports.ByteSource``."""

    local_path: Path | None = None

    def __init__(self, client: DriveClient, item: SourceFile, size: int) -> None:
        self._client = client
        self._item = item
        self._size = size
        self._responses = Responses()

    @property
    def size(self) -> int:
        """Size in bytes, as Drive reported it when the file was opened."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return a range of bytes, resuming where a connection was cut."""
        end = min(offset + length, self._size)
        pieces: list[bytes] = []
        while offset < end:
            piece = self._client.fetch(
                self._item.source_id,
                offset,
                end,
                size=self._size,
                name=_called(self._item),
                responses=self._responses,
            )
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_unchanged(self) -> None:
        """Raise ``PermanentError`` if Drive has another revision now, or the file is gone."""
        _check_readable(self._client.get(self._item.source_id), self._item)

    def close(self) -> None:
        """Close idle connections, and end the reads of other threads."""
        self._responses.close()
        self._client.close()


def _check_readable(now: DriveItem, item: SourceFile) -> None:
    called = _called(item)
    if now.trashed:
        raise PermanentError(Code.TRASHED, f"{called} is in Drive's trash")
    if now.revision != item.revision:
        raise PermanentError(Code.SUPERSEDED, f"{called} was replaced by a newer version in Drive")
    if not now.can_download:
        raise PermanentError(Code.FORBIDDEN, f"the owner of {called} does not allow downloads")


def _called(item: SourceFile) -> str:
    return f"“{item.name}”"
