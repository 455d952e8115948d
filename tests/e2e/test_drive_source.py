"""Recordings read from Drive: the same bytes over a bad network, or a reason why not."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials

from cli.demo.drive_standin import World
from cli.demo.drive_standin.errors import READONLY
from cli.demo.drive_standin.identity import key_file
from shared.adapters.google.drive_client import DriveClient
from shared.adapters.google.drive_sources import DriveClients, DriveFile, DriveSources
from shared.core.errors import Code, PermanentError, TransientError, is_transient
from shared.core.message import SourceFile
from tests.drive.standin import OWNER, READER, StandIn, running

CONTENT = random.Random(4).randbytes(3_000_000)


@pytest.fixture
def drive() -> Iterator[StandIn]:
    with running() as standin:
        yield standin


@pytest.fixture
def world(drive: StandIn) -> World:
    return drive.world


class Clients(DriveClients):
    """Clients of the stand-in with tokens of its accounts."""

    def __init__(self, drive: StandIn, retry_s: float = 20.0) -> None:
        super().__init__()
        self._made = {"": drive.client(retry_s=retry_s)}
        self._drive = drive

    def __call__(self, account: str = "") -> DriveClient:
        if account not in self._made:
            self._made[account] = self._drive.client(account)
        return self._made[account]


@pytest.fixture
def sources(drive: StandIn) -> DriveSources:
    return DriveSources(Clients(drive))


def item(world: World, file_id: str, account: str = "") -> SourceFile:
    file = world.state.files[file_id]
    assert file.content
    return SourceFile(
        source="drive",
        source_id=file_id,
        revision=file.content.md5 if file.has_md5 else file.head_revision_id,
        name=file.name,
        mime_type=file.mime_type,
        size_bytes=file.content.size,
        created_at=file.created,
        account=account,
    )


def recording(world: World, **more: object) -> SourceFile:
    return item(world, world.create_file("Sync.mp4", content=CONTENT, **more))  # type: ignore[arg-type]


def whole(source: DriveFile, block: int = 400_000) -> bytes:
    return b"".join(source.read(at, block) for at in range(0, source.size, block))


def refusal(sources: DriveSources, wanted: SourceFile) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        sources.open(wanted)
    return caught.value


class TestWatchedFolders:
    """The folder rule applies when a recording is opened, not only when it is found."""

    def watching(self, drive: StandIn, *folders: str, drives: tuple[str, ...] = ()) -> DriveSources:
        return DriveSources(Clients(drive), folder_ids=folders, drive_ids=drives)

    def test_only_files_below_a_watched_folder(self, drive: StandIn, world: World) -> None:
        watched, other = world.create_folder("Meetings"), world.create_folder("Private")
        deep = world.create_folder("Weekly", parent=world.create_folder("2026", parent=watched))
        sources = self.watching(drive, watched)
        for parent in (watched, deep):
            assert whole(sources.open(recording(world, parent=parent))) == CONTENT
        for parent in (other, ""):
            wanted = recording(world, parent=parent)
            assert refusal(sources, wanted).code == Code.NOT_WATCHED
        assert whole(self.watching(drive).open(wanted)) == CONTENT

    def test_moved_out_and_in_again(self, drive: StandIn, world: World) -> None:
        watched, other = world.create_folder("Meetings"), world.create_folder("Private")
        sources = self.watching(drive, watched)
        wanted = recording(world, parent=watched)
        sources.open(wanted)
        world.move(wanted.source_id, other)
        assert refusal(sources, wanted).code == Code.NOT_WATCHED
        world.move(other, watched)
        assert whole(sources.open(wanted)) == CONTENT

    def test_a_shortcut_below_a_watched_folder_counts(self, drive: StandIn, world: World) -> None:
        watched, other = world.create_folder("Meetings"), world.create_folder("Private")
        sources = self.watching(drive, watched)
        wanted = recording(world, parent=other)
        world.create_shortcut("elsewhere", wanted.source_id, parent=other)
        assert refusal(sources, wanted).code == Code.NOT_WATCHED
        world.create_shortcut("here", wanted.source_id, parent=watched)
        assert whole(sources.open(wanted)) == CONTENT

    def test_a_shortcut_in_a_shared_drive_counts(self, drive: StandIn, world: World) -> None:
        team = world.create_drive("Team", {READER: "reader"})
        watched = world.create_folder("Meetings", parent=team)
        wanted = recording(world)
        world.create_shortcut("here", wanted.source_id, parent=watched)
        sources = self.watching(drive, watched, drives=(team,))
        assert whole(sources.open(wanted)) == CONTENT

    def test_other_reasons_come_first(self, drive: StandIn, world: World) -> None:
        watched = world.create_folder("Meetings")
        wanted = recording(world)
        world.trash(wanted.source_id)
        assert refusal(self.watching(drive, watched), wanted).code == Code.TRASHED


class TestReading:
    def test_any_range(self, sources: DriveSources, world: World) -> None:
        source = sources.open(recording(world))
        assert source.size == len(CONTENT)
        assert source.local_path is None
        for offset, length in ((0, 1), (7, 100), (2_999_990, 50), (0, 9_000_000), (1_000, 0)):
            assert source.read(offset, length) == CONTENT[offset : offset + length]
        assert source.read(len(CONTENT) + 5, 10) == b""
        source.check_unchanged()
        source.close()
        source.close()

    def test_a_file_without_md5_is_known_by_its_head_revision(
        self, sources: DriveSources, world: World
    ) -> None:
        wanted = recording(world, has_md5=False)
        assert not wanted.revision.startswith(hashlib.md5(CONTENT).hexdigest())
        assert whole(sources.open(wanted)) == CONTENT

    def test_a_shared_drive(self, sources: DriveSources, world: World) -> None:
        team = world.create_drive("Team", {READER: "reader"})
        assert whole(sources.open(recording(world, parent=team))) == CONTENT

    @pytest.mark.parametrize("reset", [False, True])
    def test_cut_connections(self, sources: DriveSources, world: World, reset: bool) -> None:
        source = sources.open(recording(world))
        world.set_faults(seed=7, cut_rate=0.7, reset=reset)
        assert whole(source) == CONTENT
        # Without a cut these would be eight requests for bytes, and one for the metadata.
        assert world.requests["files.get"] > 12

    def test_after_a_cut_only_the_rest_is_read_again(
        self, sources: DriveSources, world: World
    ) -> None:
        source = sources.open(recording(world))
        world.set_faults(cut_rate=1.0, cut_after=1_000_000)
        assert source.read(0, 3_000_000) == CONTENT
        assert world.requests["files.get"] == 1 + 3

    def test_bytes_before_a_reset_are_kept(self, sources: DriveSources, world: World) -> None:
        source = sources.open(recording(world))
        world.set_faults(cut_rate=1.0, cut_after=20_000, reset=True)
        assert source.read(0, 200_000) == CONTENT[:200_000]
        assert world.requests["files.get"] == 1 + 10

    def test_errors_and_cuts_at_one_in_ten_each(self, sources: DriveSources, world: World) -> None:
        source = sources.open(recording(world))
        world.set_faults(seed=11, error_rate=0.1, cut_rate=0.1)
        assert whole(source, block=50_000) == CONTENT
        source.check_unchanged()

    @pytest.mark.parametrize("status", [403, 429])
    def test_a_rate_limit_is_waited_out(
        self, sources: DriveSources, world: World, status: int
    ) -> None:
        source = sources.open(recording(world))
        world.rate_limit(3, status)
        assert source.read(0, 10) == CONTENT[:10]
        world.rate_limit(2, status)
        source.check_unchanged()

    def test_threads_share_it_and_each_has_a_connection(
        self, drive: StandIn, sources: DriveSources, world: World
    ) -> None:
        source = sources.open(recording(world))
        world.set_faults(seed=3, error_rate=0.1, cut_rate=0.2)
        starts = [n * 37_000 for n in range(80)]
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda at: source.read(at, 37_000), starts))
        assert parts == [CONTENT[at : at + 37_000] for at in starts]


def outdated() -> Credentials:
    return Credentials("old")  # type: ignore[no-untyped-call]


class TestGivingUp:
    def test_a_limit_that_stays_is_transient_and_within_the_deadline(
        self, drive: StandIn, world: World
    ) -> None:
        sources = DriveSources(Clients(drive, retry_s=1.0))
        source = sources.open(recording(world))
        world.set_faults(error_rate=1.0, statuses=[503])
        begun = time.monotonic()
        for call in (lambda: source.read(0, 10), source.check_unchanged):
            with pytest.raises(Exception, match="503") as caught:
                call()
            assert is_transient(caught.value)
        assert time.monotonic() - begun < 10

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        client = DriveClient(
            "",
            AnonymousCredentials,
            endpoint=f"http://127.0.0.1:{port}/drive/v3/",
            retry_s=0.5,
        )
        with pytest.raises(Exception, match="refused") as caught:
            client.get("x")
        assert is_transient(caught.value)

    @pytest.mark.parametrize(
        "reason", ["accessNotConfigured", "insufficientPermissions", "downloadQuotaExceeded"]
    )
    def test_an_error_that_needs_a_person_is_not_retried_at_once(
        self, sources: DriveSources, world: World, reason: str
    ) -> None:
        wanted = recording(world)
        world.fail_next(1, 403, reason)
        with pytest.raises(TransientError, match=reason):
            sources.open(wanted)
        assert world.requests["files.get"] == 1

    def test_a_token_that_ended_early_is_renewed_once(self, drive: StandIn, world: World) -> None:
        wanted = recording(world)
        credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            key_file(READER, f"{drive.server.url}/token"), scopes=[READONLY]
        )
        client = DriveClient("", lambda: credentials, endpoint=drive.server.endpoint)
        client.check()
        for _ in range(2):
            world.identity.revoke_tokens()
            assert client.get(wanted.source_id).id == wanted.source_id
            world.identity.revoke_tokens()
            assert client.fetch(wanted.source_id, 0, 3, size=len(CONTENT), name="x") == CONTENT[:3]

    @pytest.mark.parametrize("credentials", [AnonymousCredentials, outdated])
    def test_refused_credentials_are_transient(
        self, drive: StandIn, world: World, credentials: type
    ) -> None:
        wanted = recording(world)
        client = DriveClient("", credentials, endpoint=drive.server.endpoint)
        with pytest.raises(TransientError):
            client.get(wanted.source_id)
        with pytest.raises(TransientError):
            client.fetch(wanted.source_id, 0, 1, size=wanted.size_bytes, name="x")


class TestWhatCannotBeRead:
    """Each is found when the file is opened, and again when it changes under a reader."""

    def test_deleted(self, sources: DriveSources, world: World) -> None:
        wanted = recording(world)
        source = sources.open(wanted)
        world.delete(wanted.source_id)
        self.expect(Code.GONE, sources, wanted, source)

    def test_no_longer_shared(self, sources: DriveSources, world: World) -> None:
        file = world.create_file("Sync.mp4", content=CONTENT, owner=OWNER)
        world.share(file, READER)
        wanted = item(world, file)
        source = sources.open(wanted)
        world.revoke(file, READER)
        self.expect(Code.GONE, sources, wanted, source)
        assert "no longer shared" in refusal(sources, wanted).message

    def test_abusive(self, sources: DriveSources, world: World) -> None:
        wanted = recording(world, abusive=True)
        with pytest.raises(PermanentError, match=r"Drive flags .* as malware") as caught:
            sources.open(wanted).read(0, 10)
        assert caught.value.code == Code.FORBIDDEN

    def test_downloads_forbidden(self, sources: DriveSources, world: World) -> None:
        wanted = recording(world)
        source = sources.open(wanted)
        world.edit(wanted.source_id, downloadable=False)
        self.expect(Code.FORBIDDEN, sources, wanted, source)

    @pytest.mark.parametrize("folder", [False, True])
    def test_trashed(self, sources: DriveSources, world: World, folder: bool) -> None:
        parent = world.create_folder("Meetings")
        wanted = recording(world, parent=parent)
        source = sources.open(wanted)
        world.trash(parent if folder else wanted.source_id)
        assert refusal(sources, wanted).code == Code.TRASHED
        with pytest.raises(PermanentError) as caught:
            source.check_unchanged()
        assert caught.value.code == Code.TRASHED

    @pytest.mark.parametrize("size", [10, 4_000_000])
    def test_replaced_by_another_size(self, sources: DriveSources, world: World, size: int) -> None:
        wanted = recording(world)
        source = sources.open(wanted)
        world.new_revision(wanted.source_id, b"x" * size)
        self.expect(Code.SUPERSEDED, sources, wanted, source)

    def test_replaced_by_the_same_size(self, sources: DriveSources, world: World) -> None:
        wanted = recording(world)
        source = sources.open(wanted)
        world.new_revision(wanted.source_id, CONTENT[::-1])
        assert refusal(sources, wanted).code == Code.SUPERSEDED
        with pytest.raises(PermanentError) as caught:
            source.check_unchanged()
        assert caught.value.code == Code.SUPERSEDED

    def test_an_account_that_is_not_configured(self, drive: StandIn, world: World) -> None:
        """A message must not choose whose Drive is read, on whatever way it comes."""
        wanted = recording(world, owner=OWNER)
        asked = sum(world.requests.values())
        for subjects in ((), ("bob@example.com",)):
            sources = DriveSources(Clients(drive), subjects=subjects)
            assert refusal(sources, replace(wanted, account=OWNER)).code == Code.FORBIDDEN
        assert sum(world.requests.values()) == asked
        allowed = DriveSources(Clients(drive), subjects=("bob@example.com", OWNER))
        assert whole(allowed.open(replace(wanted, account=OWNER))) == CONTENT

    def test_renamed_is_nothing(self, sources: DriveSources, world: World) -> None:
        wanted = recording(world)
        world.rename(wanted.source_id, "Other.mp4")
        source = sources.open(wanted)
        assert whole(source) == CONTENT
        source.check_unchanged()

    def expect(
        self, code: Code, sources: DriveSources, wanted: SourceFile, source: DriveFile
    ) -> None:
        assert refusal(sources, wanted).code == code
        for call in (lambda: source.read(2_000_000, 10), source.check_unchanged):
            with pytest.raises(PermanentError) as caught:
                call()
            assert caught.value.code == code


class TestListing:
    def test_recordings_and_nothing_else(self, sources: DriveSources, world: World) -> None:
        meetings = world.create_folder("Meetings", parent=world.create_folder("Google Meet"))
        kinds = ("video/mp4", "audio/mpeg", "text/plain", "application/vnd.google-apps.document")
        for kind in kinds:
            world.create_file(kind, content=b"x", mime_type=kind, parent=meetings)
        world.create_file("empty", mime_type="video/mp4")
        world.trash(world.create_file("trashed", content=b"x"))
        world.create_file("other's", content=b"x", owner=OWNER)
        assert {found.name for found in sources.list()} == {"video/mp4", "audio/mpeg"}

    def test_every_listed_recording_can_be_opened(
        self, sources: DriveSources, world: World
    ) -> None:
        created = datetime(2025, 4, 7, 8, 52, tzinfo=UTC)
        file = world.create_file("Sync", content=CONTENT, created=created)
        (found,) = sources.list()
        assert found == item(world, file)
        assert found.created_at == created
        assert whole(sources.open(found)) == CONTENT

    def test_every_subject_and_shared_drive_once(self, drive: StandIn, world: World) -> None:
        other = "ben@example.com"
        team = world.create_drive("Team", {OWNER: "organizer"})
        world.create_file("team", content=b"x", parent=team)
        shared = world.create_file("both", content=b"x", owner=OWNER)
        world.share(shared, other)
        world.create_file("ben", content=b"x", owner=other)
        sources = DriveSources(Clients(drive), subjects=(OWNER, other), drive_ids=(team,))
        found = sorted((item.name, item.account) for item in sources.list())
        assert found == [("ben", other), ("both", OWNER), ("team", OWNER)]

    def test_more_than_a_page(self, sources: DriveSources, world: World) -> None:
        for number in range(1_005):
            world.create_file(f"{number}", content=b"x")
        assert len(list(sources.list())) == 1_005


def test_readers_do_not_wait_for_one_another(drive: StandIn, world: World) -> None:
    world.set_faults(latency_s=0.5)
    source = DriveSources(Clients(drive)).open(recording(world))
    begun = time.monotonic()
    threads = [threading.Thread(target=source.read, args=(n * 1_000, 1_000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 8 * 0.5


def test_the_api_client_is_loaded_at_first_use_only(tmp_path: Path) -> None:
    module = "shared.adapters.google.drive_sources"
    code = f"import sys, {module}; sys.exit('googleapiclient' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
