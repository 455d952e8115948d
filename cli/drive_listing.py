"""The recordings of the watched Drives as they are now."""

from __future__ import annotations

from collections.abc import Iterator

from cli.app import App
from shared.core.message import SourceFile


def has_drive(app: App) -> bool:
    """Return whether the settings name a Drive to watch."""
    one = app.settings
    return bool(
        one.drive_subjects
        or one.drive_ids
        or one.drive_service_account
        or one.drive_folder_ids
        or one.drive_api_endpoint
    )


def watched_recordings(app: App) -> Iterator[SourceFile]:
    """Yield the watched recordings, each once even if several accounts see it."""
    from shared.core.drive_folders import Listing  # noqa: PLC0415

    one, seen = app.settings, set[str]()
    accounts = one.drive_subjects or ("",)
    views = [(account, "") for account in accounts]
    views += [(accounts[0], drive_id) for drive_id in one.drive_ids]
    for account, drive_id in views:
        api = app.drive_clients(account)
        listing = Listing(api, one.drive_folder_ids, drive_id=drive_id, since=one.backfill_since)
        for item in listing:
            if item.id not in seen:
                seen.add(item.id)
                yield item.to_source_file(account)
