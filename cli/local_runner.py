"""Runs workers in this process; decides what is processed again, and waits for other processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cli.app import App
from cli.stop import Stop
from shared.core import naming
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import OnProgress
from shared.core.records import Recording, Status
from shared.media.presets import OPUS_MAX_CHANNEL_BITRATE, WITH_BITRATE
from shared.service import renamed_file
from shared.service.worker import Worker
from shared.tracking.lease import Outcome, Result, RunOptions

#: The ``runner`` of documents: neither a push, which has a time limit, nor the job.
RUNNER = "cli"

#: How often to check whether another process is done, in seconds.
_CHECK_EVERY_S = 0.5

#: Called with the reason why a recording has to wait.
OnWait = Callable[[str], None]


@dataclass(frozen=True)
class LocalRunner:
    """Runs one worker in this process, until ``stop``.

    ``remake`` makes recordings again that were made with other settings.
    """

    app: App
    worker: Worker[Any]
    stop: Stop
    remake: bool = False

    def run(self, item: SourceFile, on_progress: OnProgress) -> Result:
        """Process a recording as a queue's worker would: one that has ended is left alone."""
        return self.worker.process(
            item,
            RunOptions(runner=RUNNER, cancelled=self.stop.requested, on_progress=on_progress),
        )

    def run_by_hand(
        self, item: SourceFile, on_progress: OnProgress, on_wait: OnWait, *, force: bool = False
    ) -> Result:
        """Process a recording, again if it failed or its audio is gone; wait for others."""
        renamed_file.follow(self.app.tracker, self.app.storage, item)
        asked_at = self.app.tracker.clock()
        while True:
            # Read the clock first: what another process finishes after it is not done again.
            looked_at = asked_at if force else self.app.tracker.clock()
            again = force or self.is_due_again(self.app.tracker.get(item.key))
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
            if not self._wait_for_other(item.key, on_wait):
                return Result(Outcome.CANCELLED, self.app.tracker.get(item.key))

    def is_due_again(self, recording: Recording | None) -> bool:
        """Return whether a recording that has ended is processed again by hand."""
        if recording is None or not recording.status.is_final:
            return False
        if recording.status is Status.DONE:
            if self.remake and made_otherwise(self.app, recording):
                return True
            return not is_intact(self.app, recording)
        if recording.status is Status.SKIPPED:
            # A missing audio track does not appear later; other reasons may have passed.
            return recording.error is None or recording.error.code != Code.NO_AUDIO
        return True

    def _wait_for_other(self, key: str, on_wait: OnWait) -> bool:
        """Wait until another process has ended or its lease expired; ``False``: stop."""
        while not self.stop.requested():
            recording = self.app.tracker.get(key)
            if recording is None or recording.status is not Status.PROCESSING:
                return True
            if self.app.tracker.has_expired(recording):
                return True
            assert recording.lease_expires_at is not None
            left_s = (recording.lease_expires_at - self.app.tracker.clock()).total_seconds()
            done = f" ({recording.progress:.0%} done)" if recording.progress else ""
            on_wait(
                f"another process is working on this{done}; "
                f"if it died, this one takes over in {max(1, round(left_s))} s"
            )
            self.stop.wait(min(_CHECK_EVERY_S, max(0.01, left_s)))
        return False


def planned(runner: LocalRunner, item: SourceFile, *, force: bool = False) -> str:
    """Return what ``run_by_hand`` would do, for example ``skip: it is done``."""
    known = runner.app.tracker.get(item.key)
    if known is None:
        old = renamed_file.earlier_document(runner.app.tracker, item)
        return f"rename: it was {old.source_id}" if old else "process"
    if known.status is Status.PROCESSING and not runner.app.tracker.has_expired(known):
        return "wait: another process is working on it"
    if not known.status.is_final:
        return "process: it is queued"
    words = {Status.DONE: "is done", Status.FAILED: "failed", Status.SKIPPED: "was skipped"}
    if not force and not runner.is_due_again(known):
        return f"skip: it {words[known.status]}"
    other = made_otherwise(runner.app, known) if runner.remake else ""
    if known.status is Status.DONE and not other and not force:
        return "process again: its audio is gone"
    return f"process again: it {words[known.status]}{f' as {other}' if other else ''}"


def is_intact(app: App, recording: Recording) -> bool:
    """Return whether the audio of a DONE recording is still in the storage, unchanged."""
    audio = recording.audio
    if audio is None:
        return False
    there = app.storage.stat(audio.object)
    return there is not None and (there.bytes, there.crc32c) == (audio.bytes, audio.crc32c)


def made_otherwise(app: App, recording: Recording) -> str:
    """Return how a DONE recording was made where the settings ask for another way, or empty.

    For example ``mp3`` where they ask for opus, or ``mp3 at 128k`` where they ask for 64k.
    """
    audio, settings = recording.audio, app.settings
    if audio is None:
        return ""
    if audio.preset != settings.audio_preset:
        return audio.preset
    if audio.preset not in WITH_BITRATE:
        return ""
    recipe = _logged_recipe(app, recording)
    made = recipe.get("bitrate")
    wanted = settings.audio_bitrate
    if audio.preset == "opus":
        wanted = min(wanted, OPUS_MAX_CHANNEL_BITRATE * int(recipe.get("channels") or 2))
    if not isinstance(made, int):
        # Its log is gone. MP3 has a constant rate, but the rate of Opus varies with the sound.
        made = round(audio.bitrate_kbps * 1000)
        if audio.preset == "opus" or abs(made - wanted) <= wanted / 10:
            return ""
    return f"{audio.preset} at {made // 1000}k" if made != wanted else ""


def _logged_recipe(app: App, recording: Recording) -> dict[str, Any]:
    """Return the recipe in the recording's processing log, or an empty one."""
    env, storage = app.settings.pipeline_env, app.storage
    for day in (recording.upload_timestamp, recording.finished_at):
        if day is None:
            continue
        try:
            with storage.open(naming.log_object(env, recording.key, day)) as file:
                recipe = json.load(file)["settings"]
        except (FileNotFoundError, ValueError, KeyError):
            continue
        if isinstance(recipe, dict):
            return recipe
    return {}
