"""Watch channels against the Drive stand-in, which really notifies."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from cli.demo.drive_standin import channels as standin_channels
from cli.demo.drive_standin import notify as standin_notify
from functions.drive_watch import channel as channel_module
from functions.drive_watch.channel import CHANNELS, UNANSWERED_FOR, Channel
from functions.drive_watch.channel_tokens import ChannelTokens, stored_key
from functions.drive_watch.notify import receive
from functions.drive_watch.watch import Watch
from shared.adapters.google.drive_client import DriveClient
from shared.core.errors import TransientError
from tests.drive.rig import Rig, make_rig, on_every_rig, receiving
from tests.drive.standin import OWNER, READER


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path) as rig, receiving(rig):
        yield rig


def records(rig: Rig) -> list[Channel]:
    found = rig.services.documents.find(CHANNELS)
    return [Channel.from_document(read.id, read.document) for read in found]


def change(rig: Rig, channel: Channel, **fields: Any) -> None:
    read = rig.services.documents.get(CHANNELS, channel.id)
    assert read
    rig.services.documents.replace(CHANNELS, read, {**read.document, **fields})


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=20)


def headers(rig: Rig, **others: str) -> dict[str, str]:
    """Return those of a good notification, with ``others`` in their place."""
    (channel,) = rig.world.channels.values()
    good = standin_notify.headers(channel, "change", 2)
    return dict(good) | {f"X-Goog-{name.replace('_', '-')}": text for name, text in others.items()}


def statuses(rig: Rig, state: str) -> list[int]:
    rig.world.notifier.settle()
    return [d.status for d in rig.world.notifier.deliveries if d.state == state]


@on_every_rig
def test_the_first_maintain_opens_one_and_the_next_keeps_it(rig: Rig) -> None:
    assert rig.maintain().channel["default"]["state"] == "opened"
    (record,) = records(rig)
    assert rig.maintain().channel["default"] == {
        "state": "kept",
        "expires_at": record.expires_at.isoformat().replace("+00:00", "Z"),
    }
    assert list(rig.world.channels) == [record.id]
    assert records(rig) == [record]


def test_the_token_is_kept_nowhere(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    rig.maintain()
    rig.video("a.mp4")
    assert statuses(rig, "change") == [204]
    (channel,) = rig.world.channels.values()
    read = rig.services.documents.get(CHANNELS, channel.id)
    assert read
    assert len(channel.token) == 43
    assert channel.token not in str(read.document)
    assert channel.token not in caplog.text


def test_its_end_is_the_one_that_drive_returns(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin_channels, "MAX_CHANNEL_S", 7200)
    rig.maintain()
    (record,) = records(rig)
    assert record.expires_at < datetime.now(UTC) + timedelta(hours=2, seconds=5)


def test_a_notification_drains(rig: Rig) -> None:
    rig.maintain()
    rig.video("a.mp4")
    assert statuses(rig, "change") == [204]
    assert rig.names() == ["a.mp4"]


def test_sync_before_the_answer(rig: Rig) -> None:
    rig.world.set_options(sync_first=True)
    assert rig.maintain().channel["default"]["state"] == "opened"
    assert statuses(rig, "sync") == [204]
    assert rig.names() == []


def test_a_drain_that_fails_is_notified_again(rig: Rig) -> None:
    rig.maintain()
    rig.world.set_notifications(retry_wait_s=0.01)
    rig.world.fail_next(1, 403, "accessNotConfigured")
    rig.video("a.mp4")
    first, second = statuses(rig, "change")
    assert (first, second) == (500, 204)
    assert rig.names() == ["a.mp4"]


class TestForged:
    @pytest.mark.parametrize(
        "others",
        [
            {"Channel_ID": "0" * 32},
            {"Channel_ID": ""},
            {"Channel_ID": "../drive_state/default"},
            {"Channel_Token": secrets.token_urlsafe(32)},
            {"Channel_Token": ""},
            {"Channel_Token": "x" * 100_000},
            {"Resource_ID": "another"},
            {"Resource_ID": ""},
            {"Resource_ID": "é"},
        ],
    )
    def test_it_is_refused_before_any_write_or_word_to_drive(
        self, rig: Rig, others: dict[str, str]
    ) -> None:
        rig.maintain()
        rig.world.set_notifications(drop=True)
        rig.video("a.mp4")
        state, asked = rig.state(), sum(rig.world.requests.values())
        assert receive(rig.watch, headers(rig, **others)) == 403
        assert (rig.state(), sum(rig.world.requests.values())) == (state, asked)
        assert receive(rig.watch, headers(rig)) == 204
        assert rig.names() == ["a.mp4"]

    def test_an_unknown_channel_is_not_remembered_as_such(self, rig: Rig) -> None:
        rig.maintain()
        sent = headers(rig)
        (record,) = records(rig)
        read = rig.services.documents.get(CHANNELS, record.id)
        assert read
        rig.services.documents.delete(CHANNELS, read)
        assert receive(rig.watch, sent) == 403
        rig.services.documents.create(CHANNELS, record.id, read.document)
        assert receive(rig.watch, sent) == 204

    def test_a_replay_publishes_nothing_twice(self, rig: Rig) -> None:
        rig.maintain()
        rig.video("a.mp4")
        rig.world.notifier.settle()
        assert {receive(rig.watch, headers(rig)) for _ in range(5)} == {204}
        assert len(rig.messages(1)) == 1

    def test_without_an_address_channels_are_recognised_and_none_is_opened(self, rig: Rig) -> None:
        rig.maintain()
        before = [one.id for one in records(rig)]
        rig.configure(WEBHOOK_URL="")
        assert receive(rig.watch, headers(rig)) == 204
        assert receive(rig.watch, headers(rig, Channel_Token="x" * 43)) == 403
        assert rig.maintain().channel == {"default": {"state": "off"}}
        assert [one.id for one in records(rig)] == before


class TestRenewal:
    def test_the_new_one_is_open_before_the_old_one_is_stopped(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        (old,) = records(rig)
        before = headers(rig)
        change(rig, old, expires_at=soon())
        during: list[int] = []
        stop = DriveClient.stop

        def looked_at(client: DriveClient, channel_id: str, resource_id: str) -> None:
            assert len(rig.world.channels) == 2
            both = [standin_notify.headers(c, "change", 3) for c in rig.world.channels.values()]
            during.extend(receive(rig.watch, sent) for sent in both)
            stop(client, channel_id, resource_id)

        monkeypatch.setattr(DriveClient, "stop", looked_at)
        assert rig.maintain().channel["default"]["state"] == "opened"
        assert during == [204, 204]
        (new,) = records(rig)
        assert new.id != old.id
        assert list(rig.world.channels) == [new.id]
        assert receive(rig.watch, before) == 403

    def test_another_address_takes_another_channel(self, rig: Rig) -> None:
        rig.maintain()
        (old,) = records(rig)
        rig.configure(WEBHOOK_URL=rig.environ["WEBHOOK_URL"].replace("127.0.0.1", "localhost"))
        assert rig.maintain().channel["default"]["state"] == "opened"
        assert old.id not in rig.world.channels
        assert len(rig.world.channels) == 1

    def test_one_that_has_ended_is_only_forgotten(self, rig: Rig) -> None:
        rig.maintain()
        (old,) = records(rig)
        change(rig, old, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        stopped = rig.world.requests["channels.stop"]
        rig.maintain()
        assert rig.world.requests["channels.stop"] == stopped
        assert old.id not in {record.id for record in records(rig)}

    @on_every_rig
    def test_a_feed_that_is_watched_no_more(self, rig: Rig) -> None:
        drive = rig.world.create_drive("Team", {READER: "reader"})
        rig.configure(DRIVE_IDS=drive)
        rig.maintain()
        assert {record.feed for record in records(rig)} == {"default", drive}
        rig.configure(DRIVE_IDS="")
        rig.maintain()
        assert {record.feed for record in records(rig)} == {"default"}
        assert len(rig.world.channels) == 1

    def test_a_void_page_token(self, rig: Rig) -> None:
        rig.configure(WEBHOOK_URL="")
        rig.maintain()
        rig.world.expire_page_tokens()
        rig.configure(WEBHOOK_URL="http://127.0.0.1:9/")
        summary = rig.maintain()
        assert summary.failures == {}
        assert summary.channel["default"]["state"] == "opened"
        assert summary.compare == {"default": "done"}


class TestCrashes:
    def test_between_the_record_and_the_channel(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.crash_in(rig, monkeypatch, DriveClient, "watch")
        assert len(records(rig)) == 1
        assert rig.maintain().channel["default"]["state"] == "opened"
        rig.video("a.mp4")
        assert statuses(rig, "change") == [204]
        (dead,) = [record for record in records(rig) if record.resource_id is None]
        change(rig, dead, created_at=datetime.now(UTC) - UNANSWERED_FOR)
        rig.maintain()
        assert [record.id for record in records(rig)] == list(rig.world.channels)

    def test_between_the_channel_and_its_answer(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.crash_in(rig, monkeypatch, channel_module, "write_document")
        assert statuses(rig, "sync") == [204]
        (record,) = records(rig)
        (channel,) = rig.world.channels.values()
        assert record.resource_id == channel.resource_id
        assert abs(record.expires_at.timestamp() * 1000 - channel.expiration) <= 1000
        assert rig.maintain().channel["default"]["state"] == "kept"
        assert list(rig.world.channels) == [record.id]

    @on_every_rig
    def test_between_the_new_and_the_end_of_the_old(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.maintain()
        (old,) = records(rig)
        change(rig, old, expires_at=soon())
        self.crash_in(rig, monkeypatch, DriveClient, "stop")
        assert len(records(rig)) == 2
        assert rig.maintain().channel["default"]["state"] == "kept"
        (new,) = records(rig)
        assert list(rig.world.channels) == [new.id]
        assert new.id != old.id

    @staticmethod
    def crash_in(rig: Rig, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        def dies(*_: object, **__: object) -> None:
            raise Crash

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dies)
            with pytest.raises(Crash):
                rig.maintain()

    def test_a_lost_answer(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        watch = DriveClient.watch

        def unheard(*arguments: Any, **more: Any) -> None:
            watch(*arguments, **more)
            raise TransientError("the connection broke")

        with monkeypatch.context() as patch:
            patch.setattr(DriveClient, "watch", unheard)
            summary = rig.maintain()
        assert summary.channel == {"default": {"state": "failed"}}
        assert "the connection broke" in summary.failures["channel of default"]
        assert statuses(rig, "sync") == [204]
        assert rig.maintain().channel["default"]["state"] == "kept"
        assert len(rig.world.channels) == 1

    def test_a_refusal_leaves_no_record(self, rig: Rig) -> None:
        rig.maintain()
        rig.configure(WEBHOOK_URL="https://example.com/")
        rig.world.set_options(sync_first=False)
        # Everything but opening works: changes are still found by the clock.
        rig.configure(CHANNEL_TTL_HOURS="0.0000001")
        for record in records(rig):
            change(rig, record, expires_at=datetime.now(UTC) - timedelta(1))
        rig.video("a.mp4")
        summary = rig.maintain()
        assert summary.channel == {"default": {"state": "failed"}}
        assert not rig.last.has_failed
        assert rig.names() == ["a.mp4"]
        assert all(record.address != "https://example.com/" for record in records(rig))


def test_each_subject_has_its_own_channel(rig: Rig) -> None:
    rig.world.identity.delegations = {READER: {"https://www.googleapis.com/auth/drive.readonly"}}
    rig.configure(DRIVE_SUBJECTS=f"{OWNER},bob@example.com")
    summary = rig.maintain()
    assert set(summary.channel) == {OWNER, "bob@example.com"}
    assert {c.account for c in rig.world.channels.values()} == {OWNER, "bob@example.com"}


class Counted:
    """Documents that count their reads."""

    def __init__(self, documents: Any) -> None:
        self._documents = documents
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "find"):
            self.reads += 1
        return getattr(self._documents, name)


class TestSignedTokens:
    def counted(self, rig: Rig) -> tuple[Watch, Counted]:
        documents = Counted(rig.services.documents)
        watch = replace(
            rig.watch, channels=replace(rig.watch.channels, documents=cast(Any, documents))
        )
        assert watch.channels.tokens.key_id  # read once in a process
        documents.reads = 0
        return watch, documents

    def test_a_forged_token_is_refused_without_the_database(self, rig: Rig) -> None:
        rig.maintain()
        good = headers(rig)
        watch, documents = self.counted(rig)
        for _ in range(100):
            forged = good | {"X-Goog-Channel-Token": secrets.token_urlsafe(32)}
            assert receive(watch, forged) == 403
        for _ in range(100):
            assert receive(watch, good | {"X-Goog-Channel-ID": secrets.token_hex(16)}) == 403
        # The list of channels from before tokens were signed, once a minute.
        assert documents.reads == 1

    def test_another_key_or_a_later_expiry_is_forged(self, rig: Rig) -> None:
        rig.maintain()
        (record,) = records(rig)
        clock = rig.watch.channels.clock
        later = clock() + timedelta(days=30)
        ours = rig.watch.channels.tokens.make(record.id, later)
        theirs = ChannelTokens(lambda: "k" * 32, clock).make(record.id, later)
        # Signed by us, but it is not the token that this channel was opened with.
        assert receive(rig.watch, headers(rig, Channel_Token=ours)) == 403
        assert receive(rig.watch, headers(rig, Channel_Token=theirs)) == 403

    def test_a_token_is_void_after_its_channels_expiry(self, rig: Rig) -> None:
        rig.maintain()
        (record,) = records(rig)
        sent = headers(rig)
        watch, documents = self.counted(rig)
        channels = watch.channels
        late = lambda: record.expires_at + timedelta(seconds=1)  # noqa: E731
        ended = replace(channels, clock=late)
        assert receive(replace(watch, channels=ended), sent) == 403
        late_tokens = ChannelTokens(lambda: stored_key(rig.services.documents), late)
        documents.reads = 0
        assert not late_tokens.is_valid(record.id, sent["X-Goog-Channel-Token"])
        # Drive may return an earlier end than the one that was asked for.
        change(rig, record, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        assert receive(rig.watch, sent) == 403

    def test_a_channel_from_before_is_honoured_and_renewed(self, rig: Rig) -> None:
        rig.maintain()
        (old,) = records(rig)
        token = secrets.token_urlsafe(32)
        change(rig, old, key_id="", token_sha256=hashlib.sha256(token.encode()).hexdigest())
        sent = headers(rig, Channel_Token=token)
        rig.watch = rig.fresh()
        assert receive(rig.watch, sent) == 204
        assert receive(rig.watch, sent | {"X-Goog-Channel-Token": "x" * 43}) == 403
        assert rig.maintain().channel["default"]["state"] == "opened"
        assert old.id not in rig.world.channels
        assert receive(rig.watch, sent) == 403
        assert receive(rig.watch, headers(rig)) == 204

    def test_a_channel_from_before_ends_too(self, rig: Rig) -> None:
        rig.maintain()
        (old,) = records(rig)
        token = secrets.token_urlsafe(32)
        change(
            rig,
            old,
            key_id="",
            token_sha256=hashlib.sha256(token.encode()).hexdigest(),
            expires_at=datetime.now(UTC) - timedelta(seconds=1),
        )
        assert receive(rig.fresh(), headers(rig, Channel_Token=token)) == 403

    def test_another_key_renews_every_channel(self, rig: Rig) -> None:
        rig.maintain()
        before = headers(rig)
        rig.configure(CHANNEL_KEY="0123456789abcdef" * 4)
        assert receive(rig.watch, before) == 403
        assert rig.maintain().channel["default"]["state"] == "opened"
        assert receive(rig.watch, headers(rig)) == 204
        assert rig.maintain().channel["default"]["state"] == "kept"

    @on_every_rig
    def test_processes_agree_on_the_key_that_the_tracker_keeps(self, rig: Rig) -> None:
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _: stored_key(rig.services.documents), range(8)))
        assert len(keys) == 1
        assert len(keys.pop()) == 43
