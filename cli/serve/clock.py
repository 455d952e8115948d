"""What runs by the clock: each job in a thread of its own, never twice at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.core.errors import ConfigurationError

log = logging.getLogger(__name__)

#: Returns when a job is due next, given the present.
Schedule = Callable[[datetime], datetime]


def every(interval: timedelta) -> Schedule:
    """Return a schedule that is due ``interval`` after the last run began."""
    return lambda now: now + interval


def cron(text: str, time_zone: str) -> Schedule:
    """Return a cron schedule; ``time_zone`` is an IANA name, or empty for the machine's.

    cronsim follows Debian's cron: a run that falls into the hour that spring skips
    happens right after it, and one in autumn's repeated hour happens once.
    Raises ``ConfigurationError``.
    """

    def due(now: datetime) -> datetime:
        if time_zone:
            return next(CronSim(text, now.astimezone(ZoneInfo(time_zone))))
        # The machine's zone as an offset would be wrong after the next change of the
        # clocks: so the search is in local time without a zone, which is added after it.
        return next(CronSim(text, now.astimezone().replace(tzinfo=None))).astimezone()

    try:
        due(datetime.now().astimezone())
    except (CronSimError, StopIteration) as error:
        raise ConfigurationError(
            [f"SCHEDULE is not a cron schedule: {error}. Example: 0 2 * * *"]
        ) from error
    return due


@dataclass
class ScheduledJob:
    """One job. ``run`` returns whether it succeeded; ``retries_s`` are waits after a failure.

    ``runs`` counts those that have ended.
    """

    name: str
    schedule: Schedule
    run: Callable[[], bool]
    retries_s: tuple[float, ...] = ()
    runs_at_start: bool = False
    asked: threading.Event = field(default_factory=threading.Event)
    runs: int = 0


class Clock:
    """Runs jobs until it is closed.

    ``now`` returns aware times. It is asked at least every ``look_every_s`` seconds, so
    that a machine that was suspended, or whose clock was set, is noticed within them.
    """

    def __init__(
        self,
        jobs: list[ScheduledJob],
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        look_every_s: float = 20.0,
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._now = now
        self._look_every_s = look_every_s
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(job,), name=f"clock-{job.name}", daemon=True)
            for job in jobs
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Start no further run; waits for those under way, within ``timeout_s``."""
        self._stopped.set()
        for job in self._jobs.values():
            job.asked.set()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def run_now(self, name: str) -> None:
        """Run a job at once; if it is running, once more afterwards."""
        self._jobs[name].asked.set()

    def runs(self, name: str) -> int:
        """Return how often a job has run."""
        return self._jobs[name].runs

    def _work(self, job: ScheduledJob) -> None:
        if job.runs_at_start:
            self._run(job)
        while not self._stopped.is_set():
            due = job.schedule(self._now())
            while not job.asked.is_set() and (left := due - self._now()) > timedelta():
                job.asked.wait(min(left.total_seconds(), self._look_every_s))
            job.asked.clear()
            self._run(job)

    def _run(self, job: ScheduledJob) -> None:
        """Run a job, again after each of its ``retries_s`` as long as it fails."""
        try:
            for wait_s in (*job.retries_s, None):
                if self._stopped.is_set():
                    return
                try:
                    if job.run():
                        return
                except Exception:
                    log.exception("%s failed", job.name)
                if wait_s is None or self._stopped.wait(wait_s):
                    return
                log.warning("%s failed; trying again", job.name)
        finally:
            job.runs += 1
