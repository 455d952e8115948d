"""One recording at a time, through the worker: what is done again, and waiting for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cli.app import App
from cli.stop import Stop
from functions.extract_audio.assembly import build_worker
from functions.extract_audio.worker import ExtractionWorker
from shared.core.errors import Code
from shared.core.message import Source, SourceFile
from shared.core.ports import OnProgress
from shared.core.records import Recording, Status
from shared.tracking.lease import Outcome, Result, RunOptions

#: Who works on it, in the document: neither a push with its limit of time, nor the job.
RUNNER = "cli"

#: How often we look whether another process is done, in seconds.
_LOOK_S = 0.5

#: Is told why a recording has to wait.
OnWait = Callable[[str], None]


def worker_of(app: App, source: str = Source.LOCAL) -> ExtractionWorker:
    """Return the worker for recordings of one source."""
    return build_worker(app.services, Source(source))


def is_intact(app: App, recording: Recording) -> bool:
    """Tell whether the audio of a DONE recording is still in the storage, as it was made."""
    audio = recording.audio
    if audio is None:
        return False
    there = app.services.storage.stat(audio.object)
    return there is not None and (there.bytes, there.crc32c) == (audio.bytes, audio.crc32c)


class Works(Protocol):
    """A worker, whatever it makes of a recording."""

    def process(
        self,
        item: SourceFile,
        options: RunOptions = ...,
    ) -> Result:
        """Work on one recording, once, and say how it ended."""


@dataclass(frozen=True)
class Extraction:
    """How this process works: by hand, so that what failed is tried again."""

    app: App
    worker: Works
    stop: Stop

    def once(self, item: SourceFile, on_progress: OnProgress) -> Result:
        """Do what the queue would: once, and nothing for what has ended."""
        return self.worker.process(
            item,
            RunOptions(runner=RUNNER, cancelled=self.stop.requested, on_progress=on_progress),
        )

    def by_hand(
        self, item: SourceFile, on_progress: OnProgress, on_wait: OnWait, *, force: bool = False
    ) -> Result:
        """Extract, again if it failed or its audio is gone; waits for another process."""
        asked_at = self.app.tracker.clock()
        while True:
            # Before the look at it: what another finishes after that is not done again.
            looked_at = asked_at if force else self.app.tracker.clock()
            again = force or self._is_due_again(item.key)
            result = self.worker.process(
                replace(item, force=again),
                RunOptions(
                    published_at=looked_at,
                    runner=RUNNER,
                    cancelled=self.stop.requested,
                    on_progress=on_progress,
                ),
            )
            if result.outcome not in (Outcome.BUSY, Outcome.LOST):
                return result
            if self._wait(item.key, on_wait):
                return Result(Outcome.CANCELLED, self.app.tracker.get(item.key))

    def _is_due_again(self, key: str) -> bool:
        recording = self.app.tracker.get(key)
        if recording is None:
            return False
        if recording.status is Status.DONE:
            return not is_intact(self.app, recording)
        if recording.status is Status.SKIPPED:
            # A track that is not there does not appear; whatever else it was may have passed.
            return recording.error is None or recording.error.code != Code.NO_AUDIO
        return recording.status is Status.FAILED

    def _wait(self, key: str, on_wait: OnWait) -> bool:
        """Wait until the other process has ended or its lease has; tells whether to stop."""
        while not self.stop.requested():
            recording = self.app.tracker.get(key)
            if recording is None or recording.status is not Status.PROCESSING:
                return False
            if self.app.tracker.has_expired(recording):
                return False
            assert recording.lease_expires_at is not None
            left = (recording.lease_expires_at - self.app.tracker.clock()).total_seconds()
            on_wait(_why(recording, left))
            self.stop.wait(min(_LOOK_S, max(0.01, left)))
        return True


def _why(recording: Recording, left_s: float) -> str:
    done = f" ({recording.progress:.0%} done)" if recording.progress else ""
    return (
        f"another process is at it{done}; if that was killed, we go on in {max(1, round(left_s))} s"
    )
