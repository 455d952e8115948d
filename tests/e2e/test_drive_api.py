"""The pipeline's client of the Drive API: changes, channels, listings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cli.demo.drive_standin import World
from shared.adapters.google.drive_client import DriveClient
from shared.core.drive_items import ChangePage, PageTokenError
from shared.core.errors import Code, PermanentError, PipelineError
from shared.core.ports import DriveApi
from tests.drive.standin import OWNER, READER, StandIn, running

NOWHERE = "https://127.0.0.1:9/hook"


@pytest.fixture
def drive() -> Iterator[StandIn]:
    with running() as standin:
        yield standin


@pytest.fixture
def world(drive: StandIn) -> World:
    drive.world.root(READER)
    drive.world.set_notifications(drop=True)
    return drive.world


@pytest.fixture
def client(drive: StandIn) -> DriveClient:
    return drive.client()


def test_it_is_the_port(client: DriveClient) -> None:
    port: DriveApi = client
    port.check()


class TestChanges:
    def test_created_renamed_and_removed(self, client: DriveClient, world: World) -> None:
        token = client.start_token()
        kept, lost = world.create_file("a.mp4", content=b"abc"), world.create_file("b.mp4")
        world.rename(kept, "c.mp4")
        world.delete(lost)
        page = client.changes(token)
        assert page.last
        assert {change.file_id: change.item for change in page.changes}[lost] is None
        item = next(change.item for change in page.changes if change.file_id == kept)
        assert item
        assert (item.name, item.size_bytes, item.is_recording) == ("c.mp4", 3, True)
        assert client.changes(page.token).changes == []

    def test_empty_pages_go_on(self, client: DriveClient, world: World) -> None:
        token = client.start_token()
        for number in range(3):
            world.create_file(f"{number}", owner=OWNER)
        mine = world.create_file("mine")
        pages: list[ChangePage] = []
        while not pages or not pages[-1].last:
            pages.append(client.changes(pages[-1].token if pages else token, page_size=1))
        assert [change.file_id for page in pages for change in page.changes] == [mine]
        assert not pages[0].changes
        assert not pages[0].last

    def test_a_shared_drive(self, client: DriveClient, world: World) -> None:
        team = world.create_drive("Team", {READER: "reader"})
        token, user_token = client.start_token(team), client.start_token()
        file = world.create_file("a.mp4", content=b"x", parent=team)
        for page in (client.changes(token, team), client.changes(user_token)):
            assert [change.file_id for change in page.changes] == [file]
        world.set_member(team, READER, None)
        with pytest.raises(PermanentError) as caught:
            client.changes(token, team)
        assert caught.value.code == Code.GONE
        assert client.changes(user_token).drives_changed

    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_a_token_that_is_void(self, client: DriveClient, world: World, status: int) -> None:
        token = client.start_token()
        world.expire_page_tokens(status)
        with pytest.raises(PageTokenError):
            client.changes(token)
        with pytest.raises(PageTokenError):
            watch(client, token)
        assert client.changes(client.start_token()).last

    def test_errors_that_pass_are_not_void_tokens(self, client: DriveClient, world: World) -> None:
        token = client.start_token()
        world.set_faults(seed=2, error_rate=0.4)
        world.create_file("a.mp4")
        assert len(client.changes(token).changes) == 1


def watch(client: DriveClient, token: str, channel: str = "c1", hours: float = 24) -> datetime:
    opened = client.watch(
        token,
        channel_id=channel,
        channel_token="secret",
        address=NOWHERE,
        expires_at=datetime.now(UTC) + timedelta(hours=hours),
    )
    assert opened.id == channel
    assert opened.resource_id
    return opened.expires_at


class TestChannels:
    def test_the_expiry_is_drives(self, client: DriveClient) -> None:
        token = client.start_token()
        for number, (asked, given) in enumerate(((24, 24), (2_400, 168))):
            expires = watch(client, token, f"c{number}", asked)
            assert abs(expires - datetime.now(UTC) - timedelta(hours=given)) < timedelta(minutes=1)

    def test_the_watch_is_for_shared_drives_too(self, client: DriveClient, world: World) -> None:
        watch(client, client.start_token())
        assert world.channels["c1"].all_drives
        assert world.channels["c1"].token == "secret"

    def test_it_is_asked_for_once(self, client: DriveClient, world: World) -> None:
        token = client.start_token()
        world.fail_next(1, 503)
        with pytest.raises(PipelineError, match="503"):
            watch(client, token)
        assert world.requests["changes.watch"] == 1

    def test_a_used_id_is_refused(self, client: DriveClient) -> None:
        token = client.start_token()
        watch(client, token)
        with pytest.raises(PipelineError, match="not unique"):
            watch(client, token)

    def test_stop_twice(self, client: DriveClient, world: World) -> None:
        watch(client, client.start_token())
        resource = world.channels["c1"].resource_id
        client.stop("c1", resource)
        assert world.channels == {}
        client.stop("c1", resource)


class TestListing:
    def test_pages(self, client: DriveClient, world: World) -> None:
        folder = world.create_folder("A")
        wanted = {world.create_file(f"{n}", parent=folder) for n in range(5)}
        query, found, token = f"'{folder}' in parents", [], ""
        for _ in range(3):
            page = client.list(query, page_token=token, page_size=2)
            found += [item.id for item in page.items]
            token = page.next_token
        assert token == ""
        assert sorted(found) == sorted(wanted)

    def test_a_query_longer_than_an_address_may_be(self, client: DriveClient, world: World) -> None:
        # Past 2,048 characters the client sends a POST with a header that makes it a GET.
        folders = [world.create_folder(f"{n}") for n in range(100)]
        wanted = world.create_file("a.mp4", parent=folders[70])
        query = " or ".join(f"'{folder}' in parents" for folder in folders)
        assert [item.id for item in client.list(query).items] == [wanted]

    def test_a_shortcut_names_its_target(self, client: DriveClient, world: World) -> None:
        target = world.create_file("a.mp4", content=b"x")
        item = client.get(world.create_shortcut("s", target))
        assert (item.shortcut_target, item.shortcut_mime_type) == (target, "video/mp4")
        assert not item.is_recording
        assert client.get(world.create_folder("f")).is_folder


def test_a_process_that_forks_has_connections_of_its_own(drive: StandIn, world: World) -> None:
    file = world.create_file("a.mp4", content=b"abc")
    code = f"""
import os
from google.oauth2.credentials import Credentials
from shared.adapters.google.drive_client import DriveClient
client = DriveClient("", lambda: Credentials({drive.world.identity.issue(READER)!r}),
                     endpoint={drive.server.endpoint!r})
client.get({file!r})
child = os.fork()
for _ in range(50):
    assert client.get({file!r}).id == {file!r}
    assert client.fetch({file!r}, 0, 3, size=3, name="a") == b"abc"
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
