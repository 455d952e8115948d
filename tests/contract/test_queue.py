"""What ``ports.Queue`` promises, over every adapter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from shared.core.message import SourceFile
from shared.core.ports import Queue

if TYPE_CHECKING:
    from tests.backends import Received, Topic

T0 = datetime(2025, 4, 7, 16, 52, 0, 123456, tzinfo=UTC)


def make_item(number: int = 0, **changes: object) -> SourceFile:
    values = {
        "source": "drive",
        "source_id": f"file{number}",
        "revision": "5d41402a",
        "name": "Weekly sync - 2025/04/07 16:52 CST - Recording",
        "mime_type": "video/mp4",
        "size_bytes": 2**33 + number,
        "created_at": T0,
    }
    return SourceFile(**{**values, **changes})  # type: ignore[arg-type]


def keys(received: list[Received]) -> list[str]:
    return sorted(SourceFile.decode(message.data).key for message in received)


def test_a_message_arrives_whole_with_its_attributes(topic: Topic) -> None:
    item = make_item(account="ana@example.com", force=True)
    topic.queue.publish([item])
    (message,) = topic.receive(1)
    assert message.data == item.encode()
    assert dict(message.attributes) == {"key": item.key, "source": "drive"}


def test_names_in_any_script_arrive(topic: Topic) -> None:
    zone = timezone(timedelta(hours=-6))
    item = make_item(
        source="sftp",
        source_id='Aufnahmen/会議 🎧/it\'s "ours"%0A.wav',
        revision="5-1744044720",
        name="été\n" + "长" * 300,
        created_at=T0.astimezone(zone),
        size_bytes=0,
    )
    topic.queue.publish([item])
    (message,) = topic.receive(1)
    assert SourceFile.decode(message.data) == item


def test_every_message_of_a_batch_arrives_once(topic: Topic) -> None:
    items = [make_item(number) for number in range(250)]
    topic.queue.publish(items)
    assert keys(topic.receive(250)) == sorted(item.key for item in items)


def test_the_same_recording_published_twice_is_two_messages(topic: Topic) -> None:
    topic.queue.publish([make_item()])
    topic.queue.publish([make_item()])
    assert keys(topic.receive(2)) == [make_item().key] * 2


def test_nothing_to_publish_is_success(topic: Topic) -> None:
    topic.queue.publish([])
    topic.queue.publish([make_item()])
    assert len(topic.receive(1)) == 1


def test_threads_publish_side_by_side(topic: Topic) -> None:
    batches = [[make_item(10 * number + n) for n in range(10)] for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(topic.queue.publish, batches))
    expected = sorted(item.key for batch in batches for item in batch)
    assert keys(topic.receive(80)) == expected


def test_check_passes(queue: Queue) -> None:
    queue.check()
