"""What is watched, and when it is published: over the Drive stand-in and the emulators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound

from functions.drive_watch.feeds import Budget
from shared.core.drive_items import PageTokenError
from shared.core.errors import Code, TransientError
from shared.core.message import SourceFile
from shared.core.records import ErrorInfo, Recording, Status
from tests.drive.rig import Rig, make_rig, on_every_rig
from tests.drive.standin import OWNER, READER


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A deployment that watches all that the account sees, from now on."""
    with make_rig(request, tmp_path) as rig:
        rig.maintain()
        yield rig


@pytest.fixture
def folder(rig: Rig) -> str:
    """The watched folder of a deployment that watches one, shared by its owner."""
    folder = rig.world.create_folder("Google Meet", owner=OWNER)
    rig.world.share(folder, READER)
    rig.configure(DRIVE_FOLDER_IDS=folder)
    return folder


def end(rig: Rig, code: Code, status: Status = Status.SKIPPED) -> None:
    """Let a worker end every recording with ``code``."""

    def ended(current: Recording) -> Recording:
        error = ErrorInfo(code=code, message="for the test")
        return current.evolve(status=status, error=error, finished_at=datetime.now(UTC))

    for recording in rig.recordings():
        rig.services.tracker.change(recording.key, ended)


class TestWhatIsARecording:
    def test_video_and_audio_with_bytes_in_it_and_nothing_else(self, rig: Rig) -> None:
        rig.video("a.mp4")
        rig.video("b.m4a", mime_type="audio/mp4")
        rig.video("empty.mp4", content=b"")
        rig.video("notes", mime_type="application/vnd.google-apps.document")
        rig.video("chat.txt", mime_type="text/plain")
        rig.world.trash(rig.video("trashed.mp4"))
        rig.world.delete(rig.video("deleted.mp4"))
        assert rig.drain() == 2
        assert rig.names() == ["a.mp4", "b.m4a"]

    @on_every_rig
    def test_the_message_is_whole_and_the_document_waits(self, rig: Rig) -> None:
        file_id = rig.video("a.mp4", content=b"abc", created="2025-01-29T10:00:00Z")
        rig.drain()
        (message,) = rig.messages(1)
        assert message["key"] == f"drive-{file_id}-900150983cd24fb0d6963f7d28e17f72"
        assert message["created_at"] == "2025-01-29T10:00:00Z"
        (recording,) = rig.recordings()
        assert recording.status is Status.QUEUED
        assert recording.key == message["key"]

    def test_a_replaced_content_is_published_and_a_rename_is_not(self, rig: Rig) -> None:
        file_id = rig.video("a.mp4")
        assert rig.drain() == 1
        rig.world.rename(file_id, "b.mp4")
        assert rig.drain() == 0
        rig.world.new_revision(file_id, b"other")
        assert rig.drain() == 1
        rig.world.new_revision(file_id, b"a third")
        assert rig.drain() == 1
        assert len({recording.key for recording in rig.recordings()}) == 3

    def test_a_copy_is_another_recording(self, rig: Rig) -> None:
        rig.video("a.mp4", content=b"same")
        rig.video("Copy of a.mp4", content=b"same")
        assert rig.drain() == 2

    def test_a_file_without_a_checksum_goes_by_its_head_revision(self, rig: Rig) -> None:
        rig.video("a.mp4", has_md5=False)
        assert rig.drain() == 1
        assert rig.recordings()[0].revision.startswith("0B")

    def test_half_a_character_in_a_name_stops_no_page(self, rig: Rig) -> None:
        rig.video("broken \ud83d name.mp4", content=b"x")
        rig.video("good.mp4")
        assert rig.drain() == 2


class TestFolders:
    def test_any_depth_both_layouts_and_localised_names(self, rig: Rig, folder: str) -> None:
        world = rig.world
        legacy = world.create_folder("Legacy Meet Recordings", owner=OWNER)
        world.share(legacy, READER)
        rig.configure(DRIVE_FOLDER_IDS=f"{folder},{legacy}")
        meeting = world.create_folder("Réunion d’équipe", parent=folder)
        rig.video("new layout", parent=world.create_folder("Aufzeichnungen", parent=meeting))
        rig.video("old layout", parent=legacy)
        rig.video("elsewhere", owner=OWNER)
        world.share(rig.video("shared without its folder", owner=OWNER), READER)
        assert rig.drain() == 2
        assert rig.names() == ["new layout", "old layout"]

    def test_a_file_that_is_moved_in(self, rig: Rig, folder: str) -> None:
        other = rig.world.create_folder("Other")
        file_id = rig.video("a.mp4", parent=other)
        assert rig.drain() == 0
        rig.world.move(file_id, rig.world.create_folder("Meeting", parent=folder))
        assert rig.drain() == 1

    def test_a_folder_that_is_moved_in_brings_all_below_it(self, rig: Rig, folder: str) -> None:
        world = rig.world
        top = world.create_folder("Top")
        for number in range(3):
            rig.video(f"{number}.mp4", parent=world.create_folder(f"{number}", parent=top))
        rig.video("in the top.mp4", parent=top)
        assert rig.drain() == 0
        world.move(top, folder)
        assert rig.drain() == 4

    def test_a_folder_that_moved_in_with_a_file_made_at_once(self, rig: Rig, folder: str) -> None:
        """The folder's old place is cached, and that place is not watched."""
        world = rig.world
        other = world.create_folder("Other", owner=OWNER)
        world.share(other, READER)
        meeting = world.create_folder("Meeting", parent=other)
        rig.video("before.mp4", parent=meeting)
        assert rig.drain() == 0
        world.hide_from_changes(other)
        world.move(other, folder)
        rig.video("after.mp4", parent=meeting)
        assert rig.drain() == 1
        assert rig.names() == ["after.mp4"]

    def test_a_yes_is_remembered_for_five_minutes(self, rig: Rig, folder: str) -> None:
        meeting = rig.world.create_folder("Meeting", parent=folder)
        rig.video("1.mp4", parent=meeting)
        rig.drain()
        before = rig.world.requests["files.get"]
        rig.video("2.mp4", parent=meeting)
        rig.drain()
        assert rig.world.requests["files.get"] == before

    def test_a_folder_that_has_moved_out_is_remembered_no_more(self, rig: Rig, folder: str) -> None:
        meeting = rig.world.create_folder("Meeting", parent=folder)
        rig.video("1.mp4", parent=meeting)
        assert rig.drain() == 1
        rig.world.move(meeting, rig.world.create_folder("Other"))
        rig.video("2.mp4", parent=meeting)
        assert rig.drain() == 0

    def test_a_folder_that_is_restored(self, rig: Rig, folder: str) -> None:
        meeting = rig.world.create_folder("Meeting", parent=folder)
        rig.video("a.mp4", parent=meeting)
        rig.world.trash(meeting)
        assert rig.drain() == 0
        rig.world.restore(meeting)
        assert rig.drain() == 1

    def test_a_folder_that_is_shared_with_us_brings_all_below_it(self, rig: Rig) -> None:
        top = rig.world.create_folder("Top", owner=OWNER)
        rig.video("deep.mp4", parent=rig.world.create_folder("Deep", parent=top))
        assert rig.drain() == 0
        rig.world.share(top, READER)
        assert rig.drain() == 1

    def test_a_great_folder_that_comes_is_left_to_the_full_compare(
        self, rig: Rig, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        top = rig.world.create_folder("Top")
        rig.video("a.mp4", parent=top)
        rig.drain()
        rig.world.move(top, folder)
        spent = iter([False])  # time enough for the page, not for what it brings
        with monkeypatch.context() as patch:
            patch.setattr(Budget, "is_spent", property(lambda _: next(spent, True)))
            rig.drain()
        assert rig.names() == []
        assert rig.state()["full_compare_at"] is None
        assert rig.maintain().found == 1


class TestShortcuts:
    def test_a_shortcut_below_a_watched_folder_leads_to_its_target(
        self, rig: Rig, folder: str
    ) -> None:
        target = rig.video("target.mp4")
        assert rig.drain() == 0
        rig.world.create_shortcut("to it", target, parent=folder)
        assert rig.drain() == 1
        assert rig.recordings()[0].source_id == target

    def test_a_target_with_a_new_revision(self, rig: Rig, folder: str) -> None:
        target = rig.video("target.mp4")
        rig.world.create_shortcut("to it", target, parent=folder)
        assert rig.drain() == 1
        rig.world.new_revision(target, b"other")
        assert rig.drain() == 1

    def test_a_shortcut_elsewhere_leads_nowhere(self, rig: Rig, folder: str) -> None:
        rig.world.create_shortcut("to it", rig.video("target.mp4"))
        assert rig.drain() == 0

    def test_one_whose_target_cannot_be_read_stops_no_page(self, rig: Rig, folder: str) -> None:
        hidden = rig.video("private.mp4", owner=OWNER)
        gone = rig.video("gone.mp4")
        rig.world.create_shortcut("1", hidden, parent=folder)
        rig.world.create_shortcut("2", gone, parent=folder)
        rig.world.delete(gone)
        rig.video("good.mp4", parent=folder)
        assert rig.drain() == 1
        assert rig.drain() == 0

    def test_two_ways_to_one_recording(self, rig: Rig, folder: str) -> None:
        target = rig.video("a.mp4", parent=folder)
        rig.world.create_shortcut("1", target, parent=folder)
        rig.world.create_shortcut("2", target, parent=folder)
        assert rig.drain() == 1
        assert len(rig.messages(1)) == 1


class TestReadableAgain:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (Code.TRASHED, Status.SKIPPED),
            (Code.GONE, Status.SKIPPED),
            (Code.SUPERSEDED, Status.SKIPPED),
            (Code.FORBIDDEN, Status.FAILED),
        ],
    )
    @on_every_rig
    def test_it_starts_from_zero(self, rig: Rig, code: Code, status: Status) -> None:
        file_id = rig.video("a.mp4")
        rig.drain()
        end(rig, code, status)
        rig.world.trash(file_id)
        assert rig.drain() == 0
        rig.world.restore(file_id)
        assert rig.drain() == 1
        (recording,) = rig.recordings()
        assert (recording.status, recording.error, recording.attempts) == (Status.QUEUED, None, 0)
        assert len(rig.messages(2)) == 2

    @pytest.mark.parametrize("code", [Code.NO_AUDIO, Code.CORRUPT, Code.GAVE_UP])
    def test_recordings_that_were_read_are_left_alone(self, rig: Rig, code: Code) -> None:
        file_id = rig.video("a.mp4")
        rig.drain()
        end(rig, code, Status.FAILED)
        rig.world.rename(file_id, "b.mp4")
        assert rig.drain() == 0

    def test_a_forbidden_download_stays_forbidden(self, rig: Rig) -> None:
        file_id = rig.video("a.mp4", downloadable=False)
        rig.drain()
        end(rig, Code.FORBIDDEN, Status.FAILED)
        rig.world.rename(file_id, "b.mp4")
        assert rig.drain() == 0
        rig.world.edit(file_id, downloadable=True)
        assert rig.drain() == 1

    def test_the_last_day_tries_nothing_again(self, rig: Rig) -> None:
        rig.video("a.mp4")
        rig.drain()
        end(rig, Code.FORBIDDEN, Status.FAILED)
        assert rig.maintain().published == 0
        assert rig.maintain(full=True).published == 1


class TestPageToken:
    def test_pages_can_be_empty_and_go_on(self, rig: Rig) -> None:
        for number in range(600):
            rig.world.create_file(f"{number}.txt", owner=OWNER, mime_type="text/plain")
        rig.video("last.mp4")
        assert rig.drain() == 1

    @on_every_rig
    def test_it_stays_when_publishing_fails(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.video("a.mp4")
        before = rig.state()["page_token"]
        topic = rig.environ["RECORDINGS_QUEUE_URL"]
        rig.configure(RECORDINGS_QUEUE_URL=f"{topic}-that-is-not-there")
        with pytest.raises((NotFound, TransientError)):
            rig.drain()
        assert rig.state()["page_token"] == before
        assert rig.state()["lease_owner"] is None
        assert rig.names() == []
        rig.configure(RECORDINGS_QUEUE_URL=topic)
        assert rig.drain() == 1
        assert rig.state()["page_token"] > before

    @on_every_rig
    def test_a_drain_that_finds_the_lease_taken_leaves_at_once(self, rig: Rig) -> None:
        hold = rig.watch.state(rig.feed).acquire()
        assert hold
        rig.video("a.mp4")
        assert rig.drain() == 0
        with hold:
            pass
        assert rig.drain() == 1

    def test_changes_notified_during_the_lease_are_drained(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The holder saw no change; another call is refused; then the lease is released."""
        drain = rig.watch.drain(rig.feed, rig.watch.budget())
        listed = drain.api.changes

        def and_then_something_happens(*arguments: object, **more: object) -> object:
            page = listed(*arguments, **more)  # type: ignore[arg-type]
            if rig.world.requests["changes.list"] == before + 1:
                rig.video("late.mp4")
                assert rig.watch.drain(rig.feed, rig.watch.budget()).run().published == 0
            return page

        before = rig.world.requests["changes.list"]
        monkeypatch.setattr(drain.api, "changes", and_then_something_happens)
        assert drain.run().published == 1

    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_a_void_one_is_replaced_and_everything_compared(self, rig: Rig, status: int) -> None:
        rig.video("lost.mp4")
        rig.world.expire_page_tokens(status)
        assert rig.drain() == 0
        assert rig.state()["full_compare_at"] is None
        old = datetime.now(UTC) + timedelta(days=2)
        rig.world.edit(rig.video("older.mp4"), created=old - timedelta(days=9), modified=old)
        summary = rig.maintain()
        assert summary.compare == {"default": "done"}
        assert rig.names() == ["lost.mp4", "older.mp4"]
        assert rig.state()["full_compare_at"] is not None

    def test_one_that_is_void_again_at_once_is_an_error_and_no_loop(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drain = rig.watch.drain(rig.feed, rig.watch.budget())
        listed = drain.api.changes

        def expired(*arguments: object, **more: object) -> object:
            rig.world.expire_page_tokens()
            return listed(*arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(drain.api, "changes", expired)
        with pytest.raises(PageTokenError):
            drain.run()
        assert rig.world.requests["changes.getStartPageToken"] < 5
        assert rig.state()["lease_owner"] is None

    @on_every_rig
    def test_a_lease_that_was_lost_moves_nothing(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.video("a.mp4")
        token = rig.state()["page_token"]
        drain = rig.watch.drain(rig.feed, rig.watch.budget())
        listed = drain.api.changes

        def and_another_takes_it(*arguments: object, **more: object) -> object:
            page = listed(*arguments, **more)  # type: ignore[arg-type]
            rig.watch.state(rig.feed).change(lambda _: {"lease_owner": "another"})
            return page

        with monkeypatch.context() as patch:
            patch.setattr(drain.api, "changes", and_another_takes_it)
            drain.run()
        assert rig.state()["page_token"] == token
        assert rig.state()["lease_owner"] == "another"

    def test_a_crash_is_healed_within_the_minute(self, rig: Rig) -> None:
        rig.configure(LEASE_SECONDS="0.2")
        rig.video("a.mp4")
        hold = rig.watch.state(rig.feed).acquire()
        assert hold  # and its process dies
        rig.watch.state(rig.feed).change(
            lambda _: {"lease_expires_at": datetime.now(UTC) - timedelta(seconds=1)}
        )
        assert rig.minute().published == 1
        assert rig.minute().published == 0


def test_an_older_message_is_not_published_twice(rig: Rig) -> None:
    file_id = rig.video("a.mp4")
    rig.drain()
    for _ in range(3):
        rig.world.rename(file_id, "again.mp4")
        assert rig.drain() == 0
    assert len(rig.messages(1)) == 1


@on_every_rig
def test_a_worker_that_is_faster_than_the_document(rig: Rig) -> None:
    """The message is out, a worker has claimed it, then the document is to be created."""
    file_id = rig.video("a.mp4", content=b"abc")
    item = rig.standin.client().get(file_id).to_source_file()
    assert isinstance(item, SourceFile)
    claim = rig.services.tracker.claim(item)
    assert rig.services.tracker.enqueue(item) is False
    assert claim
    assert rig.drain() == 0
    assert rig.recordings()[0].status is Status.PROCESSING
