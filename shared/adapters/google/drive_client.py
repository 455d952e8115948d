"""The Drive v3 API for one account, built from the client's bundled discovery document."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from shared.adapters.google.drive_http import (
    RETRY_SECONDS,
    ClientHttp,
    DriveErrorResponse,
    HttpSessions,
    Responses,
    http_error,
    worth_retrying,
)
from shared.adapters.google.retry import within
from shared.core.drive_items import (
    ITEM_FIELDS,
    Change,
    ChangePage,
    DriveItem,
    FilePage,
    PageTokenError,
    WatchChannel,
)
from shared.core.errors import Code, PermanentError, PipelineError, TransientError, is_transient
from shared.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

T = TypeVar("T")

_CHANGE_FIELDS = (
    "nextPageToken,newStartPageToken,"
    f"changes(changeType,fileId,driveId,removed,file({ITEM_FIELDS}))"
)
#: Bytes read from the socket at a time; a cut connection loses less than this.
_PIECE = 1 << 18


class DriveClient:
    """``ports.DriveApi`` over HTTP. Threads may share it; each has its own connection.

    Args:
        account: The impersonated user (domain-wide delegation), or empty.
        credentials: Makes the credentials; called once in each process, at first use.
        endpoint: Another base address, with ``/drive/v3/`` at its end, or empty.
        retry_s: How long a failing request is retried; ``RETRY_SECONDS`` by default.
    """

    def __init__(
        self,
        account: str,
        credentials: Callable[[], Credentials],
        *,
        endpoint: str = "",
        retry_s: float | None = None,
    ) -> None:
        self.account = account
        self._endpoint = endpoint
        self._retry_s = retry_s
        self._sessions = PerProcess(lambda: HttpSessions(credentials(), account))
        self._service = PerProcess(self._build)

    def get(self, file_id: str) -> DriveItem:
        """Return a file's metadata; raises ``PermanentError`` if it is not visible."""
        call = self._files().get(fileId=file_id, fields=ITEM_FIELDS, supportsAllDrives=True)
        return DriveItem.from_api(self._execute(call, f"the file {file_id}"))

    def list(
        self, query: str, *, drive_id: str = "", page_token: str = "", page_size: int = 1000
    ) -> FilePage:
        """Return one page of the files that match ``query``, in one shared drive or in all."""
        call = self._files().list(
            q=query,
            fields=f"nextPageToken,files({ITEM_FIELDS})",
            pageSize=page_size,
            pageToken=page_token or None,
            corpora="drive" if drive_id else "user",
            **_flags(drive_id),
        )
        answer = self._execute(call, f"the shared drive {drive_id}" if drive_id else "the list")
        items = [DriveItem.from_api(file) for file in answer.get("files", [])]
        return FilePage(items=items, next_token=answer.get("nextPageToken", ""))

    def start_token(self, drive_id: str = "") -> str:
        """Return the page token for changes from now on."""
        drive = {"driveId": drive_id} if drive_id else {}
        call = self._service().changes().getStartPageToken(supportsAllDrives=True, **drive)
        return str(self._execute(call, f"the changes {drive_id}")["startPageToken"])

    def changes(self, token: str, drive_id: str = "", *, page_size: int = 1000) -> ChangePage:
        """Return one page of changes since ``token``; raises ``PageTokenError``."""
        call = (
            self._service()
            .changes()
            .list(
                pageToken=token,
                pageSize=page_size,
                fields=_CHANGE_FIELDS,
                includeRemoved=True,
                **_flags(drive_id),
            )
        )
        answer = self._execute(call, f"the changes {drive_id}", _token_error)
        every = answer.get("changes", [])
        changes = []
        for change in every:
            if change.get("changeType") == "file":
                file = None if change.get("removed") else change.get("file")
                item = DriveItem.from_api(file) if file else None
                changes.append(Change(file_id=change["fileId"], item=item))
        return ChangePage(
            changes=changes,
            token=answer.get("nextPageToken") or answer["newStartPageToken"],
            last="nextPageToken" not in answer,
            drives_changed=any(change.get("changeType") == "drive" for change in every),
        )

    def watch(
        self,
        token: str,
        *,
        channel_id: str,
        channel_token: str,
        address: str,
        expires_at: datetime,
        drive_id: str = "",
    ) -> WatchChannel:
        """Open a channel that notifies ``address``; ``sync`` may come before this returns.

        A lost response leaves a channel open under this id, so a failed request is not
        retried; use a new id. Raises ``PageTokenError``.
        """
        body = {
            "id": channel_id,
            "type": "web_hook",
            "address": address,
            "token": channel_token,
            "expiration": str(int(expires_at.timestamp() * 1000)),
        }
        call = self._service().changes().watch(pageToken=token, body=body, **_flags(drive_id))
        answer = self._execute(call, f"the changes {drive_id}", _token_error, retry=False)
        return WatchChannel(
            id=answer["id"],
            resource_id=answer["resourceId"],
            expires_at=datetime.fromtimestamp(int(answer["expiration"]) / 1000, UTC),
        )

    def stop(self, channel_id: str, resource_id: str) -> None:
        """Close a channel; succeeds if it is already closed."""
        body = {"id": channel_id, "resourceId": resource_id}
        call = self._service().channels().stop(body=body)
        try:
            self._execute(call, f"the channel {channel_id}")
        except PermanentError as error:
            if error.code != Code.GONE:
                raise

    def fetch(
        self,
        file_id: str,
        start: int,
        end: int,
        *,
        size: int,
        name: str,
        responses: Responses | None = None,
    ) -> bytes:
        """Return bytes from ``start`` up to ``end``: at least one, fewer after a cut.

        Retries until the first byte arrives. Raises ``PermanentError`` if the file is gone
        or forbidden, or no longer has ``size`` bytes. Closing ``responses`` ends the call.
        """
        url = self._files().get_media(fileId=file_id, supportsAllDrives=True).uri
        reading = responses or Responses()
        return self._retried(lambda: self._fetch(url, start, end, size, name, reading))

    def check(self) -> None:
        """Raise if Drive cannot be reached or does not accept the account."""
        self._execute(self._service().about().get(fields="user(emailAddress)"), "the account")

    def close(self) -> None:
        """Close idle connections."""
        self._sessions().close()

    def _fetch(
        self, url: str, start: int, end: int, size: int, name: str, responses: Responses
    ) -> bytes:
        # Ranges of a compressed body would not match the file's offsets.
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        with (
            self._sessions().get("GET", url, headers=headers) as response,
            responses.reading(response),
        ):
            if response.status_code >= 400 and response.status_code != 416:
                raise DriveErrorResponse.parse(http_error(response)).to_error(name, self.account)
            _check_range(response, start, end, size, name)
            return _body(response, end - start)

    def _files(self) -> Any:
        return self._service().files()

    def _build(self) -> Any:
        from googleapiclient.discovery import build  # noqa: PLC0415 - 0.2 s of a cold start

        # ``api_endpoint`` replaces root and service path together.
        options = {"api_endpoint": self._endpoint} if self._endpoint else None
        return build(
            "drive",
            "v3",
            http=ClientHttp(self._sessions),
            static_discovery=True,
            cache_discovery=False,
            client_options=options,
        )

    def _execute(
        self,
        call: Any,
        what: str,
        special: Callable[[DriveErrorResponse], PipelineError | None] = lambda _: None,
        *,
        retry: bool = True,
    ) -> Any:
        def once() -> Any:
            from googleapiclient.errors import HttpError  # noqa: PLC0415

            try:
                return call.execute()
            except HttpError as error:
                response = DriveErrorResponse.parse(error)
                raise special(response) or response.to_error(what, self.account) from error

        return self._retried(once) if retry else once()

    def _retried(self, function: Callable[[], T]) -> T:
        deadline_s = RETRY_SECONDS if self._retry_s is None else self._retry_s
        retry = within(deadline_s).with_predicate(worth_retrying)
        answer: T = retry(function)()
        return answer


def _flags(drive_id: str) -> dict[str, Any]:
    both = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}
    return both | ({"driveId": drive_id} if drive_id else {})


def _token_error(response: DriveErrorResponse) -> PipelineError | None:
    # Drive also answers 404 for a shared drive that the account can no longer see.
    if response.status in (400, 404, 410) and response.location in ("pageToken", ""):
        return PageTokenError(f"Drive no longer accepts the page token: {response.message}")
    return None


def _check_range(response: Any, start: int, end: int, size: int, name: str) -> None:
    given = response.headers.get("Content-Range", "")
    total = given.rpartition("/")[2]
    if response.status_code == 416 or (total.isdigit() and int(total) != size):
        message = f"{name} was replaced while it was read: its size is {total or 'different'} now"
        raise PermanentError(Code.SUPERSEDED, message)
    whole = response.status_code == 200 and (start, end) == (0, size)
    if not whole and (response.status_code, given) != (206, f"bytes {start}-{end - 1}/{size}"):
        raise TransientError(f"Drive answered {response.status_code} {given} to a range request")


def _body(response: Any, length: int) -> bytes:
    pieces: list[bytes] = []
    got = 0
    try:
        while got < length:
            # read1() returns what has arrived; read() would lose it to a reset.
            piece = response.raw.read1(min(_PIECE, length - got), decode_content=False)
            if not piece:
                break
            pieces.append(piece)
            got += len(piece)
    except Exception as error:
        if not pieces or not is_transient(error):
            raise
    if not pieces:
        raise TransientError("Drive closed the connection before the first byte")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
