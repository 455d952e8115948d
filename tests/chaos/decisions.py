"""Every fault of a run, decided by its seed.

A delivery's fate depends on the seed, the recording and how often it was delivered, not on
time. Weather (faults of dependencies and of whole processes) is a list made in advance. What a
seed does not decide is how the processes' own steps interleave with the faults: the operating
system's scheduling. So a replay meets the same faults, at about the same moments.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

#: Share of deliveries by fate, besides those that are killed.
FATES = {
    "freeze": 0.03,  # the instance stops past its lease, then goes on
    "refuse": 0.05,  # 429, as Cloud Run answers without a free instance
    "request lost": 0.04,
    "answer lost": 0.04,
    "message lost": 0.02,  # worse than Pub/Sub promises: only the requeue can find it
    "twice": 0.06,
    "late": 0.06,  # behind others that were published after it
}

NOTICES = {"drop": 0.25, "twice": 0.15, "late": 0.15, "refuse": 0.1}

#: Kinds of weather, each with the longest time it lasts, in seconds.
WEATHER = {
    "Drive answers errors": 5.0,
    "Drive is rate-limited": 0.0,
    "Drive refuses connections": 3.0,
    "Drive is silent": 3.0,
    "Drive cuts connections": 0.0,
    "Drive cuts downloads": 5.0,
    "Drive forgets page tokens": 0.0,
    "Drive revokes tokens": 0.0,
    "SFTP refuses connections": 3.0,
    "SFTP is silent": 3.0,
    "SFTP cuts connections": 0.0,
    "the disk is full": 3.0,
    "the tracker is locked": 3.0,
    "the queue accepts nothing": 3.0,
    "a clock is 30 s fast": 8.0,
    "a clock is 30 s slow": 8.0,
    "maintain is killed": 0.0,
    "notify is killed": 0.0,
    "nightly is killed": 0.0,
    "maintain is frozen": 0.0,
    "notify is frozen": 0.0,
}


@dataclass(frozen=True)
class Fate:
    """What happens to one delivery. ``moment`` is a fraction of the usual time of one."""

    name: str = "pass"
    moment: float = 0.0
    whole_machine: bool = False


@dataclass(frozen=True)
class Event:
    """Weather that begins ``after_s`` the one before."""

    name: str
    after_s: float
    lasts_s: float
    choice: float


@dataclass
class Decisions:
    """The decisions of one run, and the log of those that were carried out."""

    seed: int
    kill_share: float
    log: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def note(self, what: str, about: str = "") -> None:
        """Log and count what was done."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1
            self.log.append(f"{time.monotonic() - self._start:8.2f}  {what}  {about}".rstrip())

    def fate(self, key: str, delivery: int) -> Fate:
        """Decide the ``delivery``-th delivery of a message about the recording ``key``."""
        rng = random.Random(f"fate {self.seed} {key} {delivery}")
        return Fate(
            _drawn(rng, {"kill": self.kill_share, **FATES}),
            moment=rng.random(),
            whole_machine=rng.random() < 0.3,
        )

    def notice(self, number: int) -> tuple[str, float]:
        """Decide the ``number``-th notification, and how late a late one is, in seconds."""
        rng = random.Random(f"notice {self.seed} {number}")
        return _drawn(rng, NOTICES), rng.uniform(0.2, 3.0)

    def weather(self, pause_s: float) -> list[Event]:
        """Return more weather than a run lasts; every kind comes once before one repeats."""
        rng = random.Random(f"weather {self.seed}")
        events = []
        for _ in range(40):
            for name in rng.sample(list(WEATHER), len(WEATHER)):
                lasts_s = WEATHER[name] * rng.uniform(0.4, 1.0)
                after_s = rng.uniform(0.2, 1.8) * pause_s
                events.append(Event(name, after_s, lasts_s, rng.random()))
        return events


def _drawn(rng: random.Random, shares: dict[str, float]) -> str:
    left = rng.random()
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return "pass"
