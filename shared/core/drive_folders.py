"""Which recordings of a Drive are watched: those below the watched folders, or all of them.

Changes are looked up, from a file to its watched folder. Full scans list downwards, from the
watched folders, and can be interrupted and resumed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self, TypeVar

from shared.core.drive_items import LEADS_QUERY, TREE_QUERY, DriveItem
from shared.core.errors import Code, PermanentError, PipelineError, is_transient
from shared.core.ports import Clock, DriveApi
from shared.core.times import utc_now

T = TypeVar("T")

log = logging.getLogger(__name__)

#: How long a folder's parents are cached, and for how many folders.
REMEMBERED_FOR = timedelta(minutes=5)
REMEMBERED_AT_MOST = 20_000

#: Ids in one query. Drive documents no limit; a query of 40 has about 2,000 characters.
IDS_IN_A_QUERY = 40

_PAGE = 500
_THREADS = 8


class WatchedFolders:
    """The watched folders as one account sees them; with none, everything is watched.

    Args:
        api: The account's Drive.
        folder_ids: ``DRIVE_FOLDER_IDS``.
        clock: Returns the current time.
        drive_ids: Shared drives in which shortcuts are looked up too. A query of all that an
            account sees may leave out the items of shared drives.
    """

    def __init__(
        self,
        api: DriveApi,
        folder_ids: Sequence[str] = (),
        clock: Clock = utc_now,
        *,
        drive_ids: Sequence[str] = (),
    ) -> None:
        self._api = api
        self._watched = frozenset(folder_ids)
        self._drive_ids = tuple(drive_ids)
        self._clock = clock
        self._remembered: dict[str, tuple[tuple[str, ...], datetime]] = {}

    def forget(self, folder_ids: Iterable[str]) -> None:
        """Drop these folders from the cache: they have changed."""
        for folder_id in folder_ids:
            self._remembered.pop(folder_id, None)

    def recordings(self, items: Iterable[DriveItem]) -> list[DriveItem]:
        """Return the watched recordings among ``items``, and the targets of watched shortcuts.

        A recording outside the folders is watched too when a shortcut to it is below one.
        A shortcut whose target cannot be read is ignored.
        """
        fresh: dict[str, tuple[str, ...]] = {}
        found: list[DriveItem] = []
        elsewhere: list[DriveItem] = []
        shortcuts: list[DriveItem] = []
        for item in items:
            if item.is_recording:
                (found if self._is_watched(item, fresh) else elsewhere).append(item)
            elif item.leads_to_recording and self._is_watched(item, fresh):
                shortcuts.append(item)
        return [*found, *self._linked(elsewhere, fresh), *self.targets(shortcuts)]

    def reach(self, file: DriveItem) -> bool:
        """Return whether the file, or a shortcut to it, is below a watched folder.

        Its type and size do not matter.
        """
        fresh: dict[str, tuple[str, ...]] = {}
        return self._is_watched(file, fresh) or any(self._linked([file], fresh))

    def contains(self, folder: DriveItem) -> bool:
        """Return whether the folder's contents are watched."""
        return not folder.trashed and self._is_watched(folder, {})

    def _is_watched(self, item: DriveItem, fresh: dict[str, tuple[str, ...]]) -> bool:
        if not self._watched or item.id in self._watched:
            return True
        # A 'no' is never taken from the cache: a folder above may just have moved in.
        return self._leads_up(item.parents, fresh, remembered=True) or self._leads_up(
            item.parents, fresh, remembered=False
        )

    def _leads_up(
        self, parents: Sequence[str], fresh: dict[str, tuple[str, ...]], *, remembered: bool
    ) -> bool:
        todo, seen = list(parents), set[str]()
        while todo:
            folder_id = todo.pop()
            if folder_id in self._watched:
                return True
            if folder_id not in seen:
                seen.add(folder_id)
                todo += self._parents(folder_id, fresh, remembered=remembered)
        return False

    def _parents(
        self, folder_id: str, fresh: dict[str, tuple[str, ...]], *, remembered: bool
    ) -> tuple[str, ...]:
        if folder_id in fresh:
            return fresh[folder_id]
        parents, known_at = self._remembered.get(folder_id, ((), None))
        if remembered and known_at and self._clock() - known_at < REMEMBERED_FOR:
            return parents
        asked_at = self._clock()
        item = _readable(self._api, folder_id)
        parents = item.parents if item else ()
        fresh[folder_id] = parents
        if len(self._remembered) >= REMEMBERED_AT_MOST:
            self._remembered.clear()
        self._remembered[folder_id] = parents, asked_at
        return parents

    def _linked(
        self, elsewhere: Sequence[DriveItem], fresh: dict[str, tuple[str, ...]]
    ) -> Iterator[DriveItem]:
        """Yield the recordings that a watched shortcut points to."""
        by_id = {item.id: item for item in elsewhere}
        for ids in _groups(list(by_id), IDS_IN_A_QUERY):
            wanted = " or ".join(f"shortcutDetails.targetId = '{target}'" for target in ids)
            query = f"trashed = false and ({wanted})"
            watched = {
                shortcut.shortcut_target: None
                for drive_id in ("", *self._drive_ids)
                for shortcut in _all_pages(self._api, query, drive_id)
                if self._is_watched(shortcut, fresh)
            }
            yield from (by_id[target] for target in watched if target in by_id)

    def targets(self, shortcuts: Sequence[DriveItem]) -> list[DriveItem]:
        """Return the recordings that shortcuts point to, if they can be read."""
        ids = list(dict.fromkeys(shortcut.shortcut_target for shortcut in shortcuts))
        if not ids:
            return []
        with ThreadPoolExecutor(min(_THREADS, len(ids))) as pool:
            found = pool.map(lambda target: _readable(self._api, target), ids)
            return [item for item in found if item and item.is_recording]


@dataclass(frozen=True)
class _Step:
    """One query that is still to do: below these folders, from this page on."""

    folder_ids: tuple[str, ...]
    page_token: str = ""


class Listing:
    """A full listing, page by page, whose progress is JSON between two pages.

    It goes depth first, so that the list of queries still to do stays short however many
    folders there are. Without ``folder_ids`` it lists everything that the account sees.
    """

    def __init__(
        self,
        api: DriveApi,
        folder_ids: Sequence[str] = (),
        *,
        drive_id: str = "",
        since: date | None = None,
    ) -> None:
        self._api = api
        self._drive_id = drive_id
        self._since = since
        self._folders = WatchedFolders(api)
        groups = list(_groups(list(folder_ids), IDS_IN_A_QUERY)) or [()]
        self._todo = [_Step(tuple(group)) for group in groups]

    def put_aside(self) -> list[dict[str, Any]]:
        """Return the progress, as JSON."""
        return [{"in": list(step.folder_ids), "page": step.page_token} for step in self._todo]

    def take_up(self, todo: Sequence[dict[str, Any]]) -> Self:
        """Continue from the progress that ``put_aside`` returned."""
        self._todo = [_Step(tuple(step["in"]), step["page"]) for step in todo]
        return self

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to list."""
        return not self._todo

    def next_page(self) -> list[DriveItem]:
        """List one more page; returns its recordings, and the targets of its shortcuts.

        The progress moves only after the whole page was read. Raises what Drive met.
        """
        step = self._todo[-1]
        query = LEADS_QUERY
        if step.folder_ids:
            parents = " or ".join(f"'{folder_id}' in parents" for folder_id in step.folder_ids)
            query = f"{TREE_QUERY} and ({parents})"
        try:
            page = self._api.list(
                query, drive_id=self._drive_id, page_token=step.page_token, page_size=_PAGE
            )
        except PipelineError as error:
            self._ask_otherwise(step, error)
            return []
        found = [item for item in page.items if item.is_recording]
        found += self._folders.targets([item for item in page.items if item.leads_to_recording])
        self._todo.pop()
        if page.next_token:
            self._todo.append(_Step(step.folder_ids, page.next_token))
        below = [item.id for item in page.items if item.is_folder]
        self._todo += [_Step(tuple(group)) for group in _groups(below, IDS_IN_A_QUERY)]
        return [item for item in found if not self._since or item.created_at.date() >= self._since]

    def __iter__(self) -> Iterator[DriveItem]:
        """Yield every recording that is left; some twice, because of shortcuts."""
        while not self.is_done:
            yield from self.next_page()

    def _ask_otherwise(self, step: _Step, error: PipelineError) -> None:
        """Replace a query that Drive refuses, if another one can help; otherwise raise."""
        code = error.code if isinstance(error, PermanentError) else None
        if is_transient(error) or code == Code.FORBIDDEN:
            raise error
        if step.page_token:
            # Drive guarantees page tokens for hours only.
            self._todo[-1] = _Step(step.folder_ids)
        elif code == Code.GONE and len(step.folder_ids) > 1:
            # One folder that does not exist makes Drive refuse them all.
            self._todo[-1:] = [_Step((folder_id,)) for folder_id in step.folder_ids]
        elif code == Code.GONE and step.folder_ids:
            self._todo.pop()
            log.warning("a watched folder cannot be read", extra={"folder": step.folder_ids[0]})
        else:
            raise error


def recent(api: DriveApi, since: datetime, drive_id: str = "") -> list[DriveItem]:
    """Return recordings and shortcuts created or changed since then, in any folder."""
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    query = f"{LEADS_QUERY} and (createdTime > '{moment}' or modifiedTime > '{moment}')"
    return list(_all_pages(api, query, drive_id))


def _all_pages(api: DriveApi, query: str, drive_id: str = "") -> Iterator[DriveItem]:
    token = ""
    while True:
        page = api.list(query, drive_id=drive_id, page_token=token)
        yield from page.items
        token = page.next_token
        if not token:
            return


def _readable(api: DriveApi, file_id: str) -> DriveItem | None:
    try:
        return api.get(file_id)
    except PermanentError as error:
        if error.code != Code.GONE:
            api.check()  # raises when Drive refuses the account itself
        return None


def _groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
