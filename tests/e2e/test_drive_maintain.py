"""Scheduled maintenance finds what no notification reported, in parts if need be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.demo.drive_standin.errors import READONLY
from functions.drive_watch.feeds import Budget
from functions.drive_watch.maintain import Summary
from shared.adapters.google.drive_client import DriveClient
from shared.core.drive_folders import Listing
from shared.core.errors import Code, PermanentError, PipelineError
from shared.core.records import COLLECTION, ErrorInfo, Status
from tests.drive.rig import Rig, make_rig, on_every_rig, receiving
from tests.drive.standin import OWNER, READER

BOB = "bob@example.com"


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path) as rig:
        yield rig


def as_subjects(rig: Rig, *subjects: str) -> None:
    rig.world.identity.delegations = {READER: {READONLY}}
    rig.configure(DRIVE_SUBJECTS=",".join(subjects))


def age(rig: Rig, file_id: str, days: int) -> None:
    """Make a file older than what the last day's listing asks for."""
    then = datetime.now(UTC) - timedelta(days=days)
    rig.world.edit(file_id, created=then, modified=then)


def hide(rig: Rig, file_id: str) -> None:
    rig.world.hide_from_changes(file_id)


def test_all_notifications_dropped(rig: Rig) -> None:
    with receiving(rig):
        rig.maintain()
        rig.world.set_notifications(drop=True)
        for number in range(20):
            rig.video(f"{number}.mp4")
        summary = rig.maintain()
    assert (summary.published, summary.found) == (20, 0)
    assert len(rig.messages(20)) == 20


@on_every_rig
def test_the_first_maintain_compares_everything(rig: Rig) -> None:
    age(rig, rig.video("years old.mp4"), 900)
    summary = rig.maintain()
    assert (summary.found, summary.compare) == (1, {"default": "done"})
    assert rig.maintain().compare == {"default": "not due"}


def test_changes_between_the_start_token_and_the_listing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watching begins first, then everything is listed, so that nothing is missed between."""
    listed = Listing.next_page

    def and_then_another(listing: Listing) -> object:
        items = listed(listing)
        hide(rig, rig.video("hidden.txt", mime_type="text/plain"))
        rig.video(f"late {len(rig.recordings())}.mp4")
        return items

    with monkeypatch.context() as patch:
        patch.setattr(Listing, "next_page", and_then_another)
        rig.maintain()
    assert rig.drain() == 1


def test_recordings_missing_from_the_change_list(rig: Rig) -> None:
    folder = rig.world.create_folder("Google Meet", owner=OWNER)
    rig.world.share(folder, READER)
    rig.configure(DRIVE_FOLDER_IDS=folder)
    rig.maintain()
    rig.world.set_options(inherited_in_changes=False)
    meeting = rig.world.create_folder("Meeting", parent=folder)
    rig.video("a.mp4", parent=meeting)
    elsewhere = rig.world.create_folder("Elsewhere")
    hide(rig, rig.video("b.mp4", parent=elsewhere))
    assert rig.drain() == 0
    assert rig.maintain().found == 1
    assert rig.names() == ["a.mp4"]


def test_a_shortcut_that_no_change_reported(rig: Rig) -> None:
    folder = rig.world.create_folder("Google Meet")
    rig.configure(DRIVE_FOLDER_IDS=folder)
    rig.maintain()
    target = rig.video("a.mp4")
    rig.drain()
    rig.world.set_notifications(drop=True)
    shortcut = rig.world.create_shortcut("to it", target, parent=folder)
    hide(rig, shortcut)
    assert rig.drain() == 0
    assert rig.maintain().found == 1


class TestFullCompare:
    def test_once_a_day(self, rig: Rig) -> None:
        rig.maintain()
        lost = rig.video("lost.mp4")
        hide(rig, lost)
        age(rig, lost, 3)
        assert rig.maintain().found == 0
        yesterday = datetime.now(UTC) - timedelta(days=1)
        rig.watch.state(rig.feed).change(lambda _: {"full_compare_at": yesterday})
        assert rig.maintain().found == 1

    def test_when_asked(self, rig: Rig) -> None:
        rig.maintain()
        lost = rig.video("lost.mp4")
        hide(rig, lost)
        age(rig, lost, 3)
        assert rig.maintain(full=True).found == 1

    def test_older_recordings_are_left_alone(self, rig: Rig) -> None:
        rig.configure(BACKFILL_SINCE="2025-01-01")
        rig.video("old.mp4", created="2024-12-31T23:59:59Z")
        rig.video("new.mp4", created="2025-01-01T00:00:00Z")
        for name in list(rig.world.state.files):
            rig.world.state.files[name].modified = datetime(2024, 1, 1, tzinfo=UTC)
        assert rig.maintain().found == 1
        assert rig.names() == ["new.mp4"]

    @on_every_rig
    def test_known_recordings_are_left_alone(self, rig: Rig) -> None:
        for number in range(50):
            rig.video(f"{number}.mp4")
        assert rig.maintain().published == 50
        assert rig.maintain(full=True).published == 0
        assert len(rig.messages(50)) == 50

    def test_the_watched_folders_alone(self, rig: Rig) -> None:
        folder = rig.world.create_folder("Google Meet", owner=OWNER)
        rig.world.share(folder, READER)
        for number in range(100):  # more than one query has room for
            rig.video(f"{number}.mp4", parent=rig.world.create_folder(f"{number}", parent=folder))
        rig.video("elsewhere.mp4")
        target = rig.video("by a shortcut.mp4")
        rig.world.create_shortcut("to it", target, parent=folder)
        rig.configure(DRIVE_FOLDER_IDS=folder)
        assert rig.maintain().published == 101
        assert "elsewhere.mp4" not in rig.names()

    def test_a_folder_that_is_gone_hides_no_other(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders = [rig.world.create_folder(f"{number}") for number in range(3)]
        for folder in folders:
            age(rig, rig.video(f"in {folder}.mp4", parent=folder), 3)
        asked = DriveClient.list

        def as_drive_does(client: DriveClient, query: str, **more: object) -> object:
            # The stand-in lists nothing for a folder that is not there; Drive refuses all.
            if folders[1] in query and "parents" in query:
                rig.world.fail_next(1, 404, "notFound")
            return asked(client, query, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(DriveClient, "list", as_drive_does)
        rig.configure(DRIVE_FOLDER_IDS=",".join(folders))
        summary = rig.maintain(full=True)
        assert summary.compare == {"default": "done"}
        assert len(rig.names()) == 2

    def test_a_page_token_of_a_listing_that_has_ended(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        many(rig, 1200)
        assert in_parts(rig, monkeypatch).compare == {"default": "part"}
        rig.standin.server.api._snapshots.clear()
        assert rig.maintain().compare == {"default": "done"}
        assert len(rig.names()) == 1200


def many(rig: Rig, count: int) -> None:
    """Make recordings that only a full compare finds."""
    for number in range(count):
        lost = rig.video(f"{number:05}.mp4")
        hide(rig, lost)
        age(rig, lost, 3)


def in_parts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Summary:
    """Maintain with time for one page of the full compare."""
    with monkeypatch.context() as patch:
        listed = Listing.next_page

        def the_last(listing: Listing) -> object:
            patch.setattr(Budget, "is_spent", property(lambda _: True))
            return listed(listing)

        patch.setattr(Listing, "next_page", the_last)
        return rig.maintain(full=True)


class TestParts:
    def test_it_goes_on_where_its_time_was_up(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        many(rig, 1200)
        first = in_parts(rig, monkeypatch)
        assert (first.compare, first.found) == ({"default": "part"}, 500)
        assert in_parts(rig, monkeypatch).found == 500
        last = rig.minute()  # within the minute, not at the next quarter
        assert (last.compare, last.found) == ({"default": "done"}, 200)
        assert rig.maintain().compare == {"default": "not due"}

    @on_every_rig
    def test_it_goes_on_where_it_crashed(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.configure(LEASE_SECONDS="1")
        rig.maintain()
        many(rig, 1200)
        compare = rig.watch.scan(rig.feed, rig.watch.budget())
        hold = compare.progress.acquire()
        assert hold
        listing = compare._listing()
        hold.write(generation=rig.state()["generation"], began_at=datetime.now(UTC))
        compare._publish_page(listing)
        hold.write(todo=listing.put_aside())  # and the process dies
        assert compare.part() == ("busy", 0)
        expired = datetime.now(UTC) - timedelta(seconds=1)
        compare.progress.change(lambda _: {"lease_expires_at": expired})
        assert rig.minute().found == 700

    def test_changes_lost_meanwhile_start_it_over(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        many(rig, 1200)
        in_parts(rig, monkeypatch)
        with rig.world.lock:
            seen = next(f for f in rig.world.state.files.values() if f.name == rig.names()[0])
        rig.world.new_revision(seen.id, b"other")
        age(rig, seen.id, 3)
        rig.world.expire_page_tokens()
        assert rig.maintain().found == 701
        assert rig.state()["full_compare_at"] is not None


class TestAccounts:
    def test_one_that_fails_does_not_stop_the_others(self, rig: Rig) -> None:
        as_subjects(rig, OWNER, BOB)
        rig.maintain()
        rig.world.identity.suspended = {BOB}
        rig.world.identity.revoke_tokens()
        rig.video("of Ana.mp4", owner=OWNER)
        rig.video("of Bob.mp4", owner=BOB)
        summary = rig.maintain()
        assert rig.names() == ["of Ana.mp4"]
        assert set(summary.failures) == {BOB}
        assert "suspended" in summary.failures[BOB]
        assert not rig.last.has_failed
        rig.world.identity.suspended = set()
        assert rig.maintain().failures == {}
        assert rig.names() == ["of Ana.mp4", "of Bob.mp4"]

    def test_all_that_fail_are_a_failure(self, rig: Rig) -> None:
        as_subjects(rig, OWNER)
        rig.world.identity.suspended = {OWNER}
        rig.maintain()
        assert rig.last.has_failed

    def test_a_file_that_two_users_see_is_one_recording(self, rig: Rig) -> None:
        as_subjects(rig, OWNER, BOB)
        rig.maintain()
        rig.world.share(rig.video("a.mp4", owner=OWNER), BOB)
        rig.maintain()
        assert rig.names() == ["a.mp4"]

    @on_every_rig
    def test_a_user_that_can_still_read_it_takes_it_over(self, rig: Rig) -> None:
        as_subjects(rig, OWNER, BOB)
        rig.maintain()
        file_id = rig.video("a.mp4", owner=OWNER)
        rig.maintain()
        (recording,) = rig.recordings()
        error = ErrorInfo(code=Code.GONE, message="Bob sees it no more")
        rig.services.tracker.change(
            recording.key,
            lambda now: now.evolve(status=Status.SKIPPED, error=error, account=BOB),
        )
        rig.world.rename(file_id, "b.mp4")
        assert rig.maintain().published == 1
        (recording,) = rig.recordings()
        assert (recording.status, recording.account) == (Status.QUEUED, OWNER)
        assert rig.messages(2)[-1]["account"] == OWNER

    def test_moved_into_a_watched_folder_it_is_readable_again(self, rig: Rig) -> None:
        watched = rig.world.create_folder("Meetings")
        rig.configure(DRIVE_FOLDER_IDS=watched)
        rig.maintain()
        file_id = rig.video("a.mp4", parent=watched)
        rig.maintain()
        (recording,) = rig.recordings()
        rig.world.move(file_id, rig.world.create_folder("Elsewhere"))
        with pytest.raises(PermanentError) as refused:
            rig.services.drive_sources.open(recording.to_source_file())
        assert refused.value.code == Code.NOT_WATCHED
        error = ErrorInfo(code=refused.value.code, message=str(refused.value))
        rig.services.tracker.change(
            recording.key, lambda now: now.evolve(status=Status.SKIPPED, error=error, requeues=2)
        )
        assert rig.maintain().published == 0
        rig.world.move(file_id, watched)
        assert rig.maintain().published == 1
        (recording,) = rig.recordings()
        assert (recording.status, recording.requeues) == (Status.QUEUED, 0)

    def test_an_account_that_was_removed_is_replaced(self, rig: Rig) -> None:
        as_subjects(rig, OWNER, BOB)
        rig.video("a.mp4", owner=OWNER)
        rig.maintain()
        (recording,) = rig.recordings()
        assert recording.account == OWNER
        as_subjects(rig, BOB)
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        read = rig.services.documents.get(COLLECTION, recording.key)
        assert read
        stale = {**read.document, "updated_at": long_ago}
        rig.services.documents.replace(COLLECTION, read, stale)
        assert rig.maintain().requeued == 1
        assert rig.recordings()[0].account == BOB
        assert rig.messages(2)[-1]["account"] == BOB

    def test_a_shared_drive(self, rig: Rig) -> None:
        drive = rig.world.create_drive("Team", {READER: "reader"})
        rig.configure(DRIVE_IDS=drive)
        rig.video("before.mp4", parent=drive)
        rig.maintain()
        assert rig.names() == ["before.mp4"]
        rig.video("after.mp4", parent=rig.world.create_folder("Deep", parent=drive))
        rig.maintain()
        assert rig.names() == ["after.mp4", "before.mp4"]
        assert set(rig.maintain().compare) == {"default", drive}

    def test_a_shared_drive_that_was_joined_is_compared(self, rig: Rig) -> None:
        rig.maintain()
        drive = rig.world.create_drive("Team", {OWNER: "organizer"})
        old = rig.video("old.mp4", parent=drive)
        age(rig, old, 3)
        rig.maintain()
        rig.world.set_member(drive, READER, "reader")
        assert rig.maintain().found == 1

    def test_a_shared_drive_that_was_lost_is_reported(self, rig: Rig) -> None:
        drive = rig.world.create_drive("Team", {READER: "reader"})
        rig.configure(DRIVE_IDS=drive)
        rig.maintain()
        rig.world.set_member(drive, READER, None)
        rig.video("a.mp4")
        summary = rig.maintain()
        assert set(summary.failures) == {drive}
        assert rig.names() == ["a.mp4"]


class TestRequeue:
    def make_stale(self, rig: Rig) -> None:
        documents = rig.services.documents
        for read in list(documents.find(COLLECTION)):
            then = datetime.now(UTC) - timedelta(minutes=11)
            documents.replace(COLLECTION, read, {**read.document, "updated_at": then})

    @on_every_rig
    def test_stale_recordings_are_published_again(self, rig: Rig) -> None:
        rig.video("a.mp4")
        rig.maintain()
        assert rig.minute().requeued == 0
        self.make_stale(rig)
        assert rig.minute().requeued == 1
        assert rig.minute().requeued == 0
        assert len(rig.messages(2)) == 2

    def test_lost_changes_are_compared_within_the_minute(self, rig: Rig) -> None:
        rig.maintain()
        hide(rig, rig.video("lost.mp4"))
        rig.world.expire_page_tokens()
        rig.drain()
        summary = rig.minute()
        assert (summary.compare, summary.found) == ({"default": "done"}, 1)

    def test_drive_is_not_asked_each_minute(self, rig: Rig) -> None:
        rig.maintain()
        rig.video("a.mp4")
        before = sum(rig.world.requests.values())
        assert rig.minute().published == 0
        assert sum(rig.world.requests.values()) == before


def test_rate_limits_are_ridden_out(rig: Rig) -> None:
    rig.maintain()
    rig.video("a.mp4")
    rig.world.rate_limit(3)
    rig.world.rate_limit(1, 429)
    assert rig.maintain().published == 1


class TestAudit:
    """What ``audit`` lists is what is watched."""

    def test_the_watched_folders_alone(self, rig: Rig) -> None:
        folder = rig.world.create_folder("Google Meet")
        rig.video("in.mp4", parent=rig.world.create_folder("Deep", parent=folder))
        rig.video("out.mp4")
        rig.world.create_shortcut("to it", rig.video("linked.mp4"), parent=folder)
        rig.configure(DRIVE_FOLDER_IDS=folder)
        listed = rig.services.drive_sources.list()
        assert sorted(item.name for item in listed) == ["in.mp4", "linked.mp4"]

    def test_each_once_and_none_that_is_older(self, rig: Rig) -> None:
        as_subjects(rig, OWNER, BOB)
        rig.configure(BACKFILL_SINCE="2025-01-01")
        rig.world.share(rig.video("a.mp4", owner=OWNER), BOB)
        rig.video("old.mp4", owner=BOB, created="2024-12-31T10:00:00Z")
        assert [item.name for item in rig.services.drive_sources.list()] == ["a.mp4"]

    def test_an_account_that_fails_is_not_an_empty_list(self, rig: Rig) -> None:
        as_subjects(rig, OWNER)
        rig.world.identity.suspended = {OWNER}
        with pytest.raises(PipelineError, match="suspended"):
            list(rig.services.drive_sources.list())


def test_a_tracker_in_a_file(rig: Rig, tmp_path: Path) -> None:
    """The records of channels and page tokens are the same ones there."""
    rig.configure(TRACKER_URL=f"sqlite:///{tmp_path}/tracker.db")
    with receiving(rig):
        assert rig.maintain().channel["default"]["state"] == "opened"
        rig.video("a.mp4")
        rig.world.notifier.settle()
        assert rig.names() == ["a.mp4"]
        summary = rig.maintain()
        assert summary.channel["default"]["state"] == "kept"
        assert summary.compare == {"default": "not due"}
        rig.world.expire_page_tokens()
        assert rig.maintain().compare == {"default": "done"}
