"""The message about a recording that ended: CloudEvents 1.0 as structured JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.core.records import ErrorInfo, Recording, Status
from shared.core.results import ResultEvent
from tests.paths import FIXTURES
from tests.recordings import T0, source_file

DONE = Recording.from_document(json.loads((FIXTURES / "documents" / "done.json").read_text()))


def test_the_event_of_a_recording_that_is_done() -> None:
    body = json.loads(ResultEvent.of(DONE, "prod").encode())
    data = body.pop("data")
    assert body == {
        "specversion": "1.0",
        "id": f"{DONE.key}@2025-04-07T23:05:01Z",
        "type": "audio.ready",
        "source": "prod",
        "subject": DONE.key,
        "time": "2025-04-07T23:05:01Z",
        "datacontenttype": "application/json",
    }
    assert set(data) == set(DONE.to_document()) - {
        "lease_owner", "lease_expires_at", "announce_after",
    }  # fmt: skip
    assert data["finished_at"] == "2025-04-07T23:05:01Z"
    assert data["audio"]["duration_s"] == 3600.512


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.DONE, "audio.ready"),
        (Status.FAILED, "recording.failed"),
        (Status.SKIPPED, "recording.skipped"),
    ],
)
def test_the_type_is_how_it_ended(status: Status, kind: str) -> None:
    one = Recording.from_source_file(source_file(), now=T0).evolve(
        status=status, finished_at=T0, error=ErrorInfo(code="corrupt", message="“not” audio")
    )
    event = ResultEvent.of(one, "dev")
    assert event.type == kind
    assert json.loads(event.encode())["data"]["error"] == {
        "code": "corrupt",
        "message": "“not” audio",
    }


def test_two_ends_of_one_recording_have_two_ids_and_a_repeat_has_the_same() -> None:
    moment = datetime(2025, 4, 7, 23, 5, 1, 123456, tzinfo=UTC)
    first = DONE.evolve(finished_at=moment)
    second = DONE.evolve(finished_at=moment + timedelta(microseconds=1))
    ids = [ResultEvent.of(one, "dev").id for one in (first, first, second)]
    assert ids[0] == ids[1] != ids[2]
