"""The Drive stand-in, checked against the discovery document and guides of the real API."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.demo.drive_standin import World
from cli.demo.drive_standin.control import RemoteWorld
from tests.drive import schema
from tests.drive.standin import OWNER, READER, StandIn, running

BOTH: dict[str, Any] = {"supportsAllDrives": True, "includeItemsFromAllDrives": True}


@pytest.fixture
def drive() -> Iterator[StandIn]:
    with running() as standin:
        yield standin


@pytest.fixture
def world(drive: StandIn) -> World:
    return drive.world


def names(answer: Any) -> set[str]:
    return {file["name"] for file in answer.json["files"]}


class TestTheCheckItself:
    def test_it_finds_an_unknown_field_a_wrong_type_and_a_wrong_format(self) -> None:
        assert schema.problems({"nmae": "x"}, "File")
        assert schema.problems({"size": 3}, "File")
        assert schema.problems({"size": "three"}, "File")
        assert schema.problems({"createdTime": "yesterday"}, "File")
        assert schema.problems({"files": [{"trashed": "yes"}]}, "FileList")
        assert not schema.problems({"files": [{"trashed": True, "size": "3"}]}, "FileList")


class TestFilesGet:
    def test_every_field_is_one_that_the_document_has(self, drive: StandIn, world: World) -> None:
        folder = world.create_folder("Meetings", owner=OWNER)
        world.share(folder, READER)
        file = world.create_file("a.mp4", content=b"abc", parent=folder)
        shortcut = world.create_shortcut("a", file, parent=folder)
        for item in (folder, file, shortcut):
            assert drive.ask(f"files/{item}", fields="*").status == 200

    def test_only_some_fields_come_without_a_mask(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", content=b"abc")
        assert set(drive.ask(f"files/{file}").json) == {"kind", "id", "name", "mimeType"}

    def test_a_mask_may_be_nested(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", content=b"abc")
        answer = drive.ask(f"files/{file}", fields="id,capabilities/canDownload,owners(me)")
        assert answer.json == {
            "id": file,
            "capabilities": {"canDownload": True},
            "owners": [{"me": True}],
        }

    @pytest.mark.parametrize("mask", ["nmae", "files(id)", "id,", "id)", "owners(me"])
    def test_a_wrong_mask_is_refused(self, drive: StandIn, world: World, mask: str) -> None:
        file = world.create_file("a.mp4", content=b"abc")
        answer = drive.ask(f"files/{file}", fields=mask)
        assert (answer.status, answer.reason) == (400, "invalidParameter")

    def test_a_misspelt_parameter_is_refused(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", content=b"abc")
        assert drive.ask(f"files/{file}", supportAllDrives=True).status == 400
        assert drive.ask(f"files/{file}", supportsAllDrives="yes").status == 400

    def test_a_shared_drive_needs_its_flag(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", parent=world.create_drive("Team", {READER: "reader"}))
        assert drive.ask(f"files/{file}").status == 404
        assert drive.ask(f"files/{file}", supportsAllDrives=True).status == 200

    def test_files_hidden_from_an_account_are_not_found(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", owner=OWNER)
        answer = drive.ask(f"files/{file}")
        assert answer.status == 404
        assert answer.json == {
            "error": {
                "code": 404,
                "message": f"File not found: {file}.",
                "errors": [
                    {
                        "message": f"File not found: {file}.",
                        "domain": "global",
                        "reason": "notFound",
                        "location": "fileId",
                        "locationType": "parameter",
                    }
                ],
            }
        }

    def test_a_parent_is_listed_for_users_that_see_it(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", parent=world.create_folder("Mine", owner=OWNER))
        world.share(file, READER)
        assert "parents" not in drive.ask(f"files/{file}", fields="*").json
        assert "parents" in drive.ask(f"files/{file}", fields="*", account=OWNER).json

    def test_below_a_trashed_folder(self, drive: StandIn, world: World) -> None:
        folder = world.create_folder("Meetings")
        file = world.create_file("a.mp4", parent=folder)
        world.trash(folder)
        mask = "trashed,explicitlyTrashed"
        assert drive.ask(f"files/{file}", fields=mask).json == {
            "trashed": True,
            "explicitlyTrashed": False,
        }
        world.restore(folder)
        assert drive.ask(f"files/{file}", fields=mask).json["trashed"] is False


class TestMedia:
    @pytest.mark.parametrize(
        ("header", "status", "body", "content_range"),
        [
            (None, 200, b"0123456789", None),
            ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
            ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
            ("bytes=10-", 416, b"", "bytes */10"),
            ("bytes=5-2", 200, b"0123456789", None),
            ("lines=1-2", 200, b"0123456789", None),
        ],
    )
    @pytest.mark.parametrize("from_path", [False, True])
    def test_ranges(
        self,
        drive: StandIn,
        tmp_path: Path,
        header: str | None,
        status: int,
        body: bytes,
        content_range: str | None,
        from_path: bool,
    ) -> None:
        path = tmp_path / "a.mp4"
        path.write_bytes(b"0123456789")
        file = drive.world.create_file("a.mp4", content=path if from_path else path.read_bytes())
        headers = {"Range": header} if header else {}
        answer = drive.ask(f"files/{file}", alt="media", headers=headers)
        assert (answer.status, answer.body) == (status, body)
        assert answer.headers.get("Content-Range") == content_range

    def test_an_abusive_file_needs_an_acknowledgement(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", content=b"abc", abusive=True)
        answer = drive.ask(f"files/{file}", alt="media")
        assert (answer.status, answer.reason) == (403, "cannotDownloadAbusiveFile")
        assert drive.ask(f"files/{file}", alt="media", acknowledgeAbuse=True).body == b"abc"

    def test_a_document_has_no_bytes(self, drive: StandIn, world: World) -> None:
        file = world.create_file("Notes", mime_type="application/vnd.google-apps.document")
        answer = drive.ask(f"files/{file}", alt="media")
        assert (answer.status, answer.reason) == (403, "fileNotDownloadable")


class TestFilesList:
    def test_queries(self, drive: StandIn, world: World) -> None:
        folder = world.create_folder("Meetings")
        kinds = {"v": "video/mp4", "a": "audio/mpeg", "t": "text/plain", "old": "video/webm"}
        files = {
            name: world.create_file(name, content=b"x", mime_type=kind, parent=folder)
            for name, kind in kinds.items()
        }
        world.create_file("it's", content=b"x", mime_type="video/mp4")
        world.trash(files["old"])
        expected = {
            "mimeType contains 'video/'": {"v", "old", "it's"},
            "mimeType contains 'mp4'": set(),
            "mimeType = 'audio/mpeg'": {"a"},
            "trashed = true": {"old"},
            "trashed=false and (mimeType contains 'video/' or mimeType contains 'audio/')": {
                "v",
                "a",
                "it's",
            },
            f"'{folder}' in parents and not trashed = true": {"v", "a", "t"},
            f"'{folder}' in parents and mimeType != 'text/plain'": {"v", "a", "old"},
            "name = 'it\\'s'": {"it's"},
            "'root' in parents": {"Meetings", "it's"},
            "createdTime > '2001-01-01T00:00:00' and name = 'v'": {"v"},
            "modifiedTime > '2999-01-01T00:00:00Z'": set(),
        }
        for query, found in expected.items():
            assert names(drive.ask("files", q=query)) - {"My Drive"} == found, query

    @pytest.mark.parametrize(
        "query",
        [
            "mimeType",
            "nmae = 'x'",
            "name ~ 'x'",
            "(trashed = true",
            "trashed = 'x'",
            "name = x",
            "createdTime > 'then'",
            "name = 'a' and name = 'b' or name = 'c'",
            "'x' in files",
        ],
    )
    def test_a_query_that_cannot_be_read(self, drive: StandIn, query: str) -> None:
        answer = drive.ask("files", q=query)
        assert answer.status == 400
        assert answer.json["error"]["errors"][0]["location"] == "q"

    def test_pages_contain_every_file_once(self, drive: StandIn, world: World) -> None:
        wanted = {world.create_file(f"{n}.mp4", content=b"x") for n in range(25)}
        found: list[str] = []
        more: dict[str, Any] = {}
        for _ in range(4):
            answer = drive.ask("files", q="mimeType='video/mp4'", pageSize=7, **more).json
            found += [file["id"] for file in answer["files"]]
            more = {"pageToken": answer.get("nextPageToken", "")}
        assert more == {"pageToken": ""}
        assert sorted(found) == sorted(wanted)
        assert drive.ask("files", pageToken="nonsense").status == 400

    def test_shared_with_me_and_shared_drives(self, drive: StandIn, world: World) -> None:
        file = world.create_file("single.mp4", owner=OWNER)
        world.share(file, READER)
        team = world.create_drive("Team", {READER: "reader"})
        world.create_file("team.mp4", parent=team)
        world.create_file("other.mp4", parent=world.create_drive("Other", {OWNER: "organizer"}))
        assert names(drive.ask("files", q="sharedWithMe")) == {"single.mp4"}
        assert "team.mp4" not in names(drive.ask("files"))
        assert "team.mp4" in names(drive.ask("files", **BOTH))
        assert names(drive.ask("files", corpora="drive", driveId=team, **BOTH)) == {"team.mp4"}
        assert drive.ask("files", corpora="drive", **BOTH).status == 400
        assert drive.ask("files", includeItemsFromAllDrives=True).status == 403

    def test_order(self, drive: StandIn, world: World) -> None:
        for name in ("b", "c", "a"):
            world.create_file(name)
        answer = drive.ask("files", orderBy="name desc", q="mimeType = 'video/mp4'")
        assert [file["name"] for file in answer.json["files"]] == ["c", "b", "a"]


class TestChanges:
    def start(self, drive: StandIn, **parameters: Any) -> str:
        answer = drive.ask("changes/startPageToken", **parameters)
        return str(answer.json["startPageToken"])

    def drain(self, drive: StandIn, token: str, **parameters: Any) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = []
        for _ in itertools.count():
            answer = drive.ask("changes", pageToken=token, fields="*", **parameters).json
            changes += answer["changes"]
            if "newStartPageToken" in answer:
                assert "nextPageToken" not in answer
                return changes
            token = answer["nextPageToken"]
        raise AssertionError

    def test_the_list_collapses_to_the_latest_state(self, drive: StandIn, world: World) -> None:
        token = self.start(drive)
        file = world.create_file("a.mp4", content=b"x")
        world.rename(file, "b.mp4")
        changes = self.drain(drive, token)
        assert [(c["fileId"], c["file"]["name"]) for c in changes if "name" in c["file"]][-1] == (
            file,
            "b.mp4",
        )
        assert [c["fileId"] for c in changes].count(file) == 1

    def test_a_page_may_be_empty_and_not_the_last(self, drive: StandIn, world: World) -> None:
        token = self.start(drive)
        for number in range(4):
            world.create_file(f"{number}.mp4", owner=OWNER)
        mine = world.create_file("mine.mp4", owner=READER)
        answer = drive.ask("changes", pageToken=token, pageSize=2).json
        assert answer["changes"] == []
        assert answer["nextPageToken"]
        assert mine in {change["fileId"] for change in self.drain(drive, token, pageSize=2)}

    def test_files_lost_from_view_are_removed(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", owner=OWNER)
        world.share(file, READER)
        gone = world.create_file("b.mp4", owner=READER)
        token = self.start(drive)
        world.revoke(file, READER)
        world.delete(gone)
        changes = self.drain(drive, token)
        assert {(c["fileId"], c["removed"], "file" in c) for c in changes} == {
            (file, True, False),
            (gone, True, False),
        }
        assert self.drain(drive, token, includeRemoved=False) == []

    def test_only_the_folder_is_listed_when_it_moves(self, drive: StandIn, world: World) -> None:
        folder, target = world.create_folder("A"), world.create_folder("B")
        world.create_file("a.mp4", parent=folder)
        token = self.start(drive)
        world.move(folder, target)
        changes = self.drain(drive, token)
        assert [(c["fileId"], c["file"]["parents"]) for c in changes] == [(folder, [target])]

    def test_shared_drives_have_tokens_of_their_own(self, drive: StandIn, world: World) -> None:
        team = world.create_drive("Team", {READER: "reader"})
        own = {"driveId": team, "supportsAllDrives": True}
        token, user_token = self.start(drive, **own), self.start(drive)
        file = world.create_file("team.mp4", parent=team)
        assert [c["fileId"] for c in self.drain(drive, token, driveId=team, **BOTH)] == [file]
        assert self.drain(drive, user_token) == []
        assert [c["fileId"] for c in self.drain(drive, user_token, **BOTH)] == [file]
        assert drive.ask("changes", pageToken=user_token, driveId=team, **BOTH).status == 400

    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_a_token_expires_and_a_new_one_works(
        self, drive: StandIn, world: World, status: int
    ) -> None:
        token = self.start(drive)
        world.expire_page_tokens(status)
        assert drive.ask("changes", pageToken=token).status == status
        fresh = self.start(drive)
        file = world.create_file("a.mp4", owner=READER)
        assert file in {change["fileId"] for change in self.drain(drive, fresh)}
        assert drive.ask("changes", pageToken="nonsense").status == 400

    def test_files_can_be_kept_out_of_the_list(self, drive: StandIn, world: World) -> None:
        folder = world.create_folder("Meetings", owner=OWNER)
        world.share(folder, READER)
        token = self.start(drive)
        inherited = world.create_file("a.mp4", parent=folder)
        assert [c["fileId"] for c in self.drain(drive, token)] == [inherited]
        world.set_options(inherited_in_changes=False)
        assert self.drain(drive, token) == []
        assert names(drive.ask("files", q="mimeType contains 'video/'")) == {"a.mp4"}


class Webhook(ThreadingHTTPServer):
    """Listens for notifications; ``answers`` are the statuses it gives, then 204."""

    daemon_threads = True

    def __init__(self, *answers: int) -> None:
        self.received: list[dict[str, str]] = []
        self.answers = list(answers)
        super().__init__(("127.0.0.1", 0), WebhookHandler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self) -> Webhook:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class WebhookHandler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.received.append({name.lower(): v for name, v in self.headers.items()})
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


class TestChannels:
    def watch(self, drive: StandIn, address: str, **channel: Any) -> Any:
        token = drive.ask("changes/startPageToken").json["startPageToken"]
        body = {"id": "c1", "type": "web_hook", "address": address, "token": "t"} | channel
        return drive.ask("changes/watch", method="POST", pageToken=token, body=body)

    def states(self, hook: Webhook) -> list[str]:
        return [headers["x-goog-resource-state"] for headers in hook.received]

    def test_sync_and_changes_arrive(self, drive: StandIn, world: World) -> None:
        with Webhook() as hook:
            channel = self.watch(drive, hook.address).json
            assert world.notifier.settle()
            world.create_file("other.mp4", owner=OWNER)
            world.create_file("a.mp4", owner=READER)
            assert world.notifier.settle()
        sync, *changes = sorted(hook.received, key=lambda h: int(h["x-goog-message-number"]))
        assert sync["x-goog-resource-state"] == "sync"
        assert {change["x-goog-resource-state"] for change in changes} == {"change"}
        for headers in hook.received:
            assert headers["x-goog-channel-id"] == "c1"
            assert headers["x-goog-channel-token"] == "t"
            assert headers["x-goog-resource-id"] == channel["resourceId"]
            assert headers["x-goog-channel-expiration"].endswith("GMT")

    def test_sync_may_come_before_the_answer(self, drive: StandIn, world: World) -> None:
        world.set_options(sync_first=True)
        with Webhook() as hook:
            self.watch(drive, hook.address)
            assert self.states(hook) == ["sync"]

    def test_expiration_is_an_hour_or_as_requested_up_to_a_week(self, drive: StandIn) -> None:
        with Webhook() as hook:
            lives = []
            for number, asked in enumerate((None, 86_400, 30 * 86_400)):
                expiration = {"expiration": str(int((time.time() + asked) * 1000))} if asked else {}
                channel = self.watch(drive, hook.address, id=f"c{number}", **expiration).json
                lives.append(round(int(channel["expiration"]) / 1000 - time.time(), -1))
        assert lives == [3600, 86_400, 7 * 86_400]

    def test_a_refused_notification_is_sent_again_only_after_some_statuses(
        self, drive: StandIn, world: World
    ) -> None:
        world.set_notifications(retry_wait_s=0.01)
        with Webhook(500, 204, 403) as hook:
            self.watch(drive, hook.address)
            assert world.notifier.settle()
            world.expire_page_tokens()
            world.root(READER)
            world.create_folder("x")
            assert world.notifier.settle()
        statuses = [delivery.status for delivery in world.notifier.deliveries]
        assert statuses[:3] == [500, 204, 403]
        assert [d.number for d in world.notifier.deliveries][:3] == [1, 1, 2]

    def test_dropped_and_doubled(self, drive: StandIn, world: World) -> None:
        world.root(READER)
        with Webhook() as hook:
            self.watch(drive, hook.address)
            world.notifier.settle()
            world.set_notifications(drop=True)
            world.create_file("a.mp4")
            world.set_notifications(drop=False, copies=2)
            world.create_file("b.mp4")
            world.notifier.settle()
        assert self.states(hook) == ["sync", "change", "change"]

    def test_a_stopped_channel_is_silent(self, drive: StandIn, world: World) -> None:
        with Webhook() as hook:
            channel = self.watch(drive, hook.address).json
            body = {"id": "c1", "resourceId": channel["resourceId"]}
            wrong = body | {"resourceId": "other"}
            assert drive.ask("channels/stop", method="POST", body=wrong).status == 404
            assert drive.ask("channels/stop", method="POST", body=body).status == 204
            assert drive.ask("channels/stop", method="POST", body=body).status == 404
            world.create_file("a.mp4")
            world.notifier.settle()
        assert self.states(hook) == ["sync"]

    def test_refused_channels(self, drive: StandIn) -> None:
        assert self.watch(drive, "http://example.com/").reason == "push.webhookUrlNotHttps"
        assert self.watch(drive, "https://127.0.0.1:9/", type="mail").status == 400
        assert self.watch(drive, "https://127.0.0.1:9/", expiration="1").status == 400
        assert self.watch(drive, "https://127.0.0.1:9/").status == 200
        assert self.watch(drive, "https://127.0.0.1:9/").reason == "channelIdNotUnique"


class TestDrivesAndAbout:
    def test_drives(self, drive: StandIn, world: World) -> None:
        ids = [world.create_drive(f"Team {n}", {READER: "reader"}) for n in range(12)]
        other = world.create_drive("Other", {OWNER: "organizer"})
        first = drive.ask("drives").json
        rest = drive.ask("drives", pageToken=first["nextPageToken"]).json
        assert [d["id"] for d in first["drives"] + rest["drives"]] == ids
        assert drive.ask(f"drives/{ids[0]}", fields="*").json["name"] == "Team 0"
        assert drive.ask(f"drives/{other}").status == 404

    def test_about_requires_fields(self, drive: StandIn) -> None:
        assert drive.ask("about").status == 400
        assert drive.ask("about", fields="user").json["user"]["emailAddress"] == READER


class TestCredentials:
    def test_a_token_needs_the_scope(self, drive: StandIn) -> None:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        answer = drive.ask("files", token=drive.world.identity.issue(READER, scopes))
        assert (answer.status, answer.reason) == (403, "insufficientPermissions")

    def test_an_unknown_token(self, drive: StandIn) -> None:
        assert drive.ask("files", token="ya29.nonsense").status == 401

    def test_a_token_that_has_run_out(self, drive: StandIn) -> None:
        drive.world.identity.lifetime_s = -1
        assert drive.ask("files").status == 401


class TestFaults:
    def test_planned_and_random_errors(self, drive: StandIn, world: World) -> None:
        world.rate_limit(1)
        world.rate_limit(1, 429)
        answers = [drive.ask("files") for _ in range(3)]
        assert [answer.status for answer in answers] == [403, 429, 200]
        assert answers[0].reason == "userRateLimitExceeded"
        world.set_faults(seed=1, error_rate=0.5)
        statuses = {drive.ask("files").status for _ in range(40)}
        assert statuses == {200, 429, 500, 503}

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_cut_is_an_end_of_stream_or_a_reset(
        self, drive: StandIn, world: World, reset: bool
    ) -> None:
        file = world.create_file("a.mp4", content=b"x" * 50_000)
        world.set_faults(cut_rate=1.0, cut_after=10_000, reset=reset)
        token = world.identity.issue(READER)
        got = b""
        with socket.create_connection(
            ("127.0.0.1", drive.server.server_port), timeout=10
        ) as client:
            client.sendall(
                f"GET /drive/v3/files/{file}?alt=media HTTP/1.1\r\n"
                f"Host: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            )
            with pytest.raises(ConnectionResetError) if reset else contextlib.nullcontext():
                while piece := client.recv(65536):
                    got += piece
        assert got.count(b"x") == 10_000 if not reset else got.count(b"x") <= 10_000

    def test_the_line_has_a_width(self, drive: StandIn, world: World) -> None:
        file = world.create_file("a.mp4", content=os.urandom(2_000_000))
        world.set_faults(bandwidth=4e6)
        begun = time.monotonic()
        drive.ask(f"files/{file}", alt="media")
        assert time.monotonic() - begun > 0.4


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Meetings").mkdir()
    (tmp_path / "Meetings" / "a.mp4").write_bytes(b"abc")
    command = [sys.executable, "-m", "cli.demo.drive_standin", "--root", str(tmp_path)]
    with subprocess.Popen([*command, "--no-auth"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        endpoint = process.stdout.readline().strip()
        remote = RemoteWorld(endpoint.removesuffix("/drive/v3/"))
        added = remote.create_file("b.mp4", content=b"\x00\xff")
        remote.rename(added, "c.mp4")
        state = remote.state()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert {"Meetings", "a.mp4", "c.mp4"} <= set(state["files"].values())
    assert json.dumps(state)
