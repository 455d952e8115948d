"""What every worker does with one recording: claim, read, probe, encode, verify, publish, finish.

A worker sees ports and plain values only. The push services, the job and the command line
all call ``Worker.process``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from shared.core.errors import Code, MessageError, PermanentError
from shared.core.message import Source, SourceFile
from shared.core.ports import Sources, Storage, StoredObject
from shared.core.records import ErrorInfo, Recording
from shared.media import encode, probe, silence, verify
from shared.media.encode import EncodeContext, Encoded
from shared.media.presets import Recipe
from shared.media.source import inputs
from shared.media.source.inputs import Input
from shared.media.tracks import Probe
from shared.media.verify import Verified
from shared.runtime.stopwatch import Stages
from shared.runtime.workdir import work_directory
from shared.service.object_writer import ObjectWriter
from shared.tracking import lease
from shared.tracking.claim import Claim
from shared.tracking.lease import Outcome, Result, RunOptions, WorkControl
from shared.tracking.tracker import Tracker, requeued

W = TypeVar("W", bound=ObjectWriter)

_DEFAULTS = RunOptions()

#: A file that ended with one of these may come back as it was; opening it shows whether it has.
_AWAY = frozenset({Code.TRASHED, Code.GONE, Code.NOT_WATCHED, Code.SUPERSEDED})

#: Creation times of containers before this are those of a clock that was never set.
_FIRST_CREATED = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class VerifiedAudio:
    """Audio that passed verification and is not published yet."""

    item: SourceFile
    encoded: Encoded
    verified: Verified
    context: EncodeContext
    stages: Stages


@dataclass(frozen=True, kw_only=True)
class Worker(ABC, Generic[W]):
    """Turns recordings into audio; subclasses choose the recipe and what is published.

    Args:
        tracker: The records of all recordings.
        storage: Where the audio goes.
        sources: What reads the recordings, by source: ``drive``, ``sftp``, ``local``.
        env: The first path element of every object's name.
        encode_workers: How many encoders run at the same time.
        max_duration_hours: Longer recordings are FAILED(``too_long``).
        stall_s: After how many seconds without progress FFmpeg is killed.
        check_space: Raises when there is no space for this many bytes of audio.
    """

    tracker: Tracker
    storage: Storage
    sources: Mapping[str, Sources]
    env: str = "dev"
    encode_workers: int = 1
    max_duration_hours: float = 12.0
    stall_s: float = 60.0
    check_space: Callable[[int], None] = lambda _: None

    def process(self, item: SourceFile, options: RunOptions = _DEFAULTS) -> Result:
        """Process one recording, once; see ``shared.tracking.lease.run``.

        Raises ``MessageError`` for a source that this worker does not handle.
        """
        if item.source not in self.sources:
            raise MessageError(f"unknown source: {item.source}", item.encode())

        earlier: ErrorInfo | None = None

        def work(claim: Claim, control: WorkControl) -> dict[str, Any]:
            nonlocal earlier
            earlier = claim.recording.error
            try:
                return self._work(item, claim, control)
            except PermanentError:
                self.writer(claim, control).clean_up()
                raise

        result = lease.run(self.tracker, item, work, options)
        if result.outcome is not Outcome.SKIPPED or not result.recording:
            return result
        error = result.recording.error
        if error is None or error.code not in _AWAY:
            return result
        # The change that brought the file back may have come while this worker had the
        # recording; then it published nothing. A later one finds the recording SKIPPED. Once
        # only: a server may report another size whenever it is asked.
        if earlier and earlier.code == error.code:
            return result
        try:
            self.sources[item.source].open(item).close()
        except Exception:
            return result

        def again(current: Recording) -> Recording | None:
            if not current.status.is_final or current.error != error:
                return None
            return requeued(current, self.tracker.clock()).evolve(error=error)

        queued = self.tracker.change(item.key, again)
        return Result(Outcome.RETRY, queued, result.error) if queued else result

    def _work(self, item: SourceFile, claim: Claim, control: WorkControl) -> dict[str, Any]:
        """Do the work under the claim; returns the fields of the DONE document."""
        stages = Stages()
        with (
            closing(self.sources[item.source].open(item)) as source,
            work_directory() as directory,
        ):
            control.on_release(source.close)
            context = EncodeContext(
                directory=directory,
                workers=self.encode_workers,
                max_duration_s=self.max_duration_hours * 3600,
                stall_s=self.stall_s,
                cancelled=control.should_stop,
                on_progress=control.progress,
            )
            with inputs.reachable(source, item.name) as input_:
                with stages.timed("probe"), context.job(None) as job:
                    found = probe.probe(input_, job)
                made, tomorrow = found.created_at, self.tracker.clock() + timedelta(days=1)
                # A copied or synced file has the time of the copy. Recorders without a clock
                # write the epoch of their container, or no year at all.
                if item.source == Source.LOCAL and made and _FIRST_CREATED <= made <= tomorrow:
                    claim.update(created_at=made)
                with stages.timed("encode"):
                    encoded = self._encode(input_, found, context)
            writer, recipe = self.writer(claim, control), encoded.recipe
            with writer.prepare(encoded.path, recipe.extension):
                with stages.timed("verify"), context.job(encoded.duration_s) as job:
                    verified = verify.verify(encoded, job)
                    silent = silence.is_silent(encoded.path, recipe, verified.levels, job)
                writer.look(recipe.extension)
                source.check_unchanged()
                audio = VerifiedAudio(
                    item=item, encoded=encoded, verified=verified, context=context, stages=stages
                )
                stored, more = self.publish(audio, writer)
            now = self.tracker.clock()
            fields = writer.done(encoded, verified, stored, now) | more | {"silent": silent}
            writer.log(now, fields, recipe, stages.seconds)
            return fields

    def _encode(self, input_: Input, found: Probe, context: EncodeContext) -> Encoded:
        """Encode the best track, or the next best where that is empty."""
        while True:
            recipe = self.recipe(found)
            if recipe.bitrate is not None and found.duration_s is not None:
                # Better too small than too large: the container's duration may be wrong by
                # hours, so the source's size is a second limit.
                needed = int(found.duration_s * recipe.bitrate / 8)
                self.check_space(min(needed, 10 * input_.source.size))
            try:
                return encode.encode(input_, found, recipe, context)
            except PermanentError as error:
                others = tuple(one for one in found.tracks if one != found.track and one.decodable)
                if error.code is not Code.NO_AUDIO or not others:
                    raise
                found = replace(found, tracks=others)

    @abstractmethod
    def recipe(self, found: Probe) -> Recipe:
        """Return how the audio is encoded."""

    @abstractmethod
    def writer(self, claim: Claim, control: WorkControl) -> W:
        """Return what names and writes the objects."""

    @abstractmethod
    def publish(self, audio: VerifiedAudio, writer: W) -> tuple[StoredObject, dict[str, Any]]:
        """Write all objects; returns the audio's, and further fields of the document."""
