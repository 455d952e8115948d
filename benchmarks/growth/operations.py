"""What happens once for a recording, a minute or a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from benchmarks.growth.costs import Costs, Counting
from benchmarks.growth.filling import in_drive, item
from functions.dashboard.app import create_app
from functions.dashboard.backend import Backend
from functions.drive_watch.publisher import Publisher
from functions.sftp_compress.nightly import Nightly
from shared.adapters.local.storage import FilesystemStorage
from shared.adapters.memory import MemoryQueue, MemoryResults
from shared.core.message import SourceFile
from shared.core.ports import Documents
from shared.core.records import Status
from shared.tracking.announcer import Announcer
from shared.tracking.claim import Claim
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker


@dataclass(frozen=True)
class Listed:
    """A server that lists files."""

    make: Callable[[], Iterator[SourceFile]]

    def list(self) -> Iterator[SourceFile]:
        return self.make()


def one_more(documents: Documents, folder: Path, count: int) -> Costs:
    """Measure each operation that happens once for a recording, a minute or a view."""
    costs, counting = Costs(), Counting(documents)
    counted = cast(Documents, counting)
    announcer = Announcer(counted, MemoryResults(), "dev")
    tracker = Tracker(counted, announcer=announcer)
    queue, first = MemoryQueue(), 10**7
    claims: dict[int, Claim] = {}

    def publish(number: int) -> None:
        found = in_drive(item(first + number))
        assert Publisher(tracker, queue).publish([found], "")

    def claim(number: int) -> None:
        claimed = tracker.claim(queue.items[number])
        assert isinstance(claimed, Claim)
        claims[number] = claimed

    costs.measure("publish", counting, publish)
    costs.measure("claim", counting, claim)
    costs.measure("finish and announce", counting, lambda n: claims[n].finish(Status.DONE))
    known = [item(number) for number in range(min(100, count // 2))]
    page = [in_drive(one) for one in known]
    requeue = Requeue(tracker, {"drive": queue, "sftp": queue})
    costs.measure("requeue, nothing due", counting, lambda _: requeue.run())
    costs.measure(
        "maintain, 100 known of the last day",
        counting,
        lambda _: (requeue.run(), Publisher(tracker, queue).publish(page, "")),
    )
    costs.measure("status", counting, lambda _: (tracker.counts(), list(tracker.recent(10))))
    storage = FilesystemStorage(folder / f"audio{count}")
    client = create_app(Backend(tracker=tracker, storage=storage, cache_s=0.0)).test_client()

    def view(path: str) -> Callable[[int], object]:
        def ask(_: int) -> None:
            assert client.get(path, headers={"Accept": "text/html"}).status_code == 200

        return ask

    for path in (
        "/",
        "/recordings",
        "/recordings?status=DONE&source=drive",
        "/recordings?q=weekly",
    ):
        costs.measure(f"dashboard {path}", counting, view(path), runs=10)
    files = [item(number, "sftp") for number in range(count - count // 5, count)][:100]
    nightly = Nightly(
        sources=cast(Any, Listed(lambda: iter(files))),
        tracker=tracker,
        queue=queue,
        settle=timedelta(minutes=10),
    )
    costs.measure("nightly, 100 known files", counting, lambda _: nightly.run(), runs=5)
    costs.measure(
        "anything else in flight", counting, lambda _: tracker.is_in_flight("sftp", other_than="")
    )
    return costs
