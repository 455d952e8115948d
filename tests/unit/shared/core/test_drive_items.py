"""What Drive's answers mean: revisions, recordings, messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.core.drive_items import FOLDER, SHORTCUT, DriveItem
from shared.core.message import SourceFile

FILE: dict[str, Any] = {
    "id": "f1",
    "name": "Weekly sync",
    "mimeType": "video/mp4",
    "size": "123",
    "md5Checksum": "d41d8cd98f00b204e9800998ecf8427e",
    "headRevisionId": "0Bxyz",
    "createdTime": "2025-04-07T08:52:11.123Z",
    "modifiedTime": "2025-04-07T09:52:11.123Z",
    "parents": ["p1"],
    "trashed": False,
    "capabilities": {"canDownload": True},
}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in FILE.items() if name not in names}


def test_the_message_of_a_recording() -> None:
    assert DriveItem.from_api(FILE).to_source_file("ana@example.com") == SourceFile(
        source="drive",
        source_id="f1",
        revision="d41d8cd98f00b204e9800998ecf8427e",
        name="Weekly sync",
        mime_type="video/mp4",
        size_bytes=123,
        created_at=datetime(2025, 4, 7, 8, 52, 11, 123000, UTC),
        account="ana@example.com",
    )


def test_its_message_survives_the_queue() -> None:
    message = DriveItem.from_api(FILE).to_source_file()
    assert SourceFile.decode(message.encode()) == message


@pytest.mark.parametrize(
    ("absent", "revision"),
    [
        ((), FILE["md5Checksum"]),
        (("md5Checksum",), "0Bxyz"),
        (("md5Checksum", "headRevisionId"), ""),
    ],
)
def test_the_revision_is_the_md5_else_the_head_revision(
    absent: tuple[str, ...], revision: str
) -> None:
    assert DriveItem.from_api(without(*absent)).revision == revision


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"mimeType": "audio/mp4"}, True),
        ({"mimeType": "text/plain"}, False),
        ({"mimeType": "application/vnd.google-apps.video"}, False),
        ({"mimeType": FOLDER}, False),
        ({"mimeType": SHORTCUT}, False),
        ({"trashed": True}, False),
        ({"size": "0"}, False),
        ({"size": None}, False),
        ({"md5Checksum": None, "headRevisionId": None}, False),
    ],
)
def test_which_files_are_recordings(change: dict[str, Any], expected: bool) -> None:
    body = {name: value for name, value in (FILE | change).items() if value is not None}
    assert DriveItem.from_api(body).is_recording is expected


def test_parents_and_capabilities_may_be_absent() -> None:
    item = DriveItem.from_api(without("parents", "capabilities"))
    assert item.parents == ()
    assert item.can_download
