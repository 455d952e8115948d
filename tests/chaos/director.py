"""Plays the parts of a run, calls what the clock calls, and waits until everything has ended."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from shared.adapters.local.queue import SocketQueue
from shared.core.errors import Code
from shared.core.message import Source, SourceFile, make_key
from shared.core.ports import Queue
from shared.core.records import Recording, Status
from shared.core.times import utc_now
from shared.runtime import unix_http
from shared.tracking.requeue import Requeue
from shared.tracking.tracker import Tracker
from tests.chaos import cast, verdict
from tests.chaos.cast import Revision, Stage
from tests.chaos.decisions import Decisions
from tests.chaos.deliveries import FaultyQueue
from tests.chaos.fleet import Fleet, Instance

#: Recordings that may be on their way at the same time, for each extraction worker. Those of
#: killed workers wait for their lease's end and cost nothing meanwhile.
_AHEAD = 8

#: A recording that has been on its way for longer takes no room: its message was lost, and only
#: the requeue finds it, after 10 minutes.
_TAKES_ROOM_S = 20.0

#: How often the clock calls, in seconds: each minute, each 15 minutes and each night.
_REQUEUE_S, _MAINTAIN_S, _NIGHTLY_S = 2.0, 10.0, 9.0

#: How far the requeue's clock goes on when nothing moves any more, step by step: past every
#: patience of the requeue, then past every pause before it restarts what was given up.
_LATER_S = (660, 1_300, 2_500, 5_000, 10_000, 20_000, 30_000, 100_000, 200_000, 300_000)

_REPORT_S = 30.0


@dataclass
class Director:
    """Directs a run. ``labels`` names each revision by its part, the same in each replay."""

    stage: Stage
    fleet: Fleet
    queues: Mapping[str, FaultyQueue]
    decisions: Decisions
    tracker: Tracker
    report: Callable[[str], object]
    labels: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._looks_at, self._room = 0.0, 0
        self._on_their_way: dict[Revision, float] = {}
        self._revisions: Counter[int] = Counter()

    # The clock

    def call(self, instance: Instance, body: Mapping[str, object], timeout_s: float = 60) -> bool:
        """Call a function as Cloud Scheduler does; returns whether it succeeded."""
        with suppress(OSError, http.client.HTTPException):
            data = json.dumps(body).encode()
            reply = unix_http.request(instance.socket, "POST", "/", data, timeout_s=timeout_s)
            return reply.status == 200
        return False

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Call what is called by the clock until the block ends."""
        maintain, nightly = self.fleet.of("maintain")[0], self.fleet.of("nightly")[0]
        jobs: list[tuple[float, Instance, dict[str, object]]] = [
            (_REQUEUE_S, maintain, {"only": "requeue"}),
            (_MAINTAIN_S, maintain, {}),
            (_NIGHTLY_S, nightly, {}),
        ]
        stop = threading.Event()

        def repeat(every_s: float, instance: Instance, body: dict[str, object]) -> None:
            while not stop.wait(every_s):
                self.call(instance, body)

        threads = [threading.Thread(target=repeat, args=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    # The play

    def play(self, parts: list[cast.Part]) -> None:
        """Let every part begin when there is room, and go on when it is due."""
        order = itertools.count()
        due: list[tuple[float, int, cast.Part, Iterator[float]]] = []
        waiting = list(reversed(parts))
        report_at = time.monotonic() + _REPORT_S
        while waiting or due:
            now = time.monotonic()
            if now >= report_at:
                report_at = now + _REPORT_S
                self.report(f"{len(waiting)} parts wait; {self._state()}")
            if due and due[0][0] <= now:
                _, _, part, steps = heapq.heappop(due)
            elif waiting and self._has_room():
                part = waiting.pop()
                steps = part.play(self.stage)
            else:
                time.sleep(0.05)
                continue
            pause_s = self._step(part, steps)
            if pause_s is not None:
                heapq.heappush(due, (now + pause_s, next(order), part, steps))

    def _step(self, part: cast.Part, steps: Iterator[float]) -> float | None:
        before = len(self.stage.expected)
        self.decisions.note("steps", f"{part.number} {part.act}")
        pause_s = next(steps, None)
        for each in self.stage.expected[before:]:
            label = f"{part.number} {part.act}/{self._revisions[part.number]}"
            self.labels[each.source_id, each.revision] = label
            self._revisions[part.number] += 1
            self._on_their_way[each] = time.monotonic()
        return pause_s

    def _has_room(self) -> bool:
        """Return whether the next part may begin; looks five times a second."""
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + 0.2
            self._on_their_way = {
                each: since
                for each, since in self._on_their_way.items()
                if now - since < _TAKES_ROOM_S and self._is_on_its_way(each)
            }
            room = _AHEAD * len(self.fleet.of("extract"))
            self._room = room - len(self._on_their_way)
        self._room -= 1
        return self._room >= 0

    def _is_on_its_way(self, each: Revision) -> bool:
        there = self.tracker.get(make_key(each.source, each.source_id, each.revision))
        return each.required if there is None else not there.status.is_final

    def _state(self) -> str:
        counts = {status.value: count for status, count in self.tracker.counts().items()}
        queues = {topic: len(queue) for topic, queue in self.queues.items()}
        return f"tracker {counts}, queues {queues}"

    def label(self, item: SourceFile) -> str:
        """Return a message's recording by its part, which is the same in each replay."""
        end = time.monotonic() + 10
        while (found := self.labels.get((item.source_id, item.revision))) is None:
            if time.monotonic() > end:
                return f"unknown {item.source_id}"
            time.sleep(0.01)  # the director is about to note it
        return found

    # The end

    def settle(self, patience_s: float) -> list[str]:
        """Wait until every recording has ended as expected; returns what has not.

        When nothing moves any more, time passes: only the requeue's clock goes on.
        """
        end = time.monotonic() + patience_s
        later = iter(_LATER_S)
        maintain, nightly = self.fleet.of("maintain")[0], self.fleet.of("nightly")[0]
        while (left := self._unsettled()) and time.monotonic() < end:
            self.report(f"{len(left)} recordings are left; {self._state()}")
            self.call(maintain, {"full": True})
            self.call(nightly, {})
            if self._is_idle():
                offset_s = next(later, None)
                if offset_s is None:
                    return left
                self.decisions.note("time passed", f"{offset_s} s, for {', '.join(left)[:200]}")
                self._requeue_later(timedelta(seconds=offset_s))
            time.sleep(1.0)
        return left

    def _requeue_later(self, later: timedelta) -> None:
        """Run the requeue as it will run ``later``, in this process."""
        tracker = Tracker(
            self.tracker.documents, lease=self.tracker.lease, clock=lambda: utc_now() + later
        )
        sockets = self.fleet.instances["notify"].socket.parent
        queues: dict[str, Queue] = {
            Source.DRIVE.value: SocketQueue(sockets / "recordings"),
            Source.SFTP.value: SocketQueue(sockets / "sftp-files"),
        }
        Requeue(tracker, queues).run()

    def _is_idle(self) -> bool:
        """Return whether no message waits, and nothing is worked on, for a lease's time."""
        end = time.monotonic() + self.tracker.lease.total_seconds() + 3
        while time.monotonic() < end:
            if any(map(len, self.queues.values())) or self.tracker.counts()[Status.PROCESSING]:
                return False
            time.sleep(0.2)
        return True

    def _unsettled(self) -> list[str]:
        found: dict[tuple[str, str], Recording] = {
            (one.source_id, one.revision): one for one in self.tracker.all()
        }
        left = []
        for place, one in found.items():
            code = one.error.code if one.error else ""
            if not one.status.is_final or code in (Code.GAVE_UP, Code.DEAD_LETTER):
                left.append(f"{self.labels.get(place)} {one.status} {code}")
        for each in self.stage.expected:
            place = each.source_id, each.revision
            if not each.required:
                continue
            if (there := found.get(place)) is None:
                left.append(f"{self.labels[place]} unknown")
            elif there.status.is_final and verdict.ending(there) not in each.endings:
                left.append(f"{self.labels[place]} {verdict.ending(there)}")
        return left
