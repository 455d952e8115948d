"""A burst of recordings on a few instances, behind a front that answers 429.

    .venv/bin/python -m benchmarks.burst [--recordings 1000] [--instances 4] [--scale 1.0]

First the work itself: each instance gets its share of recordings, one after the other, with
nothing in front of it. Then as many recordings at once, as they arrive after an outage: through a
push subscription and a front that gives an instance one request at a time, as Terraform sets it.
Ends with status 1 when a message becomes a dead letter, when a recording is not DONE with one
object, or when the burst takes more than 1.2 times as long as the work.

What is real: the extraction service as processes, its tracker, its storage. What is modelled:

- The front. A request without a free instance waits up to 10 s, then it is answered 429
  (https://cloud.google.com/run/docs/about-instance-autoscaling, "Exceeding maximum instances").
- The subscription. Back-off of 10 to 600 s for each message, at most 100 deliveries, as in
  infra/terraform/pubsub.tf. Pub/Sub adjusts the rate of pushes to the rate of successes
  (https://cloud.google.com/pubsub/docs/push): here a window of pushes under way, which grows by
  one with each success and halves with each failure, at most once in 10 s.

``--scale 0.1`` makes all these times a tenth, for a run with fewer recordings.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from shared.core.message import SourceFile
from shared.core.records import Status
from tests.media.clips import run as ffmpeg
from tests.media.clips import speech
from tests.services import Cloud, Service, ask, envelope, local_cloud

LIMIT = 1.2
MAX_DELIVERIES = 100

_ACKNOWLEDGED = {102, 200, 201, 202, 204}


@dataclass
class FrontEnd:
    """Gives each instance one request at a time; answers 429 when none is free in time."""

    instances: Sequence[Service]
    wait_s: float
    refused: int = 0

    def __post_init__(self) -> None:
        self._idle: queue.Queue[Service] = queue.Queue()
        for instance in self.instances:
            self._idle.put(instance)

    def push(self, body: bytes) -> int:
        """Answer a push with an HTTP status."""
        try:
            instance = self._idle.get(timeout=self.wait_s)
        except queue.Empty:
            self.refused += 1
            return 429
        try:
            return ask(instance.url + "/", body, timeout_s=600).status
        finally:
            self._idle.put(instance)


@dataclass
class Subscription:
    """A push subscription; ``scale`` shortens its times."""

    push: Callable[[bytes], int]
    scale: float
    window: int = 3
    widest: int = 3
    deliveries: int = 0
    dead: int = 0
    _halved_at: float = field(default=0.0, init=False)

    def run(self, items: Sequence[SourceFile]) -> None:
        """Deliver every message until it is acknowledged, or dead."""
        changed = threading.Condition()
        order = itertools.count()
        due = [(0.0, next(order), 1, envelope(item.encode())) for item in items]
        left, under_way = len(due), 0

        def deliver(delivery: int, body: bytes) -> None:
            nonlocal left, under_way
            status = self.push(body)
            with changed:
                under_way -= 1
                self.deliveries += 1
                self._adjust(is_success=status in _ACKNOWLEDGED)
                if status in _ACKNOWLEDGED:
                    left -= 1
                elif delivery == MAX_DELIVERIES:
                    left, self.dead = left - 1, self.dead + 1
                else:
                    wait_s = min(10.0 * 2.0 ** (delivery - 1), 600.0) * self.scale
                    heapq.heappush(
                        due, (time.monotonic() + wait_s, next(order), delivery + 1, body)
                    )
                changed.notify()

        with ThreadPoolExecutor(1000) as pool, changed:
            while left:
                now = time.monotonic()
                while due and due[0][0] <= now and under_way < self.window:
                    _, _, delivery, body = heapq.heappop(due)
                    under_way += 1
                    pool.submit(deliver, delivery, body)
                changed.wait(0.05)

    def _adjust(self, *, is_success: bool) -> None:
        now = time.monotonic()
        if is_success:
            self.window = min(self.window + 1, 1000)
        elif now - self._halved_at > 10.0 * self.scale:
            self._halved_at, self.window = now, max(1, self.window // 2)
        self.widest = max(self.widest, self.window)


def _work(instances: Sequence[Service], items: Sequence[SourceFile]) -> float:
    """Give each instance its share; returns the seconds until the last one is done."""

    def share(number: int) -> None:
        for item in items[number :: len(instances)]:
            status = instances[number].push(item).status
            if status not in _ACKNOWLEDGED:
                raise RuntimeError(f"a push was answered {status}")

    start = time.monotonic()
    with ThreadPoolExecutor(len(instances)) as pool:
        list(pool.map(share, range(len(instances))))
    return time.monotonic() - start


def _is_complete(cloud: Cloud, count: int) -> bool:
    counts = cloud.tracker.counts()
    audio = cloud.audio()
    keys = {one.metadata["key"] for one in audio.values()}
    return counts[Status.DONE] == sum(counts.values()) == len(audio) == len(keys) == count


def main() -> None:
    """Run both and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--scale", type=float, default=1.0, help="of all times that are modelled")
    options = parser.parse_args()
    count = options.recordings
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cloud = stack.enter_context(local_cloud(directory))
        cloud.env["ENCODE_WORKERS"] = "1"
        clip = directory / "tiny.m4a"
        ffmpeg(*speech(1, 16000, 1), "-c:a", "aac", clip)
        items = [
            cloud.record(clip, f"Call {number} - 2025/01/29 10:00 CST - Recording")
            for number in range(2 * count + options.instances)
        ]
        instances = [stack.enter_context(cloud.service()) for _ in range(options.instances)]
        _work(instances, items[2 * count :])  # the services are warm now
        work_s = _work(instances, items[:count])
        front = FrontEnd(instances, wait_s=10.0 * options.scale)
        subscription = Subscription(front.push, options.scale)
        start = time.monotonic()
        subscription.run(items[count : 2 * count])
        burst_s = time.monotonic() - start
        complete = _is_complete(cloud, len(items))
    ratio = burst_s / work_s
    print(f"work   {count} recordings on {options.instances} instances  {work_s:7.1f} s")
    print(f"burst  {count} recordings behind the front   {burst_s:7.1f} s  {ratio:.2f} x")
    print(
        f"{subscription.deliveries} deliveries, {front.refused} answered 429, widest window "
        f"{subscription.widest}, {subscription.dead} dead letters, "
        f"{'each DONE with one object' if complete else 'NOT all are DONE with one object'}"
    )
    sys.exit(0 if complete and not subscription.dead and ratio <= LIMIT else 1)


if __name__ == "__main__":
    main()
