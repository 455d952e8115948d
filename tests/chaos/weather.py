"""Faults of the dependencies and of whole processes, one after the other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cli.demo.drive_standin.control import RemoteWorld
from tests.chaos.decisions import Decisions, Event
from tests.chaos.deliveries import FaultyQueue
from tests.chaos.fleet import Fleet
from tests.chaos.gate import Gate

#: Ends an event.
End = Callable[[], object]


def _at_once() -> None:
    """End what has no duration."""


@dataclass(frozen=True)
class Weather:
    """What the weather acts on. ``disk`` is a mount that may be filled, if there is one."""

    world: RemoteWorld
    gates: Mapping[str, Gate]
    fleet: Fleet
    queues: Mapping[str, FaultyQueue]
    decisions: Decisions
    tracker: Path
    disk: Path | None

    @contextmanager
    def changing(self, pause_s: float, lease_s: float) -> Iterator[None]:
        """Change the weather until the block ends, and leave it fair."""
        calm = threading.Event()

        def blow() -> None:
            for event in self.decisions.weather(pause_s):
                if calm.wait(event.after_s):
                    return
                self.decisions.note(event.name, f"for {event.lasts_s:.1f} s")
                end = self._begin(event, lease_s)
                calm.wait(event.lasts_s)
                end()

        thread = threading.Thread(target=blow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            calm.set()
            thread.join()

    def _begin(self, event: Event, lease_s: float) -> End:
        place, _, what = event.name.partition(" ")
        world = self.world
        if what in ("is killed", "is frozen"):
            instance = self.fleet.of(place)[0]
            if what == "is killed":
                instance.kill(whole=event.choice < 0.3)
            else:
                instance.freeze(lease_s + 2)
            return _at_once
        if what in ("refuses connections", "is silent", "cuts connections"):
            gate = self.gates[place]
            {"refuses": gate.refuse, "is": gate.silence, "cuts": gate.cut}[what.split()[0]]()
            return gate.open
        events: dict[str, Callable[[], End | None]] = {
            "Drive answers errors": lambda: self._errors(event.choice),
            "Drive is rate-limited": lambda: world.rate_limit(5) and None,
            "Drive cuts downloads": lambda: self._cut_downloads(reset=event.choice < 0.5),
            "Drive forgets page tokens": lambda: world.expire_page_tokens() and None,
            "Drive revokes tokens": lambda: world.revoke_tokens() and None,
            "the disk is full": self._fill_disk,
            "the tracker is locked": self._lock_tracker,
            "the queue accepts nothing": self._close_queues,
            "a clock is 30 s fast": lambda: self._move_clock(30.0, event.choice),
            "a clock is 30 s slow": lambda: self._move_clock(-30.0, event.choice),
        }
        return events[event.name]() or _at_once

    def _errors(self, choice: float) -> End:
        statuses = [429, 500, 502, 503]
        self.world.set_faults(seed=int(choice * 1e9), error_rate=0.3, statuses=statuses)
        return lambda: self.world.set_faults(error_rate=0.0)

    def _cut_downloads(self, *, reset: bool) -> End:
        self.world.set_faults(cut_rate=0.5, reset=reset)
        return lambda: self.world.set_faults(cut_rate=0.0)

    def _close_queues(self) -> End:
        def accept(accepts: bool) -> None:
            for queue in self.queues.values():
                queue.accepts = accepts

        accept(False)
        return lambda: accept(True)

    def _move_clock(self, offset_s: float, choice: float) -> End | None:
        if not self.fleet.can_set_clocks:
            self.decisions.note("not done: no C compiler (cc) to move a clock with")
            return None
        instances = list(self.fleet.instances.values())
        instance = instances[int(choice * len(instances))]
        instance.set_clock(offset_s)
        return lambda: instance.set_clock(0.0)

    def _fill_disk(self) -> End | None:
        if self.disk is None:
            self.decisions.note("not done: only root can mount a small disk")
            return None
        filler = self.disk / ".filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 16))
        return lambda: filler.unlink(missing_ok=True)

    def _lock_tracker(self) -> End:
        connection = sqlite3.connect(self.tracker, timeout=30, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        return connection.close
